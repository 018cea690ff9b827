"""The best k items of each customer, exactly, from latent factors.

The matrix product is quick; sorting its result is what costs. A row's items are therefore cut into groups:
the k-th largest group maximum is a lower bound of the k-th largest score, so only scores that reach it are
sorted.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

GROUPS = 200
NONE = -1


class TopK(NamedTuple):
    """Items of each row, best first, and their scores, shape (n_rows, k); ``NONE`` and -inf fill short rows."""

    items: Ints
    scores: Floats


class PackedItems(NamedTuple):
    """A list of items per row, end to end: row i holds ``items[offsets[i]:offsets[i + 1]]``."""

    offsets: Ints
    items: Ints

    def slots(self) -> tuple[Ints, Ints]:
        """Row and item of every entry, ready to index a score matrix."""
        rows = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        return rows, self.items[self.offsets[0] : self.offsets[-1]]


class CustomerLists(NamedTuple):
    """What to recommend to a block of customers."""

    all_items: TopK
    is_repeat: Bools
    novel_items: TopK


def select_top_k(scores: Floats, k: int) -> TopK:
    """Find the k largest scores of each row; equal scores go to the smaller item.

    NaN and -inf are never selected. Exact for any input; quick where few scores equal the k-th.
    Complexity: O(n_rows * n_items) comparisons, plus a sort of about k items per row.

    Args:
        scores: Shape (n_rows, n_items), read only.
        k: Items wanted per row, at least 1.

    Returns:
        Items and scores, shape (n_rows, k).

    >>> select_top_k(np.array([[1, 3, np.nan, 3]], dtype=np.float32), 3).items.tolist()
    [[1, 3, 0]]
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    n_rows, n_items = scores.shape
    if n_rows == 0 or n_items == 0:
        return TopK(np.full((n_rows, k), NONE), np.full((n_rows, k), -np.inf, dtype=np.float32))
    # One flat search is ten times as quick as np.nonzero in two dimensions.
    rows, items = np.divmod(np.flatnonzero(scores >= _lower_bounds(scores, k)[:, None]), n_items)
    return _sorted_candidates(scores, rows, items, k)


def recommend_block(customers: Floats, items: Floats, bought: PackedItems, k: int) -> CustomerLists:
    """Score every item for a block of customers, and take the best with and without what they bought before.

    Args:
        customers: Latent factors, shape (n_customers, rank).
        items: Latent factors, shape (n_items, rank).
        bought: Items each customer bought before; the others are novel.
        k: Length of the lists.

    Returns:
        The best of all items, which of them are repeats, and the best novel items.

    Complexity: O(n_customers * n_items * rank); memory 4 bytes per score.

    >>> lists = recommend_block(np.eye(1, dtype=np.float32), np.array([[3], [5], [4]], dtype=np.float32),
    ...                         PackedItems(np.array([0, 1]), np.array([1])), 2)
    >>> lists.all_items.items.tolist(), lists.is_repeat.tolist(), lists.novel_items.items.tolist()
    ([[1, 2]], [[True, False]], [[2, 0]])
    """
    scores = customers @ items.T
    best = select_top_k(scores, k)
    scores[bought.slots()] = -np.inf
    found = best.items != NONE
    masked = np.take_along_axis(scores, np.maximum(best.items, 0), axis=1) if len(items) else best.scores
    return CustomerLists(best, found & np.isneginf(masked), select_top_k(scores, k))


def row_blocks(n_rows: int, n_items: int, block_scores: int = 1 << 24) -> Iterator[slice]:
    """Cut rows into blocks whose score matrices hold at most ``block_scores`` numbers (64 MB by default).

    >>> [(block.start, block.stop) for block in row_blocks(5, 10, block_scores=20)]
    [(0, 2), (2, 4), (4, 5)]
    """
    step = max(1, block_scores // max(1, n_items))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def _lower_bounds(scores: Floats, k: int) -> Floats:
    """A finite lower bound of each row's k-th largest score, shape (n_rows,); at worst the least float.

    Groups are strided (item i belongs to group i modulo the number of groups) so that the maxima are taken
    over long contiguous runs; the ragged tail is folded into the first groups.
    """
    n_rows, n_items = scores.shape
    least = np.finfo(np.float32).min
    if n_items <= k:
        return np.full(n_rows, least, dtype=np.float32)
    n_groups = min(n_items, max(GROUPS, 4 * k))
    whole = n_items - n_items % n_groups
    # fmax passes over NaN: one costs its group nothing.
    maxima = np.fmax.reduce(scores[:, :whole].reshape(n_rows, -1, n_groups), axis=1)
    tail = scores[:, whole:]
    maxima[:, : tail.shape[1]] = np.fmax(maxima[:, : tail.shape[1]], tail)
    bounds: Floats = np.partition(np.fmax(maxima, least), n_groups - k, axis=1)[:, n_groups - k]
    return bounds


def _sorted_candidates(scores: Floats, rows: Ints, items: Ints, k: int) -> TopK:
    """Sort the candidates of each row (given row by row, items ascending) and keep the first k."""
    n_rows = len(scores)
    counts = np.bincount(rows, minlength=n_rows)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = max(k, int(counts.max()))
    padded = np.full((n_rows, width), -np.inf, dtype=np.float32)
    padded_items = np.full((n_rows, width), NONE)
    padded[rows, places] = scores[rows, items]
    padded_items[rows, places] = items
    order = np.argsort(-padded, axis=1, kind="stable")[:, :k]
    return TopK(np.take_along_axis(padded_items, order, axis=1), np.take_along_axis(padded, order, axis=1))

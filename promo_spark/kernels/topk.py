"""The best k items of each customer, exactly, from latent factors.

The matrix product is quick; sorting its result is what costs. Scores are made a tile at a time and each tile
is cut into groups: the k-th largest group maximum is a lower bound of the k-th largest score, so only the
groups that reach it are looked into, and only the scores that reach it are sorted.
"""

from collections.abc import Iterator
from math import isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.packed_items import NONE, PackedItems
from promo_spark.kernels.rank_keys import NO_KEY, by_row, items_of, keys_of, scores_of

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_LEAST = np.finfo(np.float32).min
_LANES = 16


class TopK(NamedTuple):
    """Items of each row, best first, and their scores, shape (n_rows, k); ``NONE`` and -inf fill short rows."""

    items: Ints
    scores: Floats


class EligibleSets(NamedTuple):
    """Which items each customer may get: a store's assortment, what is in stock, a segment's offers.

    Attributes:
        sets: Items of each set, ascending.
        set_of: The set of each customer, shape (n_customers,); ``NONE`` means every item.
    """

    sets: PackedItems
    set_of: Ints


class CustomerLists(NamedTuple):
    """What to recommend to a block of customers."""

    all_items: TopK
    is_repeat: Bools
    novel_items: TopK


class Tile(NamedTuple):
    """Scores made at once. They pass through the cache several times, so a tile should not be much larger."""

    customers: int = 128
    items: int = 1 << 15


TILE = Tile()


def select_top_k(scores: Floats, k: int) -> TopK:
    """Find the k largest scores of each row; equal scores go to the smaller item.

    NaN and -inf are never selected. Exact for any input; quick where few scores equal the k-th.
    Complexity: O(n_rows * n_items) comparisons, plus a sort of about k items per row.

    Args:
        scores: Shape (n_rows, n_items), read only.
        k: Items wanted per row, at least 1.

    Returns:
        Items and scores, shape (n_rows, k).

    Raises:
        ValueError: k is less than 1.

    >>> select_top_k(np.array([[1, 3, np.nan, 3]], dtype=np.float32), 3).items.tolist()
    [[1, 3, 0]]
    """
    n_rows, n_items = scores.shape
    best = _Best(n_rows, k)
    padded = np.full((n_rows, _padded(n_items, k)), -np.inf, dtype=np.float32)
    padded[:, :n_items] = scores
    best.take_in(_Scores(np.arange(n_rows), np.arange(n_items), padded))
    return best.lists()


def best_items(
    customers: Floats,
    items: Floats,
    k: int,
    *,
    seen: PackedItems | None = None,
    eligible: EligibleSets | None = None,
    tile: Tile = TILE,
) -> TopK:
    """The k eligible items of each customer with the largest products of factors.

    Args:
        customers: Latent factors, shape (n_customers, rank).
        items: Latent factors, shape (n_items, rank); a memory map will do, it is read a tile at a time.
        k: Length of the lists, at least 1.
        seen: Items each customer never gets.
        eligible: The items each customer may get; all when None.
        tile: How many scores are held at once. It changes no list, but for scores that differ by rounding.

    Returns:
        Items and scores, shape (n_customers, k). Equal scores go to the smaller item; scores that are NaN or
        -inf are left out; rows with fewer items end with ``NONE``.

    Raises:
        ValueError: Shapes do not fit, or an item or a set does not exist.

    Complexity: O(rank) per customer and eligible item; memory O(tile + n_customers * k).

    >>> seen = PackedItems(np.array([0, 1]), np.array([1]))
    >>> best_items(np.eye(1, dtype=np.float32), np.array([[3], [5], [4]], dtype=np.float32), 2, seen=seen).items
    array([[2, 0]])
    """
    best = _Best(len(customers), k)
    if seen is not None:
        seen.check(len(customers), len(items))
    for scores in _score_tiles(customers, items, k, eligible, tile):
        if seen is not None:
            scores.mask(seen)
        best.take_in(scores)
    return best.lists()


def recommend_block(
    customers: Floats,
    items: Floats,
    bought: PackedItems,
    k: int,
    *,
    eligible: EligibleSets | None = None,
    tile: Tile = TILE,
) -> CustomerLists:
    """Score every item once, and take each customer's best with and without what they bought before.

    Args, errors and cost are those of ``best_items``, with ``bought`` for ``seen``.

    Returns:
        The best of all items, which of them are repeats, and the best novel items.

    >>> lists = recommend_block(np.eye(1, dtype=np.float32), np.array([[3], [5], [4]], dtype=np.float32),
    ...                         PackedItems(np.array([0, 1]), np.array([1])), 2)
    >>> lists.all_items.items.tolist(), lists.is_repeat.tolist(), lists.novel_items.items.tolist()
    ([[1, 2]], [[True, False]], [[2, 0]])
    """
    best, novel = _Best(len(customers), k), _Best(len(customers), k)
    bought.check(len(customers), len(items))
    for scores in _score_tiles(customers, items, k, eligible, tile):
        best.take_in(scores)
        scores.mask(bought)
        novel.take_in(scores)
    all_items = best.lists()
    return CustomerLists(all_items, bought.hold(all_items.items), novel.lists())


class _Scores(NamedTuple):
    """Scores of some customers for some items.

    Attributes:
        rows: Customers, shape (n_rows,).
        items: Items, ascending, shape (n_items,).
        values: Shape (n_rows, at least n_items): -inf after the last item.
    """

    rows: Ints
    items: Ints
    values: Floats

    def mask(self, seen: PackedItems) -> None:
        """Set the scores of what each customer has seen to -inf."""
        rows, items = seen.slots(self.rows)
        if len(items) == 0:
            return
        places = np.full(max(items.max(), self.items[-1]) + 1, NONE)
        places[self.items] = np.arange(len(self.items))
        columns = places[items]
        here = columns != NONE
        self.values[rows[here], columns[here]] = -np.inf


class _Best:
    """The best k items so far of each row, as keys that sort best first (see ``rank_keys``)."""

    def __init__(self, n_rows: int, k: int) -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self._k = k
        self._best = np.full((n_rows, k), NO_KEY)

    def take_in(self, scores: _Scores) -> None:
        """Merge the best of a tile into the best so far."""
        if scores.values.size == 0:
            return
        worst = self._best[scores.rows, -1]
        # Only what beats a full list is worth a look: the bound carries over from tile to tile.
        floor = np.where(worst == NO_KEY, np.float32(_LEAST), scores_of(worst))
        found = np.concatenate([self._best[scores.rows], _best_keys(scores, self._k, floor)], axis=1)
        found.sort(axis=1)
        self._best[scores.rows] = found[:, : self._k]

    def lists(self) -> TopK:
        """Items and scores."""
        empty = self._best == NO_KEY
        items = np.where(empty, NONE, items_of(self._best))
        return TopK(items, np.where(empty, np.float32(-np.inf), scores_of(self._best)))


def _score_tiles(
    customers: Floats, items: Floats, k: int, eligible: EligibleSets | None, tile: Tile
) -> Iterator[_Scores]:
    """Scores of every customer and eligible item, a tile at a time; each is overwritten by the next."""
    if customers.shape[1:] != items.shape[1:]:
        raise ValueError(f"customers have {customers.shape[1]} factors, items {items.shape[1]}")
    for rows, columns in _customers_by_set(len(customers), len(items), eligible):
        for first in range(0, len(columns), tile.items):
            own = columns[first : first + tile.items]
            width = _padded(len(own), k)
            turned = np.zeros((items.shape[1], width), dtype=np.float32)
            turned[:, : len(own)] = items[own].T
            buffer = np.empty((max(2, min(tile.customers, len(rows))), width), dtype=np.float32)
            for start in range(0, len(rows), tile.customers):
                some = rows[start : start + tile.customers]
                # A lone row would be a product of matrix and vector, which rounds differently.
                values = buffer[: max(2, len(some))]
                # Factors that are not finite make scores that are not, and these are never selected.
                with np.errstate(invalid="ignore", over="ignore"):
                    np.matmul(customers[np.resize(some, len(values))], turned, out=values)
                values[:, len(own) :] = -np.inf
                yield _Scores(some, own, values[: len(some)])


def _customers_by_set(n_customers: int, n_items: int, eligible: EligibleSets | None) -> Iterator[tuple[Ints, Ints]]:
    """Customers who may get the same items, and these items."""
    if eligible is None:
        yield np.arange(n_customers), np.arange(n_items)
        return
    sets, set_of = eligible
    if len(set_of) != n_customers:
        raise ValueError(f"{n_customers} customers, but {len(set_of)} have a set")
    for number in np.unique(set_of).tolist():
        if not NONE <= number < len(sets.offsets) - 1:
            raise ValueError(f"there is no set {number}")
        _, own = sets.slots(np.array([number])) if number != NONE else (None, np.arange(n_items))
        if len(own) and (own[0] < 0 or own[-1] >= n_items or (np.diff(own) <= 0).any()):
            raise ValueError(f"set {number} must hold ascending items from 0 to {n_items - 1}")
        yield np.flatnonzero(set_of == number), own


def _depth(n_items: int, k: int) -> int:
    """Items per group: fewer groups are quicker to rank, smaller ones quicker to look into."""
    return max(1, isqrt(n_items // (2 * k)))


def _padded(n_items: int, k: int) -> int:
    """Columns for that many items in equal groups, whose number suits vector instructions."""
    depth = _depth(n_items, k)
    return -(-n_items // (depth * _LANES)) * depth * _LANES


def _best_keys(scores: _Scores, k: int, floor: Floats) -> Ints:
    """Keys of each row that hold at least its best k of those that reach ``floor``, padded with ``NO_KEY``.

    Groups are strided (column c belongs to group c modulo the number of groups) so that maxima are taken over
    long contiguous runs.
    """
    n_rows, width = scores.values.shape
    n_groups = width // _depth(len(scores.items), k)
    # fmax passes over NaN: one costs its group nothing.
    maxima = np.fmax.reduce(scores.values.reshape(n_rows, -1, n_groups), axis=1)
    bounds = floor
    if k < n_groups:
        # NaN and -inf must not be the bound: the first sorts last, both would let themselves in.
        bounds = np.maximum(floor, np.partition(np.fmax(maxima, _LEAST), n_groups - k, axis=1)[:, n_groups - k])
    reached = maxima >= bounds[:, None]
    # Where many scores equal the k-th, all of their groups reach it: such a row is ranked on its own.
    crowded = np.flatnonzero(reached.sum(axis=1) > 2 * k + _LANES)
    reached[crowded] = False
    # One flat search is ten times as quick as np.nonzero in two dimensions.
    rows, groups = np.divmod(np.flatnonzero(reached), n_groups)
    members = np.arange(0, width, n_groups)
    values = scores.values.ravel().take((rows * width + groups)[:, None] + members)
    places, depths = np.divmod(np.flatnonzero(values >= bounds[rows, None]), len(members))
    columns = groups[places] + members[depths]
    keys = by_row(rows[places], keys_of(values[places, depths], scores.items[columns]), n_rows, k)
    for row in crowded.tolist():
        columns = np.flatnonzero(scores.values[row] >= bounds[row])
        own = keys_of(scores.values[row, columns], scores.items[columns])
        keys[row, :k] = np.partition(own, k - 1)[:k]
    return keys

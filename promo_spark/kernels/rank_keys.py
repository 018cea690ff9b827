"""A score and its item in one integer, so that one sort ranks by score and settles ties by item."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

NO_KEY = np.iinfo(np.int64).max
"""Comes after every key."""

_ITEM_BITS = 32


def keys_of(scores: Floats, items: Ints) -> Ints:
    """One number per score and item: smaller for a larger score, and at equal scores for a smaller item.

    Args:
        scores: No NaN; 0 and -0 are equal.
        items: From 0, less than 2**32.

    >>> np.argsort(keys_of(np.array([1, -2, 5, 1], dtype=np.float32), np.array([7, 0, 1, 3]))).tolist()
    [2, 3, 0, 1]
    """
    # Adding zero makes -0 equal to 0. The bits of a negative float grow as it falls.
    bits = (scores + np.float32(0)).view(np.int32)
    rising = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (~rising).astype(np.int64) << _ITEM_BITS | items


def scores_of(keys: Ints) -> Floats:
    """The scores of keys; of ``NO_KEY`` a number without meaning.

    >>> scores_of(keys_of(np.array([1.5, -2.5], dtype=np.float32), np.array([7, 0]))).tolist()
    [1.5, -2.5]
    """
    rising = ~(keys >> _ITEM_BITS).astype(np.int32)
    return np.where(rising < 0, rising ^ 0x7FFFFFFF, rising).astype(np.int32).view(np.float32)


def items_of(keys: Ints) -> Ints:
    """The items of keys; of ``NO_KEY`` a number without meaning.

    >>> items_of(keys_of(np.array([1.5, -2.5], dtype=np.float32), np.array([7, 0]))).tolist()
    [7, 0]
    """
    return keys & ((1 << _ITEM_BITS) - 1)


def by_row(rows: Ints, keys: Ints, n_rows: int, least_width: int) -> Ints:
    """Lay keys, given row by row, into a matrix, padded with ``NO_KEY`` to at least ``least_width`` columns.

    >>> (by_row(np.array([0, 0, 2]), np.array([5, 6, 7]), 3, 1) == NO_KEY).tolist()
    [[False, False], [True, True], [False, True]]
    """
    counts = np.bincount(rows, minlength=n_rows)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    laid = np.full((n_rows, max(least_width, int(counts.max()))), NO_KEY)
    laid[rows, places] = keys
    return laid

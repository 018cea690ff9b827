"""A histogram whose bins are known beforehand: narrow in proportion to the values, whatever their scale.

From counts, sums and sums of squares per bin follow quantiles, and exact means of values cut off at the edge of a bin.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEAST, _GROWTH, _REACH = 1e-6, 1.05, 710
BINS = 2 * _REACH + 1
"""Negative ones, one for 0 alone, positive ones; up to 1.1e9 in size, and one at either end for what is beyond."""
UPPER_EDGES: Floats = np.concatenate(
    [-_LEAST * _GROWTH ** np.arange(_REACH - 1, 0, -1.0), [0.0, 0.0], _LEAST * _GROWTH ** np.arange(1.0, _REACH + 1)]
)
"""Upper edge of each bin, shape (BINS,); that of the smallest negative values is 0, as is that of 0 itself."""


class CutMean(NamedTuple):
    """Mean of values cut off above.

    Attributes:
        mean: Of min(value, limit).
        variance: Sample variance of it.
        size: Values.
    """

    mean: float
    variance: float
    size: float


def bin_of(values: Floats) -> Ints:
    """The bin of each value.

    Args:
        values: Finite, shape (n,).

    Returns:
        0 to BINS - 1, shape (n,).

    >>> bins = bin_of(np.array([-3.0, 0.0, 3.0, 3.0001, 4.0]))
    >>> (bins - bins[1]).tolist()
    [-306, 0, 306, 306, 312]
    """
    size = np.abs(values)
    # What is not 0 is at least a first bin away from it.
    step = np.floor(np.log(np.maximum(size, _LEAST) / _LEAST) / np.log(_GROWTH)) + 1.0
    places: Ints = (_REACH + np.sign(values) * np.minimum(step, _REACH)).astype(np.int64)
    return places


def sum_bins(values: Floats, groups: Ints, n_groups: int) -> Floats:
    """Counts, sums and sums of squares per group and bin.

    Args:
        values: Finite, shape (n,).
        groups: From 0, shape (n,).
        n_groups: Number of groups.

    Returns:
        Shape (n_groups, BINS, 3).

    Complexity: O(n + n_groups BINS).

    >>> sum_bins(np.array([0.0, 2.0, 2.0]), np.array([0, 0, 0]), 1).sum(axis=1).tolist()
    [[3.0, 4.0, 8.0]]
    """
    places = groups * BINS + bin_of(values)
    size = n_groups * BINS
    sums = [np.bincount(places, weights, minlength=size) for weights in (None, values, values**2)]
    return np.stack(sums, axis=-1).reshape(n_groups, BINS, 3).astype(np.float64)


def upper_limit(bins: Floats, level: float) -> float:
    """The edge above which at most a share 1 - level of all values lies; infinite where that would cut nothing off.

    Args:
        bins: What `sum_bins` returned, over all arms, shape (BINS, 3).
        level: Between 0 and 1.

    Returns:
        An upper edge. Infinite too where it is 0: of something rare, cutting there would leave nothing.

    >>> bins = sum_bins(np.repeat([1.0, 500.0], [99, 1]), np.zeros(100, dtype=np.int64), 1)[0]
    >>> round(upper_limit(bins, 0.95), 2), upper_limit(bins, 1.0)
    (1.04, inf)
    """
    cumulated = np.cumsum(bins[:, 0])
    if not cumulated[-1]:
        return float("inf")
    place = int(np.searchsorted(cumulated, level * cumulated[-1] - 1e-9))
    is_last = place >= BINS - 1 or cumulated[place] >= cumulated[-1]
    return float("inf") if is_last or UPPER_EDGES[place] <= 0 else float(UPPER_EDGES[place])


def cut_mean(bins: Floats, limit: float) -> CutMean:
    """Mean and variance of values of one arm, cut off at an edge.

    Args:
        bins: Of the arm, shape (BINS, 3).
        limit: What `upper_limit` returned.

    Returns:
        As though every value had been looked at; NaN variance below two values.

    >>> bins = sum_bins(np.array([1.0, 1.0, 500.0]), np.zeros(3, dtype=np.int64), 1)[0]
    >>> round(cut_mean(bins, upper_limit(bins, 0.6)).mean, 3)  # (1 + 1 + 1.042) / 3
    1.014
    """
    is_below = limit * (1 + 1e-12) >= UPPER_EDGES
    count, beyond = bins[:, 0].sum(), bins[~is_below, 0].sum()
    cut = limit if beyond else 0.0
    total = bins[is_below, 1].sum() + cut * beyond
    squares = bins[is_below, 2].sum() + cut**2 * beyond
    if count <= 1:
        return CutMean(float(total) / max(float(count), 1.0), float("nan"), float(count))
    mean = total / count
    return CutMean(float(mean), float(max(squares / count - mean**2, 0.0) * count / (count - 1)), float(count))

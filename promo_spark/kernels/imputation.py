"""Values for the gaps of a table, from the rows most alike or by a regression on the other columns.

Both learn from a bounded set of rows, the donors. Each row is worked out by itself and in a fixed order, so that a
value is the same to the bit in any block. Sources: Troyanskaya et al. 2001, Missing value estimation methods for DNA
microarrays (nearest neighbours); Little and Rubin 2019, Statistical Analysis with Missing Data, section 4.2
(regression).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LIMIT_SD = 4.0
_STEPS = 1024
_CONSTANT_SD = 1e-6
_PENALTY = 0.01
_DISTANCES_AT_ONCE = 1 << 21


class Donors(NamedTuple):
    """Rows that gaps are filled from; made by ``make_donors``.

    Attributes:
        values: Shape (n_donors, n_columns), NaN where unknown.
        is_skewed: Columns that are compared by the logarithm of 1 + value, shape (n_columns,).
        means: Of each column so shaped, shape (n_columns,).
        deviations: Its standard deviation; NaN for a column that says nothing, because it is unknown or constant.
        medians: Of each scaled column, 0 for one that says nothing.
        scaled: ``scale`` of the values.
    """

    values: Floats
    is_skewed: Bools
    means: Floats
    deviations: Floats
    medians: Floats
    scaled: Floats


class Regression(NamedTuple):
    """A column as a sum over the others; made by ``fit_regression``.

    Attributes:
        target: The column.
        intercept: Of the shaped target.
        weights: Of each scaled column, 0 for the target itself; shape (n_columns,).
        low: Smallest value that a donor has.
        high: Largest one.
    """

    target: int
    intercept: float
    weights: Floats
    low: float
    high: float


def make_donors(values: Floats, is_skewed: Bools) -> Donors:
    """Learn the scale of each column from the donors.

    Args:
        values: Shape (n_donors, n_columns), NaN where unknown, in a settled order: of equally near donors the
            first ones count.
        is_skewed: Columns with a long right tail, shape (n_columns,).

    Returns:
        The donors.

    >>> make_donors(np.array([[1.0, 7.0], [3.0, 7.0], [np.nan, 7.0]]), np.array([False, False])).scaled.tolist()
    [[-1024.0, nan], [1024.0, nan], [nan, nan]]
    """
    shaped = _shaped(values, is_skewed)
    known = ~np.isnan(shaped)
    counts = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, shaped, 0.0).sum(axis=0) / counts
    deviations = np.sqrt((np.where(known, shaped - means, 0.0) ** 2).sum(axis=0) / counts)
    says_nothing = deviations <= _CONSTANT_SD * np.maximum(1.0, np.abs(means))
    deviations[says_nothing] = np.nan
    donors = Donors(values, is_skewed, means, deviations, np.zeros(values.shape[1]), np.empty(0))
    scaled = scale(values, donors)
    medians = np.array([np.median(own[~np.isnan(own)]) if (~np.isnan(own)).any() else 0.0 for own in scaled.T])
    return donors._replace(medians=medians, scaled=scaled)


def scale(values: Floats, donors: Donors) -> Floats:
    """Bring rows to the donors' scale, in whole steps of 1/1024 standard deviation and within ±4 deviations.

    Sums of squares of whole numbers are exact, so that a distance does not depend on how a matrix product is cut.

    Args:
        values: Shape (n_rows, n_columns), NaN where unknown.
        donors: Whose scale it is.

    Returns:
        Whole numbers, shape (n_rows, n_columns); NaN where the value is unknown or its column says nothing.
    """
    scaled = (_shaped(values, donors.is_skewed) - donors.means) / donors.deviations
    limited: Floats = np.rint(np.clip(scaled, -_LIMIT_SD, _LIMIT_SD) * _STEPS)
    return limited


def impute_by_neighbours(values: Floats, target: int, donors: Donors, count: int) -> Floats:
    """The mean of a column among the nearest donors that know it.

    The distance is the mean square over the columns that both know, the target left out; equally near donors
    count in their order. Donors without a common column are none.

    Args:
        values: Rows with a gap, shape (n_rows, n_columns), NaN where unknown.
        target: The column wanted.
        donors: Made by ``make_donors``.
        count: Neighbours, at least 1; all where there are fewer.

    Returns:
        Shape (n_rows,), NaN where no donor is comparable.

    Complexity: O(n_rows * n_donors * n_columns); memory of a tile is bounded.

    >>> donors = make_donors(np.array([[1.0, 10.0], [2.0, 20.0], [9.0, 90.0]]), np.array([False, False]))
    >>> impute_by_neighbours(np.array([[1.4, np.nan], [np.nan, np.nan]]), 1, donors, 2).tolist()
    [15.0, nan]
    """
    knows = ~np.isnan(donors.values[:, target])
    offered = donors.values[knows, target]
    if not len(offered):
        return np.full(len(values), np.nan)
    others = np.arange(values.shape[1]) != target
    own, pool = scale(values, donors)[:, others], donors.scaled[np.ix_(knows, others)]
    step = max(1, _DISTANCES_AT_ONCE // len(offered))
    tiles = [_nearest_mean(own[first : first + step], pool, offered, count) for first in range(0, len(own), step)]
    return np.concatenate([np.empty(0), *tiles])


def fit_regression(donors: Donors, target: int) -> Regression | None:
    """Fit a column on all others by ridge regression; what is unknown in the others counts as their median.

    The penalty, 1 % of each column's variance, settles columns that say the same.

    Args:
        donors: Made by ``make_donors``.
        target: The column.

    Returns:
        The regression, or None where no donor knows the column.
    """
    knows = ~np.isnan(donors.values[:, target])
    if not knows.any():
        return None
    known = donors.values[knows, target]
    wanted = _shaped(known[:, None], donors.is_skewed[[target]])[:, 0]
    inputs = _inputs(donors.scaled[knows], donors, target)
    middle, centre = inputs.mean(axis=0), float(wanted.mean())
    centred = inputs - middle
    gram = centred.T @ centred + _PENALTY * len(known) * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (wanted - centre))
    weights[target] = 0.0
    intercept = centre - float(middle @ weights)
    return Regression(target, intercept, weights, float(known.min()), float(known.max()))


def impute_by_regression(values: Floats, regression: Regression, donors: Donors) -> Floats:
    """What a regression says of a column, kept within what the donors have.

    Args:
        values: Rows with a gap, shape (n_rows, n_columns), NaN where unknown.
        regression: Made by ``fit_regression`` on the donors.
        donors: The same donors.

    Returns:
        Shape (n_rows,), NaN where nothing but the target could be known of a row and is not.

    >>> donors = make_donors(np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]), np.array([False, False]))
    >>> line = fit_regression(donors, 1)
    >>> impute_by_regression(np.array([[2.0, np.nan], [9.0, np.nan], [np.nan, np.nan]]), line, donors).tolist()
    [20.0, 30.0, nan]
    """
    scaled = scale(values, donors)
    # Row by row: a matrix product may round differently in another block.
    sums = regression.intercept + (_inputs(scaled, donors, regression.target) * regression.weights).sum(axis=1)
    told = np.expm1(sums) if donors.is_skewed[regression.target] else sums
    says_nothing = np.isnan(np.delete(scaled, regression.target, axis=1)).all(axis=1)
    return np.where(says_nothing, np.nan, np.clip(told, regression.low, regression.high))


def _shaped(values: Floats, is_skewed: Bools) -> Floats:
    return np.where(is_skewed, np.log1p(np.maximum(values, 0.0)), values)


def _inputs(scaled: Floats, donors: Donors, target: int) -> Floats:
    """In standard deviations, without gaps; the target says nothing of itself."""
    inputs = np.where(np.isnan(scaled), donors.medians, scaled) / _STEPS
    inputs[:, target] = 0.0
    return inputs


def _nearest_mean(own: Floats, pool: Floats, offered: Floats, count: int) -> Floats:
    distances = _distances(own, pool)
    if count < len(offered):
        furthest = np.partition(distances, count - 1, axis=1)[:, count - 1 : count]
    else:
        furthest = np.full((len(own), 1), np.inf)
    nearer, level = distances < furthest, (distances == furthest) & np.isfinite(distances)
    room = count - nearer.sum(axis=1, keepdims=True)
    chosen = nearer | (level & (np.cumsum(level, axis=1) <= room))
    sums, counts = np.where(chosen, offered, 0.0).sum(axis=1), chosen.sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _distances(own: Floats, pool: Floats) -> Floats:
    """Mean square difference over common columns, shape (n_rows, n_pool); infinite where there is none."""
    own_known, pool_known = (~np.isnan(own)).astype(np.float64), (~np.isnan(pool)).astype(np.float64)
    own, pool = np.nan_to_num(own), np.nan_to_num(pool)
    squares = (own**2) @ pool_known.T + own_known @ (pool**2).T - 2.0 * (own @ pool.T)
    common = own_known @ pool_known.T
    return np.where(common > 0, squares / np.maximum(common, 1.0), np.inf)

"""The cheap promotion-effect model: weekly sales of many cells regressed on promotion levers.

A cell is a segment and a category. A lever is what a promotion sets in a week, from 0 to 1: discount depth,
share of sales on display, share of sales in the mailer. An effect is the change of the cell's weekly sales,
as a share of their mean, when the lever goes from 0 to 1: *now* in the same week, *lagged* in the weeks after
(negative when customers stock up). All cells and all bootstrap resamples are solved at once.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CONSTANT = 1e-9  # a column whose spread is below this share of its size does not vary
_JITTER = 1e-9  # ridge on controls, relative to their variance: only keeps collinear controls solvable
_WORKING_BYTES = 64 * 2**20  # memory of one chunk of cells


def relative_sales(sales: Floats, weights: Floats | None = None) -> Floats:
    """Express weekly sales as the deviation from the cell's mean, y / mean(y) - 1.

    Args:
        sales: Weekly sales, shape (n_cells, n_weeks), any unit, not negative.
        weights: Week weights of the mean, shape (n_weeks,); weeks of weight 0 do not count. Default: all 1.

    Returns:
        Share of the mean, shape (n_cells, n_weeks); 0 throughout for a cell that sells nothing.

    Complexity: O(n_cells * n_weeks).

    >>> relative_sales(np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])).tolist()
    [[-0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    >>> relative_sales(np.array([[1.0, 2.0, 3.0]]), np.array([1.0, 0.0, 0.0])).tolist()
    [[0.0, 1.0, 2.0]]
    """
    mean = np.average(sales, axis=1, weights=weights)[:, None]
    return np.where(mean > 0, sales / np.where(mean > 0, mean, 1.0) - 1.0, 0.0)


def lagged_levers(levers: Floats, lags: int = 2) -> Floats:
    """Average each lever over the preceding weeks: the stock-piling regressor.

    A lever held at x for n weeks adds n * x to the sum of the lagged lever over all weeks, so that the lagged
    effect can be added to the effect now to give the total. A week with fewer than `lags` weeks before it
    uses those there are. The first week has none and takes its own value: nothing missing, and no later week
    is used.

    Args:
        levers: Lever settings, shape (n_cells, n_weeks, n_levers), 0 to 1.
        lags: How many preceding weeks to average, at least 1.

    Returns:
        Mean over the preceding weeks, same shape as `levers`.

    Complexity: O(n_cells * n_weeks * n_levers * lags).

    >>> lagged_levers(np.array([[[1.0], [0.0], [0.5], [0.0]]]), lags=2)[0, :, 0].tolist()
    [1.0, 1.0, 0.5, 0.25]
    """
    if lags < 1:
        raise ValueError(f"lags must be at least 1, got {lags}")
    n_weeks = levers.shape[1]
    total = np.zeros_like(levers)
    for lag in range(1, min(lags, n_weeks - 1) + 1):
        total[:, lag:] += levers[:, :-lag]
    before = np.clip(np.arange(n_weeks), 1, lags)[None, :, None]
    lagged: Floats = total / before
    lagged[:, 0] = levers[:, 0]
    return lagged


def fit_effects(
    sales: Floats, levers: Floats, controls: Floats, weights: Floats, *, ridge: float = 1e-3, lags: int = 2
) -> Floats:
    """Fit each cell's effects by weighted least squares, for all cells and all rows of weights at once.

    Regresses `relative_sales` on [1, levers, lagged levers, controls]. The penalty on a lever is
    `ridge` times its weighted variance, so that it does not depend on units; the intercept is never
    penalised. A lever that does not vary in a cell under a row of weights cannot be learnt there: its effect
    is exactly 0, which `shrinkage.bootstrap_variances` reads as infinite variance.

    Args:
        sales: Weekly sales, shape (n_cells, n_weeks), any unit, not negative.
        levers: Lever settings, shape (n_cells, n_weeks, n_levers), 0 to 1.
        controls: What else moves sales (trend, traffic), shape (n_cells or 1, n_weeks, n_controls).
        weights: Week weights, shape (n_boot, n_weeks), not negative; one row per resample, or a fold's mask.
        ridge: Penalty on levers relative to their variance.
        lags: Weeks that the lagged levers average over.

    Returns:
        Effects, shape (n_boot, n_cells, 2 * n_levers), share of mean weekly sales per unit of lever: first
        the effects now, then the lagged ones.

    Complexity: O(n_boot * n_cells * (n_weeks * p^2 + p^3)) time with p = 2 * n_levers + n_controls; cells go
    in chunks of 64 MiB of working memory (at least one cell) besides the result.
    Source: weighted least squares after partialling out the intercept (Frisch and Waugh 1933).

    >>> lever = np.array([0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    >>> sales = 10.0 + 7.5 * lever  # mean 92.5 / 7
    >>> panel = sales[None], lever[None, :, None], np.zeros((1, 7, 0)), np.ones((1, 7))
    >>> bool(np.allclose(fit_effects(*panel, ridge=0.0), [7.5 / (92.5 / 7), 0.0]))
    True
    """
    n_cells, n_levers = levers.shape[0], levers.shape[2]
    shared = np.broadcast_to(controls, (n_cells, *controls.shape[1:]))
    columns = np.concatenate([levers, lagged_levers(levers, lags), shared], axis=2)
    penalty = np.full(columns.shape[2], _JITTER)
    penalty[: 2 * n_levers] = max(ridge, _JITTER)
    share = weights / weights.sum(axis=1, keepdims=True)
    bytes_per_cell = 8 * 4 * (len(share) + share.shape[1]) * (columns.shape[2] + 1) ** 2
    step = max(1, _WORKING_BYTES // bytes_per_cell)
    chunks = [
        _solve_chunk(sales[start : start + step], columns[start : start + step], share, penalty)
        for start in range(0, n_cells, step)
    ]
    return np.concatenate(chunks, axis=1)[:, :, : 2 * n_levers]


def _solve_chunk(sales: Floats, columns: Floats, share: Floats, penalty: Floats) -> Floats:
    """Solve one chunk of cells; rows of `share` add up to 1. Returns shape (n_boot, n_chunk, n_columns)."""
    n_columns = columns.shape[2]
    spread = columns.std(axis=1)
    varies = spread > _CONSTANT * np.abs(columns).max(axis=1, initial=0.0)
    scale = np.where(varies, spread, 1.0)
    scaled = np.where(varies[:, None], (columns - columns.mean(axis=1, keepdims=True)) / scale[:, None], 0.0)
    target = relative_sales(sales) + (sales.sum(axis=1, keepdims=True) > 0)
    covariance, mean = _weighted_moments(np.concatenate([scaled, target[:, :, None]], axis=2), share)
    gram = covariance[..., :n_columns, :n_columns]
    variance = np.einsum("bcii->bci", gram)
    active = variance > _CONSTANT
    gram = np.where(active[..., :, None] & active[..., None, :], gram, 0.0)
    diagonal = np.where(active, variance * (1.0 + penalty), 1.0)
    np.einsum("bcii->bci", gram)[...] = diagonal
    response = np.where(active, covariance[..., :n_columns, n_columns], 0.0)
    level = mean[..., n_columns:]
    solution = np.linalg.solve(gram, response[..., None])[..., 0]
    return np.where(active & (level > 0), solution / np.where(level > 0, level, 1.0) / scale, 0.0)


def _weighted_moments(columns: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Weighted covariance and mean of columns, shapes (n_boot, n_cells, p, p) and (n_boot, n_cells, p)."""
    n_cells, n_weeks, size = columns.shape
    by_week = columns.transpose(1, 0, 2)
    products = (by_week[..., :, None] * by_week[..., None, :]).reshape(n_weeks, -1)
    second = (share @ products).reshape(-1, n_cells, size, size)
    mean = (share @ by_week.reshape(n_weeks, -1)).reshape(-1, n_cells, size)
    second -= mean[..., :, None] * mean[..., None, :]
    return second, mean

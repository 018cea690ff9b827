"""Did the draw do what it should? Sizes of arms against their shares, and covariates against chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from promo_spark.kernels.arm_effects import WEIGHT, Metric, compare_arms, measure_arms

Floats = NDArray[np.float64]


def sample_ratio_p(counts: Floats, shares: Floats) -> float:
    """Chance of sizes as far from the designed shares as these: Pearson's chi-square.

    Args:
        counts: Units in each arm, shape (n_arms,).
        shares: Designed, positive; brought to a sum of 1, shape (n_arms,).

    Returns:
        p-value; 1 where there are no units.

    Source: Fabijan et al. 2019, Diagnosing sample ratio mismatch.

    >>> round(sample_ratio_p(np.array([520.0, 480.0]), np.array([0.5, 0.5])), 3)  # (20^2 + 20^2) / 500 = 1.6
    0.206
    """
    if not counts.sum():
        return 1.0
    expected = counts.sum() * shares / shares.sum()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return float(stats.chi2.sf(statistic, len(counts) - 1))


def missing_rate_p(missing: Floats, counts: Floats) -> float:
    """Chance that the share of units without outcomes differs so much between arms: Pearson's chi-square.

    Args:
        missing: Units without outcomes, shape (n_arms,).
        counts: All units, positive, shape (n_arms,).

    Returns:
        p-value; 1 where none or all are missing.

    >>> round(missing_rate_p(np.array([10.0, 30.0]), np.array([100.0, 100.0])), 5)
    0.00041
    """
    rate = missing.sum() / counts.sum()
    if rate in (0.0, 1.0):
        return 1.0
    statistic = float(((missing - counts * rate) ** 2 / (counts * rate * (1 - rate))).sum())
    return float(stats.chi2.sf(statistic, len(counts) - 1))


def balance(products: Floats, covariates: tuple[int, ...], arm: int, control: int) -> tuple[Floats, float]:
    """How far an arm's covariates are from the control's, one by one and together.

    Args:
        products: As `measure_arms` takes them.
        covariates: Places of the covariates.
        arm: Place of the arm.
        control: Place of the control.

    Returns:
        Standardised mean differences, shape (n_covariates,), 0 where a covariate does not vary; and the smallest of
        their p-values times their number (Bonferroni), 1 where none varies.

    Source: Austin 2009 for the standardised difference, over the mean of both arms' variances.

    >>> one, other = np.array([[1.0, 1, 2], [1, 1, 4]]), np.array([[1.0, 1, 3], [1, 1, 5]])
    >>> gaps, p_value = balance(np.stack([one.T @ one, other.T @ other])[:, None], (2,), 1, 0)
    >>> gaps.round(3).tolist(), round(p_value, 3)  # 1 over sqrt(2)
    ([0.707], 0.553)
    """
    gaps, p_values = [], []
    whole = products.sum(axis=1)
    for place in covariates:
        found = compare_arms(measure_arms(products, Metric(place)), arm, control)
        counts, sums, squares = whole[:, 0, 0], whole[:, 0, place], whole[:, place, place]
        variances = np.maximum(squares / counts - (sums / counts) ** 2, 0.0) * counts / np.maximum(counts - 1.0, 1.0)
        deviation = float(np.sqrt((variances[arm] + variances[control]) / 2.0))
        weight = float(products[..., 0, WEIGHT].sum() / products[..., 0, 0].sum())
        varies = bool(np.isfinite(found.p_value))
        gaps.append(found.effect * weight / deviation if varies else 0.0)
        if varies:
            p_values.append(found.p_value)
    return np.array(gaps), min(1.0, min(p_values) * len(p_values)) if p_values else 1.0

"""What experiments of given sizes can find, from what units did before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.arm_effects import Metric, measure_arms
from promo_spark.kernels.sample_size import minimum_detectable_effect

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_MANY = 200  # degrees of freedom above which Student's quantiles are as good as normal


class Baseline(NamedTuple):
    """A metric before the experiment.

    Attributes:
        mean: Of the metric.
        variance: Of a unit's influence on it.
        adjusted: What strata and covariates leave of that.
        units: Customers, or clusters.
    """

    mean: float
    variance: float
    adjusted: float
    units: float


def measure_baseline(products: Floats, metric: Metric, covariates: tuple[int, ...]) -> Baseline | None:
    """Mean and variances of a metric where everybody is in one arm.

    Args:
        products: As `measure_arms` takes them, of one arm, shape (1, n_strata, q, q).
        metric: What is measured.
        covariates: Places of the covariates; left out where units are fewer than ten for each.

    Returns:
        The baseline; None of fewer than two units, or of what does not vary.

    >>> one = np.array([[1.0, 1, 2], [1, 1, 4]])
    >>> measure_baseline((one.T @ one)[None, None], Metric(2), ())
    Baseline(mean=3.0, variance=2.0, adjusted=2.0, units=2.0)
    """
    units = float(products[..., 0, 0].sum())
    if units <= 1:
        return None
    plain = measure_arms(products.sum(axis=1, keepdims=True), metric)
    usable = covariates if units > 10 * len(covariates) else ()
    adjusted = measure_arms(products, metric, usable)
    variance = float(plain.variances[0]) * units
    if not (np.isfinite(variance) and variance > 0):
        return None
    return Baseline(float(plain.values[0]), variance, float(adjusted.variances[0]) * units, units)


def power_curve(
    found: Baseline, sizes: Ints, shares: tuple[float, float], alpha: float = 0.05, power: float = 0.8
) -> Floats:
    """Smallest effects that are found with the wanted power, by number of units.

    Args:
        found: The baseline; its variances are those of either arm.
        sizes: Units in all arms together, shape (n_sizes,).
        shares: Of control and arm among them.
        alpha: Chance of finding a difference where there is none.
        power: Chance of finding the effect where it is there.

    Returns:
        Without and with adjustment, shape (2, n_sizes).

    >>> power_curve(Baseline(10.0, 4.0, 1.0, 400.0), np.array([400]), (0.5, 0.5)).round(3).tolist()
    [[0.56], [0.28]]
    """
    told = np.empty((2, len(sizes)))
    for row, variance in enumerate((found.variance, found.adjusted)):
        for place, size in enumerate(sizes.tolist()):
            units = size * shares[0], size * shares[1]
            freedom = float("inf") if sum(units) > _MANY else max(sum(units) - 2.0, 1.0)
            told[row, place] = minimum_detectable_effect((variance, variance), units, alpha, power, freedom)
    return told

"""What arms of an experiment change, from sums of products of its units.

A unit is a customer, or a cluster such as a store whose customers are given the same. A unit's row z holds a leading 1,
its weight (1, or the customers of the cluster), covariates of the time before, and outcomes. All else follows from the
sums of z z' per arm and stratum: means, ratios, regression adjustment and their errors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

WEIGHT = 1
"""Place of the weight in a unit's row; 0 is the leading 1."""
_SINGULAR = 1e-10
_CONSTANT = 1e-12
"""Variance over squared mean below which nothing varies."""


class Metric(NamedTuple):
    """A mean or a ratio of sums.

    Attributes:
        numerator: Place of it in a unit's row.
        denominator: The same; the weight for a mean per customer.
    """

    numerator: int
    denominator: int = WEIGHT


class ArmMeans(NamedTuple):
    """A metric in each arm, and what its differences vary with.

    Attributes:
        values: Of the metric, shape (n_arms,).
        variances: Sampling variance given the units' covariates and strata, shape (n_arms,).
        freedoms: Its degrees of freedom, shape (n_arms,).
        counts: Units, shape (n_arms,).
        slopes: On the covariates, shape (n_arms, n_covariates).
        spread: Covariance of the covariates over all units, shape (n_covariates, n_covariates).
        shifts: How far each stratum is from the arm's value, shape (n_arms, n_strata).
        shares: Of the strata among all units, shape (n_strata,).
    """

    values: Floats
    variances: Floats
    freedoms: Floats
    counts: Floats
    slopes: Floats
    spread: Floats
    shifts: Floats
    shares: Floats


class Difference(NamedTuple):
    """One arm against another.

    Attributes:
        effect: Difference of the metric.
        standard_error: Of it; NaN where nothing varies.
        freedom: Degrees of freedom (Satterthwaite).
        low: Lower end of the interval.
        high: Upper end.
        p_value: Two-sided, of no difference.
        relative: Effect over the control's value; NaN where that is 0.
        relative_low: Lower end of its interval, by the delta method.
        relative_high: Upper end.
    """

    effect: float
    standard_error: float
    freedom: float
    low: float
    high: float
    p_value: float
    relative: float
    relative_low: float
    relative_high: float


def measure_arms(products: Floats, metric: Metric, covariates: tuple[int, ...] = ()) -> ArmMeans:
    """A metric in each arm, post-stratified and adjusted for covariates.

    With w_s the share of stratum s and z_as the mean row of arm a in it, the arm's mean row is sum_s w_s z_as, its
    value R the ratio of numerator and denominator in it, and the influence of a unit psi = (numerator - R
    denominator) / mean denominator. Slopes b of psi on the covariates, within strata and per arm, give value = R -
    b' (arm's covariate means - everybody's), with variance sum_s w_s^2 var_s(psi - b'x) / n_as times (n - S) / (n - S -
    k) times 1 + leverage. Without strata and covariates a mean's variance is s^2 / n, which is HC2 of the regression on
    arms; with them it is that of the fully interacted regression to first order.

    Args:
        products: Sums of z z', shape (n_arms, n_strata, q, q); every arm has two units or more in every stratum.
        metric: What is measured.
        covariates: Places of the covariates in z; those that do not vary are left out of account.

    Returns:
        The arms, in their order.

    Complexity: O(n_arms n_strata q^2 + n_arms k^3). Source: Lin 2013; Miratrix, Sekhon and Yu 2013; ratios by the delta
    method (Deng, Knoblich and Lu 2018).

    >>> one = np.array([[1.0, 1, 2], [1, 1, 4]])
    >>> other = np.array([[1.0, 1, 5], [1, 1, 9]])
    >>> arms = measure_arms(np.stack([one.T @ one, other.T @ other])[:, None], Metric(2))
    >>> arms.values.tolist(), arms.variances.tolist()  # variances 2 and 8, halved
    ([3.0, 7.0], [1.0, 4.0])
    """
    counts = products[..., 0, 0]
    shares = counts.sum(axis=0) / counts.sum()
    means = products[..., 0, :] / counts[..., None]
    whole = np.einsum("s,asq->aq", shares, means)
    centred = products / counts[..., None, None] - means[..., :, None] * means[..., None, :]
    # What is left of a constant once its mean is taken off is noise of rounding.
    varies = np.einsum("asqq->asq", centred) > _CONSTANT * means**2
    centred = centred * varies[..., :, None] * varies[..., None, :]
    covariance = centred * (counts / (counts - 1))[..., None, None]
    below = whole[:, metric.denominator]
    values = np.divide(whole[:, metric.numerator], below, out=np.full(len(below), np.nan), where=below != 0)
    outcome = _influence(products.shape[-1], metric.numerator, metric.denominator, values, whole)
    everybody, places = products.sum(axis=(0, 1)), list(covariates)
    levels = everybody[0, places] / everybody[0, WEIGHT]
    inputs = _covariate_influences(places, whole)
    scales = shares**2 / counts
    slopes, residual = _adjust(outcome, inputs, covariance, scales)
    distance = whole[:, places] / whole[:, [WEIGHT]] - levels
    freedoms = counts.sum(axis=1) - counts.shape[1] - len(places)
    lost = (counts.sum(axis=1) - counts.shape[1]) / np.maximum(freedoms, 1.0)
    leverage = _leverage(inputs, covariance, scales, distance)
    return ArmMeans(
        values=values - (slopes * distance).sum(axis=1),
        variances=np.maximum(residual, 0.0) * lost * (1.0 + leverage),
        freedoms=np.maximum(freedoms, 1.0),
        counts=counts.sum(axis=1),
        slopes=slopes,
        spread=_spread(everybody, places, levels),
        shifts=np.einsum("aq,asq->as", outcome, means),
        shares=shares,
    )


def compare_arms(arms: ArmMeans, arm: int, control: int, level: float = 0.95) -> Difference:
    """Difference of an arm from the control, for units like these rather than these alone.

    Its variance is that of both arms, plus how effects differ with covariates and strata, over all units: units drawn
    anew would bring other covariates. Intervals and p-values are Student's, with Welch's degrees of freedom.

    Args:
        arms: What `measure_arms` returned.
        arm: Place of the arm.
        control: Place of the control.
        level: Of the intervals.

    Returns:
        The difference. Where nothing varies, or an arm is undefined, errors, interval and p-value are NaN.

    Source: Welch 1947; Negi and Wooldridge 2021, eq. 3.11.

    >>> nothing = np.zeros((2, 0))
    >>> two = np.array([4.0, 9.0]), np.array([9.0, 9.0]), np.array([10.0, 10.0])
    >>> arms = ArmMeans(np.array([10.0, 16.0]), *two, nothing, np.zeros((0, 0)), np.zeros((2, 1)), np.ones(1))
    >>> found = compare_arms(arms, 1, 0)
    >>> found.effect, round(found.standard_error, 3), round(found.freedom, 1), round(found.relative, 3)
    (6.0, 3.606, 15.7, 0.6)
    """
    pair = arms.variances[[arm, control]]
    turned = arms.slopes[arm] - arms.slopes[control]
    apart = arms.shifts[arm] - arms.shifts[control]
    varying = float((turned @ arms.spread @ turned + arms.shares @ apart**2) / arms.counts.sum())
    effect, base = float(arms.values[arm] - arms.values[control]), float(arms.values[control])
    variance = float(pair.sum() + varying)
    least = _CONSTANT * (float(arms.values[arm]) ** 2 + base**2) / float(arms.counts.sum())
    if not (np.isfinite(variance) and np.isfinite(effect) and variance > least):
        nan = float("nan")
        relative = effect / base if base else nan
        return Difference(effect, nan, nan, nan, nan, nan, relative, nan, nan)
    freedom = float(pair.sum() ** 2 / (pair**2 / arms.freedoms[[arm, control]]).sum())
    error = variance**0.5
    reach = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    p_value = float(2 * stats.t.sf(abs(effect) / error, freedom))
    relative, relative_error = _relative(arms, arm, control, varying)
    around = float(stats.t.ppf((1 + level) / 2, freedom)) * relative_error
    return Difference(
        *(effect, error, freedom, effect - reach, effect + reach, p_value),
        *(relative, relative - around, relative + around),
    )


def _influence(width: int, numerator: int, denominator: int, values: Floats, whole: Floats) -> Floats:
    """What multiplies z in each unit's influence on a ratio, shape (n_arms, q)."""
    factors = np.zeros((len(values), width))
    factors[:, numerator] += 1.0
    factors[:, denominator] -= values
    below = whole[:, [denominator]]
    scaled: Floats = np.divide(factors, below, out=np.full(factors.shape, np.nan), where=below != 0)
    return scaled


def _covariate_influences(places: list[int], whole: Floats) -> Floats:
    """The same for every covariate, shape (n_arms, q, k)."""
    factors = np.zeros((*whole.shape, len(places)))
    for number, place in enumerate(places):
        values = whole[:, place] / whole[:, WEIGHT]
        factors[..., number] = _influence(whole.shape[1], place, WEIGHT, values, whole)
    return factors


def _adjust(outcome: Floats, inputs: Floats, covariance: Floats, scales: Floats) -> tuple[Floats, Floats]:
    """Slopes on the covariates, shape (n_arms, k), and the variance that they leave, shape (n_arms,)."""
    spread = np.einsum("as,asqr->aqr", scales, covariance)
    own = np.einsum("aq,aqr,ar->a", outcome, spread, outcome)
    if not inputs.shape[-1]:
        return np.zeros((len(outcome), 0)), own
    shared = np.einsum("aqk,aqr,ar->ak", inputs, spread, outcome)
    among = np.einsum("aqk,aqr,arl->akl", inputs, spread, inputs)
    slopes = np.einsum("akl,al->ak", _inverse(among), shared)
    return slopes, np.asarray(own - (slopes * shared).sum(axis=1), dtype=np.float64)


def _leverage(inputs: Floats, covariance: Floats, scales: Floats, distance: Floats) -> Floats:
    if not inputs.shape[-1]:
        return np.zeros(len(inputs))
    spread = np.einsum("as,asqr->aqr", scales, covariance)
    among = np.einsum("aqk,aqr,arl->akl", inputs, spread, inputs)
    squared: Floats = np.einsum("ak,akl,al->a", distance, _inverse(among), distance)
    # `among` is the covariance of means: of single units it is n times as large, and the sum over units n^2 times.
    leverage: Floats = squared * scales.sum(axis=1)
    return leverage


def _inverse(matrices: Floats) -> Floats:
    """Inverses in which covariates that do not vary, or repeat others, take no part."""
    diagonal = np.sqrt(np.maximum(np.einsum("akk->ak", matrices), 0.0))
    scale = np.where(diagonal > 0, 1.0 / np.where(diagonal > 0, diagonal, 1.0), 0.0)
    correlation = matrices * scale[:, :, None] * scale[:, None, :]
    inverse = np.linalg.pinv(correlation, rcond=_SINGULAR, hermitian=True)
    return np.asarray(inverse * scale[:, :, None] * scale[:, None, :], dtype=np.float64)


def _spread(everybody: Floats, places: list[int], levels: Floats) -> Floats:
    """Covariance of the covariates' influences over all units."""
    count, width = everybody[0, 0], len(everybody)
    factors = np.zeros((len(places), width))
    factors[np.arange(len(places)), places] = 1.0
    factors[:, WEIGHT] -= levels
    factors /= everybody[0, WEIGHT] / count
    return np.asarray(factors @ (everybody / count) @ factors.T, dtype=np.float64)


def _relative(arms: ArmMeans, arm: int, control: int, varying: float) -> tuple[float, float]:
    """Effect over the control's value, and its standard error by the delta method."""
    value, base = float(arms.values[arm]), float(arms.values[control])
    if base == 0:
        return float("nan"), float("nan")
    variance = (arms.variances[arm] + varying) / base**2 + arms.variances[control] * value**2 / base**4
    return value / base - 1.0, float(variance) ** 0.5

"""Empirical-Bayes shrinkage: cells that say little about an effect lean on the cells that say more."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LEARNABLE = 0.8  # a lever used in one block of many is in 63-67 % of resamples, in two blocks in 86-92 %
_CENTRAL = 0.6826894921370859  # share of a normal distribution within one standard deviation of its mean


class ShrunkEffects(NamedTuple):
    """Effects after shrinkage.

    effects, variance (posterior) and weights (on the cell's own estimate, 0 to 1) have shape (n_cells,
    n_effects); pooled (the mean shrunk to), between_variance (of true effects across cells) and
    cautious_variance (the same plus one standard error, for intervals) have shape (n_effects,).
    """

    effects: Floats
    variance: Floats
    weights: Floats
    pooled: Floats
    between_variance: Floats
    cautious_variance: Floats


def bootstrap_variances(draws: Floats) -> Floats:
    """Estimate each effect's sampling variance from its draws; infinite where it cannot be learnt.

    `fit_effects` returns exactly 0 for a lever that does not vary in a resample. With fewer than 80 % of
    draws learnt, the lever was used in one block at most and blocks cannot tell its variance. Half the
    central 68 % range, squared, stands for the variance, because the few resamples with too few distinct
    weeks give wild draws.

    Args:
        draws: Effects per resample, shape (n_boot, n_cells, n_effects).

    Returns:
        Variance, shape (n_cells, n_effects).

    Complexity: O(draws.size * log n_boot).

    >>> draws = np.array([[[1.0, 0.0]], [[2.0, 0.0]], [[3.0, 5.0]]])
    >>> bootstrap_variances(draws).round(3).tolist()
    [[0.466, inf]]
    """
    learnt = draws != 0
    low, high = (1.0 - _CENTRAL) / 2.0, (1.0 + _CENTRAL) / 2.0
    known = learnt.mean(axis=0) >= _LEARNABLE
    variance = np.full(draws.shape[1:], np.inf)
    if known.any():
        lower, upper = np.nanquantile(np.where(learnt, draws, np.nan)[:, known], [low, high], axis=0)
        spread = (upper - lower) / 2.0
        variance[known] = np.where(spread > 0, spread**2, np.inf)
    return variance


def shrink_effects(estimates: Floats, variances: Floats) -> ShrunkEffects:
    """Shrink each effect towards its precision-weighted mean over cells, by the random-effects model.

    With v the sampling variance of an estimate b, Q = sum (b - mean)^2 / v and C = sum 1/v - sum 1/v^2 / sum
    1/v over the k cells with finite v, the between-cell variance is tau^2 = max(0, (Q - (k - 1)) / C). With w
    = tau^2 / (tau^2 + v), effect = w b + (1 - w) pooled, where pooled weighs cells by 1 / (tau^2 + v).
    Infinite v gives w = 0: the cell takes the pooled mean, as all do when tau^2 = 0. With one finite v that
    estimate is the pooled mean, and how cells differ is unknown: it is taken as 0. With no finite v effects
    are 0 and their variances infinite.

    The variance uses a cautious t = tau^2 + sqrt(2 / (k - 1)) max(Q, k - 1) / C, one
    standard error up: with w' = t / (t + v), variance = t (1 - w') + (1 - w')^2 / sum 1 / (t + v). An
    estimate of tau^2 of 0 does not mean that all cells are alike, and taking it so covers true effects too
    rarely.

    Args:
        estimates: Effects, shape (n_cells, n_effects).
        variances: Sampling variances, positive or infinite, same shape.

    Returns:
        Shrunk effects with their weights, pooled means and variances.

    Complexity: O(n_cells * n_effects). Source: DerSimonian and Laird 1986; Morris 1983 for the variance.

    >>> shrunk = shrink_effects(np.array([[0.0], [4.0], [9.0]]), np.array([[1.0], [1.0], [np.inf]]))
    >>> shrunk.between_variance.tolist(), shrunk.pooled.tolist()  # Q = 8, tau^2 = (8 - 1) / (2 - 2 / 2)
    ([7.0], [2.0])
    >>> shrunk.effects[:, 0].tolist()  # w = 7 / 8
    [0.25, 3.75, 2.0]
    """
    if not (variances > 0).all():
        raise ValueError("variances must be positive (infinite where an effect cannot be learnt)")
    finite = np.isfinite(variances)
    own = np.where(finite, estimates, 0.0)
    tau2, cautious = _between_variances(own, variances)
    weights = _own_weights(variances, tau2)
    share, _ = _pooling_shares(variances, tau2)
    pooled = (share * own).sum(axis=0)
    cautious_weights = _own_weights(variances, cautious)
    _, pooled_variance = _pooling_shares(variances, cautious)
    return ShrunkEffects(
        effects=weights * own + (1.0 - weights) * pooled,
        variance=cautious * (1.0 - cautious_weights) + (1.0 - cautious_weights) ** 2 * pooled_variance,
        weights=weights,
        pooled=pooled,
        between_variance=tau2,
        cautious_variance=cautious,
    )


def shrink_draws(draws: Floats, estimates: Floats, variances: Floats, shrunk: ShrunkEffects, seed: int = 0) -> Floats:
    """Turn draws of raw effects into draws of shrunk effects that spread as their posterior variance.

    draw = effect + sqrt(w') (raw draw - estimate) + (1 - w') (pooled draw - pooled), with the cautious w'.
    Multiplying raw draws by w alone would leave out how far the cell's true effect lies from the pooled one.
    A cell with infinite variance has no draws of its own and gets a normal deviation with the cautious
    between-cell variance. What cannot be learnt in any cell stays at 0. Measured on simulated panels (43
    weeks, 100 cells, true effects with a standard deviation of 0.2 or 0.5): `block_bootstrap.interval` of
    these draws at 95 % covered 96 to 99 % of true effects, 93 to 98 % without its correction for few blocks.

    Args:
        draws: Raw effects per resample, shape (n_boot, n_cells, n_effects).
        estimates: Raw effects on the unresampled weeks, shape (n_cells, n_effects).
        variances: As given to `shrink_effects`, same shape.
        shrunk: What `shrink_effects` returned.
        seed: Seed of the normal deviations.

    Returns:
        Draws around `shrunk.effects`, shape (n_boot, n_cells, n_effects).

    Complexity: O(draws.size).

    >>> estimates, variances = np.array([[1.0], [5.0]]), np.array([[1.0], [1.0]])
    >>> shrunk = shrink_effects(estimates, variances)  # t = 7 + sqrt(2) * 8 = 18.31, w' = 0.948
    >>> draws = np.array([[[1.0], [5.0]], [[1.0], [6.0]]])  # w = 7 / 8: effects 1.25 and 4.75
    >>> shrink_draws(draws, estimates, variances, shrunk).round(2)[:, :, 0].tolist()
    [[1.25, 4.75], [1.28, 5.75]]
    """
    own = np.isfinite(variances)
    share, _ = _pooling_shares(variances, shrunk.cautious_variance)
    weights = _own_weights(variances, shrunk.cautious_variance)
    deviation = np.where(own, draws - estimates, 0.0)
    pooled_deviation = (share * deviation).sum(axis=1, keepdims=True)
    normal = np.random.default_rng(seed).standard_normal(draws.shape)
    spread = np.where(own, np.sqrt(weights) * deviation, np.sqrt(shrunk.cautious_variance) * normal)
    result: Floats = shrunk.effects + spread + (1.0 - weights) * pooled_deviation
    return result


def _between_variances(own: Floats, variances: Floats) -> tuple[Floats, Floats]:
    """Between-cell variance of each effect, and one standard error more; 0 with fewer than two finite v."""
    precision = 1.0 / variances
    freedom = np.isfinite(variances).sum(axis=0) - 1.0
    total = precision.sum(axis=0)
    heterogeneity = (precision * (own - _ratio((precision * own).sum(axis=0), total)) ** 2).sum(axis=0)
    scale = np.where(freedom > 0, total - _ratio((precision**2).sum(axis=0), total), 0.0)
    tau2 = np.maximum(0.0, _ratio(heterogeneity - freedom, scale))
    error = np.sqrt(2.0 / np.maximum(freedom, 1.0)) * _ratio(np.maximum(heterogeneity, freedom), scale)
    return tau2, tau2 + error


def _own_weights(variances: Floats, between: Floats) -> Floats:
    """Weight of each cell's own estimate: between / (between + v), 0 for infinite v."""
    return between / (between + variances)


def _pooling_shares(variances: Floats, between: Floats) -> tuple[Floats, Floats]:
    """Share of each cell in the pooled mean, (n_cells, n_effects), and the mean's variance, (n_effects,)."""
    credence = 1.0 / (between + variances)
    total = credence.sum(axis=0)
    return _ratio(credence, total), np.where(total > 0, 1.0 / np.where(total > 0, total, 1.0), np.inf)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, with 0 where the denominator is 0."""
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), 0.0)

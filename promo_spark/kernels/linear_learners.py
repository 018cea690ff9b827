"""S-, T-, X-, R- and DR-learners with linear base learners, all from the same sums."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.effect_models import (
    ArmGroup,
    LinearUplift,
    fit_levels,
    fit_s_learner,
    fit_x_learner,
    level_penalties,
    predict_linear,
)
from promo_spark.kernels.gram_regression import Grams, choose_penalties, solve_each, solve_ridge
from promo_spark.kernels.uplift_folds import (
    Block,
    ScoreSums,
    fit_final_stage,
    fit_nuisances,
    gather_scores,
    penalty_ladder,
)

Floats = NDArray[np.float64]
Kind = Literal["s", "t", "x", "r", "dr"]

_PROPENSITY_LIMIT = 0.02


class Residuals(NamedTuple):
    """Sums of the R-learner, treated arms apart.

    Attributes:
        xx: Design by design, weighted, shape (n_folds judged, n_folds, n_treated, q, q).
        xy: Design by residual outcome, shape (n_folds judged, n_folds, n_treated, q, n_outcomes).
    """

    xx: Floats
    xy: Floats


class Nuisances(NamedTuple):
    """What the scores are made with; leading shape (n_folds judged, n_folds).

    Attributes:
        levels: Expected outcomes of the arms, shape (..., n_arms, n_outcomes, q).
        pooled: Expected outcomes of a treated arm and the control together, shape (..., n_treated, n_outcomes, q).
        chances: Of the treated arm among those two, shape (..., n_treated, q).
        prior: Uplift coefficients for residuals, shape (n_treated, n_outcomes, q).
    """

    levels: Floats
    pooled: Floats
    chances: Floats
    prior: Floats


class Evidence(NamedTuple):
    """Sums of all rows: the second pass's, then the third's."""

    grams: Grams
    scores: ScoreSums
    residuals: Residuals


class LinearFits(NamedTuple):
    """The model of all rows, and for each fold the one that has not seen it."""

    full: LinearUplift
    by_fold: tuple[LinearUplift, ...]


def prepare_nuisances(grams: Grams, ridge: float) -> Nuisances:
    """Fit all nuisances from the sums of the first look at the rows.

    Args:
        grams: Leading shape (n_folds, n_arms), control first.
        ridge: Least penalty, in rows.
    """
    n_folds, n_arms, size = grams.xx.shape[:3]
    pooled = np.zeros((n_folds, n_folds, n_arms - 1, grams.xy.shape[3], size))
    chances = np.zeros((n_folds, n_folds, n_arms - 1, size))
    for judged in range(n_folds):
        for own in range(n_folds):
            kept = [fold for fold in range(n_folds) if fold not in (judged, own)]
            xx, xy = (part[kept].sum(axis=0) for part in grams)
            pooled[judged, own] = solve_ridge(xx[:1] + xx[1:], xy[:1] + xy[1:], ridge).swapaxes(1, 2)
            # The design's first column is 1: its products with a treated arm's rows sum that arm's indicator.
            chances[judged, own] = solve_ridge(xx[:1] + xx[1:], xx[1:, :, :1], ridge)[..., 0]
    levels = _levels(grams, ridge)
    return Nuisances(fit_nuisances(grams, ridge), pooled, chances, levels[1:] - levels[:1])


def gather_evidence(
    block: Block, nuisances: Nuisances, groups: Sequence[ArmGroup], weights: Floats, kind: Kind
) -> tuple[ScoreSums, Residuals]:
    """The second look at a block of rows.

    Args:
        block: The rows.
        nuisances: Of ``prepare_nuisances``.
        groups: How the treated arms share strength.
        weights: Shares of the treated arms, shape (n_treated,).
        kind: The R-learner alone needs its residuals; they are 0 for the others.
    """
    scores = gather_scores(block, nuisances.levels, nuisances.prior, groups, weights)
    n_folds, _, n_treated, n_outcomes, size = nuisances.pooled.shape
    shape = (n_folds, n_folds, n_treated, size)
    sums = Residuals(np.zeros((*shape, size)), np.zeros((*shape, n_outcomes)))
    if kind != "r":
        return scores, sums
    for judged in range(n_folds):
        for own in np.unique(block.folds).tolist():
            for arm in range(n_treated):
                rows = (block.folds == own) & ((block.arms == 0) | (block.arms == arm + 1))
                design, given = block.design[rows], block.arms[rows] > 0
                chance = np.clip(design @ nuisances.chances[judged, own, arm], _PROPENSITY_LIMIT, 1 - _PROPENSITY_LIMIT)
                gap = (given - chance)[:, None]
                left = block.outcomes[rows] - predict_linear(nuisances.pooled[judged, own, arm], design)
                sums.xx[judged, own, arm] = (design * gap**2).T @ design
                sums.xy[judged, own, arm] = design.T @ (gap * left)
    return scores, sums


def fit_linear(kind: Kind, evidence: Evidence, groups: Sequence[ArmGroup], ridge: float) -> LinearFits:
    """Fit one learner on all rows, and once without each fold.

    Intervals of every kind are those of the DR-learner: for arms that were drawn at random they estimate the same
    line, and its scores are the most precise of them.

    Args:
        kind: Which learner.
        evidence: Sums of all rows.
        groups: How the treated arms share strength; only the S- and the DR-learner let them.
        ridge: Least penalty, in rows.

    Source: Künzel et al. 2019 (S, T, X); Nie and Wager 2021 (R); Kennedy 2023 (DR).
    """
    n_folds = len(evidence.grams.xx)
    folds = np.arange(n_folds)
    full = _fit(kind, evidence, groups, ridge, judged=None)
    robust = full if kind == "dr" else _fit("dr", evidence, groups, ridge, judged=None)
    by_fold = tuple(_fit(kind, evidence, groups, ridge, judged=int(fold)) for fold in folds)
    return LinearFits(LinearUplift(full.coefficients, robust.covariances), by_fold)


def _fit(
    kind: Kind, evidence: Evidence, groups: Sequence[ArmGroup], ridge: float, *, judged: int | None
) -> LinearUplift:
    kept = [fold for fold in range(len(evidence.grams.xx)) if fold != judged]
    grams = Grams(*(part[kept] for part in evidence.grams))
    none = np.zeros((0, 0, 0, 0))
    if kind == "s":
        return LinearUplift(fit_s_learner(grams, groups, penalty_ladder(ridge)), none)
    if kind in ("t", "x"):
        penalties = level_penalties(grams, penalty_ladder(ridge))
        total = Grams(*(part.sum(axis=0) for part in grams))
        levels = fit_levels(total, penalties)
        return LinearUplift(fit_x_learner(total, levels, penalties) if kind == "x" else levels[1:] - levels[:1], none)
    # Scores that serve a judged fold have not seen it; without one, each fold's are plainly cross-fitted.
    seen_by = kept if judged is None else [judged] * len(kept)
    if kind == "r":
        xx, xy = (part[seen_by, kept] for part in evidence.residuals)
        return LinearUplift(_fit_r(xx, xy, ridge), none)
    return fit_final_stage(
        grams.xx.sum(axis=1),
        evidence.scores.xs[seen_by, kept],
        groups,
        arm_weights(evidence.grams),
        ridge=ridge,
        meats=evidence.scores.meats if judged is None else None,
    )


def arm_weights(grams: Grams) -> Floats:
    """Shares of the treated arms among all rows, shape (n_treated,).

    >>> arm_weights(Grams(np.array([[[[1.0]], [[3.0]]]]), np.zeros((1, 2, 1, 1)))).tolist()
    [0.75]
    """
    counts = grams.counts.sum(axis=0)
    shares: Floats = counts[1:] / counts.sum()
    return shares


def _levels(grams: Grams, ridge: float) -> Floats:
    penalties = level_penalties(grams, penalty_ladder(ridge))
    return fit_levels(Grams(*(part.sum(axis=0) for part in grams)), penalties)


def _fit_r(xx: Floats, xy: Floats, ridge: float) -> Floats:
    """Uplift coefficients from the folds' residual sums, shape (n_treated, n_outcomes, q)."""
    told = []
    for arm in range(xx.shape[1]):
        # The weights (w - e)^2 are at most about a quarter: the ladder starts as much lower.
        tried = [step / 4 for step in penalty_ladder(ridge)]
        penalties = choose_penalties(xx[:, arm], xy[:, arm], tried)
        told.append(solve_each(xx[:, arm].sum(axis=0), xy[:, arm].sum(axis=0), penalties).T)
    return np.stack(told)

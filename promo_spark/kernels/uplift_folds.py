"""Cross-fitting without refitting: every fold's nuisances, scores and linear uplift from sums that folds subtract.

What judges a fold has not seen it: a score of a row in fold j that serves a model for fold k comes from nuisances
fitted without j and without k (k = j is plain cross-fitting).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.doubly_robust import cluster_sums, doubly_robust_values
from promo_spark.kernels.effect_models import (
    ArmGroup,
    LinearUplift,
    fit_levels,
    level_penalties,
    predict_linear,
)
from promo_spark.kernels.gram_regression import Grams, choose_penalties, solve_each

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PENALTY_STEPS = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e7)


class Block(NamedTuple):
    """Decisions side by side; those of one customer are adjacent.

    Attributes:
        design: Shape (n_rows, q).
        outcomes: Shape (n_rows, n_outcomes).
        arms: Assigned arm, 0 the control, shape (n_rows,).
        folds: Fold of the customer, shape (n_rows,).
        propensities: P(assigned arm), shape (n_rows,).
        clusters: Customer, shape (n_rows,).
        parts: Hash part of the customer, from 0, that errors of any figure are taken over, shape (n_rows,).
    """

    design: Floats
    outcomes: Floats
    arms: Ints
    folds: Ints
    propensities: Floats
    clusters: Ints
    parts: Ints = np.zeros(0, dtype=np.int64)


class ScoreSums(NamedTuple):
    """What the final stage of the DR-learner needs.

    Attributes:
        xs: Design by score, shape (n_folds judged, n_folds, n_treated, q, n_outcomes).
        ss: Squared scores of plain cross-fitting, shape (n_folds, n_treated, n_outcomes).
        meats: Customers' score products, shape (n_groups, n_outcomes, terms * q, terms * q), padded with 0.
    """

    xs: Floats
    ss: Floats
    meats: Floats


def penalty_ladder(least: float) -> tuple[float, ...]:
    """Penalties that are tried, from the least on.

    >>> penalty_ladder(2.0)[:2]
    (2.0, 20.0)
    """
    return tuple(max(least, 1e-6) * step for step in _PENALTY_STEPS)


def fit_nuisances(grams: Grams, ridge: float) -> Floats:
    """Expected outcomes of the arms for every pair of a judged and an own fold.

    Args:
        grams: Leading shape (n_folds, n_arms).
        ridge: Least penalty.

    Returns:
        Shape (n_folds judged, n_folds own, n_arms, n_outcomes, q): fitted without both folds. With two folds the
        pairs of different ones have no rows left, and are 0.

    Complexity: O(n_folds^2 * n_arms * q^3), whatever the rows.

    >>> grams = Grams(np.full((3, 1, 1, 1), 1.0), np.arange(3.0).reshape(3, 1, 1, 1))
    >>> fit_nuisances(grams, 0.0)[0, 1].round(3).tolist()
    [[[2.0]]]
    """
    n_folds, n_arms, size, n_outcomes = (*grams.xx.shape[:3], grams.xy.shape[3])
    told = np.zeros((n_folds, n_folds, n_arms, n_outcomes, size))
    for judged in range(n_folds):
        rest = Grams(*(np.delete(part, judged, axis=0) for part in grams))
        penalties = level_penalties(rest, penalty_ladder(ridge))
        for own in range(n_folds):
            kept = [fold for fold in range(n_folds) if fold not in (judged, own)]
            told[judged, own] = fit_levels(Grams(*(part[kept].sum(axis=0) for part in grams)), penalties)
    return told


def score_rows(block: Block, nuisances: Floats) -> Floats:
    """Doubly robust scores of each treated arm against the control, shape (n_rows, n_treated, n_outcomes).

    Args:
        block: The rows.
        nuisances: Of each own fold, shape (n_folds, n_arms, n_outcomes, q).

    >>> block = Block(np.ones((1, 1)), np.ones((1, 1)), np.array([1]), np.array([0]), np.array([0.5]), np.array([0]))
    >>> score_rows(block, np.zeros((1, 2, 1, 1))).ravel().tolist()
    [2.0]
    """
    values = arm_values(block, nuisances)
    return values[:, 1:] - values[:, :1]


def arm_values(block: Block, nuisances: Floats) -> Floats:
    """Doubly robust values of each arm, shape (n_rows, n_arms, n_outcomes); arguments as ``score_rows``."""
    expected = np.empty((len(block.arms), *nuisances.shape[1:3]))
    for fold in np.unique(block.folds).tolist():
        rows = block.folds == fold
        expected[rows] = predict_linear(nuisances[fold], block.design[rows])
    return doubly_robust_values(block.outcomes, block.arms, block.propensities, expected)


def gather_scores(
    block: Block, nuisances: Floats, prior: Floats, groups: Sequence[ArmGroup], weights: Floats
) -> ScoreSums:
    """Sums that the final stage and its errors need, in one look at the rows.

    Args:
        block: The rows.
        nuisances: Of ``fit_nuisances``.
        prior: Uplift coefficients from which residuals are taken, shape (n_treated, n_outcomes, q). The difference to
            those that will be fitted is of smaller order than the noise.
        groups: How the treated arms share strength.
        weights: Of the treated arms in the final stage, shape (n_treated,).

    Complexity: O(n_rows * q * n_treated * n_outcomes * (n_folds + q)).
    """
    n_folds, _, n_arms, n_outcomes, size = nuisances.shape
    terms = max(group.basis.shape[1] for group in groups)
    xs = np.zeros((n_folds, n_folds, n_arms - 1, size, n_outcomes))
    ss = np.zeros((n_folds, n_arms - 1, n_outcomes))
    meats = np.zeros((len(groups), n_outcomes, terms * size, terms * size))
    for judged in range(n_folds):
        scores = score_rows(block, nuisances[judged])
        for own in np.unique(block.folds).tolist():
            rows = block.folds == own
            xs[judged, own] = np.einsum("nq,nam->aqm", block.design[rows], scores[rows], optimize=True)
            if judged == own:
                ss[own] = (scores[rows] ** 2).sum(axis=0)
    own_scores = score_rows(block, np.stack([nuisances[fold, fold] for fold in range(n_folds)]))
    residuals = (own_scores - predict_linear(prior, block.design)) * weights[:, None]
    for place, group in enumerate(groups):
        shared = np.einsum("nam,ac->nmc", residuals[:, list(group.arms)], group.basis)
        for outcome in range(n_outcomes):
            products = (shared[:, outcome, :, None] * block.design[:, None, :]).reshape(len(block.arms), -1)
            sums = cluster_sums(products, block.clusters)
            width = sums.shape[1]
            meats[place, outcome, :width, :width] = sums.T @ sums
    return ScoreSums(xs, ss, meats)


def fit_final_stage(
    xx: Floats,
    xs: Floats,
    groups: Sequence[ArmGroup],
    weights: Floats,
    *,
    ridge: float,
    meats: Floats | None = None,
) -> LinearUplift:
    """Regress the scores on the covariates, arms of a group together.

    Each outcome takes the penalty with the least doubly robust loss over the folds given. It pulls the uplift of
    customers towards the mean uplift, which is never penalised. Errors are those of the least penalty: what a larger
    one saves in variance pays for its bias, on average over customers.

    Args:
        xx: Design by design, shape (n_folds, q, q).
        xs: Design by score, shape (n_folds, n_treated, q, n_outcomes).
        groups: How the treated arms share strength.
        weights: Of the treated arms, shape (n_treated,).
        ridge: Least penalty, in rows.
        meats: Of ``gather_scores``; none: no covariances.

    Source: Kennedy 2023, linear final stage; sandwich of Liang and Zeger 1986.
    """
    n_treated, size, n_outcomes = xs.shape[1:]
    coefficients = np.zeros((n_treated, n_outcomes, size))
    covariances = np.zeros((n_treated, n_outcomes, size, size) if meats is not None else (0, 0, 0, 0))
    for place, group in enumerate(groups):
        arms, terms = list(group.arms), group.basis.shape[1]
        inner = (group.basis * weights[arms, None]).T @ group.basis
        width = terms * size
        own_xx = np.einsum("bc,fqr->fbqcr", inner, xx).reshape(len(xx), width, width)
        weighted = group.basis * weights[arms, None]
        own_xs = np.einsum("ac,faqm->fcqm", weighted, xs[:, arms]).reshape(len(xs), width, n_outcomes)
        free = tuple(range(0, width, size))
        scale = float(weights[arms].mean())
        penalties = choose_penalties(own_xx, own_xs, [scale * step for step in penalty_ladder(ridge)], free)
        told = solve_each(own_xx.sum(axis=0), own_xs.sum(axis=0), penalties, free).reshape(terms, size, n_outcomes)
        coefficients[arms] = np.einsum("ac,cqm->amq", group.basis, told)
        if meats is not None:
            least = np.full(width, scale * ridge)
            least[list(free)] = 0.0
            bread = solve_each(own_xx.sum(axis=0) + np.diag(least), np.eye(width), np.zeros(width))
            for outcome in range(n_outcomes):
                spread = (bread @ meats[place, outcome, :width, :width] @ bread).reshape(terms, size, terms, size)
                covariances[arms, outcome] = np.einsum("ab,ac,bqcr->aqr", group.basis, group.basis, spread)
    return LinearUplift(coefficients, covariances)

"""Uplift by boosted trees: sums of weighted ensembles, and what they are fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.boosted_trees import Trees, add_trees
from promo_spark.kernels.doubly_robust import cluster_sums
from promo_spark.kernels.effect_models import predict_linear
from promo_spark.kernels.linear_learners import Kind, Nuisances
from promo_spark.kernels.tree_shapley import shapley_values
from promo_spark.kernels.uplift_folds import Block, score_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PROPENSITY_LIMIT = 0.02


class TreePart(NamedTuple):
    """One ensemble's part in the uplift of one treated arm and outcome.

    Attributes:
        arm: Place among the treated arms.
        outcome: Place among the outcomes.
        weight: What its sum is multiplied by.
        extras: Features appended to the covariates, such as the arm's indicators, shape (n_extras,).
        trees: The ensemble.
    """

    arm: int
    outcome: int
    weight: float
    extras: Floats
    trees: Trees


class TreeUplift(NamedTuple):
    """Uplift as a sum of ensembles.

    Attributes:
        parts: The ensembles.
        n_treated: Treated arms.
        n_outcomes: Outcomes.
    """

    parts: tuple[TreePart, ...]
    n_treated: int
    n_outcomes: int

    def uplift(self, design: Floats) -> Floats:
        """Uplift of each row, treated arm and outcome, shape (n_rows, n_treated, n_outcomes)."""
        told = np.zeros((len(design), self.n_treated, self.n_outcomes))
        for part in self.parts:
            extras = np.broadcast_to(part.extras, (len(design), len(part.extras)))
            rows = np.concatenate([design[:, 1:], extras], axis=1).astype(np.float32)
            told[:, part.arm, part.outcome] += part.weight * add_trees(part.trees, rows)
        return told

    def contributions(self, design: Floats, baseline: Floats, outcome: int) -> Floats:
        """Shapley values of an outcome's uplift, summed over the arms held, beside one other customer.

        Args:
            design: Shape (n_rows, q).
            baseline: Design of the other customer, shape (q,).
            outcome: Place among the outcomes.

        Returns:
            Per column of the design but the first, the constant: shape (n_rows, q - 1).
        """
        told = np.zeros((len(design), design.shape[1] - 1))
        for part in self.parts:
            if part.outcome != outcome:
                continue
            extras = np.broadcast_to(part.extras, (len(design), len(part.extras)))
            rows = np.concatenate([design[:, 1:], extras], axis=1).astype(np.float32)
            other = np.concatenate([baseline[1:], part.extras]).astype(np.float32)
            told += part.weight * shapley_values(part.trees, rows, other)[:, : told.shape[1]]
        return told

    @classmethod
    def mean_of(cls, models: Sequence[TreeUplift]) -> TreeUplift:
        """The mean of several models: that of the folds' serves customers that none of them has seen.

        >>> TreeUplift.mean_of([TreeUplift((), 1, 2)]).uplift(np.ones((1, 1))).ravel().tolist()
        [0.0, 0.0]
        """
        parts = [part._replace(weight=part.weight / len(models)) for model in models for part in model.parts]
        return cls(tuple(parts), models[0].n_treated, models[0].n_outcomes)


class GroupIntervals(NamedTuple):
    """Mean scores of customers whose predicted uplift is alike.

    Attributes:
        cuts: Ascending bounds of the groups, shape (n_treated, n_outcomes, n_groups - 1).
        means: Shape (n_treated, n_outcomes, n_groups).
        errors: Cluster-robust standard errors of the means, same shape.
    """

    cuts: Floats
    means: Floats
    errors: Floats

    def bounds(self, uplift: Floats, arm: int, half_width: float) -> tuple[Floats, Floats]:
        """Low and high of each prediction of an arm: its group's interval, stretched to hold the prediction.

        Args:
            uplift: Shape (n_rows, n_outcomes).
            arm: Place among the treated arms.
            half_width: In standard errors.
        """
        low, high = np.empty_like(uplift), np.empty_like(uplift)
        for outcome in range(uplift.shape[1]):
            group = np.searchsorted(self.cuts[arm, outcome], uplift[:, outcome], side="right")
            middle, reach = self.means[arm, outcome, group], half_width * self.errors[arm, outcome, group]
            low[:, outcome] = np.minimum(uplift[:, outcome], middle - reach)
            high[:, outcome] = np.maximum(uplift[:, outcome], middle + reach)
        return low, high


def gather_groups(scores: Floats, uplift: Floats, cuts: Floats, clusters: Ints) -> Floats:
    """Moments of the scores of each group of predicted uplift.

    Args:
        scores: Doubly robust scores, shape (n_rows, n_treated, n_outcomes).
        uplift: Predictions of models that have not seen the rows, same shape.
        cuts: Of ``GroupIntervals``.
        clusters: Customers, equal ones side by side, shape (n_rows,).

    Returns:
        Over customers, with n their rows in the group and s the sum of their scores there: sums of n, s, s s, s n
        and n n, shape (5, n_treated, n_outcomes, n_groups).

    >>> one = np.array([[[2.0]], [[4.0]]])
    >>> gather_groups(one, one, np.array([[[3.0]]]), np.array([0, 1]))[:3, 0, 0].tolist()
    [[1.0, 1.0], [2.0, 4.0], [4.0, 16.0]]
    """
    n_treated, n_outcomes, n_cuts = cuts.shape
    sums = np.zeros((5, n_treated, n_outcomes, n_cuts + 1))
    for arm in range(n_treated):
        for outcome in range(n_outcomes):
            groups = np.searchsorted(cuts[arm, outcome], uplift[:, arm, outcome], side="right")
            is_in = (groups[:, None] == np.arange(n_cuts + 1)).astype(np.float64)
            count = cluster_sums(is_in, clusters)
            total = cluster_sums(is_in * scores[:, arm, outcome, None], clusters)
            products = (count, total, total**2, total * count, count**2)
            sums[:, arm, outcome] = [part.sum(axis=0) for part in products]
    return sums


def group_intervals(sums: Floats, cuts: Floats) -> GroupIntervals:
    """Means and errors of the groups from the sums of ``gather_groups``; an empty group has mean and error 0.

    >>> sums = np.array([2.0, 6.0, 20.0, 6.0, 2.0]).reshape(5, 1, 1, 1)
    >>> own = group_intervals(sums, np.empty((1, 1, 0)))
    >>> own.means.item(), round(own.errors.item(), 6)
    (3.0, 0.707107)
    """
    count = np.maximum(sums[0], 1.0)
    means = sums[1] / count
    squares = sums[2] - 2 * means * sums[3] + means**2 * sums[4]
    return GroupIntervals(cuts, means, np.sqrt(np.maximum(squares, 0.0)) / count)


def tree_targets(kind: Kind, block: Block, nuisances: Nuisances) -> tuple[Floats, Floats]:
    """What the final trees are fitted to, for every judged fold.

    Args:
        kind: DR: doubly robust scores. R: residual outcome over residual treatment, weighted by the square of the
            latter. X: outcome less the control's level, or the treated level less the outcome.
        block: The rows.
        nuisances: Linear and cross-fitted.

    Returns:
        Targets, shape (n_rows, n_folds judged, n_treated, n_outcomes), and weights, shape (n_rows, n_folds, n_treated);
        a weight of 0 means that the row tells nothing of the arm.
    """
    n_folds, _, n_treated, n_outcomes, _ = nuisances.pooled.shape
    targets = np.zeros((len(block.arms), n_folds, n_treated, n_outcomes))
    arms = np.arange(1, n_treated + 1)
    in_pair = (block.arms[:, None] == arms) | (block.arms[:, None] == 0)
    weights = np.repeat(np.where(kind == "dr", True, in_pair)[:, None].astype(np.float64), n_folds, axis=1)
    for judged in range(n_folds):
        if kind == "dr":
            targets[:, judged] = score_rows(block, nuisances.levels[judged])
            continue
        for own in np.unique(block.folds).tolist():
            rows = block.folds == own
            design, outcomes = block.design[rows], block.outcomes[rows][:, None]
            given = block.arms[rows][:, None] == arms
            if kind == "x":
                levels = predict_linear(nuisances.levels[judged, own], design)
                targets[rows, judged] = np.where(given[..., None], outcomes - levels[:, :1], levels[:, 1:] - outcomes)
                continue
            chance = np.clip(
                predict_linear(nuisances.chances[judged, own], design), _PROPENSITY_LIMIT, 1 - _PROPENSITY_LIMIT
            )
            gap = given - chance
            targets[rows, judged] = (outcomes - predict_linear(nuisances.pooled[judged, own], design)) / gap[..., None]
            weights[rows, judged] *= gap**2
    return targets, weights

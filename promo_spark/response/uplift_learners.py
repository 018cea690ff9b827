"""Fit a learner of uplift on prepared rows: once on all of them, once without each fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np

from promo_spark.kernels.effect_models import ArmGroup, LinearUplift, effect_basis, group_arms
from promo_spark.kernels.gram_regression import Floats, Grams, gather_grams
from promo_spark.kernels.linear_learners import (
    Evidence,
    Kind,
    Nuisances,
    Residuals,
    arm_weights,
    fit_linear,
    gather_evidence,
    prepare_nuisances,
)
from promo_spark.kernels.tree_uplift import TreeUplift
from promo_spark.kernels.uplift_folds import Block, ScoreSums
from promo_spark.response.uplift_blocks import Gather, sum_blocks
from promo_spark.response.uplift_rows import UpliftRows
from promo_spark.response.uplift_trees import fit_trees

Uplift = LinearUplift | TreeUplift
BASES = ("linear", "gbt", "xgboost")


@dataclass(frozen=True)
class Learnt:
    """A fitted learner.

    Attributes:
        learner: Its name.
        full: The model of all rows.
        by_fold: For each fold, the model that has not seen it.
        levels: What each arm's outcomes are expected to be, for each fold by the others, shape
            (n_folds, n_arms, n_outcomes, q); doubly robust values are made with it.
        mean_design: Mean row of the design, shape (q,).
    """

    learner: str
    full: Uplift
    by_fold: tuple[Uplift, ...]
    levels: Floats
    mean_design: Floats


@dataclass(frozen=True)
class Prepared:
    """What one pass over the rows gives, whatever the learner."""

    rows: UpliftRows
    grams: Grams
    nuisances: Nuisances
    groups: tuple[ArmGroup, ...]
    ridge: float

    @property
    def own_levels(self) -> Floats:
        """For each fold the levels by the other folds, shape (n_folds, n_arms, n_outcomes, q)."""
        return np.stack([self.nuisances.levels[fold, fold] for fold in range(self.rows.folds)])


def parse_learner(learner: str) -> tuple[Kind, str]:
    """Take a learner's name apart.

    Raises:
        ValueError: There is no such learner.

    >>> parse_learner("dr_linear")
    ('dr', 'linear')
    """
    kind, _, base = learner.partition("_")
    if kind not in get_args(Kind) or base not in BASES:
        known = ", ".join(f"{kind}_{base}" for kind in get_args(Kind) for base in BASES)
        raise ValueError(f"no uplift learner is called {learner}; known are {known}")
    return cast("Kind", kind), base


def prepare_learning(*, rows: UpliftRows, ridge: float, depths: Mapping[str, float] | None) -> Prepared:
    """Gather what every learner starts from.

    Args:
        rows: The decisions.
        ridge: Least penalty, in rows.
        depths: Discount depth of ordered arms.
    """
    n_arms = len(rows.arms)
    xx, xy = sum_blocks(
        frame=rows.frame, standardiser=rows.standardiser, gather=_gram_gatherer(n_arms, rows.folds * n_arms)
    )
    shape = (rows.folds, n_arms)
    grams = Grams(xx.reshape(*shape, *xx.shape[1:]), xy.reshape(*shape, *xy.shape[1:]))
    return Prepared(rows, grams, prepare_nuisances(grams, ridge), group_arms(rows.arms[1:], depths), ridge)


def learn_uplift(*, prepared: Prepared, learner: str, seed: int = 0) -> Learnt:
    """Fit one learner.

    Args:
        prepared: Of ``prepare_learning``.
        learner: Such as dr_linear: s, t, x, r or dr, and linear, gbt or xgboost.
        seed: Of trees.

    Raises:
        ValueError: There is no such learner, or xgboost is not installed.
    """
    kind, base = parse_learner(learner)
    xx = prepared.grams.xx.sum(axis=(0, 1))
    mean_design = xx[0] / xx[0, 0]
    if base != "linear":
        by_fold = fit_trees(
            rows=prepared.rows,
            nuisances=prepared.nuisances,
            kind=kind,
            base=base,
            effect_basis=effect_basis(prepared.groups),
            seed=seed,
        )
        return Learnt(learner, TreeUplift.mean_of(by_fold), by_fold, prepared.own_levels, mean_design)
    evidence = _gather(prepared, kind)
    fits = fit_linear(kind, evidence, prepared.groups, prepared.ridge)
    return Learnt(learner, fits.full, fits.by_fold, prepared.own_levels, mean_design)


def _gather(prepared: Prepared, kind: Kind) -> Evidence:
    rows = prepared.rows
    sums = sum_blocks(
        frame=rows.frame,
        standardiser=rows.standardiser,
        gather=_evidence_gatherer(prepared.nuisances, prepared.groups, arm_weights(prepared.grams), kind),
    )
    return Evidence(prepared.grams, ScoreSums(*sums[:3]), Residuals(*sums[3:]))


# Made at the top level, so that what is sent to workers holds only these arrays.
def _gram_gatherer(n_arms: int, n_groups: int) -> Gather:
    def gather(block: Block) -> Sequence[Floats]:
        return gather_grams(block.design, block.outcomes, block.folds * n_arms + block.arms, n_groups)

    return gather


def _evidence_gatherer(nuisances: Nuisances, groups: Sequence[ArmGroup], weights: Floats, kind: Kind) -> Gather:
    def gather(block: Block) -> Sequence[Floats]:
        scores, residuals = gather_evidence(block, nuisances, groups, weights, kind)
        return (*scores, *residuals)

    return gather

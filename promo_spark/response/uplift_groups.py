"""What doubly robust scores say of groups of customers: of alike predictions, and of segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from promo_spark.kernels.gram_regression import Floats
from promo_spark.kernels.tree_uplift import GroupIntervals, gather_groups, group_intervals
from promo_spark.kernels.uplift_folds import Block, score_rows
from promo_spark.response.uplift_blocks import Gather, sum_blocks
from promo_spark.response.uplift_learners import Learnt, Uplift
from promo_spark.response.uplift_rows import UpliftRows

_GROUPS = 10


def fit_groups(*, rows: UpliftRows, learnt: Learnt) -> GroupIntervals:
    """Mean scores of tenths of customers by predicted uplift, each prediction by a model that has not seen them.

    Args:
        rows: The decisions.
        learnt: A fitted learner.
    """
    sample = out_of_fold(rows.standardiser.design(rows.sample), rows.sample_folds, learnt.by_fold)
    cuts = np.quantile(sample, np.arange(1, _GROUPS) / _GROUPS, axis=0)
    cuts = np.ascontiguousarray(np.moveaxis(cuts, 0, 2))
    (sums,) = sum_blocks(
        frame=rows.frame, standardiser=rows.standardiser, gather=_group_gatherer(learnt.levels, learnt.by_fold, cuts)
    )
    return group_intervals(sums, cuts)


def out_of_fold(design: Floats, folds: np.ndarray, by_fold: Sequence[Uplift]) -> Floats:
    """Uplift of each row by the model that has not seen its fold, shape (n_rows, n_treated, n_outcomes)."""
    first = by_fold[0].uplift(design[:0])
    told = np.zeros((len(design), *first.shape[1:]))
    for fold in np.unique(folds).tolist():
        rows = folds == fold
        told[rows] = by_fold[fold].uplift(design[rows])
    return told


def _group_gatherer(levels: Floats, by_fold: Sequence[Uplift], cuts: Floats) -> Gather:
    def gather(block: Block) -> Sequence[Floats]:
        told = out_of_fold(block.design, block.folds, by_fold)
        return (gather_groups(score_rows(block, levels), told, cuts, block.clusters),)

    return gather

"""Choose the learner of uplift by what it says of customers whom it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from promo_spark.kernels.gram_regression import Floats
from promo_spark.kernels.uplift_folds import Block, score_rows
from promo_spark.kernels.uplift_judgement import LOSS, Judgement, curve_figures, gather_judgement, tally_figures
from promo_spark.response.uplift_blocks import Gather, sum_blocks
from promo_spark.response.uplift_groups import out_of_fold
from promo_spark.response.uplift_learners import Learnt, Prepared, Uplift, learn_uplift
from promo_spark.response.uplift_rows import PARTS, UpliftRows

ALL_ARMS = "all"
_BINS = 200


@dataclass(frozen=True)
class LearnerFigure:
    """One figure of one learner.

    Attributes:
        learner: Its name.
        outcome: What it predicts the uplift of.
        arm: Against the control; ``all`` for figures over all arms.
        metric: qini, auuc, uplift_at_10, uplift_at_20, uplift_at_30; dr_loss (the lower the better, 0 for saying that
            nothing has an effect) and policy_value (mean outcome gained by giving each customer the arm of the most
            uplift) over all arms.
        value: The figure out of fold.
        standard_error: Over customers.
    """

    learner: str
    outcome: str
    arm: str
    metric: str
    value: float
    standard_error: float


@dataclass(frozen=True)
class LearnerChoice:
    """Figures of every learner, and the one with the least doubly robust loss on the first outcome, fitted."""

    figures: tuple[LearnerFigure, ...]
    learnt: Learnt


def choose_learner(*, learning: Prepared, learners: tuple[str, ...], seed: int = 0) -> LearnerChoice:
    """Fit every learner without each fold in turn, and judge it on that fold.

    Args:
        learning: Of ``prepare_learning``.
        learners: Names, such as dr_linear and t_gbt.
        seed: Of trees.

    Raises:
        ValueError: There is no such learner, or none is named.
    """
    if not learners:
        raise ValueError("name at least one learner of uplift")
    learnt = [learn_uplift(prepared=learning, learner=learner, seed=seed) for learner in learners]
    figures = [figure for one in learnt for figure in judge_learner(rows=learning.rows, learnt=one)]
    first = learning.rows.outcomes[0]
    losses = {one.learner: one.value for one in figures if one.metric == LOSS and one.outcome == first}
    return LearnerChoice(tuple(figures), min(learnt, key=lambda one: losses[one.learner]))


def judge_learner(*, rows: UpliftRows, learnt: Learnt) -> list[LearnerFigure]:
    """All figures of a fitted learner, each fold judged by the model that has not seen it.

    Args:
        rows: The decisions it was fitted on.
        learnt: The fitted learner.
    """
    sample = out_of_fold(rows.standardiser.design(rows.sample), rows.sample_folds, learnt.by_fold)
    cuts = np.ascontiguousarray(np.moveaxis(np.quantile(sample, np.arange(1, _BINS) / _BINS, axis=0), 0, 2))
    sums = sum_blocks(
        frame=rows.frame, standardiser=rows.standardiser, gather=_judge(learnt.levels, learnt.by_fold, cuts)
    )
    judgement, figures = Judgement(*sums), []
    for number, outcome in enumerate(rows.outcomes):
        found = {ALL_ARMS: tally_figures(judgement, number)}
        found |= {arm: curve_figures(judgement, place, number) for place, arm in enumerate(rows.arms[1:])}
        figures += [
            LearnerFigure(learnt.learner, outcome, arm, metric, *told)
            for arm, by_metric in found.items()
            for metric, told in by_metric.items()
        ]
    return figures


def _judge(levels: Floats, by_fold: Sequence[Uplift], cuts: Floats) -> Gather:
    def gather(block: Block) -> Sequence[Floats]:
        uplift = out_of_fold(block.design, block.folds, by_fold)
        return gather_judgement(block, score_rows(block, levels), uplift, cuts, PARTS)

    return gather

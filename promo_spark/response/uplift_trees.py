"""Learners of uplift with boosted trees: Spark's own, or xgboost where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from threadpoolctl import threadpool_limits

from promo_spark.contracts.arrow_matrices import lists_of
from promo_spark.kernels.boosted_trees import Trees
from promo_spark.kernels.gram_regression import Floats, Standardiser
from promo_spark.kernels.linear_learners import Kind, Nuisances
from promo_spark.kernels.tree_uplift import TreePart, TreeUplift, tree_targets
from promo_spark.response.boosting import LABEL, VECTOR, WEIGHT, boost
from promo_spark.response.uplift_blocks import to_block, whole_customers
from promo_spark.response.uplift_rows import ARM, FOLD, OUTCOMES, UpliftRows

_FEATURES, _TARGETS, _WEIGHTS = "tree_features", "targets", "weights"
_SCHEMA = (
    f"{ARM} int, {FOLD} int, {_FEATURES} array<float>, {OUTCOMES} array<double>, "
    f"{_TARGETS} array<double>, {_WEIGHTS} array<double>"
)
_NO_EXTRAS = np.zeros(0)
_Maker = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def fit_trees(
    *, rows: UpliftRows, nuisances: Nuisances, kind: Kind, base: str, effect_basis: Floats, seed: int
) -> tuple[TreeUplift, ...]:
    """Fit a learner without each fold in turn.

    Args:
        rows: The decisions.
        nuisances: Linear and cross-fitted; X-, R- and DR-learner start from them.
        kind: S, T, X, R or DR.
        base: gbt or xgboost.
        effect_basis: What the S-learner is told of each treated arm, shape (n_treated, n_terms).
        seed: Of the rows that each tree is fitted on.

    Returns:
        A model per fold.

    Raises:
        ValueError: xgboost is asked for and not installed.
    """
    made = rows.frame.mapInArrow(_row_maker(rows.standardiser, kind, nuisances, effect_basis), _SCHEMA)
    made = made.withColumn(VECTOR, array_to_vector(F.col(_FEATURES))).persist()
    models = []
    for fold in range(rows.folds):
        training = _Training(made.where(F.col(FOLD) != fold), fold, len(rows.arms) - 1, len(rows.outcomes), base, seed)
        parts = _PARTS[kind](training, effect_basis)
        models.append(TreeUplift(tuple(parts), training.n_treated, training.n_outcomes))
    made.unpersist()
    return tuple(models)


@dataclass(frozen=True)
class _Training:
    """Rows that a fold's models are fitted on, and how."""

    frame: DataFrame
    fold: int
    n_treated: int
    n_outcomes: int
    base: str
    seed: int

    def on_outcome(self, outcome: int, rows: Expression | None = None) -> Trees:
        frame = self.frame if rows is None else self.frame.where(rows)
        return boost(
            frame.withColumn(LABEL, F.col(OUTCOMES)[outcome]).withColumn(WEIGHT, F.lit(1.0)), self.base, self.seed
        )

    def on_target(self, arm: int, outcome: int, rows: Expression | None = None) -> Trees:
        place = self.fold * self.n_treated + arm
        frame = self.frame if rows is None else self.frame.where(rows)
        frame = frame.withColumn(LABEL, F.col(_TARGETS)[place * self.n_outcomes + outcome])
        weighted = frame.withColumn(WEIGHT, F.col(_WEIGHTS)[place]).where(F.col(WEIGHT) > 0)
        return boost(weighted, self.base, self.seed)

    def cells(self) -> list[tuple[int, int]]:
        return [(arm, outcome) for arm in range(self.n_treated) for outcome in range(self.n_outcomes)]


def _s_parts(training: _Training, effect_basis: Floats) -> list[TreePart]:
    parts = []
    for outcome in range(training.n_outcomes):
        trees = training.on_outcome(outcome)
        for arm, extras in enumerate(effect_basis):
            parts += [TreePart(arm, outcome, 1.0, extras, trees), TreePart(arm, outcome, -1.0, 0 * extras, trees)]
    return parts


def _t_parts(training: _Training, _: Floats) -> list[TreePart]:
    parts = []
    for outcome in range(training.n_outcomes):
        control = training.on_outcome(outcome, F.col(ARM) == 0)
        for arm in range(training.n_treated):
            trees = training.on_outcome(outcome, F.col(ARM) == arm + 1)
            parts += [TreePart(arm, outcome, 1.0, _NO_EXTRAS, trees), TreePart(arm, outcome, -1.0, _NO_EXTRAS, control)]
    return parts


def _x_parts(training: _Training, _: Floats) -> list[TreePart]:
    counts = {row[ARM]: row["count"] for row in training.frame.groupBy(ARM).count().collect()}
    parts = []
    for arm, outcome in training.cells():
        share = counts[arm + 1] / (counts[arm + 1] + counts[0])
        for own, weight in ((arm + 1, 1 - share), (0, share)):
            trees = training.on_target(arm, outcome, F.col(ARM) == own)
            parts.append(TreePart(arm, outcome, weight, _NO_EXTRAS, trees))
    return parts


def _final_parts(training: _Training, _: Floats) -> list[TreePart]:
    return [
        TreePart(arm, outcome, 1.0, _NO_EXTRAS, training.on_target(arm, outcome)) for arm, outcome in training.cells()
    ]


_PARTS: dict[Kind, Callable[[_Training, Floats], list[TreePart]]] = {
    "s": _s_parts,
    "t": _t_parts,
    "x": _x_parts,
    "r": _final_parts,
    "dr": _final_parts,
}


def _row_maker(standardiser: Standardiser, kind: Kind, nuisances: Nuisances, effect_basis: Floats) -> _Maker:
    """Make the function that turns decisions into rows for trees."""
    told = np.concatenate([np.zeros((1, effect_basis.shape[1])), effect_basis])

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with threadpool_limits(limits=1, user_api="blas"):
            for rows in whole_customers(batches):
                block = to_block(rows, standardiser)
                features = block.design[:, 1:]
                targets, weights = np.zeros((len(features), 0)), np.zeros((len(features), 0))
                if kind == "s":
                    features = np.concatenate([features, told[block.arms]], axis=1)
                elif kind != "t":
                    targets, weights = tree_targets(kind, block, nuisances)
                columns: list[Any] = [
                    pa.array(block.arms.astype(np.int32)),
                    pa.array(block.folds.astype(np.int32)),
                    lists_of(features.astype(np.float32)),
                    lists_of(block.outcomes),
                    lists_of(targets),
                    lists_of(weights),
                ]
                yield pa.RecordBatch.from_arrays(columns, names=[ARM, FOLD, _FEATURES, OUTCOMES, _TARGETS, _WEIGHTS])

    return make

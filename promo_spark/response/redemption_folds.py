"""How well models tell who redeems decisions that they were not learnt from, and their curves of calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import zip_longest

import numpy as np
import numpy.typing as npt
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from promo_spark.contracts.decision_settings import RedemptionModel
from promo_spark.kernels.calibration import calibrate, calibration_errors, probabilities_of, reliability
from promo_spark.response.redemption_models import REDEEMED, belief_of, classifier, parts_of

LEAST_CASES = 10
"""Fewer who redeemed, or who did not, are no ground for a model."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RedemptionJudgement:
    """How one model did on decisions that it was not learnt from.

    Attributes:
        model: Its name.
        customers: Rows judged.
        auc: Of all rows.
        average_precision: Area under precision and recall.
        log_loss: Once calibrated on the very rows: a lower bound.
        ece_shift: What its mean lies above the rate that came.
        ece_shape: Calibration error beside that.
        is_chosen: Its curve of calibration is used.
        reliability: Told and real rates and cases, by tenths, shape (10, 3).
    """

    model: str
    customers: int
    auc: float
    average_precision: float
    log_loss: float
    ece_shift: float
    ece_shape: float
    is_chosen: bool = False
    reliability: Floats = field(default_factory=lambda: np.empty((0, 3)), repr=False, compare=False)


def judge_models(
    packed: DataFrame, names: Sequence[RedemptionModel], folds: int, seed: int
) -> tuple[tuple[RedemptionJudgement, ...], dict[str, tuple[Floats, Floats, float]]]:
    """Fit each model on the folds' earlier rows and compare what it says of the others with what came.

    Args:
        packed: Rows with the vector, the label, decided_date and customer_id, in a settled order.
        names: Models.
        folds: Folds.
        seed: Seed of the trees.

    Returns:
        How each did, the one with the least log loss marked; none where too few redeemed. And each model's curve of
        calibration: knots, log-odds and slope.
    """
    needed = tuple(dict.fromkeys(part for name in names for part in parts_of(name)))
    tables = [_told(packed, split, needed, seed) for split in _splits(packed, folds)]
    if not tables:
        return (), {}
    table = np.concatenate(tables)
    happened = table[:, -1]
    curves: dict[str, tuple[Floats, Floats, float]] = {}
    judged = []
    for name in names:
        belief = table[:, [needed.index(part) for part in parts_of(name)]].mean(axis=1)
        curves[name] = calibrate(belief, happened)
        told = probabilities_of(belief, *curves[name])
        shift, shape = calibration_errors(told, happened)
        judged.append(
            RedemptionJudgement(
                name,
                len(happened),
                float(roc_auc_score(happened, belief)),
                float(average_precision_score(happened, belief)),
                float(log_loss(happened, told)),
                shift,
                shape,
                reliability=reliability(told, happened),
            )
        )
    best = min(judged, key=lambda one: round(one.log_loss, 5))
    return tuple(replace(one, is_chosen=one is best) for one in judged), curves


def _told(packed: DataFrame, split: _Split, parts: Sequence[str], seed: int) -> Floats:
    """Log-odds that each part gives the rows of a split, and what came, on the driver: at most ``FIT_ROWS``."""
    train, asked = packed.where(split.train).persist(), packed.where(split.judged)
    for part in parts:
        asked = classifier(part, seed).fit(train).transform(asked)
    train.unpersist()
    columns = [belief_of([part]).alias(part) for part in parts]
    table: Floats = asked.select(*columns, REDEEMED).toPandas().to_numpy(dtype=np.float64)
    return table


@dataclass(frozen=True)
class _Split:
    """Rows to learn from and rows to judge on."""

    train: Expression
    judged: Expression


def _splits(packed: DataFrame, folds: int) -> list[_Split]:
    """Folds that follow each other in time; where too few redeemed before each, folds of customers."""
    days = packed.groupBy("decided_date").agg(F.count("*").alias("rows")).orderBy("decided_date").collect()
    total, before = sum(day["rows"] for day in days), 0
    firsts: dict[int, date] = {}
    for day in days:
        firsts.setdefault(before * folds // total, day["decided_date"])
        before += day["rows"]
    starts = list(firsts.values())
    when = F.col("decided_date")
    forward = [
        _Split(when < F.lit(start), (when >= F.lit(start)) & (when < F.lit(end)) if end else when >= F.lit(start))
        for start, end in zip_longest(starts[1:], starts[2:])
    ]
    customer_fold = F.pmod(F.xxhash64("customer_id"), F.lit(folds))
    crossed = [_Split(customer_fold != fold, customer_fold == fold) for fold in range(folds)]
    return _learnable(packed, forward) or _learnable(packed, crossed)


def _learnable(packed: DataFrame, splits: Sequence[_Split]) -> list[_Split]:
    if not splits:
        return []
    used, kept = F.col(REDEEMED) == 1, F.col(REDEEMED) == 0
    found = packed.agg(
        *(F.count(F.when(split.train & kind, 1)) for split in splits for kind in (used, kept)),
        *(F.count(F.when(split.judged & used, 1)) for split in splits),
    ).collect()[0]
    size = len(splits)
    enough = [min(found[2 * place], found[2 * place + 1]) >= LEAST_CASES for place in range(size)]
    right = [split for place, split in enumerate(splits) if enough[place]]
    judged = sum(found[2 * size + place] for place in range(size) if enough[place])
    return right if judged >= LEAST_CASES else []

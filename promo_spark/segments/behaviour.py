"""What customers will do next: who leaves, and what the others spend.

Models are tried on time: learnt from one horizon, judged on the next, and the best is fitted again on both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt
from pyspark.ml import Model, PipelineModel, Transformer
from pyspark.ml.feature import SQLTransformer, VectorAssembler
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.metrics import log_loss, roc_auc_score

from promo_spark.contracts.settings import SegmentSettings
from promo_spark.kernels.calibration import platt_scale
from promo_spark.kernels.shopping_history import HISTORY_FEATURES
from promo_spark.segments.behaviour_models import (
    CHURN,
    ROOT,
    CalibratedProbability,
    belief,
    classifier,
    parts_of,
    regressor,
    root_of,
)
from promo_spark.segments.histories import CUT, LAST_SPEND, SPEND, VISITS

FIT_CUSTOMERS = 20_000
LEAST_CASES = 10
"""Fewer who left, or who stayed, are no ground for a model."""
RECENCY, LAST_WINDOW = "recency", "last_window"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judgement:
    """How one model did on a horizon that it was not learnt from; ``auc`` and ``log_loss`` or ``mae``.

    Attributes:
        told: What it said of each customer judged, at most ``FIT_CUSTOMERS``: log-odds or a score of leaving, or spend.
        happened: Who left (1 or 0), or what was spent.
    """

    subject: str
    model: str
    customers: int
    auc: float | None = None
    log_loss: float | None = None
    mae: float | None = None
    is_chosen: bool = False
    told: Floats = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    happened: Floats = field(default_factory=lambda: np.empty(0), repr=False, compare=False)


@dataclass(frozen=True)
class BehaviourModels:
    """Models of one date.

    Attributes:
        churn: From measured histories to churn_prob; none where too few left or stayed.
        spend: From measured histories to median_spend and expected_spend.
        judged: Every model tried, and the naive rule beside them.
    """

    churn: PipelineModel | None
    spend: PipelineModel
    judged: tuple[Judgement, ...]


def draw_customers(histories: DataFrame, *, seed: int) -> DataFrame:
    """The customers that models are learnt from: all, or those with the lowest hashes where there are many.

    More would cost time and hardly change what a few dozen numbers about a customer say of the next months.
    """
    return histories.orderBy(F.xxhash64("customer_id", F.lit(seed)), "customer_id").limit(FIT_CUSTOMERS)


def fit_behaviour(
    *, rows: DataFrame, train_cut: date, judged_cut: date, settings: SegmentSettings, seed: int
) -> BehaviourModels:
    """Learn on one horizon, judge and calibrate on the next, and fit the best again on both.

    Args:
        rows: Customers measured at both cuts, with labels.
        train_cut: Cut of the earlier horizon.
        judged_cut: Cut of the later one; the earlier horizon ends before or on it.
        settings: Which models are tried.
        seed: Seed of the forests and boosted trees.

    Returns:
        The models, and how each did.

    Raises:
        ValueError: The earlier horizon has no rows.
    """
    assembler = VectorAssembler(inputCols=list(HISTORY_FEATURES), outputCol="features")
    labels = {CHURN: (F.col(VISITS) == 0).cast("double"), ROOT: F.sqrt(SPEND)}
    # One part in an order that the rows' own values settle: trees draw rows by their place.
    packed = assembler.transform(rows.withColumns(labels)).repartition(1)
    packed = packed.sortWithinPartitions(CUT, *HISTORY_FEATURES, SPEND).persist()
    train, later = (packed.where(F.col(CUT) == F.lit(cut)) for cut in (train_cut, judged_cut))
    counts = {
        row[CUT]: row
        for row in packed.groupBy(CUT).agg(F.sum(CHURN).alias("left"), F.count("*").alias("all")).collect()
    }
    if train_cut not in counts or judged_cut not in counts:
        packed.unpersist()
        raise ValueError("no customer had bought before the earlier horizon")
    learnable = all(min(row["left"], row["all"] - row["left"]) >= LEAST_CASES for row in counts.values())
    with ThreadPoolExecutor(max_workers=2) as pool:  # trees are many short jobs: one core each
        leaving = pool.submit(_fit_churn, packed, train, later, settings, seed) if learnable else None
        spend, spend_judged = _fit_spend(packed, train, later, settings, seed)
        churn, churn_judged = leaving.result() if leaving else (None, ())
    packed.unpersist()
    return BehaviourModels(
        PipelineModel([assembler, *churn]) if churn else None,
        PipelineModel([assembler, *spend]),
        (*churn_judged, *spend_judged),
    )


def score_behaviour(*, rows: DataFrame, models: BehaviourModels, as_of_date: date, horizon_days: int) -> DataFrame:
    """Apply the models to customers measured at the date.

    Args:
        rows: Customers measured at the date.
        models: What `fit_behaviour` returned.
        as_of_date: The date.
        horizon_days: How far ahead the models look.

    Returns:
        Rows as segments.behaviour.
    """
    scored = models.spend.transform(rows).drop("features")
    if models.churn is not None:
        scored = models.churn.transform(scored)
    else:
        scored = scored.withColumn("churn_prob", F.lit(None).cast("double"))
    return scored.select(
        "customer_id",
        F.lit(as_of_date).alias("as_of_date"),
        F.lit(horizon_days).alias("horizon_days"),
        "churn_prob",
        (1 - F.col("churn_prob")).alias("purchase_prob"),
        F.col("expected_spend").cast("decimal(18,2)").alias("expected_spend_amount"),
        F.col("median_spend").cast("decimal(18,2)").alias("median_spend_amount"),
    )


def _fit_churn(
    packed: DataFrame, train: DataFrame, later: DataFrame, settings: SegmentSettings, seed: int
) -> tuple[list[Transformer], list[Judgement]]:
    fitted: dict[str, Model] = {name: classifier(name, seed).fit(train) for name in settings.churn_models}
    told = _collect(later, fitted, {name: belief(model) for name, model in fitted.items()})
    left = told[CHURN]
    scales = {name: platt_scale(told[name], left) for name in fitted}
    areas = {name: float(roc_auc_score(left, told[name])) for name in fitted}
    best = max(fitted, key=lambda name: round(areas[name], 4))
    judged = [
        Judgement(
            "churn",
            name,
            len(left),
            auc=areas[name],
            log_loss=float(log_loss(left, 1 / (1 + np.exp(-(scales[name][0] * told[name] + scales[name][1]))))),
            is_chosen=name == best,
            told=told[name],
            happened=left,
        )
        for name in fitted
    ]
    judged.append(Judgement("churn", RECENCY, len(left), auc=float(roc_auc_score(left, told["recency_log"]))))
    again = classifier(best, seed).fit(packed)
    slope, intercept = scales[best]
    return [again, CalibratedProbability(again, slope, intercept)], judged


def _fit_spend(
    packed: DataFrame, train: DataFrame, later: DataFrame, settings: SegmentSettings, seed: int
) -> tuple[list[Transformer], list[Judgement]]:
    needed = dict.fromkeys(part for name in settings.spend_models for part in parts_of(name))
    fitted: dict[str, Model] = {name: regressor(name, seed).fit(train) for name in needed}
    told = _collect(later, fitted, {name: F.col(root_of(name)) for name in fitted})
    spent = told[SPEND]
    medians = {
        name: np.square(np.maximum(np.mean([told[part] for part in parts_of(name)], axis=0), 0.0))
        for name in settings.spend_models
    }
    errors = {name: float(np.abs(median - spent).mean()) for name, median in medians.items()}
    best = min(medians, key=lambda name: round(errors[name], 4))
    judged = [
        Judgement("spend", name, len(spent), mae=error, is_chosen=name == best, told=medians[name], happened=spent)
        for name, error in errors.items()
    ]
    judged.append(Judgement("spend", LAST_WINDOW, len(spent), mae=float(np.abs(told[LAST_SPEND] - spent).mean())))
    total = float(medians[best].sum())
    # What is right half of the time is below the mean: amounts have a long tail.
    ratio = float(spent.sum()) / total if total else 1.0
    again = [regressor(part, seed).fit(packed) for part in parts_of(best)]
    return [*again, _spend_amounts([root_of(part) for part in parts_of(best)], ratio)], judged


def _spend_amounts(roots: Sequence[str], ratio: float) -> SQLTransformer:
    median = f"power(greatest(0D, ({' + '.join(roots)}) / {len(roots)}), 2)"
    columns = ("*", f"{median} AS median_spend", f"{ratio!r}D * {median} AS expected_spend")
    return SQLTransformer(statement=" ".join(("SELECT", ", ".join(columns), "FROM __THIS__")))


def _collect(later: DataFrame, fitted: Mapping[str, Model], told: Mapping[str, Expression]) -> dict[str, Floats]:
    """What each model says of the later horizon, on the driver: at most ``FIT_CUSTOMERS`` rows."""
    for model in fitted.values():
        later = model.transform(later)
    columns = [F.col(name) for name in (CHURN, SPEND, LAST_SPEND, "recency_log")]
    table = later.select(*columns, *[value.alias(name) for name, value in told.items()]).toPandas()
    return {str(name): table[name].to_numpy(dtype=np.float64) for name in table.columns}

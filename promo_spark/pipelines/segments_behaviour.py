"""The part of the segments stage that looks ahead: who will leave, what the others will spend, what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.segments import BEHAVIOUR_QUALITY, SEGMENT_BEHAVIOUR
from promo_spark.contracts.settings import SegmentSettings
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.kernels.shopping_history import HISTORY_FEATURES
from promo_spark.pipelines.segments_lifetime import value_lifetimes
from promo_spark.runtime import Stage
from promo_spark.segments.behaviour import (
    LEAST_CASES,
    BehaviourModels,
    Judgement,
    draw_customers,
    fit_behaviour,
    score_behaviour,
)
from promo_spark.segments.histories import gather_histories, measure_at_cuts

_LOOK_BACK_DAYS = 28
"""The earlier horizon needs some history before it."""
_EPOCH = date(1970, 1, 1)


def predict_behaviour(stage: Stage) -> None:
    """Learn from what customers did before the date what they will do after it, and predict it for each.

    Churn and spend are learnt from the two horizons before the date. Where orders do not go back far enough for
    both, they are not predicted, and the stage says so.
    """
    settings = stage.settings.segments
    histories = gather_histories(order_lines=stage.read(ORDER_LINES), as_of_date=stage.as_of_date).persist()
    drawn = draw_customers(histories, seed=stage.settings.seed).persist()
    cuts = _cuts(stage, histories, settings)
    lifetimes = value_lifetimes(stage, histories=histories, drawn=drawn, judged_cut=cuts[1] if cuts else None)
    models = _learn(stage, drawn, cuts, settings) if cuts else None
    if models is None:
        for contract in (SEGMENT_BEHAVIOUR, BEHAVIOUR_QUALITY):
            stage.write(contract, contract_frame(stage.spark, contract))
    else:
        _keep(stage, models, lifetimes, measure(stage, histories, [stage.as_of_date]))
    drawn.unpersist()
    histories.unpersist()


def learn_behaviour(stage: Stage, histories: DataFrame, settings: SegmentSettings) -> BehaviourModels | None:
    """Learn from one horizon before the date, judge on the next, and learn again from both.

    Args:
        stage: Whose date it is; it says where orders do not go back far enough.
        histories: segments.histories of the date.
        settings: The horizon, and the models that are tried.

    Returns:
        The models, or None where orders do not go back far enough for both horizons.
    """
    cuts = _cuts(stage, histories, settings)
    return _learn(stage, draw_customers(histories, seed=stage.settings.seed), cuts, settings) if cuts else None


def _cuts(stage: Stage, histories: DataFrame, settings: SegmentSettings) -> list[date]:
    """Where the last two horizons before the date begin; none where orders do not go back far enough."""
    horizon = settings.horizon_days
    cuts = [stage.as_of_date - timedelta(days=back * horizon) for back in (2, 1)]
    first, needed = _first_day(histories), cuts[0] - timedelta(days=_LOOK_BACK_DAYS)
    if first is not None and first <= needed:
        return cuts
    stage.limitation(
        f"churn and spend of the next {horizon} days are not predicted: it takes orders from {needed} on, and "
        + (f"the first is of {first}." if first else "there are none.")
    )
    return []


def _learn(stage: Stage, drawn: DataFrame, cuts: list[date], settings: SegmentSettings) -> BehaviourModels:
    return fit_behaviour(
        rows=measure(stage, drawn, cuts),
        train_cut=cuts[0],
        judged_cut=cuts[1],
        settings=settings,
        seed=stage.settings.seed,
    )


def _first_day(histories: DataFrame) -> date | None:
    day = histories.agg(F.min(F.col("shopping_days")[0])).collect()[0][0]
    return None if day is None else _EPOCH + timedelta(days=day)


def measure(stage: Stage, histories: DataFrame, cuts: list[date]) -> DataFrame:
    """Every customer at several cuts, none after the stage's date."""
    return measure_at_cuts(
        histories=histories,
        cuts=cuts,
        as_of_date=stage.as_of_date,
        horizon_days=stage.settings.segments.horizon_days,
    )


def _keep(stage: Stage, models: BehaviourModels, lifetimes: Sequence[Judgement], rows: DataFrame) -> None:
    horizon = stage.settings.segments.horizon_days
    scored = score_behaviour(rows=rows, models=models, as_of_date=stage.as_of_date, horizon_days=horizon)
    stage.write(SEGMENT_BEHAVIOUR, scored)
    quality = [
        (j.subject, j.model, stage.as_of_date, j.customers, j.auc, j.log_loss, j.mae, j.is_chosen)
        for j in (*models.judged, *lifetimes)
    ]
    stage.write(BEHAVIOUR_QUALITY, contract_frame(stage.spark, BEHAVIOUR_QUALITY, quality))
    for judged in (*models.judged, *lifetimes):
        told = {"auc": judged.auc, "log_loss": judged.log_loss, "mae": judged.mae}
        figures = {
            f"{judged.subject}_{judged.model}_{name}": value for name, value in told.items() if value is not None
        }
        stage.metrics(figures)
        if judged.is_chosen:
            said = ", ".join(f"{name} {value:.3f}" for name, value in told.items() if value is not None)
            stage.progress(
                f"{judged.subject} of the next {horizon} days by {judged.model}: {said} on the last {horizon}"
            )
    sample = rows.select(*HISTORY_FEATURES).limit(5)
    stage.save_model("customer_spend", models.spend, sample, models.spend.transform(sample).select("expected_spend"))
    if models.churn is None:
        stage.limitation(
            f"churn is not predicted: fewer than {LEAST_CASES} customers left, or stayed, in one of the last two "
            f"{horizon} days."
        )
    else:
        stage.save_model("customer_churn", models.churn, sample, models.churn.transform(sample).select("churn_prob"))

"""The part of the segments stage that values customers: who is still there, and what they will buy in all."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
from pyspark.sql import DataFrame

from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.segments import LIFETIME_VALUES
from promo_spark.runtime import Stage
from promo_spark.segments.behaviour import Judgement
from promo_spark.segments.lifetime_value import (
    SUMMARY,
    TOLD,
    LifetimeFit,
    LifetimeFitError,
    LifetimeValueModel,
    fit_lifetimes,
    judge_lifetimes,
    score_lifetimes,
    summarise_purchases,
)


def value_lifetimes(
    stage: Stage, *, histories: DataFrame, drawn: DataFrame, judged_cut: date | None
) -> tuple[Judgement, ...]:
    """Fit the models on drawn customers, value all of them, and judge the models where there is a horizon for it.

    Args:
        stage: The stage.
        histories: segments.histories.
        drawn: Those of the customers to learn from.
        judged_cut: Day from which what followed is known; None where orders do not go back far enough.

    Returns:
        How a fit at that day did; none where there is no such day, or too little was bought before it.
    """
    settings = stage.settings.segments
    now = _summarised(drawn, stage.as_of_date)
    try:
        fit = fit_lifetimes(now)
    except LifetimeFitError as fault:
        stage.limitation(f"lifetime value is not told: {fault}")
        stage.write(LIFETIME_VALUES, contract_frame(stage.spark, LIFETIME_VALUES))
        return ()
    model = LifetimeValueModel(fit, settings.lifetime_days, settings.discount_rate)
    summaries = summarise_purchases(histories=histories, as_of_date=stage.as_of_date)
    stage.write(LIFETIME_VALUES, score_lifetimes(summaries=summaries, model=model))
    stage.metrics(_figures(fit))
    sample = summaries.select(*SUMMARY).limit(5)
    stage.save_model("lifetime_value", model, sample, model.transform(sample).select(*TOLD))
    if judged_cut is None:
        return ()
    days = (stage.as_of_date - judged_cut).days
    try:
        trial = judge_lifetimes(before=_summarised(drawn, judged_cut), now=now, horizon_days=days)
    except LifetimeFitError as fault:
        stage.progress(f"lifetime value is not judged on {judged_cut}: {fault}")
        return ()
    ratios = {"purchases": trial.purchase_ratio, "spend": trial.spend_ratio}
    told = {name: ratio for name, ratio in ratios.items() if ratio is not None}
    stage.metrics({f"lifetime_expected_over_actual_{name}": ratio for name, ratio in told.items()})
    said = ", ".join(f"{ratio:.2f} of the {name}" for name, ratio in told.items())
    stage.progress(f"lifetime value at {judged_cut} expected {said} of the {days} days after")
    return trial.judged


def _summarised(histories: DataFrame, cut: date) -> pa.Table:
    return summarise_purchases(histories=histories, as_of_date=cut).toArrow()


def _figures(fit: LifetimeFit) -> dict[str, float]:
    named = {**fit.purchases._asdict(), **fit.amounts._asdict()}
    return {
        **{f"lifetime_{name}": value for name, value in named.items()},
        "lifetime_log_likelihood": fit.log_likelihood,
        "lifetime_count_amount_correlation": fit.correlation,
    }

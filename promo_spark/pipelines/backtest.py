"""Set what was said at the date against what followed."""

from __future__ import annotations

from datetime import timedelta

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decisions import SCORES
from promo_spark.contracts.measurement import BACKTEST_SUMMARY, BACKTESTS, FORECAST_ACTUALS
from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.response import PANEL, PLANNED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ORDER_LINES, PRICES, PRODUCTS, REDEMPTIONS
from promo_spark.measurement.forecasts import backtest_forecasts
from promo_spark.measurement.origins import summarise_origins
from promo_spark.measurement.plan_backtest import backtest_plans
from promo_spark.measurement.ranking import backtest_recommendations
from promo_spark.measurement.redemptions import backtest_redemptions
from promo_spark.measurement.segment_backtest import backtest_segments
from promo_spark.pipelines.response import MODEL
from promo_spark.response.forecast_rows import forecast_rows, later_rows
from promo_spark.response.forecasters import MODELS
from promo_spark.response.panel import build_later_panel
from promo_spark.response.predictions import predict_later
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage

_WEEK = timedelta(weeks=1)


def run(stage: Stage) -> None:
    """Judge forecasts and recommendations by the days from the date on, as far as there are any."""
    _forecast(stage)
    settings = stage.settings
    forecasts = backtest_forecasts(
        forecast_actuals=stage.read(FORECAST_ACTUALS),
        as_of_date=stage.as_of_date,
        settings=settings.backtest,
        seed=settings.seed,
    )
    lists = backtest_recommendations(
        recommended=stage.read(RECOMMENDED_PRODUCTS),
        order_lines=stage.read(ORDER_LINES),
        products=stage.read(PRODUCTS),
        as_of_date=stage.as_of_date,
        settings=settings.backtest,
        recommend_settings=settings.recommend,
    )
    redeemed = backtest_redemptions(
        scores=stage.read(SCORES),
        redemptions=stage.read(REDEMPTIONS),
        as_of_date=stage.as_of_date,
        settings=settings.backtest,
        seed=settings.seed,
    )
    judged = forecasts.unionByName(lists).unionByName(redeemed).unionByName(_plans(stage)).unionByName(_segments(stage))
    if stage.write(BACKTESTS, judged).accepted == 0:
        stage.limitation(f"no sales from {stage.as_of_date} on are known yet: nothing can be measured.")
    found = stage.read(BACKTESTS).select("subject", "model", "metric", "value").collect()
    stage.metrics({f"{row.subject}_{row.model}_{row.metric}": row.value for row in found if row.value is not None})
    _summarise(stage)


def _plans(stage: Stage) -> DataFrame:
    return backtest_plans(
        segment_plan=stage.read(SEGMENT_PLAN),
        segment_customers=stage.read(SEGMENT_CUSTOMERS),
        order_lines=stage.read(ORDER_LINES),
        products=stage.read(PRODUCTS),
        as_of_date=stage.as_of_date,
    )


def _segments(stage: Stage) -> DataFrame:
    return backtest_segments(
        segment_customers=stage.read(SEGMENT_CUSTOMERS),
        order_lines=stage.read(ORDER_LINES),
        as_of_date=stage.as_of_date,
        settings=stage.settings.backtest,
    )


def _summarise(stage: Stage) -> None:
    """Sum up the dates of a rolling backtest; the as_of_date alone where none is named."""
    replayed = stage.settings.backtest.replayed(stage.as_of_date)
    origins = (*replayed, stage.as_of_date)
    backtests = stage.read_until(BACKTESTS).where(F.col("as_of_date").isin(list(origins)))
    summary = summarise_origins(
        backtests=backtests, as_of_date=stage.as_of_date, level=stage.settings.response.interval_level
    )
    stage.write(BACKTEST_SUMMARY, summary)
    known = {row["as_of_date"] for row in backtests.select("as_of_date").distinct().collect()}
    missing = [origin.isoformat() for origin in replayed if origin not in known]
    if missing:
        stage.limitation(f"nothing is judged of {', '.join(missing)}: jobs/backtest.py replays these dates.")


def _forecast(stage: Stage) -> None:
    """Write what the models of the date say of the weeks that followed, given the promotions that ran."""
    day, settings = stage.as_of_date, stage.settings
    panel, lines = stage.read(PANEL), stage.read(ORDER_LINES)
    nothing = stage.read(FORECAST_ACTUALS).limit(0)
    if lines.where(F.col("order_date") >= F.lit(day + _WEEK - timedelta(days=1))).isEmpty():
        stage.limitation(f"no full week from {day} on is known yet: forecasts cannot be judged.")
        stage.write(FORECAST_ACTUALS, nothing)
        return
    if forecast_rows(panel=panel, horizons_weeks=settings.response.horizons_weeks).isEmpty():
        stage.limitation("there were too few weeks to fit a forecast of sales: none can be judged.")
        stage.write(FORECAST_ACTUALS, nothing)
        return
    later = build_later_panel(
        order_lines=lines,
        prices=stage.read(PRICES),
        planned_products=stage.read(PLANNED_PRODUCTS),
        segment_customers=stage.read(SEGMENT_CUSTOMERS),
        as_of_date=day,
        weeks=settings.backtest.weeks,
    )
    rows = later_rows(panel=panel.unionByName(later), as_of_date=day, weeks=settings.backtest.weeks).persist()
    models = {name: stage.load_model(MODEL.format(name), PipelineModel) for name in MODELS}
    stage.write(FORECAST_ACTUALS, predict_later(models=models, rows=rows, as_of_date=day))
    rows.unpersist()


PIPELINE = Pipeline(
    name="backtest",
    summary="Measure earlier forecasts and recommendations by what followed.",
    reads=(
        *(ORDER_LINES, PRODUCTS, PRICES, SEGMENT_CUSTOMERS, PLANNED_PRODUCTS, PANEL, RECOMMENDED_PRODUCTS),
        *(SCORES, REDEMPTIONS, SEGMENT_PLAN),
    ),
    writes=(FORECAST_ACTUALS, BACKTESTS, BACKTEST_SUMMARY),
    run=run,
    settings=("backtest", "recommend", "response.horizons_weeks", "response.interval_level", "seed"),
    headlines=(
        "recommend_all_neighbours_ndcg_at_10",
        "recommend_novel_neighbours_ndcg_at_10",
        "redemption_redemption_auc",
        "category_sales_gbt_wape",
        "category_sales_gbt_coverage_rate",
        "segment_plan_all_attainment_rate",
        "segments_segment_id_spend_explained_rate",
    ),
    purpose="measurement",
)

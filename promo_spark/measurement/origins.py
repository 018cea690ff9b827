"""A rolling backtest: what was measured at each of several dates, summed up."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.measurement import BACKTEST_SUMMARY, BACKTESTS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE

_ROW = ("subject", "model", "metric")
_LOWER_IS_BETTER = r"^(wape|mae|rmse|ece|width|miscalibration|category_divergence)"
_EXACT = "decimal(38,12)"


@produces(BACKTEST_SUMMARY, backtests=BACKTESTS)
def summarise_origins(*, backtests: DataFrame, as_of_date: date, level: float = 0.8) -> DataFrame:
    """Sum up each figure over the dates it was measured at.

    The standard error is the standard deviation between dates over the root of their number. It holds where the days
    tested do not overlap; with one date there is none. The worst is the largest of errors, the smallest of rates of
    success, what is furthest from 0 of biases, from 1 of actual over expected, and from ``level`` of coverage.

    Args:
        backtests: measurement.backtests of all the dates.
        as_of_date: The last of them.
        level: What intervals should cover.

    Returns:
        measurement.backtest_summary.
    """
    known = backtests.where(F.col("value").isNotNull()).withColumn("_fault", _fault(level))
    exact = F.col("value").cast(_EXACT)
    count = F.count("*")
    mean = F.sum(exact).cast("double") / count
    spread = F.when(count > 1, F.stddev_samp("value") / F.sqrt(count))
    within = F.sqrt(F.sum(F.pow(F.col("standard_error"), 2).cast(_EXACT)).cast("double")) / count
    worst = F.max_by(F.struct("value", AS_OF_DATE), F.struct("_fault", AS_OF_DATE))
    summed = known.groupBy(*_ROW).agg(
        F.round(mean, 9).alias("mean_value"),
        F.round(spread, 9).alias("standard_error"),
        F.round(F.when(F.count("standard_error") == count, within), 9).alias("sampling_error"),
        count.alias("origin_count"),
        F.min("value").alias("lowest_value"),
        F.max("value").alias("highest_value"),
        worst.alias("_worst"),
        F.min(AS_OF_DATE).alias("first_origin_date"),
    )
    return summed.withColumns(
        {
            AS_OF_DATE: F.lit(as_of_date),
            "worst_value": F.col("_worst.value"),
            "worst_date": F.col(f"_worst.{AS_OF_DATE}"),
        }
    )


def _fault(level: float) -> Expression:
    """How bad a figure is: the higher, the worse."""
    value, metric = F.col("value"), F.col("metric")
    return (
        F.when(metric.contains("bias") | metric.contains("shift"), F.abs(value))
        .when(metric.endswith("attainment_rate"), F.abs(value - 1.0))
        .when(metric == "coverage_rate", F.abs(value - F.lit(level)))
        .when(metric.rlike(_LOWER_IS_BETTER), value)
        .otherwise(-value)
    )

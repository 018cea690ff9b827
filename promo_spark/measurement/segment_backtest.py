"""Did segments hold: how much of what customers did later do those of the date explain?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.stats import spearmanr

from promo_spark.contracts.backtest_settings import BacktestSettings
from promo_spark.contracts.measurement import BACKTESTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.contracts.step import produces
from promo_spark.kernels.variance_explained import explained_by_sums

SUBJECT = "segments"
_GROUPINGS = ("segment_id", "value_tier")
_PARTS = 20
_DIGITS = 9
_OUTCOMES = {"spend": "spend_root", "visits": "visit_root"}


@produces(BACKTESTS, segment_customers=SEGMENT_CUSTOMERS, order_lines=ORDER_LINES)
def backtest_segments(
    *, segment_customers: DataFrame, order_lines: DataFrame, as_of_date: date, settings: BacktestSettings
) -> DataFrame:
    """Judge the segments of the date by what their customers did in the days from it on.

    spend_explained_rate and visits_explained_rate are the shares of the variance of later spend and shopping days, as
    square roots, that the groups explain (epsilon squared), with errors by the jackknife over twentieths of the
    customers; order_correlation says whether the most valuable segments spent most again (Spearman correlation of
    segment and later mean spend, 1: in the same order).

    Args:
        segment_customers: segments.customers of the date.
        order_lines: silver.order_lines; refunds are left out.
        as_of_date: Day of the segments.
        settings: Days that count.

    Returns:
        measurement.backtests of the subject segments, by segment_id and by value_tier; none where no later purchase
        of these days is known.
    """
    end = as_of_date + timedelta(days=settings.days)
    inside = (F.col("order_date") >= F.lit(as_of_date)) & (F.col("order_date") < F.lit(end)) & ~F.col("is_return")
    hundredths = F.sum(F.rint(F.col("sales_amount").cast("double") * 100).cast("bigint"))
    later = (
        order_lines.where(inside)
        .groupBy("customer_id")
        .agg(F.count_distinct("order_date").alias("_visits"), (F.greatest(hundredths, F.lit(0)) / 100).alias("_spend"))
    )
    groups = [F.struct(F.lit(name).alias("model"), F.col(name).cast("string").alias("label")) for name in _GROUPINGS]
    has_later = F.broadcast(later.select(F.lit(1)).limit(1))
    described = (
        segment_customers.crossJoin(has_later)
        .join(later, "customer_id", "left")
        .select(
            F.explode(F.array(*groups)).alias("_group"),
            F.pmod(F.xxhash64("customer_id"), F.lit(_PARTS)).alias("part"),
            F.coalesce("_spend", F.lit(0.0)).alias("spend"),
            F.sqrt(F.coalesce("_spend", F.lit(0.0))).alias("spend_root"),
            F.sqrt(F.coalesce("_visits", F.lit(0)).cast("double")).alias("visit_root"),
        )
    )
    sums = [F.sum("spend").alias("spend"), F.count("*").cast("double").alias("count")]
    for root in _OUTCOMES.values():
        sums += [F.sum(root).alias(root), F.sum(F.col(root) * F.col(root)).alias(f"{root}_square")]
    moments = described.groupBy(F.lit(as_of_date).alias("as_of_date"), "_group.model", "_group.label", "part").agg(
        *sums
    )
    return moments.groupBy("as_of_date").applyInPandas(
        _judge(as_of_date, end - timedelta(days=1)), BACKTESTS.schema(all_nullable=True)
    )


def _judge(as_of_date: date, last: date) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def judge(rows: pd.DataFrame) -> pd.DataFrame:
        told = [row for model, own in rows.groupby("model") for row in _figures(str(model), own)]
        judged = pd.DataFrame(told, columns=["model", "metric", "value", "standard_error", "observation_count"])
        return judged.assign(subject=SUBJECT, as_of_date=as_of_date, first_date=as_of_date, last_date=last)[
            list(BACKTESTS.column_names)
        ]

    return judge


def _figures(model: str, rows: pd.DataFrame) -> Iterator[tuple[str, str, float, float | None, int]]:
    def table(name: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        wide = rows.pivot(index="part", columns="label", values=name).fillna(0.0)
        return wide.to_numpy(dtype=np.float64)

    customers = int(rows["count"].sum())
    for outcome, root in _OUTCOMES.items():
        explained = explained_by_sums(table("count"), table(root), table(f"{root}_square"))
        error = round(explained.standard_error, _DIGITS)
        yield model, f"{outcome}_explained_rate", round(explained.rate, _DIGITS), error, customers
    if model == "segment_id" and rows["label"].nunique() > 1:
        sums = rows.groupby("label")[["spend", "count"]].sum()
        order = spearmanr(-sums.index.astype(int), sums["spend"] / sums["count"]).statistic
        yield model, "order_correlation", round(float(order), _DIGITS), None, customers

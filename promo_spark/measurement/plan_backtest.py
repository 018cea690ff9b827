"""Did the plan hold: expected sales of its segments and categories against those of its weeks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.measurement import BACKTESTS
from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.kernels.kpi_estimates import estimate_figure

Floats = NDArray[np.float64]

SUBJECT = "segment_plan"
ALL = "all"
_CELL = ["segment_id", "category"]
_DIGITS = 9


@produces(
    BACKTESTS,
    segment_plan=SEGMENT_PLAN,
    segment_customers=SEGMENT_CUSTOMERS,
    order_lines=ORDER_LINES,
    products=PRODUCTS,
)
def backtest_plans(
    *,
    segment_plan: DataFrame,
    segment_customers: DataFrame,
    order_lines: DataFrame,
    products: DataFrame,
    as_of_date: date,
) -> DataFrame:
    """Judge the plan by what its segments bought in its categories while it was to run.

    With a the actual sales of a segment and category, b what the plan expected without its offer and p with it (b where
    it promotes nothing): attainment_rate = sum a / sum p, base_attainment_rate = sum a / sum b, wape =
    sum |a - p| / sum a, bias_rate = sum (p - a) / sum a. A plan that was not carried out is to be judged by
    base_attainment_rate. Errors by the delta method, whole categories being one observation.

    Args:
        segment_plan: plans.segment_plan of the date.
        segment_customers: segments.customers of the date.
        order_lines: silver.order_lines, of the plan's days; refunds and outliers are left out.
        products: silver.products, for categories.
        as_of_date: Day of the plan.

    Returns:
        measurement.backtests of the subject segment_plan; the model is the plan's decision, or all. None where the
        plan's last day is not known yet.
    """
    is_promoted = F.col("decision") == "promote"
    said = F.when(is_promoted, F.col("expected_sales_amount")).otherwise(F.col("base_sales_amount"))
    cells = segment_plan.where(F.col("base_sales_amount").isNotNull() & said.isNotNull()).select(
        *_CELL, "decision", "start_date", "end_date", F.col("base_sales_amount").alias("base"), said.alias("said")
    )
    known = order_lines.agg(F.max("order_date").alias("_known_date"))
    over = cells.crossJoin(F.broadcast(known)).where(F.col("end_date") <= F.col("_known_date")).drop("_known_date")
    sound = order_lines.where(
        (F.col("order_date") >= F.lit(as_of_date)) & ~F.col("is_return") & ~F.col("is_outlier")
    ).select("customer_id", "product_id", "order_date", "sales_amount")
    bought = (
        sound.join(segment_customers.select("customer_id", "segment_id"), "customer_id")
        .join(F.broadcast(products.select("product_id", "category")), "product_id")
        .join(F.broadcast(over.select(*_CELL, "start_date", "end_date")), _CELL)
        .where(F.col("order_date").between(F.col("start_date"), F.col("end_date")))
        .groupBy(*_CELL)
        .agg(F.sum("sales_amount").cast("double").alias("actual"))
    )
    rows = over.join(bought, _CELL, "left").withColumns(
        {"as_of_date": F.lit(as_of_date), "actual": F.coalesce("actual", F.lit(0.0))}
    )
    return rows.groupBy("as_of_date").applyInPandas(_judge(as_of_date), BACKTESTS.schema(all_nullable=True))


def _judge(as_of_date: date) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def judge(rows: pd.DataFrame) -> pd.DataFrame:
        ordered = rows.sort_values(_CELL)
        by_decision = [(str(decision), cells) for decision, cells in ordered.groupby("decision")]
        told = [row for model, cells in [(ALL, ordered), *by_decision] for row in _figures(model, cells)]
        judged = pd.DataFrame(told, columns=["model", "metric", "value", "standard_error", "observation_count"])
        return judged.assign(
            subject=SUBJECT,
            as_of_date=as_of_date,
            first_date=rows["start_date"].min(),
            last_date=rows["end_date"].max(),
        )[list(BACKTESTS.column_names)]

    return judge


def _figures(model: str, cells: pd.DataFrame) -> Iterator[tuple[str, str, float, float | None, int]]:
    error = cells["said"] - cells["actual"]
    terms = cells.assign(absolute=error.abs(), error=error)
    sums = terms.groupby("category")[["actual", "base", "said", "absolute", "error"]].sum()
    ratios = {
        "attainment_rate": ("actual", "said"),
        "base_attainment_rate": ("actual", "base"),
        "wape": ("absolute", "actual"),
        "bias_rate": ("error", "actual"),
    }
    for metric, (top, bottom) in ratios.items():
        brought = np.zeros((len(sums), 6))
        brought[:, 0], brought[:, 1] = sums[top], sums[bottom]
        figure = estimate_figure("ratio", len(sums), brought.sum(axis=0), brought.T @ brought).value
        if figure.value is not None:
            error_told = None if figure.error is None else round(figure.error, _DIGITS)
            yield model, metric, round(figure.value, _DIGITS), error_told, len(cells)

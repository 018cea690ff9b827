"""Flag quantities and amounts far outside what is usual; nothing is changed or dropped.

Robust z-scores after Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (ASQC, 1993): distance
from the median in units of 1.4826 times the median absolute deviation, far outside beyond 3.5. They
are taken on ln(1 + |x|), for quantities and amounts spread by factors. Most lines of a grocer are one
unit, so the deviation is often nil: a doubling, ln 2, is the least unit of distance. A 6-pack or a
dozen of something usually bought singly is ordinary then; 22 and more of it is not.

A category may hold nothing but impossible quantities (litres or cents of fuel counted as units), so
that its own median hides them. Each line is therefore also held against all lines, at twice the
threshold: beyond 250 units or so where one is usual.
"""

from __future__ import annotations

import math

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

THRESHOLD = 3.5
MIN_LINES = 30
_NORMAL_CONSISTENCY = 1.4826
_LEAST_UNIT = math.log(2)
_MEASURES = ("quantity", "sales_amount")


def flag_outliers(order_lines: DataFrame, history: DataFrame, products: DataFrame) -> DataFrame:
    """Add ``is_outlier``.

    Args:
        order_lines: Lines to flag, with ``product_id``, ``quantity`` and ``sales_amount``.
        history: All lines received so far, which say what is usual.
        products: One row per product, with its category.

    Returns:
        The lines with ``is_outlier``, never NULL. Categories with fewer than 30 lines of history are
        held against all lines only. Products without a category form one of their own.
    """
    categories = products.select("product_id", F.col("category").alias("_category"))
    categorised = history.select("product_id", *_MEASURES).join(categories, "product_id", "left")
    flagged = order_lines.join(categories, "product_id", "left")
    flags: list[Expression] = []
    for measure in _MEASURES:
        usual = _usual_values(categorised, measure)
        own = usual.where(F.col("_lines") >= MIN_LINES)
        whole = usual.where(F.col("_is_total")).select(
            F.col("_center").alias(f"_all_{measure}"), F.col("_unit").alias(f"_all_unit_{measure}")
        )
        named = own.where(~F.col("_is_total")).select(
            F.col("_category").alias("_usual_category"),
            F.col("_center").alias(f"_own_{measure}"),
            F.col("_unit").alias(f"_own_unit_{measure}"),
        )
        flagged = flagged.join(
            F.broadcast(named), F.col("_category").eqNullSafe(F.col("_usual_category")), "left"
        ).drop("_usual_category")
        flagged = flagged.join(F.broadcast(whole), F.lit(True), "left")
        size = F.log1p(F.abs(F.col(measure).cast("double")))
        for scope, threshold in (("own", THRESHOLD), ("all", 2 * THRESHOLD)):
            distance = F.abs(size - F.col(f"_{scope}_{measure}")) / F.col(f"_{scope}_unit_{measure}")
            flags.append(F.coalesce(distance > threshold, F.lit(False)))
    flag = flags[0] | flags[1] | flags[2] | flags[3]
    return flagged.select(*(F.col(name) for name in order_lines.columns), flag.alias("is_outlier"))


def _usual_values(lines: DataFrame, measure: str) -> DataFrame:
    """Median and unit of distance of a measure per category, and in a row of its own over all lines.

    Counted per distinct value first, so that medians are exact and cheap, and sums of floats do not
    occur: the result does not depend on order or partitioning.
    """
    counted = (
        lines.where(F.col(measure).isNotNull())
        .groupBy("_category", F.abs(F.col(measure)).alias("_value"))
        .agg(F.count("*").alias("_count"))
        .withColumn("_size", F.log1p(F.col("_value").cast("double")))
    )
    scoped = counted.withColumn("_is_total", F.explode(F.array(F.lit(False), F.lit(True)))).withColumn(
        "_category", F.when(~F.col("_is_total"), F.col("_category"))
    )
    centers = scoped.groupBy("_category", "_is_total").agg(
        F.percentile("_size", 0.5, F.col("_count")).alias("_center"), F.sum("_count").alias("_lines")
    )
    same = scoped["_category"].eqNullSafe(centers["_category"]) & (scoped["_is_total"] == centers["_is_total"])
    spread = scoped.join(F.broadcast(centers), same).select(
        scoped["_category"],
        scoped["_is_total"],
        "_center",
        "_lines",
        "_count",
        F.abs(F.col("_size") - F.col("_center")).alias("_distance"),
    )
    deviation = F.percentile("_distance", 0.5, F.col("_count")) * F.lit(_NORMAL_CONSISTENCY)
    return spread.groupBy("_category", "_is_total", "_center", "_lines").agg(
        F.greatest(deviation, F.lit(_LEAST_UNIT)).alias("_unit")
    )

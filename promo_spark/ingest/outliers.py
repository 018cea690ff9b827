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
_ALL = "\0all"


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
    scopes = F.broadcast(products.select("product_id", F.coalesce("category", F.lit("")).alias("_scope")))
    flagged = _in_scope(order_lines, scopes)
    flags: list[Expression] = []
    for measure in _MEASURES:
        usual = _usual_values(_in_scope(history.select("product_id", measure), scopes), measure)
        for scope, threshold in (("own", THRESHOLD), ("all", 2 * THRESHOLD)):
            center, unit = f"_{scope}_{measure}_center", f"_{scope}_{measure}_unit"
            named = usual.select(F.col("_scope"), F.col("_center").alias(center), F.col("_unit").alias(unit))
            if scope == "own":
                flagged = flagged.join(F.broadcast(named), "_scope", "left")
            else:
                whole = named.where(F.col("_scope") == _ALL).drop("_scope")
                flagged = flagged.join(F.broadcast(whole), F.lit(True), "left")
            distance = F.abs(_size(F.col(measure)) - F.col(center)) / F.col(unit)
            flags.append(F.coalesce(distance > threshold, F.lit(False)))
    is_outlier = flags[0] | flags[1] | flags[2] | flags[3]
    return flagged.select(*order_lines.columns, is_outlier.alias("is_outlier"))


def _in_scope(lines: DataFrame, scopes: DataFrame) -> DataFrame:
    return lines.join(scopes, "product_id", "left").withColumn("_scope", F.coalesce("_scope", F.lit("")))


def _size(measure: Expression) -> Expression:
    return F.log1p(F.abs(measure.cast("double")))


def _usual_values(lines: DataFrame, measure: str) -> DataFrame:
    """Median and unit of distance of a measure per category, and in a row of its own over all lines.

    Counted per distinct value first, so that medians are exact and cheap, and sums of floats do not
    occur: the result does not depend on order or partitioning.
    """
    counted = (
        lines.where(F.col(measure).isNotNull())
        .groupBy("_scope", F.abs(F.col(measure)).alias("_value"))
        .agg(F.count("*").alias("_count"))
        .withColumn("_size", _size(F.col("_value")))
        .withColumn("_scope", F.explode(F.array("_scope", F.lit(_ALL))))
    )
    centers = counted.groupBy("_scope").agg(
        F.percentile("_size", 0.5, F.col("_count")).alias("_center"), F.sum("_count").alias("_lines")
    )
    distances = counted.join(F.broadcast(centers.where(F.col("_lines") >= MIN_LINES)), "_scope").withColumn(
        "_distance", F.abs(F.col("_size") - F.col("_center"))
    )
    deviation = F.percentile("_distance", 0.5, F.col("_count")) * F.lit(_NORMAL_CONSISTENCY)
    return distances.groupBy("_scope", "_center").agg(F.greatest(deviation, F.lit(_LEAST_UNIT)).alias("_unit"))

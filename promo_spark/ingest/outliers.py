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
    scopes = products.select("product_id", F.coalesce("category", F.lit("")).alias("_scope"))
    limits = _limits(_usual_sizes(_in_scope(history.select("product_id", *_MEASURES), scopes)))
    flagged = _in_scope(order_lines, scopes).join(F.broadcast(limits), "_scope", "left")
    is_outlier = F.lit(False)
    for measure in _MEASURES:
        for limit in ("own", "all"):
            low, high = F.col(f"_{limit}_{measure}.low"), F.col(f"_{limit}_{measure}.high")
            is_outlier = is_outlier | F.coalesce(~_size(F.col(measure)).between(low, high), F.lit(False))
    return flagged.select(*order_lines.columns, is_outlier.alias("is_outlier"))


def _in_scope(lines: DataFrame, scopes: DataFrame) -> DataFrame:
    return lines.join(scopes, "product_id", "left").withColumn("_scope", F.coalesce("_scope", F.lit("")))


def _size(measure: Expression) -> Expression:
    return F.log1p(F.abs(measure.cast("double")))


def _usual_sizes(lines: DataFrame) -> DataFrame:
    """Median size and unit of distance per category and measure, and in rows of their own over all lines.

    Counted per distinct value first, so that medians are exact and cheap, and sums of floats do not
    occur: the result does not depend on order or partitioning.
    """
    measured = [F.struct(F.lit(name).alias("name"), _size(F.col(name)).alias("size")) for name in _MEASURES]
    counted = (
        lines.select("_scope", F.explode(F.array(*measured)).alias("_measure"))
        .select("_scope", "_measure.name", "_measure.size")
        .where(F.col("size").isNotNull())
        .groupBy("_scope", "name", "size")
        .agg(F.count("*").alias("lines"))
        .withColumn("_scope", F.explode(F.array("_scope", F.lit(_ALL))))
    )
    centers = counted.groupBy("_scope", "name").agg(
        F.percentile("size", 0.5, F.col("lines")).alias("center"), F.sum("lines").alias("total")
    )
    distances = counted.join(F.broadcast(centers), ["_scope", "name"]).withColumn(
        "distance", F.abs(F.col("size") - F.col("center"))
    )
    deviation = F.percentile("distance", 0.5, F.col("lines")) * F.lit(_NORMAL_CONSISTENCY)
    return distances.groupBy("_scope", "name", "center", "total").agg(
        F.greatest(deviation, F.lit(_LEAST_UNIT)).alias("unit")
    )


def _limits(usual: DataFrame) -> DataFrame:
    """Per category: between which sizes its lines are usual for it, and for all lines together."""
    own = usual.where(F.col("_scope") != _ALL).groupBy("_scope")
    own_limits = own.agg(*(_limit(name, "own", F.col("total") >= MIN_LINES, THRESHOLD) for name in _MEASURES))
    whole = usual.where(F.col("_scope") == _ALL)
    all_limits = whole.agg(*(_limit(name, "all", F.lit(True), 2 * THRESHOLD) for name in _MEASURES))
    return own_limits.crossJoin(F.broadcast(all_limits))


def _limit(name: str, limit: str, counts: Expression, threshold: float) -> Expression:
    reach = threshold * F.col("unit")
    bounds = F.struct((F.col("center") - reach).alias("low"), (F.col("center") + reach).alias("high"))
    return F.max(F.when((F.col("name") == name) & counts, bounds)).alias(f"_{limit}_{name}")

"""Flag quantities and amounts far outside what is usual; nothing is changed or dropped.

Robust z-scores after Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (ASQC, 1993): distance
from the median in units of 1.4826 times the median absolute deviation, far outside beyond 3.5. They
are taken on ln(1 + |x|), for quantities and amounts spread by factors. Most lines of a grocer are one
unit, so the deviation is often nil: a doubling, ln 2, is the least unit of distance. A 6-pack or a
dozen of something usually bought singly is ordinary then; 22 and more of it is not.

A category may hold nothing but impossible quantities (litres or cents of fuel counted as units), so
that its own median hides them. Each line is therefore also held against all lines, at twice the
threshold: beyond 250 units or so where one is usual.

What is usual is taken from earlier days only: a line's flag never depends on a later line, so what is
learnt as of a date sees nothing of the days after it. Medians over all earlier days would have to be taken
again for each day. They are taken again whenever the lines have doubled in number, which costs about as
much as taking them once: at least half of the lines before a day decide what is usual on it.
"""

from __future__ import annotations

import math

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

THRESHOLD = 3.5
MIN_LINES = 30
_NORMAL_CONSISTENCY = 1.4826
_LEAST_UNIT = math.log(2)
_MEASURES = ("quantity", "sales_amount")
_ALL = "\0all"
_AGE = "_age"


def flag_outliers(order_lines: DataFrame, history: DataFrame, products: DataFrame) -> DataFrame:
    """Add ``is_outlier``.

    Args:
        order_lines: Lines to flag, with ``product_id``, ``order_date``, ``quantity`` and ``sales_amount``.
        history: The same columns of all lines so far, those to flag among them; they say what is usual.
        products: One row per product, with its category.

    Returns:
        The lines with ``is_outlier``, never NULL. Categories with fewer than 30 earlier lines are held
        against all lines only; with fewer than 30 earlier lines in all, nothing is flagged. Products
        without a category form one of their own.
    """
    scopes = products.select("product_id", F.coalesce("category", F.lit("")).alias("_scope"))
    ages = F.broadcast(_ages(history))
    aged = history.select("product_id", "order_date", *_MEASURES).join(ages, "order_date")
    usual = _usual_sizes(_in_scope(aged, scopes), ages.select(_AGE).distinct())
    placed = _in_scope(order_lines, scopes).join(ages, "order_date", "left")
    flagged = placed.join(F.broadcast(_own_limits(usual)), [_AGE, "_scope"], "left").join(
        F.broadcast(_all_limits(usual)), _AGE, "left"
    )
    is_outlier = F.lit(False)
    for measure in _MEASURES:
        for limit in ("own", "all"):
            low, high = F.col(f"_{limit}_{measure}.low"), F.col(f"_{limit}_{measure}.high")
            is_outlier = is_outlier | F.coalesce(~_size(F.col(measure)).between(low, high), F.lit(False))
    return flagged.select(*order_lines.columns, is_outlier.alias("is_outlier"))


def _ages(history: DataFrame) -> DataFrame:
    """The age of the ledger on each day: how often its lines had doubled before that day; 0 on the first."""
    days = history.where(F.col("order_date").isNotNull()).groupBy("order_date").agg(F.count("*").alias("lines"))
    earlier = F.sum("lines").over(Window.orderBy("order_date").rowsBetween(Window.unboundedPreceding, -1))
    doublings = F.floor(F.log2(F.coalesce(earlier, F.lit(0)) + 1)).cast("int")
    return days.select("order_date", doublings.alias(_AGE))


def _in_scope(lines: DataFrame, scopes: DataFrame) -> DataFrame:
    return lines.join(scopes, "product_id", "left").withColumn("_scope", F.coalesce("_scope", F.lit("")))


def _size(measure: Expression) -> Expression:
    return F.log1p(F.abs(measure.cast("double")))


def _usual_sizes(lines: DataFrame, ages: DataFrame) -> DataFrame:
    """Median size and unit of distance per age, category and measure, and in rows of their own over all lines.

    Lines of an age decide what is usual at later ages.

    Counted per distinct value first, so that medians are exact and cheap, and sums of floats do not
    occur: the result does not depend on order or partitioning.
    """
    measured = [F.struct(F.lit(name).alias("name"), _size(F.col(name)).alias("size")) for name in _MEASURES]
    counted = (
        lines.select(_AGE, "_scope", F.explode(F.array(*measured)).alias("_measure"))
        .select(F.col(_AGE).alias("_made"), "_scope", "_measure.name", "_measure.size")
        .where(F.col("size").isNotNull())
        .groupBy("_made", "_scope", "name", "size")
        .agg(F.count("*").alias("lines"))
        .join(F.broadcast(ages), F.col("_made") < F.col(_AGE))
        .withColumn("_scope", F.explode(F.array("_scope", F.lit(_ALL))))
        .groupBy(_AGE, "_scope", "name", "size")
        .agg(F.sum("lines").alias("lines"))
    )
    scope = [_AGE, "_scope", "name"]
    centers = counted.groupBy(*scope).agg(
        F.percentile("size", 0.5, F.col("lines")).alias("center"), F.sum("lines").alias("total")
    )
    distances = counted.join(F.broadcast(centers), scope).withColumn("distance", F.abs(F.col("size") - F.col("center")))
    deviation = F.percentile("distance", 0.5, F.col("lines")) * F.lit(_NORMAL_CONSISTENCY)
    return distances.groupBy(*scope, "center", "total").agg(F.greatest(deviation, F.lit(_LEAST_UNIT)).alias("unit"))


def _own_limits(usual: DataFrame) -> DataFrame:
    """Per age and category: between which sizes its lines are usual for it."""
    own = usual.where((F.col("_scope") != _ALL) & (F.col("total") >= MIN_LINES)).groupBy(_AGE, "_scope")
    return own.agg(*(_limit(name, "own", THRESHOLD) for name in _MEASURES))


def _all_limits(usual: DataFrame) -> DataFrame:
    """Per age: between which sizes lines of any category are usual."""
    whole = usual.where((F.col("_scope") == _ALL) & (F.col("total") >= MIN_LINES)).groupBy(_AGE)
    return whole.agg(*(_limit(name, "all", 2 * THRESHOLD) for name in _MEASURES))


def _limit(name: str, limit: str, threshold: float) -> Expression:
    reach = threshold * F.col("unit")
    bounds = F.struct((F.col("center") - reach).alias("low"), (F.col("center") + reach).alias("high"))
    return F.max(F.when(F.col("name") == name, bounds)).alias(f"_{limit}_{name}")

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

from promo_spark.contracts.ingest import USUAL_SIZES
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import bronze_of
from promo_spark.ingest.placed_lines import place_lines

THRESHOLD = 3.5
MIN_LINES = 30
_NORMAL_CONSISTENCY = 1.4826
_LEAST_UNIT = math.log(2)
_MEASURES = ("quantity", "sales_amount")
_ALL = ""
_SCOPE = ["_age", "category", "measure"]


@produces(USUAL_SIZES, order_lines=bronze_of(ORDER_LINES), history=ORDER_LINES, products=PRODUCTS)
def learn_usual_sizes(
    *, order_lines: DataFrame, history: DataFrame, products: DataFrame, time_zone: str = "UTC"
) -> DataFrame:
    """Learn, from the days before each day, between which sizes lines are usual on it.

    Counted per distinct value first, so that medians are exact and cheap, and sums of floats do not
    occur: the result does not depend on order or partitioning.

    Args:
        order_lines: bronze.order_lines of the new loads; records with a fault are left out.
        history: silver.order_lines so far; lines that the new loads replace are left out.
        products: silver.products. Products that are not there count among all lines only.
        time_zone: The retailer's own.

    Returns:
        ingest.usual_sizes; nothing where fewer than 30 lines came before.
    """
    placed = place_lines(order_lines.where(F.size("faults") == 0), time_zone)
    sized = ("product_id", "order_date", *_MEASURES)
    kept = history.join(placed, list(ORDER_LINES.key), "left_anti").select(*sized)
    lines = kept.unionByName(placed.select(*sized))
    days = _aged_days(lines)
    usual = _usual_sizes(_counted(lines.join(F.broadcast(days), "order_date"), products), days)
    reach = F.when(F.col("category") == _ALL, F.lit(2 * THRESHOLD)).otherwise(F.lit(THRESHOLD)) * F.col("_unit")
    return usual.where(F.col("_total") >= MIN_LINES).select(
        *USUAL_SIZES.key,
        "last_date",
        (F.col("_center") - reach).alias("low_size"),
        (F.col("_center") + reach).alias("high_size"),
    )


def flag_outliers(order_lines: DataFrame, usual_sizes: DataFrame, products: DataFrame) -> DataFrame:
    """Add ``is_outlier``, never NULL: outside what is usual in its category, or among all lines.

    Args:
        order_lines: Lines with ``product_id``, ``order_date``, ``quantity`` and ``sales_amount``.
        usual_sizes: ingest.usual_sizes. Where a category has no limits on a day, those of all lines hold.
        products: One row per product, with its category.
    """
    limits = usual_sizes.groupBy("category", "first_date", "last_date").agg(
        *(_limit(measure).alias(f"_{measure}") for measure in _MEASURES)
    )
    own = limits.where(F.col("category") != _ALL).alias("own")
    every = limits.where(F.col("category") == _ALL).alias("every")
    described = products.select("product_id", F.col("category").alias("_category"))
    day = F.col("order_date")
    flagged = (
        order_lines.join(described, "product_id", "left")
        .join(F.broadcast(own), (F.col("_category") == F.col("own.category")) & _holds("own", day), "left")
        .join(F.broadcast(every), _holds("every", day), "left")
    )
    is_outlier = F.lit(False)
    for measure in _MEASURES:
        for scope in ("own", "every"):
            limit = F.col(f"{scope}._{measure}")
            is_usual = _size(F.col(measure)).between(limit["low_size"], limit["high_size"])
            is_outlier = is_outlier | F.coalesce(~is_usual, F.lit(False))
    return flagged.select(*order_lines.columns, is_outlier.alias("is_outlier"))


def _limit(measure: str) -> Expression:
    return F.max(F.when(F.col("measure") == measure, F.struct("low_size", "high_size")))


def _holds(limits: str, day: Expression) -> Expression:
    return (day >= F.col(f"{limits}.first_date")) & (day <= F.coalesce(f"{limits}.last_date", day))


def _size(value: Expression) -> Expression:
    return F.log1p(F.abs(value.cast("double")))


def _aged_days(lines: DataFrame) -> DataFrame:
    """Each day and the age of the ledger on it: how often its lines had doubled before; 0 on the first day."""
    days = lines.where(F.col("order_date").isNotNull()).groupBy("order_date").agg(F.count("*").alias("lines"))
    earlier = F.sum("lines").over(Window.orderBy("order_date").rowsBetween(Window.unboundedPreceding, -1))
    doublings = F.floor(F.log2(F.coalesce(earlier, F.lit(0)) + 1)).cast("int")
    return days.select("order_date", doublings.alias("_made"))


def _counted(lines: DataFrame, products: DataFrame) -> DataFrame:
    """Lines per age in which they came, category and size; and once more over all categories."""
    measured = [F.struct(F.lit(name).alias("measure"), _size(F.col(name)).alias("size")) for name in _MEASURES]
    counted = (
        lines.join(products.select("product_id", "category"), "product_id", "left")
        .select("_made", "category", F.inline(F.array(*measured)))
        .where(F.col("size").isNotNull())
        .groupBy("_made", "category", "measure", "size")
        .agg(F.count("*").alias("_lines"))
    )
    scopes = F.array_compact(F.array(F.nullif("category", F.lit(_ALL)), F.lit(_ALL)))
    return counted.withColumn("category", F.explode(scopes))


def _usual_sizes(counted: DataFrame, days: DataFrame) -> DataFrame:
    """Median size and unit of distance per age, category and measure, of the lines of all earlier ages."""
    ages = days.groupBy(F.col("_made").alias("_age")).agg(F.min("order_date").alias("first_date"))
    next_date = F.lead("first_date").over(Window.orderBy("_age"))
    ages = ages.withColumn("last_date", F.date_sub(next_date, 1))
    past = (
        counted.join(F.broadcast(ages), F.col("_made") < F.col("_age"))
        .groupBy(*_SCOPE, "first_date", "last_date", "size")
        .agg(F.sum("_lines").alias("_lines"))
    )
    center = F.percentile("size", 0.5, F.col("_lines")).over(Window.partitionBy(*_SCOPE))
    distances = past.withColumn("_center", center).withColumn("_distance", F.abs(F.col("size") - F.col("_center")))
    deviation = F.percentile("_distance", 0.5, F.col("_lines")) * F.lit(_NORMAL_CONSISTENCY)
    return distances.groupBy(*_SCOPE, "first_date", "last_date", "_center").agg(
        F.greatest(deviation, F.lit(_LEAST_UNIT)).alias("_unit"), F.sum("_lines").alias("_total")
    )

"""Everything a decision looks at, side by side: one row per segment, planned category and offer."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

_CELL = ("segment_id", "category")


def gather_segment_offers(
    *,
    effects: DataFrame,
    profiles: DataFrame,
    segment_customers: DataFrame,
    customer_features: DataFrame,
    planned_products: DataFrame,
    order_lines: DataFrame,
    as_of_date: date,
    weeks: int,
) -> DataFrame:
    """Join the effects to who the segments are, when they shop and how customers' and stores' sales differ.

    Args:
        effects: response.effects; cells without any keep one row with NULL offer_id.
        profiles: segments.profiles.
        segment_customers: segments.customers.
        customer_features: features.customers, for the favourite time slot.
        planned_products: response.products.
        order_lines: silver.order_lines.
        as_of_date: The day of the decision.
        weeks: Length of the offers: spending is measured over as many weeks before the date.

    Returns:
        The columns of response.effects with segment_name, segment_size, time_slot, line_amount (mean sales of a line),
        spend_sd_amount (standard deviation between customers of what they spend in the category in
        so many weeks, those who buy nothing included), store_count (stores in which the segment bought the category
        in twice as many weeks) and store_change_sd_amount (standard deviation between them of the change from the
        first half to the second).
    """
    segments = profiles.select("segment_id", "segment_name", F.col("customer_count").alias("segment_size"))
    slots = _time_slots(segment_customers=segment_customers, customer_features=customer_features)
    cells = segments.join(slots, "segment_id", "left").crossJoin(planned_products.select("category").distinct())
    owned = _owned_lines(
        order_lines=order_lines,
        planned_products=planned_products,
        segment_customers=segment_customers,
        first_date=as_of_date - timedelta(weeks=2 * weeks),
        as_of_date=as_of_date,
    )
    is_second = F.col("order_date") >= F.lit(as_of_date - timedelta(weeks=weeks))
    spending = _spending(owned.where(is_second))
    stores = _store_changes(owned, is_second)
    sums = cells.join(spending, list(_CELL), "left").join(stores, list(_CELL), "left")
    size, total = F.col("segment_size").cast(T.DoubleType()), F.coalesce("spend_amount", F.lit(0.0))
    variance = (F.coalesce("square_amount", F.lit(0.0)) - total * total / size) / (size - 1)
    told = sums.select(
        *_CELL,
        "segment_name",
        "segment_size",
        "time_slot",
        F.try_divide("spend_amount", "line_count").alias("line_amount"),
        F.when(size > 1, F.sqrt(F.greatest(variance, F.lit(0.0)))).alias("spend_sd_amount"),
        "store_count",
        "store_change_sd_amount",
    )
    return told.join(effects.drop("as_of_date"), list(_CELL), "left").withColumn("as_of_date", F.lit(as_of_date))


def _time_slots(*, segment_customers: DataFrame, customer_features: DataFrame) -> DataFrame:
    """The slot that is the favourite of most of a segment's customers; of equal ones the first by name."""
    members = segment_customers.select("customer_id", "segment_id")
    counted = members.join(customer_features, "customer_id", "inner").groupBy("segment_id", "favourite_time_slot")
    order = Window.partitionBy("segment_id").orderBy(F.desc("count"), F.asc("favourite_time_slot"))
    ranked = counted.count().where(F.col("favourite_time_slot").isNotNull())
    best = ranked.withColumn("place", F.row_number().over(order)).where(F.col("place") == 1)
    return best.select("segment_id", F.col("favourite_time_slot").alias("time_slot"))


def _spending(owned: DataFrame) -> DataFrame:
    """Sums over customers of what each spent in a category, of its square, and of lines."""
    spent = owned.groupBy("customer_id", *_CELL).agg(
        F.sum("sales_amount").cast(T.DecimalType(14, 2)).alias("spent"), F.count("*").alias("lines")
    )
    return spent.groupBy(*_CELL).agg(
        F.sum("spent").cast(T.DoubleType()).alias("spend_amount"),
        F.sum(F.col("spent") * F.col("spent")).cast(T.DoubleType()).alias("square_amount"),
        F.sum("lines").alias("line_count"),
    )


def _store_changes(owned: DataFrame, is_second: Column) -> DataFrame:
    """How much stores' sales of a category to a segment changed from one plan's length to the next."""
    signed = F.when(is_second, F.col("sales_amount")).otherwise(-F.col("sales_amount"))
    of_stores = owned.where(F.col("store_id").isNotNull())
    changes = of_stores.groupBy("store_id", *_CELL).agg(F.sum(signed).cast(T.DecimalType(14, 2)).alias("change"))
    size, total = F.count("*").cast(T.DoubleType()), F.sum("change").cast(T.DoubleType())
    square = F.sum(F.col("change") * F.col("change")).cast(T.DoubleType())
    variance = (square - total * total / size) / (size - 1)
    return changes.groupBy(*_CELL).agg(
        F.count("*").alias("store_count"),
        F.when(size > 1, F.sqrt(F.greatest(variance, F.lit(0.0)))).alias("store_change_sd_amount"),
    )


def _owned_lines(
    *,
    order_lines: DataFrame,
    planned_products: DataFrame,
    segment_customers: DataFrame,
    first_date: date,
    as_of_date: date,
) -> DataFrame:
    """Sound lines of planned categories by members of segments, from the first date to the day before the date."""
    is_recent = (F.col("order_date") >= F.lit(first_date)) & (F.col("order_date") < F.lit(as_of_date))
    lines = order_lines.where(is_recent & ~F.col("is_return") & ~F.col("is_outlier"))
    lines = lines.select("customer_id", "product_id", "store_id", "order_date", "sales_amount")
    planned = planned_products.select("product_id", "category")
    owned = lines.join(F.broadcast(planned), "product_id", "inner")
    return owned.join(segment_customers.select("customer_id", "segment_id"), "customer_id", "inner")

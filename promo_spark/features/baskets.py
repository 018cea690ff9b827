"""How often, how big and at what time of day each customer's baskets are."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.features.measures import exact_mean, share, sum_amount

# First hour of each slot; night runs from 22 over midnight to 04.
_SLOTS = {"morning": (5, 11), "afternoon": (12, 16), "evening": (17, 21)}
_SATURDAY, _SUNDAY = 7, 1


def gather_baskets(*, lines: DataFrame) -> DataFrame:
    """Gather purchase lines into baskets.

    Args:
        lines: features.lines; returns and lines without a customer are left out.

    Returns:
        One row per customer and basket: day and hour of its first line, line and category counts,
        sales, and whether it lies within the look-back.
    """
    # Day and hour in one number: minima of numbers stay in a hash aggregate, those of structs do not.
    hour_number = F.unix_date("order_date") * 24 + F.col("order_hour")
    baskets = (
        lines.where(F.col("customer_id").isNotNull() & ~F.col("is_return"))
        .groupBy("customer_id", "basket_id", "category")
        .agg(
            F.min(hour_number).alias("_hour_number"),
            F.max("is_recent").alias("is_recent"),
            F.count("*").alias("line_count"),
            sum_amount(F.col("sales_amount")).alias("sales_amount"),
        )
        .groupBy("customer_id", "basket_id")
        .agg(
            F.min("_hour_number").alias("_hour_number"),
            F.max("is_recent").alias("is_recent"),
            F.sum("line_count").alias("line_count"),
            F.count("*").alias("category_count"),
            F.sum("sales_amount").cast("double").alias("sales_amount"),
        )
    )
    return baskets.withColumns(
        {
            "order_date": F.date_from_unix_date(F.floor(F.col("_hour_number") / 24).cast("int")),
            "order_hour": F.pmod(F.col("_hour_number"), F.lit(24)),
        }
    ).drop("_hour_number")


def summarise_baskets(*, lines: DataFrame, as_of_date: date) -> DataFrame:
    """Count and average each customer's baskets.

    Args:
        lines: features.lines.
        as_of_date: Recency and windows count back from here.

    Returns:
        One row per customer with a purchase: dates, counts, gap, basket shape and time slots. Means and
        shares are over baskets within the look-back. Where every order has one and the same hour the
        source knows no time of day, and the slots are NULL.
    """
    recent = F.col("is_recent")
    hours = lines.agg((F.min("order_hour") < F.max("order_hour")).alias("_has_hours"))
    summaries = (
        gather_baskets(lines=lines)
        .groupBy("customer_id")
        .agg(
            F.min("order_date").alias("first_order_date"),
            F.max("order_date").alias("last_order_date"),
            F.count("*").alias("order_count"),
            _count_since(as_of_date, 28).alias("order_28d_count"),
            _count_since(as_of_date, 91).alias("order_91d_count"),
            F.count_if(recent).alias("_recent_count"),
            F.datediff(F.max(F.when(recent, F.col("order_date"))), F.min(F.when(recent, F.col("order_date")))).alias(
                "_recent_days"
            ),
            exact_mean(F.when(recent, F.col("sales_amount"))).alias("basket_spend_amount"),
            F.avg(F.when(recent, F.col("line_count"))).alias("basket_line_count"),
            F.avg(F.when(recent, F.col("category_count"))).alias("basket_category_count"),
            *[F.count_if(recent & _in_slot(name)).alias(f"_{name}_count") for name in _SLOTS],
            F.count_if(recent & F.dayofweek("order_date").isin(_SATURDAY, _SUNDAY)).alias("_weekend_count"),
        )
    )
    return _with_rates(summaries.crossJoin(F.broadcast(hours)), as_of_date)


def _with_rates(summaries: DataFrame, as_of_date: date) -> DataFrame:
    count = F.col("_recent_count")
    day = F.lit(as_of_date)
    in_day = [F.col(f"_{name}_count") for name in _SLOTS]
    night = count - sum(in_day[1:], in_day[0])
    counts = {**dict(zip(_SLOTS, in_day, strict=True)), "night": night}
    most = F.greatest(*counts.values())
    # The first slot in the order of the day wins a tie.
    favourite = F.coalesce(*[F.when(value == most, F.lit(name)) for name, value in counts.items()])
    known = F.col("_has_hours") & (count > 0)
    rates = {f"{name}_order_rate": F.when(known, share(value, count)) for name, value in counts.items()}
    return summaries.withColumns(
        {
            "recency_days": F.datediff(day, F.col("last_order_date")).cast("long"),
            "tenure_days": F.datediff(day, F.col("first_order_date")).cast("long"),
            "order_gap_days": F.when(count > 1, F.col("_recent_days") / (count - 1)),
            **rates,
            "weekend_order_rate": share(F.col("_weekend_count"), count),
            "favourite_time_slot": F.when(known, favourite),
        }
    )


def _count_since(as_of_date: date, days: int) -> Expression:
    return F.count_if(F.col("order_date") >= F.lit(as_of_date - timedelta(days=days)))


def _in_slot(name: str) -> Expression:
    return F.col("order_hour").between(*_SLOTS[name])

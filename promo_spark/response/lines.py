"""Order lines as effects see them: at regular price, returns and outliers left out; and the weeks they fill."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_DAYS = 7
_DISCOUNT = "CAST(coalesce(retail_discount_amount, 0) + coalesce(coupon_match_amount, 0) AS DECIMAL(18, 2))"
_GROSS = "CAST(sales_amount + discount_amount AS DECIMAL(18, 2))"


def sound_lines(order_lines: DataFrame) -> DataFrame:
    """Keep sound lines and add back the discounts that the retailer paid.

    Args:
        order_lines: silver.order_lines; an unknown discount counts as none.

    Returns:
        basket_id, customer_id, product_id, order_date, order_hour, week_start_date, quantity, sales_amount,
        discount_amount, gross_amount.
    """
    sound = order_lines.where(~F.col("is_return") & ~F.col("is_outlier"))
    kept = (
        *("basket_id", "customer_id", "product_id", "order_date", "order_hour"),
        *("week_start_date", "quantity", "sales_amount"),
    )
    return sound.select(*kept, F.expr(_DISCOUNT).alias("discount_amount")).withColumn("gross_amount", F.expr(_GROSS))


def full_weeks(*, lines: DataFrame, as_of_date: date, later_weeks: int = 0) -> DataFrame:
    """List the Mondays of the weeks that order lines fill from their first day to their last.

    Before the date: weeks whose seven days lie between the first order and the date. The week of the last order is
    among them only if that order came as late in the week as the last one of a week usually does: data that end on
    a Wednesday end within a week, unless the shop is closed from Thursday on. From the date on: up to `later_weeks`
    weeks whose last day has orders on it or after it.

    Args:
        lines: Order lines (order_date, week_start_date).
        as_of_date: The day of the decision.
        later_weeks: Weeks from the date on; 0 looks at no line from the date on.

    Returns:
        Column week_start_date, one row per week, also for weeks without a line; none where no week is full.
    """
    is_known = F.col("order_date") < F.lit(as_of_date)
    weeks = lines.groupBy("week_start_date").agg(
        F.min(F.when(is_known, F.col("order_date"))).alias("first_date"),
        F.max(F.when(is_known, F.col("order_date"))).alias("known_date"),
        F.max("order_date").alias("last_date"),
    )
    day = F.struct("week_start_date", F.weekday("known_date").alias("day"))
    last_day = F.when(F.col("known_date").isNotNull(), day)
    bounds = weeks.agg(
        F.min("first_date").alias("first_date"),
        F.sort_array(F.collect_list(last_day)).alias("last_days"),
        F.max("last_date").alias("last_date"),
    )
    first = F.date_trunc("week", F.date_add("first_date", _DAYS - 1)).cast("date")
    before = as_of_date - timedelta(days=as_of_date.weekday() + _DAYS)
    known = _mondays(first, F.least(_last_full_week(F.col("last_days")), F.lit(before)))
    if later_weeks == 0:
        return bounds.select(F.explode(known).alias("week_start_date"))
    start = as_of_date + timedelta(days=-as_of_date.weekday() % _DAYS)
    closed = F.date_sub(F.date_trunc("week", F.date_add("last_date", 1)).cast("date"), _DAYS)
    last = F.least(closed, F.lit(start + timedelta(weeks=later_weeks - 1)))
    later = _mondays(F.lit(start), F.when(F.col("last_date").isNotNull(), last))
    return bounds.select(F.explode(F.concat(known, later)).alias("week_start_date"))


def _last_full_week(last_days: Column) -> Column:
    """Monday of the last week that ends as usual.

    Args:
        last_days: Per week, in order: its Monday, and the ``day`` of its last order, from 0 for Monday.
    """
    newest = F.get(last_days, F.size(last_days) - 1)
    earlier = F.sort_array(F.transform(F.slice(last_days, 1, F.greatest(F.size(last_days) - 1, F.lit(0))), _day))
    # The median; nothing is usual before the first week, so that one takes a Sunday.
    usual = F.coalesce(F.get(earlier, F.floor(F.size(earlier) / 2).cast("int")), F.lit(_DAYS - 1))
    monday = newest["week_start_date"]
    return F.when(newest["day"] >= usual, monday).otherwise(F.date_sub(monday, _DAYS))


def _day(week: Column) -> Column:
    return week["day"]


def _mondays(first: Column, last: Column) -> Column:
    dates = F.sequence(first, last, F.expr("INTERVAL 7 DAYS"))
    return F.when(first <= last, dates).otherwise(F.array().cast("array<date>"))

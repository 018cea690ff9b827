"""What each customer did in the days before a date, and in as many days before those."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.kpi_settings import KpiSettings
from promo_spark.contracts.kpis import CUSTOMER_PERIODS, PERIOD_MEASURES
from promo_spark.contracts.segments import LIFETIME_VALUES
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import CUSTOMERS, EVENTS, ORDER_LINES, RATINGS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE
from promo_spark.measurement.kpi_lines import AMOUNTS, summed, valued_lines

PERIODS = ("now", "before")
Flags = dict[str, tuple[Expression, Expression]]


@produces(
    CUSTOMER_PERIODS,
    order_lines=ORDER_LINES,
    events=EVENTS,
    ratings=RATINGS,
    customers=CUSTOMERS,
    product_features=PRODUCT_FEATURES,
    lifetime_values=LIFETIME_VALUES,
    earlier_lifetime_values=LIFETIME_VALUES,
)
def sum_customer_periods(
    *,
    order_lines: DataFrame,
    events: DataFrame,
    ratings: DataFrame,
    customers: DataFrame,
    product_features: DataFrame,
    lifetime_values: DataFrame,
    earlier_lifetime_values: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: KpiSettings,
    features: FeatureSettings,
) -> DataFrame:
    """Sum up each customer's purchases, visits, ratings and returns in two periods of equal length.

    A visit is a day on which a customer bought or browsed; it is a new one in the period of the customer's first. Sums
    are those of the ledger, refunds subtracted and outliers included. What the source does not have is NULL.

    Args:
        order_lines: silver.order_lines.
        events: silver.events; may be empty.
        ratings: silver.ratings; may be empty.
        customers: silver.customers, for days of registration; may be empty.
        product_features: features.products.
        lifetime_values: segments.lifetime_values of the date.
        earlier_lifetime_values: The same of an earlier date; may be empty.
        as_of_date: Days before it count.
        time_zone: The retailer's, in which days of events begin.
        settings: Length of a period.
        features: The margin rate of products without one.

    Returns:
        measurement.customer_periods, one row per customer who bought, browsed or registered before the date.
    """
    lines = valued_lines(
        order_lines=order_lines.where(F.col("order_date") < F.lit(as_of_date)),
        product_features=product_features,
        default_rate=features.margin_rate,
    )
    flags = _flags(as_of_date, settings.days)
    day = F.to_date(F.from_utc_timestamp("happened_at", time_zone))
    browsed = events.select("customer_id", day.alias("day")).where(F.col("day") < F.lit(as_of_date))
    registered = customers.where(F.col("registered_date") < F.lit(as_of_date)).select("customer_id", "registered_date")
    parts = (
        _purchases(lines, flags),
        _visits(lines, browsed, registered, flags),
        _rated(ratings, as_of_date, flags),
        _registered(registered, flags),
        _lifetime(lifetime_values, "now"),
        _lifetime(earlier_lifetime_values, "before"),
    )
    found = parts[1]
    for part in (parts[0], *parts[2:]):
        found = found.join(part, "customer_id", "left")
    known = (
        found.crossJoin(F.broadcast(lines.agg(_any("is_return"), _any("is_told"))))
        .crossJoin(F.broadcast(ratings.agg((F.count("*") > 0).alias("has_ratings"))))
        .crossJoin(F.broadcast(customers.agg((F.count("registered_date") > 0).alias("has_registered"))))
    )
    arrays = {period: F.array(*(_measure(name, period) for name in PERIOD_MEASURES)) for period in PERIODS}
    return known.select("customer_id", F.lit(as_of_date).alias(AS_OF_DATE), *_named(arrays))


def _named(arrays: dict[str, Expression]) -> list[Expression]:
    return [array.alias(name) for name, array in arrays.items()]


def _any(flag: str) -> Expression:
    return F.coalesce(F.bool_or(flag), F.lit(False)).alias(f"any_{flag}")


def _flags(as_of_date: date, days: int) -> Flags:
    """First day of each period and the day after its last."""
    ends = [as_of_date - timedelta(days=days * back) for back in (0, 1, 2)]
    return {"now": (F.lit(ends[1]), F.lit(ends[0])), "before": (F.lit(ends[2]), F.lit(ends[1]))}


def _inside(day: str, flags: Flags, period: str) -> Expression:
    first, end = flags[period]
    return (F.col(day) >= first) & (F.col(day) < end)


def _purchases(lines: DataFrame, flags: Flags) -> DataFrame:
    """Sums over baskets: a basket has one day, and counts once however many lines it has."""
    recent = lines.where(F.col("day") >= flags["before"][0])
    amounts = [F.sum(name).alias(name) for name in AMOUNTS]
    baskets = recent.groupBy("customer_id", "basket_id", "day", "is_return").agg(*amounts)
    sums = []
    for period in PERIODS:
        inside = _inside("day", flags, period)
        sums += [summed(F.when(inside, F.col(name))).alias(f"{name}_{period}") for name in AMOUNTS]
        sums += [F.count_if(inside & ~F.col("is_return")).cast("double").alias(f"orders_{period}")]
        sums += [F.count_if(inside & F.col("is_return")).cast("double").alias(f"return_orders_{period}")]
    return baskets.groupBy("customer_id").agg(*sums)


def _visits(lines: DataFrame, browsed: DataFrame, registered: DataFrame, flags: Flags) -> DataFrame:
    """Days with a purchase or an event, and how long the customer has been known."""
    bought = F.when(~F.col("is_return"), F.col("day"))
    facts = (
        lines.select("customer_id", "day", bought.alias("bought"), bought.alias("visited"))
        .unionByName(browsed.withColumn("visited", F.col("day")), allowMissingColumns=True)
        .unionByName(registered.select("customer_id", F.col("registered_date").alias("day")), allowMissingColumns=True)
    )
    firsts = {"day": "first_known", "bought": "first_bought", "visited": "first_visited"}
    days = facts.groupBy("customer_id", F.when(F.col("visited") >= flags["before"][0], F.col("visited")).alias("at"))
    daily = days.agg(*(F.min(name).alias(first) for name, first in firsts.items()))
    visits = [F.count_if(_inside("at", flags, period)).cast("double").alias(f"visits_{period}") for period in PERIODS]
    found = daily.groupBy("customer_id").agg(*(F.min(first).alias(first) for first in firsts.values()), *visits)
    return found.withColumns({name: value for period in PERIODS for name, value in _news(flags, period).items()})


def _news(flags: Flags, period: str) -> dict[str, Expression]:
    is_new, has_bought = (
        F.coalesce(_inside(first, flags, period), F.lit(False)) for first in ("first_visited", "first_bought")
    )
    return {
        f"new_visits_{period}": F.when(is_new, F.col(f"visits_{period}")).otherwise(F.lit(0.0)),
        f"new_customers_{period}": has_bought.cast("double"),
        f"known_{period}": (F.col("first_known") < flags[period][1]).cast("double"),
    }


def _rated(ratings: DataFrame, as_of_date: date, flags: Flags) -> DataFrame:
    sums = []
    for period in PERIODS:
        own = F.when(_inside("rated_date", flags, period), F.rint(F.col("rating") * 10_000).cast("bigint"))
        sums += [(F.coalesce(F.sum(own), F.lit(0)) / 10_000).alias(f"rating_sum_{period}")]
        sums += [F.count(own).cast("double").alias(f"ratings_{period}")]
    return ratings.where(F.col("rated_date") < F.lit(as_of_date)).groupBy("customer_id").agg(*sums)


def _registered(registered: DataFrame, flags: Flags) -> DataFrame:
    joined = [_inside("registered_date", flags, p).cast("double").alias(f"registrations_{p}") for p in PERIODS]
    return registered.select("customer_id", *joined)


def _lifetime(values: DataFrame, period: str) -> DataFrame:
    amount = F.col("lifetime_value_amount").cast("double")
    return values.select("customer_id", amount.alias(f"lifetime_value_{period}"), F.lit(1.0).alias(f"valued_{period}"))


_NEEDS = {
    "discount": "any_is_told",
    "return_orders": "any_is_return",
    "rating_sum": "has_ratings",
    "ratings": "has_ratings",
    "registrations": "has_registered",
}
_KEPT_NULL = ("lifetime_value", "valued")


def _measure(name: str, period: str) -> Expression:
    """A measure: 0 for who did nothing, NULL where the source does not tell."""
    if name == "buyers":
        return (F.coalesce(f"orders_{period}", F.lit(0.0)) > 0).cast("double")
    value = F.col(f"{name}_{period}")
    if name in _KEPT_NULL:
        return value
    filled = F.coalesce(value, F.lit(0.0))
    return F.when(F.col(_NEEDS[name]), filled).otherwise(F.lit(None)) if name in _NEEDS else filled

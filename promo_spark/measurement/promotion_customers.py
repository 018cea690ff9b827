"""What customers who were given a promotion, and those kept from it, did while it ran and before it began."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.kpi_settings import KpiSettings
from promo_spark.contracts.kpis import PROMOTION_CUSTOMERS, PROMOTION_MEASURES
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import (
    ASSIGNMENTS,
    EVENTS,
    EXPOSURES,
    ORDER_LINES,
    PROMOTION_PRODUCTS,
    PROMOTIONS,
    REDEMPTIONS,
)
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE
from promo_spark.measurement.kpi_lines import AMOUNTS, summed, valued_lines

_PAIR = ("promotion_id", "customer_id")


@produces(
    PROMOTION_CUSTOMERS,
    order_lines=ORDER_LINES,
    assignments=ASSIGNMENTS,
    exposures=EXPOSURES,
    events=EVENTS,
    promotions=PROMOTIONS,
    promotion_products=PROMOTION_PRODUCTS,
    redemptions=REDEMPTIONS,
    product_features=PRODUCT_FEATURES,
)
def sum_promotion_customers(
    *,
    order_lines: DataFrame,
    assignments: DataFrame,
    exposures: DataFrame,
    events: DataFrame,
    promotions: DataFrame,
    promotion_products: DataFrame,
    redemptions: DataFrame,
    product_features: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: KpiSettings,
    features: FeatureSettings,
    costs: AssignSettings,
) -> DataFrame:
    """Sum up what happened around each promotion that began in the days before the date.

    A promotion counts from its first day to its last, or to the day before the date; what came before it is as many
    days right before its first. Refunds and outliers are left out. Neighbours are products of the categories that a
    promotion covers, which it does not cover itself. Kept from a promotion is who was held out of it, or got the arm
    none in a decision that offered it.

    Args:
        order_lines: silver.order_lines.
        assignments: silver.assignments.
        exposures: silver.exposures; may be empty: nothing is then known of clicks, and each customer given a
            promotion is one contact.
        events: silver.events, for clicks on covered products; may be empty.
        promotions: silver.promotions.
        promotion_products: silver.promotion_products; may be empty.
        redemptions: silver.redemptions; may be empty.
        product_features: features.products.
        as_of_date: Days before it count.
        time_zone: The retailer's.
        settings: How far back promotions are told of.
        features: The margin rate of products without one.
        costs: What a contact costs.

    Returns:
        measurement.promotion_customers.
    """
    windows = _windows(promotions, as_of_date, settings.promotion_days, costs)
    pairs = _pairs(assignments, windows, as_of_date, time_zone)
    lines = valued_lines(
        order_lines=order_lines.where(F.col("order_date") < F.lit(as_of_date)),
        product_features=product_features,
        default_rate=features.margin_rate,
    )
    first = as_of_date - timedelta(days=2 * settings.promotion_days)
    sound = lines.where((F.col("day") >= F.lit(first)) & ~F.col("is_return") & ~F.col("is_outlier"))
    covered = promotion_products.select("promotion_id", "product_id").distinct()
    bought = _bought(pairs, sound, covered, product_features)
    used = _used(pairs, redemptions)
    seen = _seen(pairs, exposures, events, covered, time_zone)
    known = (
        pairs.join(bought, list(_PAIR), "left")
        .join(used, list(_PAIR), "left")
        .join(seen, list(_PAIR), "left")
        .join(covered.select("promotion_id", F.lit(True).alias("is_covering")).distinct(), "promotion_id", "left")
        .crossJoin(_has(redemptions, "has_redemptions"))
        .crossJoin(_has(exposures, "has_exposures"))
        .crossJoin(_has(events.where(F.col("event_type") == "click"), "has_clicks"))
    )
    arrays = [
        F.array(*(_measure(name, period) for name in PROMOTION_MEASURES)).alias(period) for period in ("now", "before")
    ]
    return known.select(*_PAIR, F.lit(as_of_date).alias(AS_OF_DATE), "is_given", "weight", *arrays)


def _has(frame: DataFrame, name: str) -> DataFrame:
    return F.broadcast(frame.select(F.lit(1)).limit(1).agg((F.count("*") > 0).alias(name)))


def _windows(promotions: DataFrame, as_of_date: date, days: int, costs: AssignSettings) -> DataFrame:
    """promotion_id, first_day, last_day, before_day (first day of the period before) and contact_amount."""
    contact = F.lit(float(costs.contact_cost_amount))
    for channel, amount in sorted(costs.contact_cost_amounts.items()):
        contact = F.when(F.col("channel") == channel, F.lit(float(amount))).otherwise(contact)
    start = F.col("start_date")
    began = (start < F.lit(as_of_date)) & (start >= F.lit(as_of_date - timedelta(days=days)))
    last = F.least(F.col("end_date"), F.lit(as_of_date - timedelta(days=1)))
    return promotions.where(began).select(
        "promotion_id",
        start.alias("first_day"),
        last.alias("last_day"),
        F.date_sub(start, F.datediff(last, start) + 1).alias("before_day"),
        contact.alias("contact_amount"),
    )


def _pairs(assignments: DataFrame, windows: DataFrame, as_of_date: date, time_zone: str) -> DataFrame:
    """One row per promotion and customer given it or kept from it; who is both, was given it."""
    day = F.to_date(F.from_utc_timestamp("decided_at", time_zone))
    decided = assignments.where(day < F.lit(as_of_date))
    named = decided.where(F.col("arm") != NO_ARM)
    told = named.select(
        "decision_id",
        "customer_id",
        F.col("arm").alias("promotion_id"),
        (~F.col("is_holdout")).alias("is_given"),
        "propensity",
    )
    offered = named.select("decision_id", F.col("arm").alias("promotion_id")).distinct()
    kept = decided.where(F.col("arm") == NO_ARM).join(F.broadcast(offered), "decision_id")
    kept = kept.select("decision_id", "customer_id", "promotion_id", F.lit(False).alias("is_given"), "propensity")
    both = told.unionByName(kept).join(F.broadcast(windows), "promotion_id")
    chosen = both.groupBy(*_PAIR).agg(
        F.max_by(F.struct("is_given", "propensity"), F.struct("is_given", "propensity", "decision_id")).alias("_pair"),
        *(F.first(name).alias(name) for name in ("first_day", "last_day", "before_day", "contact_amount")),
    )
    sizes = Window.partitionBy("promotion_id")
    side = Window.partitionBy("promotion_id", "is_given")
    unpacked = chosen.select("*", "_pair.*").drop("_pair")
    shared = F.count("*").over(sizes) / F.count("*").over(side)
    # Who could only be treated as they were has nobody to be compared with.
    drawn = F.when(F.col("propensity") < 1, 1.0 / F.col("propensity"))
    return unpacked.withColumn("weight", F.when(F.col("propensity").isNull(), shared).otherwise(drawn)).drop(
        "propensity"
    )


def _bought(pairs: DataFrame, lines: DataFrame, covered: DataFrame, product_features: DataFrame) -> DataFrame:
    """Sums over what the pair's customer bought in its two periods."""
    categories = product_features.select("product_id", "category")
    neighbours = covered.join(F.broadcast(categories), "product_id").select("promotion_id", "category").distinct()
    window = pairs.select(*_PAIR, "first_day", "last_day", "before_day")
    around = (
        lines.join(window, "customer_id")
        .where(F.col("day").between(F.col("before_day"), F.col("last_day")))
        .join(covered.withColumn("is_promoted", F.lit(True)), ["promotion_id", "product_id"], "left")
        .join(neighbours.withColumn("is_near", F.lit(True)), ["promotion_id", "category"], "left")
    )
    promoted = F.coalesce("is_promoted", F.lit(False))
    near = F.coalesce("is_near", F.lit(False)) & ~promoted
    daily = around.groupBy(*_PAIR, "day", (F.col("day") >= F.col("first_day")).alias("is_now")).agg(
        F.sum("sales").alias("sales"),
        F.sum("margin").alias("margin"),
        *(F.sum(F.when(promoted, F.col(name))).alias(f"promoted_{name}") for name in AMOUNTS),
        F.sum(F.when(near, F.col("sales"))).alias("neighbour_sales"),
        F.count_if(promoted).alias("promoted_lines"),
    )
    sums = []
    for period in ("now", "before"):
        then = F.col("is_now") if period == "now" else ~F.col("is_now")
        sums += [summed(F.when(then, F.col(name))).alias(f"{name}_{period}") for name in _AMOUNTS]
        sums += [F.count_if(then).cast("double").alias(f"visits_{period}")]
        sums += [F.sum(F.when(then, F.col("promoted_lines"))).alias(f"promoted_lines_{period}")]
    return daily.groupBy(*_PAIR).agg(*sums)


_AMOUNTS = (*("sales", "margin", "neighbour_sales"), *(f"promoted_{name}" for name in AMOUNTS))


def _used(pairs: DataFrame, redemptions: DataFrame) -> DataFrame:
    window = pairs.select(*_PAIR, "first_day", "last_day")
    used = redemptions.join(window, list(_PAIR)).where(
        F.col("redeemed_date").between(F.col("first_day"), F.col("last_day"))
    )
    return used.select(*_PAIR, F.lit(1.0).alias("redeemers_now")).distinct()


def _seen(pairs: DataFrame, exposures: DataFrame, events: DataFrame, covered: DataFrame, time_zone: str) -> DataFrame:
    window = pairs.select(*_PAIR, "first_day", "last_day")
    day = F.to_date(F.from_utc_timestamp("exposed_at", time_zone))
    seen = exposures.select(*_PAIR, day.alias("day")).join(window, list(_PAIR))
    seen = seen.where(F.col("day").between(F.col("first_day"), F.col("last_day")))
    shown = seen.groupBy(*_PAIR).agg(F.count("*").cast("double").alias("exposures_now"))
    clicked = F.to_date(F.from_utc_timestamp("happened_at", time_zone))
    clicks = (
        events.where(F.col("event_type") == "click")
        .select("customer_id", "product_id", clicked.alias("day"))
        .join(covered, "product_id")
        .join(window, list(_PAIR))
        .where(F.col("day").between(F.col("first_day"), F.col("last_day")))
        .groupBy(*_PAIR)
        .agg(F.count("*").cast("double").alias("clicks_now"))
    )
    return shown.join(clicks, list(_PAIR), "full")


def _measure(name: str, period: str) -> Expression:
    """A measure: 0 for who did nothing, NULL where the source does not tell, or where it cannot be before."""
    is_now = period == "now"
    if name == "contact_cost":
        contacts = F.when(F.col("has_exposures"), F.coalesce("exposures_now", F.lit(0.0))).otherwise(F.lit(1.0))
        return F.when(F.col("is_given") & F.lit(is_now), contacts * F.col("contact_amount")).otherwise(F.lit(0.0))
    if name in _SEEN and not is_now:
        return F.lit(None).cast("double")
    if name in _COUNTED:
        filled = (F.coalesce(f"{_COUNTED[name]}_{period}", F.lit(0)) > 0).cast("double")
    else:
        filled = F.coalesce(f"{name}_{period}", F.lit(0.0))
    needs = _SEEN.get(name, ("is_covering",) if name.startswith(("promoted", "neighbour")) else ())
    known = F.lit(True)
    for need in needs:
        known &= F.coalesce(F.col(need), F.lit(False))
    return F.when(known, filled)


_COUNTED = {"buyers": "visits", "promoted_buyers": "promoted_lines"}
_SEEN = {
    "redeemers": ("has_redemptions",),
    "exposures": ("has_exposures",),
    "clicks": ("has_clicks", "is_covering"),
}

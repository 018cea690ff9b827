"""What every customer did around each campaign, targeted or not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.campaign_effects import CAMPAIGN_CUSTOMERS, CAMPAIGNS
from promo_spark.contracts.campaign_effects_settings import CampaignEffectSettings
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import ASSIGNMENTS, ORDER_LINES, PRODUCTS, PROMOTION_PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.kernels.campaign_history import MEASURES
from promo_spark.measurement.campaigns import given_promotions

_UNITS = 10_000  # amounts as whole numbers: sums are then exact, in whatever order
_AMOUNTS = tuple(name for name in MEASURES if name.endswith("_amount"))
_PLACES = 1 << 30


@produces(
    CAMPAIGN_CUSTOMERS,
    campaigns=CAMPAIGNS,
    assignments=ASSIGNMENTS,
    order_lines=ORDER_LINES,
    products=PRODUCTS,
    product_features=PRODUCT_FEATURES,
    promotion_products=PROMOTION_PRODUCTS,
)
def gather_campaign_customers(
    *,
    campaigns: DataFrame,
    assignments: DataFrame,
    order_lines: DataFrame,
    products: DataFrame,
    product_features: DataFrame,
    promotion_products: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: CampaignEffectSettings,
    features: FeatureSettings,
    seed: int,
) -> DataFrame:
    """Sum what customers did in each period before and after the start of each campaign.

    Campaigns whose time before or after is not wholly known are left out, and so are customers who bought nothing in
    the time before or for whom the campaign was decided later than on its first day. Refunds and outliers are left out
    of amounts. Another campaign decided for a customer counts in the period of its day, on the same day in the last one
    before. Where a side may have more than ``max_customers`` a sample is drawn by hash.

    Args:
        campaigns: measurement.campaigns.
        assignments: silver.assignments.
        order_lines: silver.order_lines.
        products: silver.products, for categories.
        product_features: features.products, for margin rates; may be empty.
        promotion_products: silver.promotion_products; may be empty.
        as_of_date: Nothing from this date on is used.
        time_zone: The retailer's, in which days of decisions begin.
        settings: Lengths of the periods.
        features: The margin rate of products without one.
        seed: Of the sample.

    Returns:
        measurement.campaign_customers.
    """
    windows = campaigns.where("has_history AND is_over").select("promotion_id", "start_date", "before_date", "end_date")
    lines = order_lines.where((F.col("order_date") < F.lit(as_of_date)) & F.col("customer_id").isNotNull())
    given = given_promotions(assignments=assignments, as_of_date=as_of_date, time_zone=time_zone)
    bought = _bought(lines, products, product_features, features)
    covered = promotion_products.select("promotion_id", "product_id").distinct()
    touched = covered.join(products.select("product_id", "category"), "product_id").select("promotion_id", "category")
    daily = _purchases(bought, windows, touched.distinct())
    parts = daily.unionByName(_covered(bought, windows, covered)).unionByName(_other_campaigns(given, windows))
    period = F.floor(F.col("day") / settings.period_days).cast("int") + settings.periods_before
    sums = (
        parts.withColumn("period", period)
        .groupBy("promotion_id", "customer_id", "period")
        .agg(*(F.sum(name).alias(name) for name in MEASURES))
    )
    sampled = _sampled(_with_targeting(sums, windows, given), lines, campaigns, settings.max_customers, seed)
    per_customer = sampled.groupBy("promotion_id", "customer_id", "is_targeted").agg(
        F.map_from_entries(F.sort_array(F.collect_list(F.struct("period", _values())))).alias("held"),
        F.max((F.col("period") < settings.periods_before) & (F.col("visit_count") > 0)).alias("is_known"),
    )
    laid_out = per_customer.where("is_known").withColumn("periods", _laid_out(settings.periods))
    return laid_out.withColumn("as_of_date", F.lit(as_of_date))


def _bought(lines: DataFrame, products: DataFrame, product_features: DataFrame, features: FeatureSettings) -> DataFrame:
    """One row per customer, day and product, in whole units."""
    sound = lines.where(~F.col("is_return") & ~F.col("is_outlier")).select(
        *("customer_id", "product_id", "order_date"),
        _units("sales_amount").alias("sales_amount"),
        (_units("retail_discount_amount") + _units("coupon_match_amount")).alias("discount_amount"),
        _units("coupon_discount_amount").alias("coupon_amount"),
    )
    amounts = ("sales_amount", "discount_amount", "coupon_amount")
    days = sound.groupBy("customer_id", "product_id", "order_date").agg(*(F.sum(n).alias(n) for n in amounts))
    described = days.join(F.broadcast(products.select("product_id", "category")), "product_id", "left").join(
        F.broadcast(product_features.select("product_id", "margin_rate")), "product_id", "left"
    )
    gross = F.col("sales_amount") + F.col("discount_amount")
    margin = F.coalesce("margin_rate", F.lit(features.margin_rate)) * gross - F.col("discount_amount")
    return described.withColumn("margin_amount", F.round(margin).cast("bigint"))


def _purchases(bought: DataFrame, windows: DataFrame, touched: DataFrame) -> DataFrame:
    """One row per campaign, customer and day in its window: the measures that covered products have no part in."""
    summed = ("sales_amount", "margin_amount", "discount_amount", "coupon_amount")
    daily = bought.groupBy("customer_id", "order_date", "category").agg(*(F.sum(n).alias(n) for n in summed))
    is_touched = touched.withColumn("is_touched", F.lit(True))
    inside = _inside(daily, windows).join(F.broadcast(is_touched), ["promotion_id", "category"], "left")
    has_touched = touched.select("promotion_id").distinct().withColumn("has_touched", F.lit(True))
    known = inside.join(F.broadcast(has_touched), "promotion_id", "left")
    untouched = F.when(
        F.col("has_touched") & F.col("is_touched").isNull() & F.col("category").isNotNull(), F.col("sales_amount")
    )
    per_day = known.groupBy("promotion_id", "customer_id", "day").agg(
        *(F.sum(n).alias(n) for n in summed), F.coalesce(F.sum(untouched), F.lit(0)).alias("untouched_sales_amount")
    )
    return _measured(per_day.withColumn("visit_count", F.lit(1)))


def _covered(bought: DataFrame, windows: DataFrame, covered: DataFrame) -> DataFrame:
    own = covered.join(F.broadcast(windows), "promotion_id")
    inside = bought.select("customer_id", "product_id", "order_date", "sales_amount").join(own, "product_id")
    days = inside.where(_is_inside()).withColumn("day", F.datediff("order_date", "start_date"))
    return _measured(days.withColumn("covered_sales_amount", F.col("sales_amount")).drop("sales_amount"))


def _other_campaigns(given: DataFrame, windows: DataFrame) -> DataFrame:
    others = given.select(
        "customer_id", F.col("promotion_id").alias("other_id"), F.col("decided_date").alias("order_date")
    )
    inside = _inside(others, windows).where(F.col("other_id") != F.col("promotion_id"))
    # What is decided on the same day is known at the start.
    day = F.when(F.col("day") == 0, F.lit(-1)).otherwise(F.col("day"))
    return _measured(inside.withColumn("day", day).withColumn("campaign_count", F.lit(1)))


def _inside(events: DataFrame, windows: DataFrame) -> DataFrame:
    """Events in the window of each campaign, with their day from its start."""
    return events.join(F.broadcast(windows), _is_inside()).withColumn("day", F.datediff("order_date", "start_date"))


def _is_inside() -> Expression:
    return (F.col("order_date") >= F.col("before_date")) & (F.col("order_date") < F.col("end_date"))


def _measured(rows: DataFrame) -> DataFrame:
    told = [F.col(name) if name in rows.columns else F.lit(0) for name in MEASURES]
    return rows.select(
        "promotion_id",
        "customer_id",
        "day",
        *(one.cast("bigint").alias(n) for one, n in zip(told, MEASURES, strict=True)),
    )


def _with_targeting(sums: DataFrame, windows: DataFrame, given: DataFrame) -> DataFrame:
    """Who is in which campaign from its first day on; who was added later is left out."""
    own = given.join(F.broadcast(windows.select("promotion_id", "start_date")), "promotion_id").select(
        "promotion_id", "customer_id", (F.col("decided_date") == F.col("start_date")).alias("is_targeted")
    )
    named = sums.join(own, ["promotion_id", "customer_id"], "left")
    is_late = F.coalesce(~F.col("is_targeted"), F.lit(False))
    return named.where(~is_late).withColumn("is_targeted", F.coalesce("is_targeted", F.lit(False)))


def _sampled(rows: DataFrame, lines: DataFrame, campaigns: DataFrame, most: int, seed: int) -> DataFrame:
    """Keep so many customers of either side on average: no group then outgrows a task."""
    customers = lines.agg(F.count_distinct("customer_id").alias("_customers"))
    bounds = campaigns.select("promotion_id", "named_count").crossJoin(customers)
    share = F.lit(float(most)) / F.when(F.col("is_targeted"), F.col("named_count")).otherwise(F.col("_customers"))
    drawn = F.pmod(F.xxhash64("promotion_id", "customer_id", F.lit(seed)), F.lit(_PLACES)) / F.lit(float(_PLACES))
    return rows.join(F.broadcast(bounds), "promotion_id").where(drawn < share)


def _values() -> Expression:
    amounts = (F.col(name) / (_UNITS if name in _AMOUNTS else 1) for name in MEASURES)
    return F.array(*amounts).cast("array<double>").alias("values")


def _laid_out(periods: int) -> Expression:
    """The measures of all periods as one array, one measure after the other; 0 where nothing happened."""
    places = F.sequence(F.lit(0), F.lit(periods - 1))
    return F.flatten(F.array(*(F.transform(places, _of(place)) for place in range(len(MEASURES)))))


def _of(place: int) -> Callable[[Expression], Expression]:
    def value(period: Expression) -> Expression:
        return F.coalesce(F.get(F.try_element_at("held", period), F.lit(place)), F.lit(0.0))

    return value


def _units(amount: str) -> Expression:
    return F.round(F.coalesce(F.col(amount).cast("double"), F.lit(0.0)) * _UNITS).cast("bigint")

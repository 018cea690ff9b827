"""What the customers of the simulated retailer buy, and what the campaign truly adds to it."""

from __future__ import annotations

from typing import Literal

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.source_settings import SyntheticSource
from promo_spark.sources.synthetic_draws import count_of_mean, skewed_index, skewed_share, uniform
from promo_spark.sources.synthetic_world import (
    CAMPAIGN_WEEKS,
    COUPON_RATE,
    CUT_RATE,
    DIP_WEEKS,
    FAVOURITE_SHARE,
    FAVOURITES,
    PROMOTION_ID,
    by_type,
    category_size,
    is_covered,
    largest_effect,
    lever,
    lever_effect,
    list_price,
    product_id,
    season,
    simulated_customers,
    simulated_products,
)

Arm = Literal["assigned", "everybody", "nobody"]
_TRIP_BITS = 7
_LINE_BITS = 10
_WEEK_BITS = 10
_COUPON_USE_SHARE = 0.25
# Units per line: 1 + floor(3 u³), so 2 with u beyond (1/3)^(1/3) and 3 with u beyond (2/3)^(1/3).
MEAN_UNITS = 1.0 + (1.0 - (1 / 3) ** (1 / 3)) + (1.0 - (2 / 3) ** (1 / 3))


def simulate_lines(spark: SparkSession, source: SyntheticSource, arm: Arm = "assigned") -> DataFrame:
    """Simulate every line bought.

    Candidate lines come at the largest rate any factor allows, and each is kept with the share that its
    own factors are of it (thinning, after Lewis and Shedler, 1979). With the same seed the candidates
    are the same under every ``arm``, so two simulations differ by the campaign's effect alone.

    Args:
        spark: Session.
        source: Settings of the simulated retailer.
        arm: Who gets the campaign: as assigned, everybody, nobody (counterfactuals).

    Returns:
        One row per line: columns of bronze.order_lines and ``category_number``, ``week``, ``is_treated``.
    """
    seed = source.seed
    keys = [F.col("customer_number"), F.col("week"), F.col("trip")]
    mean_trips = F.col("weekly_trips") * season(F.col("week"))
    trips = count_of_mean(mean_trips, uniform(seed, "trips", *keys[:2]), uniform(seed, "trips left", *keys[:2]))
    mean_lines = F.lit(source.lines_per_basket * largest_effect())
    lines = count_of_mean(mean_lines, uniform(seed, "lines", *keys), uniform(seed, "lines left", *keys))
    treated = {"assigned": F.col("is_treated"), "everybody": F.lit(True), "nobody": F.lit(False)}[arm]
    candidates = (
        simulated_customers(spark, source)
        .withColumn("is_treated", treated)
        .withColumn("week", F.explode(F.sequence(F.lit(0), F.lit(source.weeks - 1))))
        .withColumn("trip", _numbered(trips))
        .withColumn("line", _numbered(lines))
        .withColumn("category_number", _category(source, *keys, F.col("line")))
    )
    draw = uniform(seed, "kept", *keys, F.col("line"))
    kept = candidates.where(draw * largest_effect() < _effect(source))
    return _as_order_lines(source, kept)


def simulate_redemptions(lines: DataFrame, source: SyntheticSource) -> DataFrame:
    """The coupons used: one row per customer, category coupon and day, from ``simulate_lines``."""
    used = lines.where(F.col("coupon_discount_amount") > 0)
    day = F.from_utc_timestamp("ordered_at", source.time_zone).cast("date")
    return used.groupBy(
        F.lit(PROMOTION_ID).alias("promotion_id"),
        "raw_customer_id",
        coupon_id(F.col("category_number")).alias("coupon_id"),
        day.alias("redeemed_date"),
    ).agg(F.min("source_ordinal").alias("source_ordinal"))


def coupon_id(category: Expression) -> Expression:
    """Id of the campaign's coupon for a category."""
    return F.format_string("coupon-%03d", category)


def expected_effects(spark: SparkSession, source: SyntheticSource) -> DataFrame:
    """What being assigned the campaign adds to each customer's expected sales, in closed form.

    Expected weekly sales in covered categories are trips × season × lines × units × Σ share × mean
    price; the campaign multiplies them by 1 + its effect on the customer's type.

    Returns:
        One row per customer: the columns of truth.effects, with the raw id for ``customer_id``.
    """
    size = category_size(source, F.col("category_number"))
    place = F.floor(F.col("product_number") / source.categories)
    # Summed per category in whole numbers of a billionth, so that the order of summing does not matter.
    weighted = F.round(skewed_share(place, size) * F.col("list_price") * 1e9).cast("bigint")
    share = skewed_share(F.col("category_number"), F.lit(source.categories))
    prices = (
        simulated_products(spark, source)
        .where(is_covered(source, F.col("category_number")))
        .groupBy("category_number")
        .agg((F.sum(weighted) / 1e9).alias("price"))
    )
    pairs = F.sort_array(F.collect_list(F.struct("category_number", "price", share.alias("share"))))
    world = prices.agg(pairs.alias("covered"))
    popular = F.aggregate("covered", F.lit(0.0), lambda total, item: total + item["share"] * item["price"])
    by_category = F.map_from_entries(
        F.transform("covered", lambda item: F.struct(item["category_number"], item["price"]))
    )
    personal = F.aggregate(
        "favourites", F.lit(0.0), lambda total, item: total + F.coalesce(by_category[item], F.lit(0.0))
    )
    basket = (1.0 - FAVOURITE_SHARE) * popular + FAVOURITE_SHARE / FAVOURITES * personal
    weekly = F.col("weekly_trips") * (source.lines_per_basket * MEAN_UNITS) * basket
    first, after = source.campaign_week, source.campaign_week + CAMPAIGN_WEEKS
    during = _season_sum(first, min(after, source.weeks))
    later = _season_sum(after, min(after + DIP_WEEKS, source.weeks))
    weeks = min(after, source.weeks) - first
    gained = weekly * by_type("campaign") * during
    lost = weekly * by_type("dip") * later
    return (
        simulated_customers(spark, source)
        .crossJoin(F.broadcast(world))
        .select(
            F.col("raw_customer_id").alias("customer_id"),
            F.lit(PROMOTION_ID).alias("promotion_id"),
            "customer_type",
            (gained / weeks).alias("uplift_weekly_amount"),
            (gained - lost).alias("uplift_net_amount"),
        )
    )


def _season_sum(first: int, end: int) -> Expression:
    total = F.lit(0.0)
    for week in range(first, end):
        total = total + season(F.lit(week))
    return total


def _numbered(count: Expression) -> Expression:
    return F.explode(F.when(count > 0, F.sequence(F.lit(1), count)))


def _category(source: SyntheticSource, *keys: Expression) -> Expression:
    """A favourite category for half of the candidates, a popular one for the others."""
    popular = skewed_index(uniform(source.seed, "category", *keys), F.lit(source.categories))
    place = F.floor(uniform(source.seed, "which favourite", *keys) * FAVOURITES).cast("int")
    is_favourite = uniform(source.seed, "favours", *keys) < FAVOURITE_SHARE
    return F.when(is_favourite, F.get("favourites", place)).otherwise(popular)


def _effect(source: SyntheticSource) -> Expression:
    """Product of all factors on the rate of a candidate's category, week and customer."""
    week, category = F.col("week"), F.col("category_number")
    first, end = source.campaign_week, source.campaign_week + CAMPAIGN_WEEKS
    reached = F.col("is_treated") & is_covered(source, category)
    campaign = F.when(reached & (week >= first) & (week < end), 1.0 + by_type("campaign")).when(
        reached & (week >= end) & (week < end + DIP_WEEKS), 1.0 - by_type("dip")
    )
    return lever_effect(source, category, week) * F.coalesce(campaign, F.lit(1.0))


def _as_order_lines(source: SyntheticSource, kept: DataFrame) -> DataFrame:
    seed = source.seed
    trip = [F.col("customer_number"), F.col("week"), F.col("trip")]
    line = [*trip, F.col("line")]
    week, category = F.col("week"), F.col("category_number")
    place = skewed_index(uniform(seed, "product", *line), category_size(source, category))
    product = place * source.categories + category
    units = 1 + F.floor(3.0 * F.pow(uniform(seed, "units", *line), 3.0))
    regular = F.round(list_price(source, F.col("product_number")) * F.col("units"), 2)
    cut = F.when(lever(source, category, week) == "price_cut", F.round(regular * CUT_RATE, 2))
    first, end = source.campaign_week, source.campaign_week + CAMPAIGN_WEEKS
    offered = F.col("is_treated") & is_covered(source, category) & (week >= first) & (week < end)
    coupon = F.when(offered & (uniform(seed, "coupon", *line) < _COUPON_USE_SHARE), F.round(regular * COUPON_RATE, 2))
    day = F.date_add(F.lit(source.first_date), (week * 7 + F.floor(uniform(seed, "day", *trip) * 7)).cast("int"))
    hour = 8 + F.floor(13.0 * (uniform(seed, "hour", *trip) + uniform(seed, "hour too", *trip)) / 2.0)
    minute = F.floor(uniform(seed, "minute", *trip) * 60)
    local = F.timestamp_seconds(F.unix_seconds(day.cast("timestamp")) + hour * 3600 + minute * 60)
    money = "decimal(18,2)"
    ordinal = trip[0]
    for part, bits in ((week, _WEEK_BITS), (trip[2], _TRIP_BITS), (F.col("line"), _LINE_BITS)):
        ordinal = ordinal * (1 << bits) + part
    priced = kept.withColumns({"product_number": product, "units": units}).withColumns(
        {"regular": regular, "cut": F.coalesce(cut, F.lit(0.0)), "coupon": F.coalesce(coupon, F.lit(0.0))}
    )
    return priced.select(
        F.format_string("B%d-%d-%d", *trip).alias("basket_id"),
        F.col("line").cast("string").alias("line_id"),
        "raw_customer_id",
        product_id(F.col("product_number")).alias("product_id"),
        F.format_string("S%03d", F.floor(uniform(seed, "store", trip[0]) * source.stores)).alias("store_id"),
        F.lit("store").alias("channel"),
        F.to_utc_timestamp(local, source.time_zone).alias("ordered_at"),
        F.col("units").cast("decimal(18,3)").alias("quantity"),
        (F.col("regular") - F.col("cut")).cast(money).alias("sales_amount"),
        F.col("cut").cast(money).alias("retail_discount_amount"),
        F.col("coupon").cast(money).alias("coupon_discount_amount"),
        F.lit(0).cast(money).alias("coupon_match_amount"),
        (ordinal + 1).alias("source_ordinal"),
        "category_number",
        "week",
        "is_treated",
    )

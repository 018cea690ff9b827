"""A simulated retailer of any size whose true promotion effects are known. Figures from it are synthetic.

Everything is generated in Spark, from a seed, at a cost that grows in proportion to customers, products and weeks.
"""

from __future__ import annotations

from datetime import timedelta

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.silver import SILVER
from promo_spark.contracts.source_settings import SyntheticSource, received_columns
from promo_spark.sources.synthetic_ratings import simulate_ratings
from promo_spark.sources.synthetic_sales import (
    coupon_id,
    expected_effects,
    simulate_lines,
    simulate_redemptions,
)
from promo_spark.sources.synthetic_world import (
    CAMPAIGN_WEEKS,
    COUPON_RATE,
    CUT_RATE,
    LEVERS,
    PROMOTION_ID,
    TYPES,
    age_band,
    category_name,
    consent,
    department_name,
    income_band,
    is_covered,
    lever,
    simulated_customers,
    simulated_products,
)

SYNTHETIC_FILE = "synthetic"
SYNTHETIC_ENTITIES = (
    *("customers", "products", "order_lines", "promotions", "promotion_products", "assignments", "redemptions"),
    *("ratings", "prices"),
)
_MONEY = "decimal(18,2)"


def synthetic_tables(spark: SparkSession, source: SyntheticSource) -> dict[str, DataFrame]:
    """All tables of the simulated retailer.

    Three of them come from the lines bought: those are persisted on disk, until the stage ends.

    Returns:
        Per entity the received columns of bronze, with the raw customer id in place of the pseudonym,
        and ``source_ordinal``; one row per record.
    """
    lines = simulate_lines(spark, source).persist(StorageLevel.DISK_ONLY)
    made = {
        "customers": _customers(spark, source),
        "products": _products(spark, source),
        "order_lines": lines,
        "promotions": _promotions(spark, source),
        "promotion_products": _promotion_products(spark, source),
        "assignments": _assignments(spark, source),
        "redemptions": simulate_redemptions(lines, source),
        "ratings": simulate_ratings(lines, source),
        "prices": _prices(spark, source),
    }
    tables = {}
    for silver in (silver for silver in SILVER if silver.entity in SYNTHETIC_ENTITIES):
        rows = made[silver.entity]
        columns = [
            (F.col(column.name) if column.name in rows.columns else F.lit(None)).cast(column.dtype).alias(column.name)
            for column in received_columns(silver)
            if column.name != "customer_id"
        ]
        raw = ["raw_customer_id"] if "raw_customer_id" in rows.columns else []
        tables[silver.entity] = rows.select(*columns, *raw, F.col("source_ordinal").cast("bigint"))
    return tables


def true_effects(spark: SparkSession, source: SyntheticSource) -> DataFrame:
    """The known true effect of the campaign per customer: truth.effects, with raw customer ids."""
    return expected_effects(spark, source)


def true_lever_effects() -> dict[tuple[str, str], float]:
    """The known factor of each lever on the rate at which customers of a type buy in a category.

    Returns:
        Factor per lever and customer type; 1 means that it changes nothing.
    """
    return {
        (name, kind): 1.0 + (factor - 1.0) * reaction.lever
        for name, factor in LEVERS.items()
        for kind, reaction in TYPES.items()
    }


def _customers(spark: SparkSession, source: SyntheticSource) -> DataFrame:
    number = F.col("customer_number")
    return simulated_customers(spark, source).select(
        "raw_customer_id",
        age_band(source, number).alias("age_band"),
        income_band(source, number).alias("income_band"),
        F.lit(source.first_date).alias("registered_date"),
        consent(source, number).alias("has_marketing_consent"),
        (number + 1).alias("source_ordinal"),
    )


def _products(spark: SparkSession, source: SyntheticSource) -> DataFrame:
    category = F.col("category_number")
    return simulated_products(spark, source).select(
        "product_id",
        F.concat(F.lit("PRODUCT "), F.col("product_id")).alias("product_name"),
        department_name(category).alias("department"),
        category_name(category).alias("category"),
        category_name(category).alias("subcategory"),
        "brand",
        F.col("list_price").cast(_MONEY).alias("list_price_amount"),
        F.col("unit_cost").cast(_MONEY).alias("unit_cost_amount"),
        (F.col("product_number") + 1).alias("source_ordinal"),
    )


def _promotions(spark: SparkSession, source: SyntheticSource) -> DataFrame:
    start = source.first_date + timedelta(weeks=source.campaign_week)
    return spark.range(1).select(
        F.lit(PROMOTION_ID).alias("promotion_id"),
        F.lit("randomised").alias("promotion_type"),
        F.lit("coupon").alias("mechanic"),
        F.lit(COUPON_RATE).alias("depth_rate"),
        F.lit("mail").alias("channel"),
        F.lit(start).alias("start_date"),
        F.lit(start + timedelta(weeks=CAMPAIGN_WEEKS, days=-1)).alias("end_date"),
        F.lit(1).alias("source_ordinal"),
    )


def _promotion_products(spark: SparkSession, source: SyntheticSource) -> DataFrame:
    category = F.col("category_number")
    covered = simulated_products(spark, source).where(is_covered(source, category))
    return covered.select(
        F.lit(PROMOTION_ID).alias("promotion_id"),
        coupon_id(category).alias("coupon_id"),
        "product_id",
        (F.col("product_number") + 1).alias("source_ordinal"),
    )


def _assignments(spark: SparkSession, source: SyntheticSource) -> DataFrame:
    start = source.first_date + timedelta(weeks=source.campaign_week)
    treated = F.col("is_treated")
    rate = F.lit(source.treated_rate)
    return simulated_customers(spark, source).select(
        "raw_customer_id",
        F.lit(PROMOTION_ID).alias("decision_id"),
        F.when(treated, F.lit(PROMOTION_ID)).otherwise(F.lit("none")).alias("arm"),
        F.when(treated, rate).otherwise(1.0 - rate).alias("propensity"),
        (~treated).alias("is_holdout"),
        F.to_utc_timestamp(F.lit(start).cast("timestamp"), source.time_zone).alias("decided_at"),
        (F.col("customer_number") + 1).alias("source_ordinal"),
    )


def _prices(spark: SparkSession, source: SyntheticSource) -> DataFrame:
    """Products × stores × the weeks in which the product's category has a lever."""
    weeks = F.explode(F.sequence(F.lit(0), F.lit(source.weeks - 1)))
    stores = F.explode(F.sequence(F.lit(0), F.lit(source.stores - 1)))
    levered = (
        simulated_products(spark, source)
        .withColumn("week", weeks)
        .withColumn("lever", lever(source, F.col("category_number"), F.col("week")))
        .where(F.col("lever").isNotNull())
        .withColumn("store_number", stores)
    )
    shelf = F.when(F.col("lever") == "price_cut", F.col("list_price") * (1.0 - CUT_RATE))
    place = F.col("product_number") * source.stores + F.col("store_number")
    return levered.select(
        "product_id",
        F.format_string("S%03d", F.col("store_number")).alias("store_id"),
        F.date_add(F.lit(source.first_date), (F.col("week") * 7).cast("int")).alias("week_start_date"),
        F.when(F.col("lever") == "display", F.lit("aisle end")).alias("display_location"),
        F.when(F.col("lever") == "mailer", F.lit("front page")).alias("mailer_location"),
        F.round(F.coalesce(shelf, F.col("list_price")), 2).cast(_MONEY).alias("shelf_price_amount"),
        (place * source.weeks + F.col("week") + 1).alias("source_ordinal"),
    )

"""What is joined to pairs of customer and promotion before they are measured."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decisions import NO_ARM
from promo_spark.kernels.decision_covariates import PROMOTION_FACTS, UNITS
from promo_spark.response.decision_covariates import measure_pairs
from promo_spark.response.decision_pairs import OFFERED_ARM, arm_rates, arms_of_promotions, promotion_facts

_UNKNOWN = "(unknown)"


def describe_and_measure(
    *,
    pairs: DataFrame,
    moments: DataFrame,
    lines: DataFrame,
    dated: DataFrame,
    promotions: DataFrame,
    promotion_products: DataFrame,
    redemptions: DataFrame,
    products: DataFrame,
    default_rate: float,
    arm_level: str,
    as_of_date: date,
) -> DataFrame:
    """Join what pairs are measured from, and measure them.

    Args:
        pairs: customer_id, promotion_id, decided_date, end_date, carried_date and further columns.
        moments: promotion_id and decided_date of at least all pairs; distinct, and far fewer.
        lines: Order lines before the date, with a customer.
        dated: What ``dated_assignments`` returned.
        promotions: silver.promotions.
        promotion_products: silver.promotion_products.
        redemptions: silver.redemptions.
        products: features.products, for categories and margin rates.
        default_rate: Margin rate of products without one.
        arm_level: Column of promotions that names the arm.
        as_of_date: Nothing from this date on is used.

    Returns:
        The pairs with offered_arm, covariates and outcomes.
    """
    arms = F.broadcast(arms_of_promotions(promotions=promotions, arm_level=arm_level))
    arm = F.coalesce(F.col(OFFERED_ARM), F.col("promotion_id"), F.lit(NO_ARM))
    pairs = pairs.join(arms, "promotion_id", "left").withColumn(OFFERED_ARM, arm)
    given = dated.where("is_given").where(F.col("decided_date") < F.lit(as_of_date))
    given = given.join(arms, "promotion_id", "left").withColumn(OFFERED_ARM, arm)
    redeemed = redemptions.where(F.col("redeemed_date") < F.lit(as_of_date))
    redeemed = redeemed.join(arms, "promotion_id", "left").withColumn(OFFERED_ARM, arm)
    asked = moments.join(arms, "promotion_id", "left").select(arm.alias(OFFERED_ARM), "decided_date").distinct()
    rates = arm_rates(moments=asked, given=given, redeemed=redeemed)
    facts = promotion_facts(promotions=promotions, promotion_products=promotion_products)
    described = pairs.join(F.broadcast(facts), "promotion_id", "left").join(
        F.broadcast(rates), [OFFERED_ARM, "decided_date"], "left"
    )
    covers = promotion_products.join(
        F.broadcast(moments.select("promotion_id").distinct()), "promotion_id", "left_semi"
    )
    numbered = described.withColumns(
        {
            **{name: F.coalesce(name, F.lit(0.0)) for name in PROMOTION_FACTS},
            "day": F.unix_date("decided_date"),
            "end_day": F.unix_date("end_date"),
            "carried_day": F.unix_date("carried_date"),
            "promotion": F.xxhash64("promotion_id"),
            "arm": F.xxhash64(OFFERED_ARM),
        }
    )
    return measure_pairs(
        pairs=numbered,
        purchases=_purchases(lines, _described(products, covers), default_rate),
        given=_events(given, "decided_date"),
        redeemed=_events(redeemed, "redeemed_date"),
    )


def _events(events: DataFrame, day: str) -> DataFrame:
    return events.select(
        "customer_id",
        F.unix_date(day).alias("day"),
        F.xxhash64("promotion_id").alias("promotion"),
        F.xxhash64(OFFERED_ARM).alias("arm"),
    )


def _described(products: DataFrame, covers: DataFrame) -> DataFrame:
    """Products with margin_rate, covers and related: a promotion counts once per product, not once per coupon."""
    covering = covers.groupBy("product_id").agg(_numbers("promotion_id").alias("covers"))
    known = products.where(F.col("category") != _UNKNOWN).select("product_id", "category")
    categories = covers.join(known, "product_id").groupBy("category").agg(_numbers("promotion_id").alias("related"))
    described = products.select("product_id", "category", "margin_rate").join(covering, "product_id", "full")
    return described.join(F.broadcast(categories), "category", "left").drop("category")


def _numbers(name: str) -> Expression:
    return F.array_sort(F.collect_set(F.xxhash64(name)))


def _purchases(lines: DataFrame, products: DataFrame, default_rate: float) -> DataFrame:
    """One row per customer, day and product."""
    sound = lines.where(~F.col("is_return") & ~F.col("is_outlier")).select(
        "customer_id",
        "product_id",
        F.unix_date("order_date").alias("day"),
        _units("sales_amount").alias("sales"),
        (_units("retail_discount_amount") + _units("coupon_match_amount")).alias("discount"),
        _units("coupon_discount_amount").alias("coupon"),
    )
    amounts = ("sales", "discount", "coupon")
    days = sound.groupBy("customer_id", "day", "product_id").agg(*(F.sum(name).alias(name) for name in amounts))
    described = days.join(F.broadcast(products), "product_id", "left")
    rate = F.coalesce("margin_rate", F.lit(default_rate))
    margin = rate * (F.col("sales") + F.col("discount")) - F.col("discount")
    nothing = F.array().cast("array<bigint>")
    return described.select(
        "customer_id",
        "day",
        F.xxhash64("product_id").alias("product"),
        *amounts,
        F.round(margin).cast("bigint").alias("margin"),
        F.coalesce("covers", nothing).alias("covers"),
        F.coalesce(F.when(F.col("coupon") > 0, F.col("related")), nothing).alias("related"),
    )


def _units(amount: str) -> Expression:
    """An amount as a whole number of ``1 / UNITS``: sums are then exact, and quicker than those of decimals."""
    return F.round(F.coalesce(F.col(amount).cast("double"), F.lit(0.0)) * UNITS).cast("bigint")

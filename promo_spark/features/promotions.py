"""What each promotion reached, got redeemed, and cost."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.features import DESCRIBED_LINES, PROMOTION_FEATURES
from promo_spark.contracts.silver import ASSIGNMENTS, PROMOTION_PRODUCTS, PROMOTIONS, REDEMPTIONS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE, MONEY
from promo_spark.features.measures import has_rows, money, share
from promo_spark.features.targeting import redeemed_coupons, targeted_customers

_PRICE_MECHANICS = ("percent_off", "coupon", "spend_threshold", "cashback", "members_only", "flash_sale")
_OTHER_MECHANICS = ("gift", "points")
_COUNTS_WITHOUT_ASSIGNMENTS = ("targeted_customer_count",)
_COUNTS_WITHOUT_REDEMPTIONS = ("redeeming_customer_count", "redemption_count")


@produces(
    PROMOTION_FEATURES,
    promotions=PROMOTIONS,
    promotion_products=PROMOTION_PRODUCTS,
    assignments=ASSIGNMENTS,
    redemptions=REDEMPTIONS,
    lines=DESCRIBED_LINES,
)
def build_promotion_features(
    *,
    promotions: DataFrame,
    promotion_products: DataFrame,
    assignments: DataFrame,
    redemptions: DataFrame,
    lines: DataFrame,
    as_of_date: date,
    time_zone: str,
) -> DataFrame:
    """Sum up each promotion that started before a date, as far as it had gone by then.

    Args:
        promotions: silver.promotions.
        promotion_products: silver.promotion_products, what each coupon covers; may be empty.
        assignments: silver.assignments, who was targeted; when empty, reach is NULL.
        redemptions: silver.redemptions; when empty, redemption is NULL.
        lines: features.lines, order lines before the date.
        as_of_date: Date of the features.
        time_zone: The retailer's time zone, in which the date begins.

    Returns:
        features.promotions, one row per promotion that started before the date.
    """
    started = promotions.where(F.col("start_date") < F.lit(as_of_date))
    targeted = targeted_customers(assignments=assignments, as_of_date=as_of_date, time_zone=time_zone)
    redeemed = redeemed_coupons(redemptions=redemptions, as_of_date=as_of_date)
    products = promotion_products.groupBy("promotion_id").agg(
        F.count_distinct("product_id").alias("product_count"), F.count_distinct("coupon_id").alias("coupon_count")
    )
    joined = (
        started.join(products, "promotion_id", "left")
        .join(_reach(targeted, redeemed), "promotion_id", "left")
        .join(_coupon_costs(started, promotion_products, redeemed, lines), "promotion_id", "left")
        .crossJoin(has_rows(assignments, "_has_assignments"))
        .crossJoin(has_rows(redemptions, "_has_redemptions"))
    )
    counted = joined.withColumns(
        {name: _count_where("_has_assignments", name) for name in _COUNTS_WITHOUT_ASSIGNMENTS}
        | {name: _count_where("_has_redemptions", name) for name in _COUNTS_WITHOUT_REDEMPTIONS}
        | {"coupon_cost_amount": F.when(F.col("_has_redemptions"), money(F.col("coupon_cost_amount")))}
    )
    return counted.withColumns(
        {
            AS_OF_DATE: F.lit(as_of_date),
            "is_price_promotion": _changes_price(),
            "duration_days": F.datediff("end_date", "start_date") + 1,
            "redemption_rate": F.when(
                F.col("_has_redemptions"),
                share(F.coalesce("_targeted_redeemers", F.lit(0)), F.col("targeted_customer_count")),
            ),
            "cost_per_redemption_amount": share(F.col("coupon_cost_amount"), F.col("redemption_count")),
        }
    )


def _reach(targeted: DataFrame, redeemed: DataFrame) -> DataFrame:
    both = targeted.withColumn("_is_targeted", F.lit(1)).join(redeemed, ["promotion_id", "customer_id"], "full")
    return both.groupBy("promotion_id").agg(
        F.count("_is_targeted").alias("targeted_customer_count"),
        F.count("redemption_count").alias("redeeming_customer_count"),
        F.sum("redemption_count").alias("redemption_count"),
        F.count(F.when(F.col("_is_targeted").isNotNull(), F.col("redemption_count"))).alias("_targeted_redeemers"),
    )


def _coupon_costs(
    started: DataFrame, promotion_products: DataFrame, redeemed: DataFrame, lines: DataFrame
) -> DataFrame:
    """Coupons redeemers used on covered products while the promotion ran."""
    redeemers = redeemed.join(started.select("promotion_id", "start_date", "end_date"), "promotion_id")
    covered = promotion_products.select("promotion_id", "product_id").distinct()
    used = lines.where(F.col("coupon_amount") > 0).select("customer_id", "product_id", "order_date", "coupon_amount")
    in_window = F.col("order_date").between(F.col("start_date"), F.col("end_date"))
    return (
        used.join(F.broadcast(redeemers), "customer_id")
        .where(in_window)
        .join(covered, ["promotion_id", "product_id"], "left_semi")
        .groupBy("promotion_id")
        .agg(F.sum("coupon_amount").cast(MONEY).alias("coupon_cost_amount"))
    )


def _count_where(known: str, name: str) -> Expression:
    return F.when(F.col(known), F.coalesce(F.col(name), F.lit(0).cast("long")))


def _changes_price() -> Expression:
    mechanic = F.col("mechanic")
    return F.when((F.col("depth_rate") > 0) | mechanic.isin(*_PRICE_MECHANICS), F.lit(True)).when(
        mechanic.isin(*_OTHER_MECHANICS), F.lit(False)
    )

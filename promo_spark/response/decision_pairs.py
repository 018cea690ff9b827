"""Who was decided on, when, for which promotion, and who stands for those who were given nothing."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import UpliftSettings
from promo_spark.contracts.decisions import NO_ARM

OFFERED_ARM = "offered_arm"


def arms_of_promotions(*, promotions: DataFrame, arm_level: str) -> DataFrame:
    """The arm that effects of each promotion are learnt at: promotion_id, offered_arm.

    A promotion whose type or mechanic is unknown is an arm of its own.
    """
    return promotions.select("promotion_id", F.coalesce(F.col(arm_level), F.col("promotion_id")).alias(OFFERED_ARM))


def dated_assignments(*, assignments: DataFrame, feedback: DataFrame, time_zone: str) -> DataFrame:
    """Decisions of the ledger, and those handed over from here that it does not bring back.

    Args:
        assignments: silver.assignments.
        feedback: learning.feedback.
        time_zone: The retailer's.

    Returns:
        decision_id, customer_id, promotion_id, propensity, is_given, is_ledger, and decided_date, the retailer's own
        day.
    """
    own = feedback.join(assignments.select("decision_id", "customer_id"), ["decision_id", "customer_id"], "left_anti")
    assignments = assignments.withColumn("is_ledger", F.lit(True)).unionByName(
        own.withColumn("is_ledger", F.lit(False)), allowMissingColumns=True
    )
    is_given = (F.col("arm") != NO_ARM) & ~F.col("is_holdout")
    day = F.to_date(F.from_utc_timestamp("decided_at", time_zone))
    return assignments.select(
        "decision_id",
        "customer_id",
        F.when(F.col("arm") != NO_ARM, F.col("arm")).alias("promotion_id"),
        "propensity",
        "is_ledger",
        is_given.alias("is_given"),
        day.alias("decided_date"),
    )


def past_pairs(*, dated: DataFrame, lines: DataFrame, as_of_date: date, settings: UpliftSettings) -> DataFrame:
    """Every decision and customer whose outcome is known, controls included.

    A decision made on the first day of the order lines or earlier is left out: nothing was known of anybody then. Who
    got nothing in a decision of several promotions is compared with one of them, drawn by hash.

    Args:
        dated: What `dated_assignments` returned.
        lines: Order lines before the date: customer_id, order_date.
        as_of_date: Windows that end later are left out.
        settings: Lengths of the windows, and whether unlisted customers are controls.

    Returns:
        decision_id, customer_id, promotion_id, propensity, is_given, is_logged, decided_date, end_date, carried_date.
    """
    past = dated.where(F.col("decided_date") < F.lit(as_of_date)).drop("is_ledger")
    offered = past.groupBy("decision_id").agg(
        F.array_sort(F.collect_set("promotion_id")).alias("_offered"),
        F.bool_or(~F.col("is_given")).alias("_has_controls"),
        F.min("decided_date").alias("_decided_date"),
    )
    pairs = past.withColumn("is_logged", F.lit(True))
    if settings.unlisted_are_controls:
        pairs = pairs.unionByName(_unlisted(past, offered, lines))
    drawn = F.get("_offered", F.pmod(F.xxhash64("decision_id", "customer_id"), F.size("_offered")).cast("int"))
    described = pairs.join(F.broadcast(offered.select("decision_id", "_offered")), "decision_id").withColumn(
        "promotion_id", F.coalesce("promotion_id", F.when(F.size("_offered") > 0, drawn))
    )
    start = lines.agg(F.min("order_date").alias("_first_date"))
    windowed = described.crossJoin(F.broadcast(start)).withColumn(
        "end_date", F.date_add("decided_date", _window_days(settings))
    )
    carried = windowed.withColumn("carried_date", F.date_add("end_date", settings.carry_over_days))
    is_known = (F.col("carried_date") <= F.lit(as_of_date)) & (F.col("decided_date") > F.col("_first_date"))
    return carried.where(is_known).drop("_first_date", "_offered")


def offered_moments(*, dated: DataFrame, as_of_date: date) -> DataFrame:
    """The promotions that a pair of a decision may have and the days it may have: promotion_id, decided_date."""
    past = dated.where(F.col("decided_date") < F.lit(as_of_date))
    promotions = past.where("promotion_id IS NOT NULL").select("decision_id", "promotion_id").distinct()
    days = past.select("decision_id", "decided_date").distinct()
    return days.join(promotions, "decision_id", "left").select("promotion_id", "decided_date").distinct()


def _unlisted(past: DataFrame, offered: DataFrame, lines: DataFrame) -> DataFrame:
    """Customers who had bought before a decision that logs no control, and whom it does not name."""
    customers = lines.groupBy("customer_id").agg(F.min("order_date").alias("_customer_since"))
    one_sided = F.broadcast(offered.where(~F.col("_has_controls")).select("decision_id", "_decided_date"))
    known = customers.crossJoin(one_sided).where(F.col("_customer_since") < F.col("_decided_date"))
    unnamed = known.join(past.select("decision_id", "customer_id"), ["decision_id", "customer_id"], "left_anti")
    return unnamed.select(
        "decision_id",
        "customer_id",
        F.lit(None).cast("string").alias("promotion_id"),
        F.lit(None).cast("double").alias("propensity"),
        F.lit(False).alias("is_given"),
        F.col("_decided_date").alias("decided_date"),
        F.lit(False).alias("is_logged"),
    )


def _window_days(settings: UpliftSettings) -> Expression:
    days = F.lit(settings.attribution_days)
    for promotion, own in sorted(settings.attribution_days_by_promotion.items()):
        days = F.when(F.col("promotion_id") == promotion, F.lit(own)).otherwise(days)
    return days


def promotion_facts(*, promotions: DataFrame, promotion_products: DataFrame) -> DataFrame:
    """What a retailer knows of a promotion when planning it: promotion_id and the first of ``PROMOTION_FACTS``."""
    covered = promotion_products.groupBy("promotion_id").agg(
        F.log1p(F.count_distinct("product_id")).alias("covered_products_log"),
        F.log1p(F.count_distinct("coupon_id")).alias("coupons_log"),
    )
    duration = F.log1p(F.datediff("end_date", "start_date") + 1).alias("duration_log")
    return promotions.select("promotion_id", duration).join(covered, "promotion_id", "left")


def arm_rates(*, moments: DataFrame, given: DataFrame, redeemed: DataFrame) -> DataFrame:
    """How often what was given of an arm had been redeemed before each moment, pulled towards the rate of all arms.

    Args:
        moments: offered_arm, decided_date; distinct.
        given: promotion_id, customer_id, offered_arm, decided_date of what customers were given.
        redeemed: promotion_id, customer_id, redeemed_date.

    Returns:
        The moments with arm_redemption_rate.
    """
    first = redeemed.groupBy("promotion_id", "customer_id").agg(F.min("redeemed_date").alias("_day"))
    told = given.groupBy("promotion_id", "customer_id", OFFERED_ARM).agg(F.min("decided_date").alias("_given_day"))
    used = told.join(first, ["promotion_id", "customer_id"])
    daily = (
        told.select(F.col(OFFERED_ARM).alias("_arm"), F.col("_given_day").alias("_day"), _one("_told"), _none("_used"))
        .unionByName(used.select(F.col(OFFERED_ARM).alias("_arm"), "_day", _none("_told"), _one("_used")))
        .groupBy("_arm", "_day")
        .agg(F.sum("_told").alias("_told"), F.sum("_used").alias("_used"))
    )
    before = F.col("_day") < F.col("decided_date")
    own = F.col("_arm") == F.col(OFFERED_ARM)
    sums = {
        name: F.coalesce(F.sum(F.when(before & condition, F.col(column))), F.lit(0))
        for name, condition, column in (
            ("_all_used", F.lit(True), "_used"),
            ("_all_told", F.lit(True), "_told"),
            ("_arm_used", own, "_used"),
            ("_arm_told", own, "_told"),
        )
    }
    counted = (
        moments.join(F.broadcast(daily), before, "left")
        .groupBy(OFFERED_ARM, "decided_date")
        .agg(*(value.alias(name) for name, value in sums.items()))
    )
    overall = (F.col("_all_used") + PRIOR_RATE * PRIOR_CUSTOMERS) / (F.col("_all_told") + PRIOR_CUSTOMERS)
    rate = (F.col("_arm_used") + overall * PRIOR_CUSTOMERS) / (F.col("_arm_told") + PRIOR_CUSTOMERS)
    return counted.select(OFFERED_ARM, "decided_date", rate.alias("arm_redemption_rate"))


PRIOR_RATE, PRIOR_CUSTOMERS = 0.05, 50.0
"""Before anything is known, one in twenty redeems; it takes as many customers to move halfway from what was assumed."""


def _one(name: str) -> Expression:
    return F.lit(1).alias(name)


def _none(name: str) -> Expression:
    return F.lit(0).alias(name)

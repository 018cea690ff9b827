"""What each customer was and will be given, beside the groups that the audit compares."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT
from promo_spark.contracts.contacts import past_contacts
from promo_spark.contracts.decisions import NO_ARM, SCORES
from promo_spark.contracts.fairness import AUDITED_CUSTOMERS
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.kpi_settings import FairnessSettings
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.silver import ASSIGNMENTS, CUSTOMERS, EXPOSURES, ORDER_LINES, PROMOTIONS, REDEMPTIONS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE
from promo_spark.measurement.fairness_measures import ADJUSTED, MEASURES

UNKNOWN = "unknown"


@produces(
    AUDITED_CUSTOMERS,
    customers=CUSTOMERS,
    customer_features=CUSTOMER_FEATURES,
    assignment=ASSIGNMENT,
    scores=SCORES,
    promotions=PROMOTIONS,
    assignments=ASSIGNMENTS,
    exposures=EXPOSURES,
    handed_over=FEEDBACK,
    redemptions=REDEMPTIONS,
    order_lines=ORDER_LINES,
)
def describe_audited_customers(
    *,
    customers: DataFrame,
    customer_features: DataFrame,
    assignment: DataFrame,
    scores: DataFrame,
    promotions: DataFrame,
    assignments: DataFrame,
    exposures: DataFrame,
    handed_over: DataFrame,
    redemptions: DataFrame,
    order_lines: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: FairnessSettings,
) -> DataFrame:
    """Put beside each customer its groups, what it is given by the plan, and what it got before.

    Args:
        customers: silver.customers, for demographics; who is not there is unknown in every attribute.
        customer_features: features.customers: who is audited, and what they spend.
        assignment: plans.assignment of the date; who is not in it is given nothing.
        scores: response.scores: probability of redemption and expected discount.
        promotions: silver.promotions, for depths.
        assignments: silver.assignments; what was given counts as contact where there are no exposures.
        exposures: silver.exposures.
        handed_over: learning.feedback: what was given counts as contact, seen or not.
        redemptions: silver.redemptions: who redeemed anything before is proven to respond.
        order_lines: silver.order_lines: discounts of the days before.
        as_of_date: Day of the plan; only what came before it is the past.
        time_zone: The retailer's.
        settings: Attributes, and how far the past goes back.

    Returns:
        measurement.audited_customers.
    """
    first = as_of_date - timedelta(days=settings.days)
    ever = past_contacts(
        assignments=assignments,
        exposures=exposures,
        handed_over=handed_over,
        as_of_date=as_of_date,
        time_zone=time_zone,
    )
    contacts = ever.where(F.col("day") >= F.lit(first))
    parts = (
        _planned(assignment, scores, promotions),
        contacts.groupBy("customer_id").agg(F.count("*").cast("double").alias("contacts")),
        _responses(scores),
        _proven(redemptions, as_of_date),
        _discounts(order_lines, first, as_of_date),
    )
    people = customer_features.select(
        "customer_id", F.log1p(F.greatest("weekly_spend_amount", F.lit(0.0))).alias("spend_log")
    )
    for part in parts:
        people = people.join(part, "customer_id", "left")
    demographics = customers.select("customer_id", *settings.attributes)
    described = people.join(demographics, "customer_id", "left")
    groups = [
        part
        for name in dict.fromkeys(settings.attributes)
        for part in (F.lit(name), F.coalesce(F.trim(F.col(name)), F.lit(UNKNOWN)))
    ]
    terms = _terms()
    measured = [value.cast("double") for name in (*MEASURES, *ADJUSTED) for value in terms[name]]
    return described.select(
        "customer_id",
        F.lit(as_of_date).alias(AS_OF_DATE),
        F.create_map(*groups).alias("groups"),
        F.array(*measured).alias("measured"),
    )


def _planned(assignment: DataFrame, scores: DataFrame, promotions: DataFrame) -> DataFrame:
    """What the plan gives a customer: promotions, their depth where it is known, and the discount expected of them."""
    given = assignment.where(F.col("arm") != NO_ARM).select("customer_id", F.col("arm").alias("promotion_id"))
    expected = scores.select("customer_id", "promotion_id", "discount_cost_amount")
    depths = promotions.select("promotion_id", "depth_rate")
    return (
        given.join(expected, ["customer_id", "promotion_id"], "left")
        .join(F.broadcast(depths), "promotion_id", "left")
        .groupBy("customer_id")
        .agg(
            F.lit(1.0).alias("planned"),
            F.sum("depth_rate").alias("depth_sum"),
            F.count("depth_rate").cast("double").alias("depth_count"),
            _exact_sum(F.coalesce("discount_cost_amount", F.lit(0.0))).alias("benefit"),
        )
    )


def _exact_sum(amount: Expression) -> Expression:
    """A sum that does not depend on the order of its rows."""
    return F.sum(amount.cast("decimal(28,10)")).cast("double")


def _responses(scores: DataFrame) -> DataFrame:
    """The most likely redemption among all that a customer could be given."""
    return scores.groupBy("customer_id").agg(F.max("redemption_prob").alias("response"))


def _proven(redemptions: DataFrame, as_of_date: date) -> DataFrame:
    before = redemptions.where(F.col("redeemed_date") < F.lit(as_of_date))
    return before.select("customer_id", F.lit(1.0).alias("proven")).distinct()


def _discounts(order_lines: DataFrame, first: date, as_of_date: date) -> DataFrame:
    """Discounts that a customer got in the days before, whoever paid them, and what it bought at regular price."""
    inside = (F.col("order_date") >= F.lit(first)) & (F.col("order_date") < F.lit(as_of_date))
    sound = order_lines.where(inside & ~F.col("is_return") & ~F.col("is_outlier") & F.col("customer_id").isNotNull())
    names = ("retail_discount_amount", "coupon_discount_amount", "coupon_match_amount")
    discount, own = F.lit(0), F.lit(0)
    for name in names:
        discount = discount + F.coalesce(F.col(name), F.lit(0))
    for name in ("retail_discount_amount", "coupon_match_amount"):
        own = own + F.coalesce(F.col(name), F.lit(0))
    is_told = F.coalesce(*(F.col(name) for name in names)).isNotNull()
    hundredths = {"got": discount, "regular": F.col("sales_amount") + own}
    sums = [
        (F.sum(F.rint(amount.cast("double") * 100).cast("bigint")) / 100).alias(name)
        for name, amount in hundredths.items()
    ]
    return sound.groupBy("customer_id").agg(*sums, F.bool_or(is_told).alias("is_told"))


def _terms() -> dict[str, tuple[Expression, ...]]:
    """Top and bottom of each measure; controls and outcome of the adjusted ones. NULL: the customer does not count."""
    planned, benefit, contacts = (_or_nothing(name) for name in ("planned", "benefit", "contacts"))
    one, response, proven = F.lit(1.0), _or_nothing("response"), _or_nothing("proven")
    got = F.when(F.coalesce("is_told", F.lit(True)), _or_nothing("got"))
    regular = F.when(F.col("is_told") & (F.col("regular") > 0), F.col("regular"))
    return {
        "planned_rate": (planned, one),
        "planned_depth": (_or_nothing("depth_sum"), _or_nothing("depth_count")),
        "expected_benefit": (benefit, one),
        "opportunity_likely": (response * planned, response),
        "opportunity_proven": (proven * planned, proven),
        "contacted_rate": ((contacts > 0).cast("double"), one),
        "contacts": (contacts, one),
        "realised_benefit": (got, one),
        "realised_depth": (F.col("got"), regular),
        "adjusted_benefit": (F.col("spend_log"), response, benefit),
        "adjusted_depth": (F.col("spend_log"), response, F.col("got") / regular),
    }


def _or_nothing(name: str) -> Expression:
    return F.coalesce(F.col(name), F.lit(0.0))

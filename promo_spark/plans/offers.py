"""What each promotion is worth, and costs, for each customer it may be given."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import OFFERS
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import SCORES
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import PROMOTIONS
from promo_spark.contracts.step import produces


@produces(
    OFFERS,
    scores=SCORES,
    promotions=PROMOTIONS,
    segment_customers=SEGMENT_CUSTOMERS,
    customer_features=CUSTOMER_FEATURES,
)
def value_offers(
    *,
    scores: DataFrame,
    promotions: DataFrame,
    segment_customers: DataFrame,
    customer_features: DataFrame,
    as_of_date: date,
    settings: AssignSettings,
) -> DataFrame:
    """Turn what a promotion changes into what it is worth under the objective.

    With the expected discount d, the vendor's share s of it, the probability r of redemption, what one redemption costs
    that is on no receipt g (a gift, points, cashback), the cost of telling a customer t, c = (1 - s) r g + t, and the
    uplift u of margin (discounts taken off already), sales or the probability of a visit:

        cost                      = (1 - s) d + c
        value, incremental margin = u + s d - c
        value, incremental sales  = u - c
        value, retention          = visit_amount u - c for customers who shop, - c for those who lapsed
        value, acquisition        = the same the other way round

    Where r is not known, everybody is expected to redeem.

    Args:
        scores: response.scores of the date.
        promotions: silver.promotions, for channel and kind.
        segment_customers: segments.customers of the date.
        customer_features: features.customers of the date, for who lapsed; customers without a row have.
        as_of_date: The day of the decision.
        settings: Objective, costs, vendors' shares, attitude to risk.

    Returns:
        plans.offers, one row per row of the scores.
    """
    kinds = promotions.select(
        "promotion_id",
        F.coalesce("promotion_type", "mechanic", "promotion_id").alias("category"),
        F.coalesce("channel", F.lit("unknown")).alias("channel"),
    )
    known = (
        scores.join(F.broadcast(kinds), "promotion_id", "left")
        .join(segment_customers.select("customer_id", "segment_id"), "customer_id", "left")
        .join(customer_features.select("customer_id", "recency_days"), "customer_id", "left")
    )
    vendor = _by_name(F.col("promotion_id"), settings.vendor_share_rates, 0.0)
    given_away = _by_name(F.col("promotion_id"), settings.unit_cost_amounts, 0.0)
    told = _by_name(F.col("channel"), settings.contact_cost_amounts, settings.contact_cost_amount)
    contact = told + (1.0 - vendor) * F.coalesce("redemption_prob", F.lit(1.0)) * given_away
    discount = F.coalesce("discount_cost_amount", F.lit(0.0))
    value, low, high = _values(settings, contact, vendor * discount)
    return known.withColumns(
        {
            "as_of_date": F.lit(as_of_date),
            "category": F.coalesce("category", "promotion_id"),
            "is_counted": _is_counted(settings),
            "value_amount": low if settings.risk == "lower" else value,
            "value_low_amount": low,
            "value_high_amount": high,
            "cost_amount": (1.0 - vendor) * discount + contact,
            "contact_amount": contact,
        }
    )


def _values(
    settings: AssignSettings, contact: Expression, funded: Expression
) -> tuple[Expression, Expression, Expression]:
    unknown = F.lit(None).cast("double")
    if settings.objective == "incremental_margin":
        names = ("margin_uplift_amount", "margin_low_amount", "margin_high_amount")
        value, low, high = (F.col(name) + funded - contact for name in names)
        return value, low, high
    if settings.objective == "incremental_sales":
        return F.col("sales_uplift_amount") - contact, unknown, unknown
    gained = F.when(_is_counted(settings), settings.visit_amount).otherwise(0.0) * F.col("visit_uplift_prob")
    return gained - contact, unknown, unknown


def _is_counted(settings: AssignSettings) -> Expression:
    has_lapsed = F.coalesce(F.col("recency_days") > settings.lapsed_days, F.lit(True))
    by_objective = {"acquisition": has_lapsed, "retention": ~has_lapsed}
    return by_objective.get(settings.objective, F.lit(True))


def _by_name(name: Expression, known: dict[str, float], otherwise: float) -> Expression:
    found = F.lit(otherwise)
    for key, value in known.items():
        found = F.when(name == key, F.lit(value)).otherwise(found)
    return found

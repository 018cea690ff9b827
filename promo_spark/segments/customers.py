"""Which value tier each customer is in, beside the segment."""

from __future__ import annotations

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE

NEW_DAYS = 56
LAPSED_DAYS = 56
LAPSED_GAPS = 3.0
HIGH_VALUE_QUANTILE = 0.8
TIERS = ("high-value", "potential", "at-risk", "new")


@produces(SEGMENT_CUSTOMERS, customers=CUSTOMER_FEATURES, segments=SEGMENT_CUSTOMERS)
def assign_value_tiers(*, customers: DataFrame, segments: DataFrame) -> DataFrame:
    """Add the value tier to each customer's segment.

    Args:
        customers: features.customers of one date.
        segments: segments.customers without the tier, one row per customer.

    Returns:
        segments.customers.
    """
    return segments.drop("value_tier").join(tell_tiers(customers), ["customer_id", AS_OF_DATE])


def tell_tiers(customers: DataFrame) -> DataFrame:
    """Tell each customer's value tier.

    Rules, the first that holds: *new*, first bought at most 56 days before the date; *at-risk*, away for more
    than three of the customer's usual gaps or 56 days, whichever is longer; *high-value*, in the top fifth by
    spend of the last 91 days; *potential*, everybody else. Where no customer has been there for longer than
    56 days, who is new cannot be told, and nobody is.

    Args:
        customers: features.customers of one date.

    Returns:
        customer_id, as_of_date and value_tier, one of ``TIERS``.
    """
    marks = customers.agg(
        F.percentile("spend_91d_amount", F.lit(HIGH_VALUE_QUANTILE)).alias("_top_spend"),
        F.max("tenure_days").alias("_longest_tenure"),
    )
    return customers.crossJoin(F.broadcast(marks)).select("customer_id", AS_OF_DATE, _tier().alias("value_tier"))


def _tier() -> Expression:
    usual_absence = F.greatest(LAPSED_GAPS * F.coalesce("order_gap_days", F.lit(0.0)), F.lit(float(LAPSED_DAYS)))
    spend = F.col("spend_91d_amount")
    return (
        F.when((F.col("tenure_days") <= NEW_DAYS) & (F.col("_longest_tenure") > NEW_DAYS), "new")
        .when(F.col("recency_days") > usual_absence, "at-risk")
        .when((spend >= F.col("_top_spend")) & (spend > 0), "high-value")
        .otherwise("potential")
    )

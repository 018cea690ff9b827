"""What each customer would be given, and how likely the decision gives it."""

from __future__ import annotations

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.learning import TOGETHER
from promo_spark.plans.net_values import NET_VALUE
from promo_spark.plans.roles import DECIDED


def respond_to_prices(*, priced: DataFrame, settings: AssignSettings) -> DataFrame:
    """Take the offers of positive net value, the best first, within the caps per category and customer.

    Taking the best that still fits is optimal where caps are nested (a laminar matroid: Edmonds, 1971).

    Args:
        priced: plans.offers with their net value.
        settings: The caps.

    Returns:
        customer_id and promotion_id of what would be given.
    """
    best = (F.desc(NET_VALUE), F.asc("promotion_id"))
    within = Window.partitionBy("customer_id", "category").orderBy(*best)
    overall = Window.partitionBy("customer_id").orderBy(*best)
    worth = priced.where(F.col(NET_VALUE) > 0)
    capped = worth.withColumn("_place", F.row_number().over(within)).where(F.col("_place") <= settings.per_category)
    taken = capped.withColumn("_place", F.row_number().over(overall))
    return taken.where(F.col("_place") <= settings.promotions_per_customer).select("customer_id", "promotion_id")


def share_decisions(*, priced: DataFrame, roles: DataFrame, choices: DataFrame, settings: AssignSettings) -> DataFrame:
    """How likely the decision gives each customer what, were it left to the decision.

    Customers of one cell whose offers have the same values and costs are alike: which of them get something where it
    does not stretch to all hangs on a hash of the customer alone. So the share of those decided for who got it is the
    probability that the decision gives it to any of them, those held back or drawn included. Whom nobody decided for
    is like has what the shadow prices make of the offers.

    Args:
        priced: plans.offers with ``cell`` and their net value.
        roles: plans.roles.
        choices: Pairs customer_id, promotion_id chosen among those decided for.
        settings: The caps per customer.

    Returns:
        customer_id, given (as ``joined_promotions`` names it; none for nothing), share (above 0, sums to 1 per
        customer), is_limited (something would be given, did it stretch).
    """
    option = F.struct("promotion_id", "value_amount", "cost_amount")
    offers = F.xxhash64(F.first("cell"), F.array_sort(F.collect_list(option)))
    own = priced.groupBy("customer_id").agg(offers.alias("_alike"))
    alike = roles.select("customer_id", "role").join(own, "customer_id", "left").fillna(0, "_alike")
    chosen = _together(choices)
    decided = alike.where(F.col("role") == DECIDED).join(chosen, "customer_id", "left").fillna(NO_ARM, "given")
    counted = decided.groupBy("_alike", "given").agg(F.count("*").alias("_count"))
    of_class = F.sum("_count").over(Window.partitionBy("_alike"))
    shares = counted.select("_alike", "given", (F.col("_count") / of_class).alias("share"))
    responses = _together(respond_to_prices(priced=priced, settings=settings))
    alone = (
        alike.join(shares, "_alike", "left_anti")
        .join(responses, "customer_id", "left")
        .fillna(NO_ARM, "given")
        .select("customer_id", "given", F.lit(1.0).alias("share"))
    )
    known = alike.join(shares, "_alike", "inner").select("customer_id", "given", "share").unionByName(alone)
    responding = responses.select("customer_id", F.lit(True).alias("_has_response"))
    is_limited = (F.col("share") < 1) | F.col("_has_response").isNotNull()
    marked = known.join(responding, "customer_id", "left").withColumn("is_limited", is_limited)
    return marked.drop("_has_response")


def joined_promotions(promotions: Expression) -> Expression:
    """One name for several promotions that a customer gets together, whatever their order."""
    return F.array_join(F.array_sort(promotions), TOGETHER)


def _together(pairs: DataFrame) -> DataFrame:
    return pairs.groupBy("customer_id").agg(joined_promotions(F.collect_set("promotion_id")).alias("given"))

"""The rows that models of the response learn from, and those that they are asked about."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import AssignSettings, UpliftSettings
from promo_spark.contracts.decisions import CANDIDATES, DECISIONS, NO_ARM
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import (
    ASSIGNMENTS,
    CUSTOMERS,
    ORDER_LINES,
    PROMOTION_PRODUCTS,
    PROMOTIONS,
    REDEMPTIONS,
)
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE
from promo_spark.response.decision_inputs import describe_and_measure
from promo_spark.response.decision_pairs import OFFERED_ARM, dated_assignments, offered_moments, past_pairs


@produces(
    DECISIONS,
    order_lines=ORDER_LINES,
    assignments=ASSIGNMENTS,
    feedback=FEEDBACK,
    promotions=PROMOTIONS,
    promotion_products=PROMOTION_PRODUCTS,
    redemptions=REDEMPTIONS,
    product_features=PRODUCT_FEATURES,
)
def gather_decisions(
    *,
    order_lines: DataFrame,
    assignments: DataFrame,
    feedback: DataFrame,
    promotions: DataFrame,
    promotion_products: DataFrame,
    redemptions: DataFrame,
    product_features: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: UpliftSettings,
    features: FeatureSettings,
) -> DataFrame:
    """Gather past decisions, what was known before each, and what followed.

    A decision counts once its attribution window and the carry-over are over. Customers held out have the arm none.
    Refunds and outliers are left out of amounts. Margin is the product's rate of the regular price, less the
    discounts that the retailer paid.

    Args:
        order_lines: silver.order_lines.
        assignments: silver.assignments.
        feedback: learning.feedback; decisions handed over from here.
        promotions: silver.promotions.
        promotion_products: silver.promotion_products; may be empty.
        redemptions: silver.redemptions; may be empty, nothing then counts as redeemed.
        product_features: features.products, for categories and margin rates.
        as_of_date: Nothing from this date on is used.
        time_zone: The retailer's, in which days of decisions begin.
        settings: Windows, level of the arms, and who is a control.
        features: The margin rate of products without one.

    Returns:
        response.decisions.
    """
    dated = dated_assignments(assignments=assignments, feedback=feedback, time_zone=time_zone)
    lines = order_lines.where((F.col("order_date") < F.lit(as_of_date)) & F.col("customer_id").isNotNull())
    pairs = past_pairs(dated=dated, lines=lines, as_of_date=as_of_date, settings=settings)
    measured = describe_and_measure(
        pairs=pairs,
        moments=offered_moments(dated=dated, as_of_date=as_of_date),
        lines=lines,
        dated=dated,
        promotions=promotions,
        promotion_products=promotion_products,
        redemptions=redemptions,
        products=product_features,
        default_rate=features.margin_rate,
        arm_level=settings.arm_level,
        as_of_date=as_of_date,
    )
    arms = measured.withColumns(
        {
            AS_OF_DATE: F.lit(as_of_date),
            "arm": F.when(F.col("is_given"), F.col(OFFERED_ARM)).otherwise(F.lit(NO_ARM)),
        }
    )
    return arms.withColumn("propensity", _arm_propensity())


@produces(
    CANDIDATES,
    order_lines=ORDER_LINES,
    assignments=ASSIGNMENTS,
    feedback=FEEDBACK,
    promotions=PROMOTIONS,
    promotion_products=PROMOTION_PRODUCTS,
    redemptions=REDEMPTIONS,
    product_features=PRODUCT_FEATURES,
    customers=CUSTOMERS,
)
def gather_candidates(
    *,
    order_lines: DataFrame,
    assignments: DataFrame,
    feedback: DataFrame,
    promotions: DataFrame,
    promotion_products: DataFrame,
    redemptions: DataFrame,
    product_features: DataFrame,
    customers: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: AssignSettings,
    uplift: UpliftSettings,
) -> DataFrame:
    """Pair the customers of the time with the promotions that are planned, and measure each pair.

    A promotion's type, days, coupons and products are known when it is planned, and so is the retailer's own list for
    it; consent and exclusions are left to whoever assigns.

    Args:
        order_lines: silver.order_lines.
        assignments: silver.assignments.
        feedback: learning.feedback; decisions handed over from here.
        promotions: silver.promotions.
        promotion_products: silver.promotion_products; may be empty.
        redemptions: silver.redemptions; may be empty.
        product_features: features.products, for categories.
        customers: silver.customers; who registered before the date is known without a purchase.
        as_of_date: Behaviour from this date on is not looked at.
        time_zone: The retailer's, in which days of decisions begin.
        settings: Which promotions are planned.
        uplift: Level of the arms.

    Returns:
        response.candidates.
    """
    dated = dated_assignments(assignments=assignments, feedback=feedback, time_zone=time_zone)
    lines = order_lines.where((F.col("order_date") < F.lit(as_of_date)) & F.col("customer_id").isNotNull())
    planned = promotions.where(_is_planned(settings, as_of_date)).select("promotion_id")
    listed = dated.where("is_ledger AND is_given").select("promotion_id", "customer_id").distinct()
    listed = listed.join(F.broadcast(planned), "promotion_id", "left_semi")
    registered = customers.where(F.col("registered_date") < F.lit(as_of_date)).select("customer_id")
    known = lines.select("customer_id").union(registered).union(listed.select("customer_id")).distinct()
    today = F.lit(as_of_date)
    pairs = (
        known.crossJoin(F.broadcast(planned))
        .join(listed.withColumn("is_listed", F.lit(True)), ["promotion_id", "customer_id"], "left")
        .withColumns({"decided_date": today, "end_date": today, "carried_date": today})
        .withColumn("is_listed", F.coalesce("is_listed", F.lit(False)))
    )
    measured = describe_and_measure(
        pairs=pairs,
        moments=planned.withColumn("decided_date", today),
        lines=lines,
        dated=dated,
        promotions=promotions,
        promotion_products=promotion_products,
        redemptions=redemptions,
        products=product_features,
        default_rate=0.0,
        arm_level=uplift.arm_level,
        as_of_date=as_of_date,
    )
    return measured.withColumns({AS_OF_DATE: F.lit(as_of_date), "arm": F.col(OFFERED_ARM)})


def _arm_propensity() -> Expression:
    """P(arm): what was logged is P(promotion), and several promotions of a decision may be one arm.

    Of the others only their shares among the given are known, so that the logged one is scaled by these: exact where
    promotions of an arm are drawn alike.
    """
    of_arm, of_promotion = (
        F.count("*").over(Window.partitionBy(*keys))
        for keys in (("decision_id", "arm"), ("decision_id", "arm", "promotion_id"))
    )
    scaled = F.col("propensity") * of_arm / of_promotion
    # LEAST passes over NULL, which would make what was never logged certain.
    return F.when(F.col("arm") == NO_ARM, F.col("propensity")).otherwise(F.when(scaled > 1, 1.0).otherwise(scaled))


def _is_planned(settings: AssignSettings, as_of_date: date) -> Expression:
    if settings.promotions:
        return F.col("promotion_id").isin(*settings.promotions)
    last = as_of_date + timedelta(days=settings.planning_days - 1)
    return F.col("start_date").between(F.lit(as_of_date), F.lit(last))

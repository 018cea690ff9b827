"""What the plan proposes beside its promotions: bundles to offer, and customers who ask for a nudge."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

_AS_OF = Column(AS_OF_DATE, T.DateType(), "Day of the proposal")


def _amount(name: str, comment: str) -> Column:
    return Column(name, T.DoubleType(), comment, unit="currency")


BUNDLES = TableContract(
    name="plans.bundles",
    grain="one row per pair of products worth selling together",
    key=("anchor_product_id", "added_product_id", AS_OF_DATE),
    columns=(
        Column("anchor_product_id", T.StringType(), "Product that is bought anyway"),
        Column("added_product_id", T.StringType(), "Product that joins it"),
        _AS_OF,
        Column("basket_count", T.LongType(), "Baskets with both", unit="count", required=True),
        Column("anchor_basket_count", T.LongType(), "Baskets with the first", unit="count", required=True),
        Column("shopper_count", T.LongType(), "Different customers with a basket of both", unit="count", required=True),
        Column("confidence_rate", T.DoubleType(), "Share of the first's baskets that hold the second", unit="share"),
        Column("lift_rate", T.DoubleType(), "That share over the second's share of all baskets", unit="ratio"),
        Column(
            "lift_low_rate",
            T.DoubleType(),
            "Lower bound of the lift, 95 % for all pairs that were tried together",
            unit="ratio",
        ),
        _amount("regular_price_amount", "Mean regular price of the two together"),
        _amount("unit_margin_amount", "Margin of the two at that price"),
        Column("discount_rate", T.DoubleType(), "Discount proposed on the two together", unit="share"),
        Column(
            "break_even_rate",
            T.DoubleType(),
            "Share of the first's baskets that must hold both for the discount to pay",
            unit="share",
        ),
        Column(
            "expected_share_rate",
            T.DoubleType(),
            "Share that would, at the price elasticity assumed in the settings",
            unit="share",
        ),
        _amount("expected_gain_amount", "Margin gained then over as many days as were mined, the discount paid"),
        Column(
            "partner_share_rate", T.DoubleType(), "Share of the discount the added product's maker bears", unit="share"
        ),
        Column(
            "is_joint",
            T.BooleanType(),
            "The added product is of another maker, not the retailer, who may share the cost",
            required=True,
        ),
        Column("is_same_category", T.BooleanType(), "Often variants of one thing rather than a pair", required=True),
        Column("is_margin_assumed", T.BooleanType(), "A margin rate of the settings was used", required=True),
        Column("rank", T.IntegerType(), "From 1, the most promising", required=True),
        Column("learnt_from", T.StringType(), "observational: who buys both was not drawn at random", required=True),
    ),
    checks=(
        "discount_rate BETWEEN 0 AND 1",
        "partner_share_rate BETWEEN 0 AND 1",
        "anchor_product_id <> added_product_id",
        "lift_low_rate <= lift_rate",
    ),
)

TRIGGERS = TableContract(
    name="plans.triggers",
    grain="one row per customer, kind of trigger and what it is about",
    key=("customer_id", "trigger", "subject", AS_OF_DATE),
    columns=(
        Column("customer_id", T.StringType(), "Keyed pseudonym of the customer", personal=True),
        Column("trigger", T.StringType(), "overdue, lapsed, churn_risk, browsed or replenish"),
        Column("subject", T.StringType(), "Category or product it is about; all for the customer as a whole"),
        _AS_OF,
        Column("strength", T.DoubleType(), "Value over its threshold: 1 is just there", required=True, personal=True),
        Column("product_id", T.StringType(), "What to speak of: from the customer's own list", personal=True),
        Column("time_slot", T.StringType(), "When the customer shops most"),
        Column("reason", T.StringType(), "In words", required=True, personal=True),
    ),
    checks=("trigger IN ('overdue', 'lapsed', 'churn_risk', 'browsed', 'replenish')", "strength >= 1"),
)

IDEAS = (BUNDLES, TRIGGERS)

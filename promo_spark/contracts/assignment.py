"""Which customer gets which promotion, and why."""

from dataclasses import replace

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

_AS_OF = Column(AS_OF_DATE, T.DateType(), "Day of the decision")
_CUSTOMER = Column("customer_id", T.StringType(), "Keyed pseudonym of the customer", personal=True)
_STRINGS = T.ArrayType(T.StringType())
_NUMBERS = T.MapType(T.StringType(), T.DoubleType())


def _amount(name: str, comment: str, *, personal: bool = False) -> Column:
    return Column(name, T.DoubleType(), comment, unit="currency", personal=personal)


OFFERS = TableContract(
    name="plans.offers",
    grain="one row per customer and promotion that may be given; passed between steps, not stored",
    key=("customer_id", "promotion_id", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        Column("promotion_id", T.StringType(), "Promotion"),
        _AS_OF,
        Column("arm", T.StringType(), "Arm its effect was learnt for", required=True),
        Column("segment_id", T.IntegerType(), "Segment of segments.customers; NULL for who has none"),
        Column("category", T.StringType(), "Promotions of one category share a cap per customer", required=True),
        Column("channel", T.StringType(), "How customers are told"),
        Column("is_listed", T.BooleanType(), "On the retailer's own list", required=True),
        Column("is_counted", T.BooleanType(), "The objective counts this customer", required=True),
        Column("redemption_prob", T.DoubleType(), "P(redemption | given it)", unit="probability"),
        _amount("value_amount", "Value under the objective and the attitude to risk; NULL where nothing is known"),
        _amount("value_low_amount", "Lower end of its interval; NULL where there is none"),
        _amount("value_high_amount", "Upper end of its interval"),
        _amount("cost_amount", "Discount, what else is given away, and contact, the vendor's share taken off"),
        _amount("contact_amount", "What of the cost is on no receipt: contact, gifts, points, cashback"),
        Column("contributions", _NUMBERS, "As in response.scores"),
        Column("learnt_from", T.StringType(), "randomised, observational or assumed"),
    ),
    checks=("cost_amount >= 0",),
    mode="passed",
)

ROLES = TableContract(
    name="plans.roles",
    grain="one row per customer with an offer; passed between steps, not stored",
    key=("customer_id", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        _AS_OF,
        Column("role", T.StringType(), "forced, holdout, exploration or decided", required=True),
        Column("given", _STRINGS, "Promotions that do not wait for the decision: forced or drawn"),
        Column("explorable", _STRINGS, "Promotions that exploration draws from", required=True),
    ),
    checks=("role IN ('forced', 'holdout', 'exploration', 'decided')",),
    mode="passed",
)

ASSIGNMENT = TableContract(
    name="plans.assignment",
    grain="one row per customer and slot: slot 1 for everybody, with the arm none for who gets nothing",
    key=("customer_id", "slot", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        Column("slot", T.IntegerType(), "From 1, the best first; several where a customer may get several"),
        _AS_OF,
        Column("decision_id", T.StringType(), "What responses and the next learning refer to", required=True),
        Column("arm", T.StringType(), "Promotion assigned, or none", required=True),
        Column("segment_id", T.IntegerType(), "Segment of segments.customers; NULL for who has none"),
        Column("channel", T.StringType(), "How the customer is told"),
        Column("time_slot", T.StringType(), "When the customer shops most"),
        _amount("value_amount", "Expected value under the objective, contact cost taken off; 0 for none"),
        _amount("value_low_amount", "Lower end of its interval"),
        _amount("value_high_amount", "Upper end of its interval"),
        _amount("cost_amount", "Expected discount and contact cost, vendor's share taken off; 0 for none"),
        Column("redemption_prob", T.DoubleType(), "P(redemption | given it)", unit="probability"),
        Column(
            "propensity",
            T.DoubleType(),
            "P(what this customer gets in all slots | customer): the draws of roles, then the decision",
            unit="probability",
            required=True,
        ),
        Column("is_holdout", T.BooleanType(), "Kept back to measure against", required=True),
        Column("is_exploration", T.BooleanType(), "Drawn at random to learn from, not chosen", required=True),
        Column("reason", T.StringType(), "Why this arm, in one word of docs/glossary.md", required=True),
        Column("learnt_from", T.StringType(), "randomised, observational or assumed"),
    ),
    checks=(
        "slot >= 1",
        "propensity > 0 AND propensity <= 1",
        "cost_amount >= 0",
        "NOT (is_holdout AND arm <> 'none')",
    ),
)

DECISION_LOG = TableContract(
    name="plans.decisions",
    grain="one row per customer of plans.assignment: what the decision stood on when it was made",
    key=("customer_id", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        _AS_OF,
        Column("arm", T.StringType(), "Promotion of slot 1, or none", required=True),
        Column("segment_id", T.IntegerType(), "Segment of segments.customers", personal=True),
        Column("inputs", _NUMBERS, "Covariates of the promotion decided on", personal=True),
        Column("contributions", _NUMBERS, "What each adds to the value beside the mean customer", personal=True),
        Column("offer_values", _NUMBERS, "Value of every promotion the customer could get", personal=True),
        Column("offer_costs", _NUMBERS, "Cost of each", personal=True),
        Column("net_values", _NUMBERS, "Value of each less what it uses of scarce budget and volume", personal=True),
        Column("runner_up", T.StringType(), "Next best promotion, or none"),
        _amount("runner_up_gap_amount", "How much net value it lacks", personal=True),
        Column("reasons", _STRINGS, "Why, in words", required=True, personal=True),
        Column("would_change", T.StringType(), "What would have changed it, in words", personal=True),
        Column("policy", T.StringType(), "personalised, constant or none", required=True),
    ),
)

CONSTRAINT_USE = TableContract(
    name="plans.constraints",
    grain="one row per limit that the assignment was made under",
    key=("name", AS_OF_DATE),
    columns=(
        Column("name", T.StringType(), "Name of the limit"),
        _AS_OF,
        Column("measure", T.StringType(), "cost, count or return", required=True),
        Column("at_least", T.DoubleType(), "Lower limit"),
        Column("at_most", T.DoubleType(), "Upper limit"),
        Column("used", T.DoubleType(), "What the assignment comes to", required=True),
        Column("shadow_price", T.DoubleType(), "What one more unit of it would add to the value", unit="currency"),
        Column("told", T.StringType(), "The same in words", required=True),
    ),
)

BUDGET_CURVE = TableContract(
    name="plans.budget_curve",
    grain="one row per budget that was tried",
    key=("budget_amount", AS_OF_DATE),
    columns=(
        _amount("budget_amount", "Budget"),
        _AS_OF,
        _amount("value_amount", "Value of the best assignment found under it"),
        _amount("bound_amount", "No assignment can be worth more"),
        _amount("cost_amount", "What that assignment costs"),
        Column("marginal_return_rate", T.DoubleType(), "What one more unit of budget earns there", unit="ratio"),
        Column("is_planned", T.BooleanType(), "The budget of the settings", required=True),
    ),
    checks=("budget_amount >= 0",),
)

ASSIGNED_PROMOTIONS = TableContract(
    name="plans.segment_promotions",
    grain="one row per segment and promotion of the assignment, none included",
    key=("segment_id", "promotion_id", AS_OF_DATE),
    columns=(
        Column("segment_id", T.IntegerType(), "Segment; -1 for customers without one"),
        Column("promotion_id", T.StringType(), "Promotion, or none"),
        _AS_OF,
        Column("customer_count", T.LongType(), "Customers given it", unit="count", required=True),
        Column("holdout_count", T.LongType(), "Customers kept back", unit="count", required=True),
        Column("exploration_count", T.LongType(), "Customers drawn at random", unit="count", required=True),
        Column("expected_redemption_count", T.DoubleType(), "Customers expected to redeem", unit="count"),
        _amount("value_amount", "Expected value"),
        _amount("value_low_amount", "Lower end of its interval, as if errors were shared by all"),
        _amount("value_high_amount", "Upper end"),
        _amount("cost_amount", "Expected cost"),
        Column("roi_rate", T.DoubleType(), "Value over cost", unit="ratio"),
    ),
)

SENDS = TableContract(
    name="plans.sends",
    grain="one row per promotion that a customer is to be sent: what brings a response back to its decision",
    key=("code", AS_OF_DATE),
    columns=(
        Column("code", T.StringType(), "Unique code on the message", personal=True),
        _AS_OF,
        replace(_CUSTOMER, required=True),
        Column("decision_id", T.StringType(), "The decision", required=True),
        Column("promotion_id", T.StringType(), "Promotion", required=True),
        Column("slot", T.IntegerType(), "Slot of plans.assignment", required=True),
        Column("channel", T.StringType(), "Send list it stands on", required=True),
        Column("variant", T.StringType(), "Variant of the message, drawn by hash", required=True),
    ),
)

ASSIGNMENT_TABLES = (ASSIGNMENT, DECISION_LOG, CONSTRAINT_USE, BUDGET_CURVE, ASSIGNED_PROMOTIONS, SENDS)

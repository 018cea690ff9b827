"""What past decisions led to, and what each planned promotion is expected to be worth for each customer."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

NO_ARM = "none"
"""The arm of those who were given nothing."""

_AS_OF = Column(AS_OF_DATE, T.DateType(), "Learnt from events strictly before this date")
_CUSTOMER = Column("customer_id", T.StringType(), "Keyed pseudonym of the customer", personal=True)
_PROMOTION = Column("promotion_id", T.StringType(), "Promotion that is planned")
_ARM = Column("arm", T.StringType(), "What was assigned, at the level effects are learnt at; none", required=True)
_COVARIATES = Column(
    "covariates",
    T.ArrayType(T.DoubleType(), containsNull=False),
    "What was known of the customer and the promotion before the decision, in the order of "
    "kernels.decision_covariates.DECISION_COVARIATES",
    required=True,
    personal=True,
)


def _amount(name: str, comment: str) -> Column:
    return Column(name, T.DoubleType(), comment, unit="currency")


def _prob(name: str, comment: str) -> Column:
    return Column(name, T.DoubleType(), comment, unit="probability")


DECISIONS = TableContract(
    name="response.decisions",
    grain="one row per past decision whose outcome is known and customer it was made for, the arm none included",
    key=("decision_id", "customer_id", AS_OF_DATE),
    columns=(
        Column("decision_id", T.StringType(), "The decision"),
        _CUSTOMER,
        _AS_OF,
        _ARM,
        Column("promotion_id", T.StringType(), "Promotion assigned; for the arm none the one it was kept from"),
        Column("decided_date", T.DateType(), "The retailer's own day of the decision", required=True),
        _prob("propensity", "P(assigned arm), logged; NULL when not randomised"),
        Column(
            "is_logged",
            T.BooleanType(),
            "The decision names this customer; otherwise it is a customer of the time who was not chosen",
            required=True,
        ),
        _COVARIATES,
        Column("is_redeemed", T.DoubleType(), "1 if anything was redeemed in the attribution window", required=True),
        Column("is_visited", T.DoubleType(), "1 if anything was bought in the window", required=True),
        _amount("sales_amount", "Sales in the window and the carry-over after it"),
        _amount("margin_amount", "Margin in both, the discounts that the retailer paid taken off"),
        _amount("discount_amount", "Discounts that the retailer paid in both"),
    ),
    checks=("propensity > 0 AND propensity <= 1",),
)

CANDIDATES = TableContract(
    name="response.candidates",
    grain="one row per promotion that is planned and customer it may be given",
    key=("promotion_id", "customer_id", AS_OF_DATE),
    columns=(
        _PROMOTION,
        _CUSTOMER,
        _AS_OF,
        _ARM,
        Column("is_listed", T.BooleanType(), "The retailer has this customer on its own list for it", required=True),
        _COVARIATES,
    ),
)

SCORES = TableContract(
    name="response.scores",
    grain="one row per planned promotion and customer it may be given",
    key=("promotion_id", "customer_id", AS_OF_DATE),
    columns=(
        _PROMOTION,
        _CUSTOMER,
        _AS_OF,
        _ARM,
        Column("is_listed", T.BooleanType(), "The retailer has this customer on its own list for it", required=True),
        _prob("redemption_prob", "P(anything redeemed in the window | given the promotion), calibrated"),
        _prob("visit_uplift_prob", "What being given it adds to P(any purchase in the window)"),
        _amount("sales_uplift_amount", "What being given it adds to sales, carry-over included"),
        _amount("margin_uplift_amount", "What being given it adds to margin, discounts taken off"),
        _amount("margin_low_amount", "Lower end of its interval"),
        _amount("margin_high_amount", "Upper end of its interval"),
        _amount("discount_cost_amount", "Discount that being given it adds to what the retailer pays, not below 0"),
        Column(
            "contributions",
            T.MapType(T.StringType(), T.DoubleType()),
            "What moves margin_uplift_amount away from the mean customer's: the largest, by covariate",
            personal=True,
        ),
        Column("learner", T.StringType(), "What estimated the uplift"),
        Column("learnt_from", T.StringType(), "randomised, observational or assumed", required=True),
    ),
    checks=(
        "redemption_prob BETWEEN 0 AND 1",
        "margin_low_amount <= margin_high_amount",
        "learnt_from IN ('randomised', 'observational', 'assumed')",
    ),
)

LEARNERS = TableContract(
    name="response.learners",
    grain="one row per model of the response to promotions, outcome and metric",
    key=("learner", "outcome", "metric", AS_OF_DATE),
    columns=(
        Column("learner", T.StringType(), "Uplift learner, or model of redemption"),
        Column("outcome", T.StringType(), "What it predicts"),
        Column("metric", T.StringType(), "Name of the figure"),
        _AS_OF,
        Column("value", T.DoubleType(), "The figure, on rows that it was not fitted on"),
        Column("standard_error", T.DoubleType(), "Its sampling error over customers; NULL when not estimated"),
    ),
)

SEGMENT_UPLIFTS = TableContract(
    name="response.segment_uplifts",
    grain="one row per segment, arm and outcome",
    key=("segment_id", "arm", "outcome", AS_OF_DATE),
    columns=(
        Column("segment_id", T.IntegerType(), "Segment of segments.customers"),
        Column("arm", T.StringType(), "Arm, against none"),
        Column("outcome", T.StringType(), "Column of response.decisions"),
        _AS_OF,
        Column("customer_count", T.LongType(), "Customers of the segment that were decided on", unit="count"),
        Column("uplift", T.DoubleType(), "Mean doubly robust score per decision, in units of the outcome"),
        Column("standard_error", T.DoubleType(), "Clustered by customer"),
        Column("low", T.DoubleType(), "Lower end of its interval"),
        Column("high", T.DoubleType(), "Upper end"),
        Column("learnt_from", T.StringType(), "randomised or observational", required=True),
    ),
    checks=("low <= high",),
)

DECISION_TABLES = (DECISIONS, CANDIDATES, SCORES, LEARNERS, SEGMENT_UPLIFTS)

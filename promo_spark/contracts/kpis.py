"""Key figures of the business and of its promotions, each with its error and what it is compared with."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

_AS_OF = Column(AS_OF_DATE, T.DateType(), "What happened before this date is told of")
_CUSTOMER = Column("customer_id", T.StringType(), "Keyed pseudonym of the customer", personal=True)
_NUMBERS = T.ArrayType(T.DoubleType())

PERIOD_MEASURES = (
    *("sales", "margin", "discount", "orders", "visits", "new_visits", "buyers", "known"),
    *("new_customers", "registrations", "rating_sum", "ratings", "return_orders", "lifetime_value", "valued"),
)
PROMOTION_MEASURES = (
    *("sales", "margin", "visits", "buyers", "promoted_sales", "promoted_margin", "promoted_discount"),
    *("promoted_buyers", "neighbour_sales", "redeemers", "exposures", "clicks", "contact_cost"),
)
TERMS = ("a1", "n1", "a0", "n0", "b1", "b0")

CUSTOMER_PERIODS = TableContract(
    name="measurement.customer_periods",
    grain="one row per customer known before the date; passed between steps, not stored",
    key=("customer_id", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        _AS_OF,
        Column("now", _NUMBERS, "PERIOD_MEASURES in the days before the date", required=True),
        Column("before", _NUMBERS, "The same in as many days before those", required=True),
    ),
    mode="passed",
)

PROMOTION_CUSTOMERS = TableContract(
    name="measurement.promotion_customers",
    grain="one row per promotion that began before the date and customer given it or kept from it; passed, not stored",
    key=("promotion_id", "customer_id", AS_OF_DATE),
    columns=(
        Column("promotion_id", T.StringType(), "Promotion"),
        _CUSTOMER,
        _AS_OF,
        Column("is_given", T.BooleanType(), "False for who was kept from it", required=True),
        Column(
            "weight",
            T.DoubleType(),
            "1 over the propensity, or over the share of the decision's customers; NULL for who had no other chance",
        ),
        Column("now", _NUMBERS, "PROMOTION_MEASURES while it ran, as far as it had gone by the date", required=True),
        Column("before", _NUMBERS, "The same in as many days before it began", required=True),
    ),
    mode="passed",
)

KPI_TERMS = TableContract(
    name="measurement.kpi_terms",
    grain="one row per figure, scope, comparison and customer; passed between steps, not stored",
    key=("kpi", "scope", "scope_id", "comparison", "customer_id", AS_OF_DATE),
    columns=(
        Column("kpi", T.StringType(), "Figure"),
        Column("scope", T.StringType(), "all, segment or promotion"),
        Column("scope_id", T.StringType(), "Which segment or promotion; all"),
        Column("comparison", T.StringType(), "before, holdout or expected"),
        _CUSTOMER,
        _AS_OF,
        *(Column(name, T.DoubleType(), f"Term {name} of kernels.kpi_estimates; NULL when unknown") for name in TERMS),
    ),
    mode="passed",
)

KPIS = TableContract(
    name="measurement.kpis",
    grain="one row per figure, scope and what it is compared with",
    key=("kpi", "scope", "scope_id", "comparison", AS_OF_DATE),
    columns=(
        Column("kpi", T.StringType(), "Figure"),
        Column("scope", T.StringType(), "all, segment or promotion"),
        Column("scope_id", T.StringType(), "Which segment or promotion; all"),
        Column(
            "comparison",
            T.StringType(),
            "before: as many days before; holdout: customers kept back; expected: what an earlier plan said",
        ),
        _AS_OF,
        Column("value", T.DoubleType(), "The figure; NULL where it is not known or not defined"),
        Column("standard_error", T.DoubleType(), "Its sampling error over customers"),
        Column("low", T.DoubleType(), "Lower end of its interval"),
        Column("high", T.DoubleType(), "Upper end"),
        Column("comparison_value", T.DoubleType(), "What it is compared with; NULL where there is nothing"),
        Column("change", T.DoubleType(), "Value less what it is compared with"),
        Column("change_error", T.DoubleType(), "Sampling error of the change; a customer counts in both"),
        Column("change_low", T.DoubleType(), "Lower end of its interval"),
        Column("change_high", T.DoubleType(), "Upper end"),
        Column(
            "observation_count",
            T.LongType(),
            "Customers it rests on; promotions for success_rate",
            unit="count",
            required=True,
        ),
        Column("unit", T.StringType(), "count, currency, share, ratio, … and per what", required=True),
        Column("meaning", T.StringType(), "What the figure is", required=True),
        Column("told", T.StringType(), "Why it is not known, or what to beware of"),
    ),
    checks=(
        "scope IN ('all', 'segment', 'promotion')",
        "comparison IN ('before', 'holdout', 'expected')",
        "standard_error >= 0",
        "value IS NOT NULL OR told IS NOT NULL",
    ),
)

KPI_TABLES = (KPIS,)

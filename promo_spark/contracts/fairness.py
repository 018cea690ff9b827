"""Who gets how much, by demographic group, and how often customers are spoken to."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

_AS_OF = Column(AS_OF_DATE, T.DateType(), "Day of the plan; what happened before it counts as the past")

AUDITED_CUSTOMERS = TableContract(
    name="measurement.audited_customers",
    grain="one row per customer known before the date; passed between steps, not stored",
    key=("customer_id", AS_OF_DATE),
    columns=(
        Column("customer_id", T.StringType(), "Keyed pseudonym of the customer", personal=True),
        _AS_OF,
        Column(
            "groups",
            T.MapType(T.StringType(), T.StringType()),
            "Group of each audited attribute; unknown where it is not told",
            required=True,
            personal=True,
            sensitive=True,
        ),
        Column(
            "measured",
            T.ArrayType(T.DoubleType()),
            "What the customer adds to the top and to the bottom of each measure of measurement.fairness_measures; for "
            "adjusted ones the two controls and the outcome; NULL where the customer does not count",
            required=True,
            personal=True,
        ),
    ),
    mode="passed",
)

FAIRNESS = TableContract(
    name="measurement.fairness",
    grain="one row per attribute, group and measure",
    key=("attribute", "group_value", "measure", AS_OF_DATE),
    columns=(
        Column("attribute", T.StringType(), "Demographic attribute, a column of silver.customers"),
        Column("group_value", T.StringType(), "Group; unknown for customers of whom it is not told"),
        Column("measure", T.StringType(), "What is compared"),
        _AS_OF,
        Column("value", T.DoubleType(), "Of the group; NULL where it is suppressed or not defined"),
        Column("reference_value", T.DoubleType(), "The same of all other customers"),
        Column("difference", T.DoubleType(), "Value less that of all others"),
        Column("ratio", T.DoubleType(), "Value over that of all others"),
        Column("standard_error", T.DoubleType(), "Sampling error of the difference"),
        Column("low", T.DoubleType(), "Lower end of the difference's interval"),
        Column("high", T.DoubleType(), "Upper end"),
        Column("p_value", T.DoubleType(), "Of no difference, corrected for all that are tested", unit="probability"),
        Column("customer_count", T.LongType(), "Customers of the group that it rests on; NULL where suppressed"),
        Column("is_suppressed", T.BooleanType(), "Too few customers, or needed to hide them", required=True),
        Column("passed", T.BooleanType(), "False where a difference is large and no chance; NULL where untested"),
        Column("meaning", T.StringType(), "What is compared, in words", required=True),
        Column("told", T.StringType(), "Why there is no figure"),
    ),
    checks=(
        "NOT is_suppressed OR (value IS NULL AND customer_count IS NULL AND reference_value IS NULL)",
        "p_value BETWEEN 0 AND 1",
        "standard_error >= 0",
    ),
)

CONTACT_PRESSURE = TableContract(
    name="measurement.contact_pressure",
    grain="one row per period and number of contacts that any customer had in it",
    key=("period", "contact_count", AS_OF_DATE),
    columns=(
        Column("period", T.StringType(), "past: the days before the date; with_plan: and what is planned for it"),
        Column("contact_count", T.LongType(), "Contacts of a customer in assign.contact_cap_days", unit="count"),
        _AS_OF,
        Column("customer_count", T.LongType(), "Customers with so many", unit="count", required=True),
        Column("customer_rate", T.DoubleType(), "Share of customers with so many", unit="share", required=True),
        Column("at_least_rate", T.DoubleType(), "Share with so many or more", unit="share", required=True),
        Column("cap_count", T.LongType(), "assign.contact_cap; NULL where there is none", unit="count"),
        Column("is_at_cap", T.BooleanType(), "So many are the cap, or more; NULL without a cap"),
        Column("is_over_cap", T.BooleanType(), "So many are more than the cap; NULL without a cap"),
    ),
    checks=("period IN ('past', 'with_plan')", "customer_rate BETWEEN 0 AND 1"),
)

FAIRNESS_TABLES = (FAIRNESS, CONTACT_PRESSURE)

"""What campaigns changed for the customers they targeted, where nothing was drawn at random."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

_STRING = T.StringType()
_DOUBLE = T.DoubleType()
_AS_OF = Column(AS_OF_DATE, T.DateType(), "Only what came strictly before this date is used")
_PROMOTION = Column("promotion_id", _STRING, "The campaign")
_TARGETED = Column("targeted_count", T.LongType(), "Targeted customers compared", unit="count")

CAMPAIGNS = TableContract(
    name="measurement.campaigns",
    grain="one row per campaign that began before the date and was not drawn at random; passed, not stored",
    key=("promotion_id", AS_OF_DATE),
    columns=(
        _PROMOTION,
        _AS_OF,
        Column("start_date", T.DateType(), "The retailer's own day of the first decision", required=True),
        Column("before_date", T.DateType(), "First day of the time before", required=True),
        Column("end_date", T.DateType(), "First day that no longer counts", required=True),
        Column("named_count", T.LongType(), "Customers it was decided for on its first day", unit="count"),
        Column("late_count", T.LongType(), "Customers it was decided for later; left out", unit="count"),
        Column("history_days", T.IntegerType(), "Days from the first order line to the start; NULL: no line", "days"),
        Column("has_history", T.BooleanType(), "The whole time before is known", required=True),
        Column("is_over", T.BooleanType(), "The whole time after is known", required=True),
    ),
    mode="passed",
)

CAMPAIGN_CUSTOMERS = TableContract(
    name="measurement.campaign_customers",
    grain="one row per campaign and customer who had bought in the time before it; passed, not stored",
    key=("promotion_id", "customer_id", AS_OF_DATE),
    columns=(
        _PROMOTION,
        Column("customer_id", _STRING, "Keyed pseudonym of the customer", personal=True),
        _AS_OF,
        Column("is_targeted", T.BooleanType(), "It was decided for this customer", required=True),
        Column(
            "periods",
            T.ArrayType(_DOUBLE, containsNull=False),
            "Each measure of kernels.campaign_history.MEASURES in each period, one measure after the other",
            required=True,
            personal=True,
        ),
    ),
    mode="passed",
)

CAMPAIGN_UNITS = TableContract(
    name="measurement.campaign_units",
    grain="one row per campaign and category, department or store with sales around it; passed, not stored",
    key=("promotion_id", "unit", AS_OF_DATE),
    columns=(
        _PROMOTION,
        Column("unit", _STRING, "Category, department or store"),
        _AS_OF,
        Column("weeks", T.ArrayType(_DOUBLE), "Sales of each week before and after", unit="currency", required=True),
        Column("touched_rate", _DOUBLE, "Share of the sales before that the campaign touches", unit="ratio"),
    ),
    mode="passed",
)

CAMPAIGN_FINDINGS = TableContract(
    name="measurement.campaign_findings",
    grain="one row per effect estimated or check made of a campaign; passed, not stored",
    key=("promotion_id", "finding", "subject", "detail", AS_OF_DATE),
    columns=(
        _PROMOTION,
        Column("finding", _STRING, "effect or check"),
        Column("subject", _STRING, "Method of an effect, name of a check"),
        Column("detail", _STRING, "Metric of an effect, metric or covariate of a check; all"),
        _AS_OF,
        Column("value", _DOUBLE, "Effect per targeted customer and week, or what the check looks at"),
        Column("standard_error", _DOUBLE, "Of an effect"),
        Column("low", _DOUBLE, "Of an effect"),
        Column("high", _DOUBLE, "Of an effect"),
        Column("p_value", _DOUBLE, "Of an effect", unit="probability"),
        Column("threshold", _DOUBLE, "Of a check"),
        Column("passed", T.BooleanType(), "Of a check"),
        Column("failed", T.ArrayType(_STRING), "Checks that stop a conclusion on an effect"),
        _TARGETED,
        Column("control_count", T.LongType(), "Customers or units they are held against", unit="count"),
        Column("effective_control_count", _DOUBLE, "The same, weighted", unit="count"),
        Column("start_date", T.DateType(), "First day of the campaign"),
        Column("end_date", T.DateType(), "First day that no longer counts"),
    ),
    mode="passed",
)

CAMPAIGN_EFFECTS = TableContract(
    name="measurement.campaign_effects",
    grain="one row per campaign, metric and method",
    key=("promotion_id", "metric", "method", AS_OF_DATE),
    columns=(
        _PROMOTION,
        Column("metric", _STRING, "One of campaign_effects.metrics; touched_sales_amount of a synthetic control"),
        Column(
            "method",
            _STRING,
            "difference_in_differences, propensity_weighting, doubly_robust or synthetic_control",
        ),
        _AS_OF,
        Column("effect", _DOUBLE, "Change per targeted customer and week, in units of the metric; NULL: not estimated"),
        Column("standard_error", _DOUBLE, "Clustered by customer; NULL for a synthetic control, which has ranks"),
        Column("low", _DOUBLE, "Lower end of the interval; NULL for a synthetic control"),
        Column("high", _DOUBLE, "Upper end"),
        Column("p_value", _DOUBLE, "Two-sided, of no effect", unit="probability"),
        Column(
            "adjusted_p_value",
            _DOUBLE,
            "The same, over all campaigns that can be told by this method and metric (Benjamini and Hochberg)",
            unit="probability",
        ),
        _TARGETED,
        Column("control_count", T.LongType(), "Customers or units they are held against", unit="count"),
        Column("effective_control_count", _DOUBLE, "The same, as many of equal weight", unit="count"),
        Column("start_date", T.DateType(), "First day of the campaign"),
        Column("last_date", T.DateType(), "Last day that counts"),
        Column("is_headline", T.BooleanType(), "The method that the settings put first", required=True),
        Column("verdict", _STRING, "effect_shown, no_effect_shown or cannot_be_told", required=True),
        Column("told", _STRING, "The verdict in plain words", required=True),
        Column("learnt_from", _STRING, "observational", required=True),
    ),
    checks=(
        "low <= high",
        "verdict IN ('effect_shown', 'no_effect_shown', 'cannot_be_told')",
        "learnt_from = 'observational'",
    ),
)

CAMPAIGN_CHECKS = TableContract(
    name="measurement.campaign_checks",
    grain="one row per campaign, check, and covariate or metric that it looks at",
    key=("promotion_id", "check", "covariate", AS_OF_DATE),
    columns=(
        _PROMOTION,
        Column(
            "check",
            _STRING,
            "history, over, targeted, controls, trimmed_rate, effective_controls, balance_before, balance_after, "
            "other_campaigns, pre_trend, placebo_date, weighted_trend, weighted_placebo_date, negative_control, donors "
            "or fit_before",
        ),
        Column("covariate", _STRING, "Covariate or metric that it looks at; all"),
        _AS_OF,
        Column("value", _DOUBLE, "What was found: a count, a share, a standardised difference or a p-value"),
        Column("threshold", _DOUBLE, "What it is held against"),
        Column("passed", T.BooleanType(), "NULL: the data cannot test it"),
        Column("is_required", T.BooleanType(), "Where it fails nothing is concluded", required=True),
        Column("told", _STRING, "The same in plain words", required=True),
    ),
)

CAMPAIGN_TABLES = (CAMPAIGN_EFFECTS, CAMPAIGN_CHECKS)

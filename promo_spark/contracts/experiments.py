"""Experiments: how they were designed, who was drawn into which arm, and what the arms changed."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

ALL_SEGMENTS = "all"
"""Segment of rows that are about everybody."""
RANDOMISED = "randomised"

_STRING, _DOUBLE, _LONG = T.StringType(), T.DoubleType(), T.LongType()
_EXPERIMENT = Column("experiment", _STRING, "Experiment: decision_id of its rows in silver.assignments, or its table")
_CUSTOMER = Column("customer_id", _STRING, "Keyed pseudonym of the customer", personal=True)
_METRIC = Column("metric", _STRING, "What is measured")
_NUMBERS = T.ArrayType(T.DoubleType())
_STRATUM = Column("stratum", _STRING, "Stratum that the draw was balanced in; all where there is none", required=True)

EXPERIMENTS = TableContract(
    name="measurement.experiments",
    grain="one row per experiment and arm, kept as it was designed",
    key=("experiment", "arm"),
    columns=(
        _EXPERIMENT,
        Column("arm", _STRING, "Promotion, or none"),
        Column(AS_OF_DATE, T.DateType(), "Day of the design", required=True),
        Column("is_control", T.BooleanType(), "The arm that all others are held against", required=True),
        Column("share", _DOUBLE, "Of all units, those held out included for the arm none", unit="share", required=True),
        Column("holdout_rate", _DOUBLE, "Units kept out of every arm but none", unit="share", required=True),
        Column("unit", _STRING, "What is drawn: customer, store, or a column of silver.customers", required=True),
        Column("unit_count", _LONG, "Units drawn into the arm", unit="count", required=True),
        Column("customer_count", _LONG, "Customers drawn into the arm", unit="count", required=True),
        Column("salt", _STRING, "Of the hash that draws", required=True),
        Column("strata", T.ArrayType(_STRING), "Columns the draw is balanced in", required=True),
        Column("metrics", T.ArrayType(_STRING), "What it is meant to move; the first decides", required=True),
        Column("guardrails", T.ArrayType(_STRING), "What it must not harm", required=True),
        Column("variants", T.MapType(_STRING, _DOUBLE), "Variants of the message, drawn apart, and their shares"),
        Column("alpha", _DOUBLE, "Chance of finding a difference where there is none", unit="probability"),
        Column("power", _DOUBLE, "Chance of finding the effect worth finding", unit="probability"),
        Column("minimum_effect_rate", _DOUBLE, "Effect worth finding, over the control's mean", unit="share"),
        Column("detectable_effect", _DOUBLE, "Smallest that is found with the power, in units of the first metric"),
        Column("detectable_effect_rate", _DOUBLE, "The same over the baseline's mean", unit="share"),
        Column("required_unit_count", _LONG, "Units in all arms that the effect worth finding needs", unit="count"),
        Column("start_date", T.DateType(), "First day whose outcomes count", required=True),
        Column("end_date", T.DateType(), "Last one", required=True),
        Column("design_hash", _STRING, "Of all settings that decide the draw", required=True),
    ),
    mode="appended",
)

EXPERIMENT_UNITS = TableContract(
    name="measurement.experiment_units",
    grain="one row per customer of a designed experiment",
    key=("experiment", "customer_id"),
    columns=(
        _EXPERIMENT,
        _CUSTOMER,
        Column("arm", _STRING, "Promotion, or none", required=True),
        Column("is_holdout", T.BooleanType(), "Kept back to measure against", required=True),
        Column("propensity", _DOUBLE, "P(this arm)", unit="probability", required=True),
        Column("unit_id", _STRING, "Customer, store or cluster that was drawn", required=True, personal=True),
        _STRATUM,
        Column("variant", _STRING, "Variant of the message, drawn apart from the arm", required=True),
    ),
    checks=("propensity > 0 AND propensity <= 1",),
    mode="appended",
)

POWER_CURVE = TableContract(
    name="measurement.power_curve",
    grain="one row per designed experiment, metric, arm and number of units",
    key=("experiment", "metric", "arm", "unit_count", AS_OF_DATE),
    columns=(
        _EXPERIMENT,
        _METRIC,
        Column("arm", _STRING, "Arm against the control"),
        Column("unit_count", _LONG, "Units in all arms together", unit="count"),
        Column(AS_OF_DATE, T.DateType(), "Learnt from days before this date"),
        Column("baseline_mean", _DOUBLE, "Mean of the metric over as many days before the date"),
        Column("standard_deviation", _DOUBLE, "Between units"),
        Column("adjusted_deviation", _DOUBLE, "What covariates of the time before leave of it"),
        Column("detectable_effect", _DOUBLE, "Smallest found with the power; adjusted, two-sided"),
        Column("detectable_effect_rate", _DOUBLE, "The same over the baseline's mean", unit="share"),
        Column("unadjusted_effect", _DOUBLE, "The same from the difference in means"),
        Column("is_planned", T.BooleanType(), "The number of units that there are", required=True),
    ),
    checks=("unit_count > 0",),
)

EXPERIMENT_ROWS = TableContract(
    name="measurement.experiment_rows",
    grain="one row per experiment and customer; passed between steps, not stored",
    key=("experiment", "customer_id", AS_OF_DATE),
    columns=(
        _EXPERIMENT,
        _CUSTOMER,
        Column(AS_OF_DATE, T.DateType(), "Outcomes before this date count"),
        Column("arm", _STRING, "Arm; of several the first by name", required=True),
        Column("propensity", _DOUBLE, "P(this arm) as logged", unit="probability"),
        _STRATUM,
        Column("segment", _STRING, "Segment whose own effect is told; all where there is none", required=True),
        Column("cluster_id", _STRING, "What was drawn, where it is no customer", personal=True),
        Column("record_count", _LONG, "Records of the customer in the experiment", unit="count", required=True),
        Column("arm_count", _LONG, "Arms among them", unit="count", required=True),
        Column("is_early", T.BooleanType(), "Outcomes begin before the assignment", required=True),
        Column("is_missing", T.BooleanType(), "An outcome or covariate is unknown", required=True),
        Column("covariates", _NUMBERS, "Of the time before", required=True, personal=True),
        Column("outcomes", _NUMBERS, "What followed", required=True, personal=True),
    ),
    mode="passed",
)

EXPERIMENT_MOMENTS = TableContract(
    name="measurement.experiment_moments",
    grain="one row of sums per experiment, arm, stratum and segment; passed between steps, not stored",
    key=("experiment", "arm", "stratum", "segment", AS_OF_DATE),
    columns=(
        _EXPERIMENT,
        Column("arm", _STRING, "Arm"),
        _STRATUM,
        Column("segment", _STRING, "Segment"),
        Column(AS_OF_DATE, T.DateType(), "Outcomes before this date count"),
        Column("is_clustered", T.BooleanType(), "Units are clusters, not customers", required=True),
        Column(
            "counts", _NUMBERS, "Customers, units and faults, in the order of kernels.unit_sums.TOLD", required=True
        ),
        Column("propensities", _NUMBERS, "Number logged, sum and sum of squares", required=True),
        Column("products", _NUMBERS, "Sums of z z' over sound units, row by row", required=True),
        Column(
            "bins",
            _NUMBERS,
            "Histograms of the whole arm, with stratum and segment all; see kernels.unit_sums.pack_bins",
            required=True,
        ),
        Column("fractions", _NUMBERS, "Customers whose outcome is no whole number, by outcome", required=True),
    ),
    mode="passed",
)

EFFECTS = TableContract(
    name="measurement.effects",
    grain="one row per experiment, metric, arm, method and segment",
    key=("experiment", "metric", "arm", "method", "segment", AS_OF_DATE),
    columns=(
        _EXPERIMENT,
        _METRIC,
        Column("arm", _STRING, "Arm, against the control"),
        Column(
            "method",
            _STRING,
            "difference, stratified, regression_adjusted, winsorised, sequential, shrunk, or quantile_ and a level",
        ),
        Column("segment", _STRING, "Segment, or all"),
        Column(AS_OF_DATE, T.DateType(), "Outcomes before this date count"),
        Column("control", _STRING, "The arm it is held against", required=True),
        Column("control_value", _DOUBLE, "Mean, ratio or quantile in the control, adjusted as the effect is"),
        Column("arm_value", _DOUBLE, "The same in the arm"),
        Column("effect", _DOUBLE, "Difference, in units of the metric"),
        Column("standard_error", _DOUBLE, "Of the effect; NULL where nothing varies"),
        Column("low", _DOUBLE, "Lower end of the interval"),
        Column("high", _DOUBLE, "Upper end"),
        Column("p_value", _DOUBLE, "Two-sided, of no effect", unit="probability"),
        Column("adjusted_p_value", _DOUBLE, "Corrected for all that its family tests", unit="probability"),
        Column("relative_effect", _DOUBLE, "Effect over the control's value", unit="share"),
        Column("relative_low", _DOUBLE, "Lower end of its interval (delta method)", unit="share"),
        Column("relative_high", _DOUBLE, "Upper end", unit="share"),
        Column("level", _DOUBLE, "Of the intervals", unit="probability", required=True),
        Column("control_count", _LONG, "Units in the control", unit="count", required=True),
        Column("arm_count", _LONG, "Units in the arm", unit="count", required=True),
        Column("is_guardrail", T.BooleanType(), "Watched for harm, not meant to be moved", required=True),
        Column("is_headline", T.BooleanType(), "The one to quote: no failed check stands against it", required=True),
        Column("learnt_from", _STRING, "randomised", required=True),
    ),
    checks=("low <= high", "p_value BETWEEN 0 AND 1", "learnt_from IN ('randomised', 'observational')"),
)

EXPERIMENT_CHECKS = TableContract(
    name="measurement.experiment_checks",
    grain="one row per experiment, check, metric and arm",
    key=("experiment", "check", "metric", "arm", AS_OF_DATE),
    columns=(
        _EXPERIMENT,
        Column(
            "check",
            _STRING,
            "sample_ratio, arms, two_arms, duplicates, outcome_dates, missing_outcomes, balance, propensities, "
            "clusters, sizes or variance",
        ),
        Column("metric", _STRING, "Metric it is about, or all"),
        Column("arm", _STRING, "Arm it is about, or all"),
        Column(AS_OF_DATE, T.DateType(), "Outcomes before this date count"),
        Column("result", _STRING, "passed, warning or failed", required=True),
        Column("statistic", _DOUBLE, "What it looks at: a p-value, a share or a count"),
        Column("told", _STRING, "The finding in words", required=True),
        Column("stops_headline", T.BooleanType(), "No effect of it may be quoted", required=True),
    ),
    checks=("result IN ('passed', 'warning', 'failed')",),
)

EXPERIMENT_TABLES = (
    EXPERIMENTS,
    EXPERIMENT_UNITS,
    POWER_CURVE,
    EFFECTS,
    EXPERIMENT_CHECKS,
)

"""How the system changes itself: what was tried, and what did better."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

TOGETHER = " + "
"""Stands between promotions that one customer got together."""

TRIALS = TableContract(
    name="learning.trials",
    grain="one row per run, subject and settings tried on days before the date",
    key=("run_id", "subject", "trial_id"),
    columns=(
        Column("run_id", T.StringType(), "Hash of code, contracts, settings, as_of_date and inputs", required=True),
        Column("subject", T.StringType(), "factors, neighbours, item_neighbours, churn or spend"),
        Column("trial_id", T.StringType(), "Hash of the settings tried"),
        Column(AS_OF_DATE, T.DateType(), "Nothing from this day on was looked at", required=True),
        Column(
            "settings",
            T.MapType(T.StringType(), T.StringType()),
            "Settings tried, by dotted name, values as JSON",
            required=True,
        ),
        Column(
            "is_settled", T.BooleanType(), "The settings in force, which all others are compared with", required=True
        ),
        Column("metric", T.StringType(), "What the trial is judged by", required=True),
        Column("value", T.DoubleType(), "The figure", required=True),
        Column("standard_error", T.DoubleType(), "Its sampling error over customers; NULL when not estimated"),
        Column(
            "gain",
            T.DoubleType(),
            "How much better than the settled settings, customer by customer; positive is better",
        ),
        Column("gain_error", T.DoubleType(), "Standard error of the gain"),
        Column("observation_count", T.LongType(), "Customers judged", unit="count"),
        Column("first_date", T.DateType(), "First day by which it is judged", required=True),
        Column("last_date", T.DateType(), "Last one", required=True),
        Column("is_ahead", T.BooleanType(), "By more than chance among the trials of its subject", required=True),
    ),
    mode="appended",
)

FEEDBACK = TableContract(
    name="learning.feedback",
    grain="one row per customer and decision that was handed over: what the next learning starts from",
    key=("decision_id", "customer_id"),
    columns=(
        Column("decision_id", T.StringType(), "The decision"),
        Column("customer_id", T.StringType(), "Keyed pseudonym of the customer", personal=True),
        Column("arm", T.StringType(), 'Promotion given, several joined by " + ", or none', required=True),
        Column(
            "propensity",
            T.DoubleType(),
            "P(all that was given, or nothing | customer)",
            unit="probability",
            required=True,
        ),
        Column("is_holdout", T.BooleanType(), "Kept back to measure against", required=True),
        Column("decided_at", T.TimestampType(), "Midnight of the as_of_date, the retailer's own; UTC", required=True),
    ),
    checks=("propensity > 0 AND propensity <= 1",),
    mode="appended",
)

LEARNING = (
    FEEDBACK,
    TRIALS,
)

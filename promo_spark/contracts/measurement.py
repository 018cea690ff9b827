"""What happened afterwards, set against what was said beforehand."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

BACKTESTS = TableContract(
    name="measurement.backtests",
    grain="one row per subject, model and metric",
    key=("subject", "model", "metric", AS_OF_DATE),
    columns=(
        Column("subject", T.StringType(), "What was predicted: recommend_all, recommend_novel, category_sales, …"),
        Column("model", T.StringType(), "Model or baseline"),
        Column("metric", T.StringType(), "Name of the figure"),
        Column(AS_OF_DATE, T.DateType(), "Day of the prediction; the days from it on are the test"),
        Column("value", T.DoubleType(), "The figure"),
        Column("standard_error", T.DoubleType(), "Its sampling error; NULL when not estimated"),
        Column("observation_count", T.LongType(), "Customers or cells it is a mean over", unit="count"),
        Column("first_date", T.DateType(), "First day tested"),
        Column("last_date", T.DateType(), "Last day tested"),
    ),
)

BACKTEST_SUMMARY = TableContract(
    name="measurement.backtest_summary",
    grain="one row per subject, model and metric over the dates of a rolling backtest",
    key=("subject", "model", "metric", AS_OF_DATE),
    columns=(
        Column("subject", T.StringType(), "What was predicted"),
        Column("model", T.StringType(), "Model or baseline"),
        Column("metric", T.StringType(), "Name of the figure"),
        Column(AS_OF_DATE, T.DateType(), "The last of the dates"),
        Column("mean_value", T.DoubleType(), "Mean of the figure over the dates"),
        Column("standard_error", T.DoubleType(), "By how much it differs between dates, over the root of their number"),
        Column("sampling_error", T.DoubleType(), "What the errors within the dates alone would make of it"),
        Column("origin_count", T.LongType(), "Dates on which the figure is known", unit="count", required=True),
        Column("lowest_value", T.DoubleType(), "Lowest of the dates"),
        Column("highest_value", T.DoubleType(), "Highest of the dates"),
        Column("worst_value", T.DoubleType(), "Worst of the dates, by what the figure is"),
        Column("worst_date", T.DateType(), "Date of the worst"),
        Column("first_origin_date", T.DateType(), "First of the dates", required=True),
    ),
    checks=("origin_count >= 1", "standard_error >= 0"),
)

FORECAST_ACTUALS = TableContract(
    name="measurement.forecast_actuals",
    grain="one row per segment, category, week from the date on, and model",
    key=("segment_id", "category", "week_start_date", "model", AS_OF_DATE),
    columns=(
        Column("segment_id", T.IntegerType(), "Segment at the date"),
        Column("category", T.StringType(), "Product category"),
        Column("week_start_date", T.DateType(), "Monday of the retailer's week"),
        Column("model", T.StringType(), "gbt, linear, ridge or last_weeks_mean"),
        Column(AS_OF_DATE, T.DateType(), "Day of the forecast"),
        Column("actual_amount", T.DoubleType(), "Sales at regular price that followed", unit="currency"),
        Column(
            "predicted_amount",
            T.DoubleType(),
            "Forecast, given the promotions that were run",
            unit="currency",
        ),
        Column(
            "low_amount",
            T.DoubleType(),
            "Lower end of the interval; NULL where the model has none",
            unit="currency",
        ),
        Column("high_amount", T.DoubleType(), "Upper end of the interval", unit="currency"),
    ),
)

POLICY_VALUES = TableContract(
    name="measurement.policy_values",
    grain="one row per policy that was compared before the assignment",
    key=("policy", AS_OF_DATE),
    columns=(
        Column("policy", T.StringType(), "personalised, constant:<arm> or none"),
        Column(AS_OF_DATE, T.DateType(), "Learnt from decisions whose outcomes were known before this date"),
        Column(
            "value_amount",
            T.DoubleType(),
            "Doubly robust value per customer beside giving nothing, out of fold",
            unit="currency",
        ),
        Column("standard_error", T.DoubleType(), "Its sampling error over customers"),
        Column("cost_amount", T.DoubleType(), "Cost per customer", unit="currency"),
        Column("gain_amount", T.DoubleType(), "Value less that of the best simple policy", unit="currency"),
        Column("gain_error", T.DoubleType(), "Sampling error of the gain, in pairs"),
        Column("p_value", T.DoubleType(), "One-sided, of no gain", unit="probability"),
        Column("is_chosen", T.BooleanType(), "What the assignment follows", required=True),
        Column("told", T.StringType(), "The verdict in words"),
        Column("learnt_from", T.StringType(), "randomised or observational", required=True),
    ),
)

MEASUREMENT = (BACKTESTS, BACKTEST_SUMMARY, FORECAST_ACTUALS, POLICY_VALUES)

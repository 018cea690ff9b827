"""What is really so in simulated data: for tests and benchmarks only, no stage may learn from it."""

from pyspark.sql import types as T

from promo_spark.contracts.table import Column, TableContract

TRUE_EFFECTS = TableContract(
    name="truth.effects",
    grain="one row per simulated customer per promotion",
    key=("customer_id", "promotion_id"),
    columns=(
        Column("customer_id", T.StringType(), "Keyed pseudonym of the customer", personal=True),
        Column("promotion_id", T.StringType(), "Promotion"),
        Column("customer_type", T.StringType(), "How the customer reacts to promotions", required=True),
        Column(
            "uplift_weekly_amount",
            T.DoubleType(),
            "What being assigned the promotion adds to the customer's expected sales in a week of it",
            unit="currency",
            required=True,
        ),
        Column(
            "uplift_net_amount",
            T.DoubleType(),
            "The same over all its weeks, less what is bought too early, in the weeks after, for it",
            unit="currency",
            required=True,
        ),
    ),
    mode="appended",
)

TRUTH = (TRUE_EFFECTS,)

"""What is decided."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

_AS_OF = Column(AS_OF_DATE, T.DateType(), "Day of the decision")


def _money(name: str, comment: str) -> Column:
    return Column(name, T.DoubleType(), comment, unit="currency")


SEGMENT_PLAN = TableContract(
    name="plans.segment_plan",
    grain="one row per segment and planned category: the offer chosen, or none",
    key=("segment_id", "category", AS_OF_DATE),
    columns=(
        Column("segment_id", T.IntegerType(), "Segment of segments.customers"),
        Column("category", T.StringType(), "Product category the offer covers"),
        _AS_OF,
        Column("segment_name", T.StringType(), "Name of the segment", required=True),
        Column("decision", T.StringType(), "promote, test or none", required=True),
        Column("offer_id", T.StringType(), "Offer chosen or proposed for a test; none otherwise", required=True),
        Column("mechanic", T.StringType(), "Kind of promotion"),
        Column("depth_rate", T.DoubleType(), "Discount as a share of the regular price", unit="share"),
        Column("threshold_amount", T.DoubleType(), "Spend that earns the offer", unit="currency"),
        Column("channel", T.StringType(), "How it is announced"),
        Column("time_slot", T.StringType(), "When the segment shops most"),
        Column("start_date", T.DateType(), "First day"),
        Column("end_date", T.DateType(), "Last day"),
        Column("customer_count", T.LongType(), "Customers of the segment", unit="count"),
        Column("holdout_rate", T.DoubleType(), "Share of holdout units kept back to measure against", unit="share"),
        Column("holdout_unit", T.StringType(), "What is kept back: customer, or store where an offer is store-wide"),
        _money("budget_amount", "Discount and contact cost set aside"),
        _money("base_sales_amount", "Sales expected without the offer"),
        _money("expected_sales_amount", "Sales expected with the offer"),
        _money("incremental_sales_amount", "Difference, the weeks after included"),
        _money("sales_low_amount", "Lower end of its interval"),
        _money("sales_high_amount", "Upper end of its interval"),
        _money("expected_redemption_count", "Lines bought under the offer"),
        _money("cost_amount", "Discount and contact cost"),
        _money("incremental_margin_amount", "Margin gained after cost"),
        _money("margin_low_amount", "Lower end of its interval"),
        _money("margin_high_amount", "Upper end of its interval"),
        Column("roi_rate", T.DoubleType(), "Incremental margin over cost", unit="ratio"),
        Column(
            "adjusted_p_value",
            T.DoubleType(),
            "Evidence of a gain, corrected for how many were tried",
            unit="probability",
        ),
        Column("margin_rate", T.DoubleType(), "Margin rate used", unit="share"),
        Column(
            "break_even_margin_rate",
            T.DoubleType(),
            "Margin rate at which the decision would turn",
            unit="share",
        ),
        Column("is_margin_assumed", T.BooleanType(), "The margin rate is an assumption of the settings"),
        Column("runner_up_offer_id", T.StringType(), "Next best offer"),
        _money("runner_up_margin_amount", "Its incremental margin"),
        Column(
            "test_customer_count",
            T.LongType(),
            "Customers per arm for a test that would settle it; NULL for offers that are store-wide",
            unit="count",
        ),
        Column(
            "test_store_count",
            T.LongType(),
            "Stores per arm for a test of a store-wide offer, by displays or mailers",
            unit="count",
        ),
        Column("reasons", T.ArrayType(T.StringType()), "Why, in words", required=True),
        Column("learnt_from", T.StringType(), "randomised, observational or assumed", required=True),
    ),
    checks=(
        "holdout_unit IS NULL OR holdout_unit IN ('customer', 'store')",
        "decision IN ('promote', 'test', 'none')",
        "budget_amount >= 0",
        "end_date >= start_date",
    ),
)

PLANS = (SEGMENT_PLAN,)

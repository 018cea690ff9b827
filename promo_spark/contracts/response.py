"""How customers respond to promotions: the weekly panel and the effects learnt from it."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, Column, TableContract

_AS_OF = Column(AS_OF_DATE, T.DateType(), "Learnt from events strictly before this date")
_SEGMENT = Column("segment_id", T.IntegerType(), "Segment of segments.customers")
_CATEGORY = Column("category", T.StringType(), "Product category")


def _double(name: str, comment: str, unit: str) -> Column:
    return Column(name, T.DoubleType(), comment, unit=unit)


PLANNED_PRODUCTS = TableContract(
    name="response.products",
    grain="one row per product of a category that is planned, sold before the date",
    key=("product_id", AS_OF_DATE),
    columns=(
        Column("product_id", T.StringType(), "Product"),
        _AS_OF,
        Column("category", T.StringType(), "Planned category", required=True),
        _double("gross_amount", "Sales at regular price in the look-back", "currency"),
        _double("weight_rate", "Share of the category's: the product's fixed weight in its levers", "share"),
    ),
    checks=("weight_rate BETWEEN 0 AND 1",),
)

PANEL = TableContract(
    name="response.panel",
    grain="one row per segment, planned category and full week before the date, weeks without sales included",
    key=("segment_id", "category", "week_start_date", AS_OF_DATE),
    columns=(
        _SEGMENT,
        _CATEGORY,
        Column("week_start_date", T.DateType(), "Monday of the retailer's week"),
        _AS_OF,
        _double(
            "gross_amount",
            "Sales at regular price: discounts the retailer paid added back, outliers left out",
            "currency",
        ),
        _double("sales_amount", "Sales", "currency"),
        _double("depth_rate", "Fixed-weight discount depth of the category that week, 0 to 1", "share"),
        _double("display_rate", "Share of the category's usual sales on display that week", "share"),
        _double("mailer_rate", "Share of the category's usual sales in the mailer that week", "share"),
        _double("traffic_index", "The segment's sales that week over its mean week", "ratio"),
    ),
    checks=("depth_rate BETWEEN 0 AND 1", "display_rate BETWEEN 0 AND 1", "mailer_rate BETWEEN 0 AND 1"),
)

EFFECTS = TableContract(
    name="response.effects",
    grain="one row per segment, category and offer that conf/promotions.yaml proposes",
    key=("segment_id", "category", "offer_id", AS_OF_DATE),
    columns=(
        _SEGMENT,
        _CATEGORY,
        Column("offer_id", T.StringType(), "Offer of the promotions file"),
        _AS_OF,
        _double("base_gross_amount", "Weekly sales at regular price without the offer", "currency per week"),
        _double("base_sales_amount", "Sales without the offer over its weeks, usual discounts given", "currency"),
        _double("lift_rate", "Shrunk lift of a week's sales with the offer on, evaluation weeks", "share"),
        _double("lift_low_rate", "Lower end of its interval", "share"),
        _double("lift_high_rate", "Upper end of its interval", "share"),
        _double(
            "carry_rate",
            "Shrunk change in the two weeks after, per week of offer (negative: stock-piling)",
            "share",
        ),
        _double("gbt_lift_rate", "Lift that the boosted trees see, offer on against off", "share"),
        _double("selection_margin_amount", "Incremental margin of the offer, selection weeks", "currency"),
        _double("margin_amount", "Incremental margin of the offer, evaluation weeks", "currency"),
        _double("margin_low_amount", "Lower end of its interval", "currency"),
        _double("margin_high_amount", "Upper end of its interval", "currency"),
        _double("margin_p_value", "One-sided p-value of no gain, evaluation weeks", "probability"),
        _double("selection_sales_amount", "Incremental sales, selection weeks", "currency"),
        _double("incremental_sales_amount", "Incremental sales, evaluation weeks", "currency"),
        _double("sales_low_amount", "Lower end of its interval", "currency"),
        _double("sales_high_amount", "Upper end of its interval", "currency"),
        _double("sales_p_value", "One-sided p-value of no more sales, evaluation weeks", "probability"),
        _double("sales_amount", "Sales expected with the offer, the weeks after included", "currency"),
        _double("discount_cost_amount", "Discount given, to those who would have bought anyway too", "currency"),
        _double("contact_cost_amount", "Cost of telling the segment, and of setting the offer up", "currency"),
        _double(
            "margin_sd_amount",
            "Standard deviation of the incremental margin over bootstrap weeks",
            "currency",
        ),
        _double("margin_rate", "Margin rate of the category at regular price", "share"),
        Column("is_margin_assumed", T.BooleanType(), "The margin rate is, at least in part, assumed in the settings"),
        Column("customer_count", T.LongType(), "Customers of the segment", unit="count"),
        Column(
            "evidence_week_count",
            T.IntegerType(),
            "Weeks in which the category was promoted at least half as much",
            unit="count",
        ),
        Column("learnt_from", T.StringType(), "randomised, observational or assumed", required=True),
    ),
    checks=(
        "margin_low_amount <= margin_high_amount",
        "learnt_from IN ('randomised', 'observational', 'assumed')",
    ),
)

RESPONSE = (PLANNED_PRODUCTS, PANEL, EFFECTS)

"""What is known of customers, products and promotions strictly before a date."""

from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, MONEY, QUANTITY, Column, TableContract

PRIVATE_BRAND = r"(?i)\b(private|own)\b"
"""Brands of the retailer itself. Whole words only: "Crown" and "Brown & Sons" are no own brands."""

_AS_OF = Column(AS_OF_DATE, T.DateType(), "Uses events strictly before this date")
_CUSTOMER = Column("customer_id", T.StringType(), "Keyed pseudonym of the customer", personal=True)


def _rate(name: str, comment: str) -> Column:
    return Column(name, T.DoubleType(), comment, unit="share")


def _double(name: str, comment: str, unit: str) -> Column:
    return Column(name, T.DoubleType(), comment, unit=unit)


def _count(name: str, comment: str) -> Column:
    return Column(name, T.LongType(), comment, unit="count")


DESCRIBED_LINES = TableContract(
    name="features.lines",
    grain="one row per order line before the date; passed between steps, not stored",
    key=("basket_id", "line_id"),
    columns=(
        Column("basket_id", T.StringType(), "Receipt or order"),
        Column("line_id", T.StringType(), "Line within the basket"),
        Column("customer_id", T.StringType(), "Keyed pseudonym of the customer; NULL when unknown", personal=True),
        Column("product_id", T.StringType(), "Product", required=True),
        Column("store_id", T.StringType(), "Store, or NULL online"),
        Column("department", T.StringType(), "Department; (unknown) when the source has none", required=True),
        Column("category", T.StringType(), "Category; (unknown) when the source has none", required=True),
        Column("order_date", T.DateType(), "The retailer's own day of purchase", required=True),
        Column("order_hour", T.IntegerType(), "The retailer's own hour of day", unit="hour", required=True),
        Column("week_start_date", T.DateType(), "Monday of the retailer's week", required=True),
        Column("quantity", QUANTITY, "Units; NULL for an outlier", unit="units"),
        Column("sales_amount", MONEY, "What the retailer receives for the line", unit="currency", required=True),
        Column("regular_amount", MONEY, "Value at regular price", unit="currency", required=True),
        Column("discount_amount", MONEY, "Retail discount; NULL when the source has none", unit="currency"),
        Column("coupon_amount", MONEY, "Manufacturer's coupon and its match; NULL when unknown", unit="currency"),
        Column("has_coupon", T.BooleanType(), "A manufacturer's coupon was used; NULL when unknown"),
        Column("is_return", T.BooleanType(), "Goods came back", required=True),
        Column("is_recent", T.BooleanType(), "Within the look-back", required=True),
        Column("is_private_brand", T.BooleanType(), "Private or own brand; NULL when unknown"),
        Column("is_displayed", T.BooleanType(), "On display there and then; NULL when not covered"),
        Column("is_mailed", T.BooleanType(), "In the mailer there and then; NULL when not covered"),
    ),
    mode="appended",
)

CUSTOMER_FEATURES = TableContract(
    name="features.customers",
    grain="one row per customer with at least one purchase before the date",
    key=("customer_id", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        _AS_OF,
        Column("first_order_date", T.DateType(), "First purchase", required=True, personal=True),
        Column("last_order_date", T.DateType(), "Last purchase", required=True, personal=True),
        _count("recency_days", "Days from the last purchase to the date"),
        _count("tenure_days", "Days from the first purchase to the date"),
        _count("order_count", "Baskets so far; one that only brings goods back is none"),
        _count("order_28d_count", "Baskets in the 28 days before"),
        _count("order_91d_count", "Baskets in the 91 days before"),
        Column("spend_amount", MONEY, "Sales so far, returns subtracted", unit="currency"),
        Column("spend_28d_amount", MONEY, "Sales in the 28 days before", unit="currency"),
        Column("spend_91d_amount", MONEY, "Sales in the 91 days before", unit="currency"),
        _double("weekly_spend_amount", "Winsorised sales per week of tenure (1 week to the look-back)", "currency"),
        _double("order_gap_days", "Mean days between baskets; imputed for one basket", "days"),
        _rate(
            "spend_trend_rate",
            "Change of sales, last 28 days on the 28 before, within ±1; NULL for a tenure below 56 days",
        ),
        _double("basket_spend_amount", "Winsorised mean sales per basket", "currency"),
        _double("basket_line_count", "Mean lines per basket", "count"),
        _double("basket_category_count", "Mean distinct categories per basket", "count"),
        _count("product_count", "Distinct products bought"),
        _count("store_count", "Distinct stores visited"),
        Column("favourite_category", T.StringType(), "Category with most spend; ties by name"),
        Column("favourite_department", T.StringType(), "Department with most spend; ties by name"),
        _rate("favourite_category_rate", "Share of spend in the favourite category"),
        _rate("category_entropy_rate", "Entropy of spend over departments, 0 for one, 1 evenly over all"),
        _rate("private_brand_rate", "Share of spend on private or own brands, where the brand is known"),
        _rate("display_spend_rate", "Share of spend on display, in stores and weeks that prices cover"),
        _rate("mailer_spend_rate", "Share of spend in the mailer, in stores and weeks that prices cover"),
        _rate("discount_spend_rate", "Share of spend on lines with a retail discount"),
        _rate("discount_depth_rate", "Retail discount over value at regular price"),
        _rate("coupon_line_rate", "Share of lines with a manufacturer's coupon"),
        _rate("price_sensitivity_rate", "Discount depth beyond everyone's in the same categories"),
        _rate("morning_order_rate", "Share of baskets from 05 to 11, retailer's time"),
        _rate("afternoon_order_rate", "Share of baskets from 12 to 16"),
        _rate("evening_order_rate", "Share of baskets from 17 to 21"),
        _rate("night_order_rate", "Share of baskets from 22 to 04"),
        _rate("weekend_order_rate", "Share of baskets on Saturday or Sunday"),
        Column("favourite_time_slot", T.StringType(), "morning, afternoon, evening or night with most baskets"),
        _count("targeted_promotion_count", "Promotions assigned so far"),
        _count("redemption_count", "Coupons redeemed so far"),
        _rate(
            "redemption_rate",
            "Targeted promotions redeemed at least once over targeted ones; imputed when never targeted",
        ),
        Column("age_band", T.StringType(), "Age band, where known and allowed", personal=True, sensitive=True),
        Column(
            "income_band",
            T.StringType(),
            "Income band, where known and allowed",
            personal=True,
            sensitive=True,
        ),
        Column(
            "household_size",
            T.StringType(),
            "Household size, where known and allowed",
            personal=True,
            sensitive=True,
        ),
        Column("imputed_columns", T.ArrayType(T.StringType()), "Columns filled by a value fitted before the date"),
    ),
    checks=(
        "recency_days > 0",
        "tenure_days >= recency_days",
        "order_count > 0",
        "order_91d_count >= order_28d_count",
    ),
)

PRODUCT_FEATURES = TableContract(
    name="features.products",
    grain="one row per product sold before the date",
    key=("product_id", AS_OF_DATE),
    columns=(
        Column("product_id", T.StringType(), "Product"),
        _AS_OF,
        Column("department", T.StringType(), "Department; (unknown) when the source has none", required=True),
        Column("category", T.StringType(), "Category; (unknown) when the source has none", required=True),
        _count("customer_count", "Distinct customers who bought it"),
        _count("order_count", "Baskets it was in"),
        _double("units_count", "Units sold, outliers and returns left out", "units"),
        Column("sales_amount", MONEY, "Sales so far", unit="currency"),
        Column("sales_28d_amount", MONEY, "Sales in the 28 days before", unit="currency"),
        _double("regular_price_amount", "Median over weeks of the regular price of one unit", "currency"),
        _double("paid_price_amount", "Sales per unit, outliers and returns left out", "currency"),
        _double("last_price_amount", "Sales per unit in the last week it was sold", "currency"),
        _double("price_spread_rate", "Standard deviation of weekly price per unit over its mean", "share"),
        _rate("discount_depth_rate", "Retail discount over value at regular price"),
        _rate("discounted_line_rate", "Share of lines sold at a discount"),
        _count("display_week_count", "Weeks on display in any store"),
        _count("mailer_week_count", "Weeks in the mailer of any store"),
        _rate("margin_rate", "Margin as a share of the regular price"),
        Column(
            "is_margin_assumed",
            T.BooleanType(),
            "The margin comes from settings, not from a cost",
            required=True,
        ),
        _rate("sales_share_rate", "Share of all sales"),
        Column("abc_class", T.StringType(), "A: first 80 % of sales, B: next 15 %, C: the rest", required=True),
        _rate("repeat_customer_rate", "Share of its customers who bought it in two baskets or more"),
    ),
    checks=("abc_class IN ('A', 'B', 'C')", "margin_rate BETWEEN 0 AND 1"),
)

PROMOTION_FEATURES = TableContract(
    name="features.promotions",
    grain="one row per promotion that started before the date",
    key=("promotion_id", AS_OF_DATE),
    columns=(
        Column("promotion_id", T.StringType(), "Promotion"),
        _AS_OF,
        Column("promotion_type", T.StringType(), "The retailer's own class"),
        Column("mechanic", T.StringType(), "Kind of promotion"),
        Column("start_date", T.DateType(), "First day", required=True),
        Column("end_date", T.DateType(), "Last day", required=True),
        Column("is_price_promotion", T.BooleanType(), "Changes the price paid; NULL when unknown"),
        _count("duration_days", "Days from first to last, both counted"),
        _count("product_count", "Products covered; NULL when unknown"),
        _count("coupon_count", "Coupons offered; NULL when unknown"),
        _count("targeted_customer_count", "Customers assigned"),
        _count("redeeming_customer_count", "Customers who redeemed at least once before the date"),
        _count("redemption_count", "Coupons redeemed before the date"),
        _rate("redemption_rate", "Targeted customers who redeemed over targeted customers"),
        Column(
            "coupon_cost_amount",
            MONEY,
            "Coupon discounts and matches on covered products, by redeemers, in the window",
            unit="currency",
        ),
        _double("cost_per_redemption_amount", "Coupon cost per coupon redeemed", "currency"),
    ),
    checks=("start_date < as_of_date", "redeeming_customer_count >= 0"),
)

AFFINITY = TableContract(
    name="features.affinity",
    grain="one row per customer and category bought before the date",
    key=("customer_id", "category", AS_OF_DATE),
    columns=(
        _CUSTOMER,
        Column("category", T.StringType(), "Product category"),
        _AS_OF,
        Column("spend_amount", MONEY, "Sales so far", unit="currency"),
        _count("order_count", "Baskets with the category"),
        _count("recency_days", "Days since the category was last bought"),
        _rate("spend_share_rate", "Share of the customer's spend"),
        _double("affinity_index", "Share of the customer's spend over the share of everyone's", "ratio"),
    ),
    checks=("recency_days > 0",),
)

FEATURES = (CUSTOMER_FEATURES, PRODUCT_FEATURES, PROMOTION_FEATURES, AFFINITY)

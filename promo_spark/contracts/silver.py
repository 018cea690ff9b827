"""The ledger: typed, deduplicated, flagged facts and entities, in the retailer's own days and UTC instants."""

from pyspark.sql import types as T

from promo_spark.contracts.table import LINEAGE, MONEY, QUANTITY, Column, TableContract

_STRING = T.StringType()


def _customer_id(*, required: bool = True) -> Column:
    return Column("customer_id", _STRING, "Keyed pseudonym of the customer", required=required, personal=True)


def _consent(name: str, comment: str) -> Column:
    return Column(name, T.BooleanType(), comment, personal=True)


CUSTOMERS = TableContract(
    name="silver.customers",
    grain="one row per customer the source describes",
    key=("customer_id",),
    columns=(
        _customer_id(),
        Column("age_band", _STRING, "Age band", personal=True, sensitive=True),
        Column("gender", _STRING, "Gender", personal=True, sensitive=True),
        Column("income_band", _STRING, "Household income band", personal=True, sensitive=True),
        Column("occupation", _STRING, "Occupation", personal=True, sensitive=True),
        Column("region", _STRING, "Region of residence", personal=True),
        Column("marital_status", _STRING, "Marital status", personal=True, sensitive=True),
        Column("home_ownership", _STRING, "Owner or renter", personal=True, sensitive=True),
        Column("household_size", _STRING, "Persons in the household, banded", personal=True, sensitive=True),
        Column("kids_count", _STRING, "Children in the household, banded", personal=True, sensitive=True),
        Column("registered_date", T.DateType(), "Day the customer joined", personal=True),
        _consent("has_marketing_consent", "May be sent promotions; NULL when unknown"),
        _consent("has_personalisation_consent", "May be in features, models, segments and plans; NULL when unknown"),
        _consent("has_measurement_consent", "May be in indicators, experiments and audits; NULL when unknown"),
        *LINEAGE,
    ),
    mode="merged",
)

CONSENTS = TableContract(
    name="silver.consents",
    grain="one row per answer of a customer about a purpose, from a day on",
    key=("customer_id", "purpose", "from_date", "is_granted"),
    columns=(
        _customer_id(),
        Column("purpose", _STRING, "personalisation, measurement, contact, or contact:<channel> for one channel"),
        Column("from_date", T.DateType(), "The retailer's own day from which the answer counts"),
        Column("is_granted", T.BooleanType(), "Granted, or withheld or withdrawn"),
        *LINEAGE,
    ),
    checks=("purpose IN ('personalisation', 'measurement', 'contact') OR purpose LIKE 'contact:_%'",),
    mode="merged",
)

PRODUCTS = TableContract(
    name="silver.products",
    grain="one row per product",
    key=("product_id",),
    columns=(
        Column("product_id", _STRING, "Product"),
        Column("product_name", _STRING, "Name or description"),
        Column("department", _STRING, "Top of the category tree"),
        Column(
            "category",
            _STRING,
            "Middle of the category tree: the level at which plans are made; product_id when the source has none",
        ),
        Column("subcategory", _STRING, "Bottom of the category tree"),
        Column("brand", _STRING, "Brand, or brand tier (national, private)"),
        Column("manufacturer_id", _STRING, "Maker"),
        Column("package_size", _STRING, "Pack size as printed"),
        Column("list_price_amount", MONEY, "Regular price of one unit", unit="currency"),
        Column("unit_cost_amount", MONEY, "Purchase cost of one unit", unit="currency"),
        *LINEAGE,
    ),
    checks=("list_price_amount >= 0", "unit_cost_amount >= 0"),
    mode="merged",
)

ORDER_LINES = TableContract(
    name="silver.order_lines",
    grain="one row per line of a basket",
    key=("basket_id", "line_id"),
    columns=(
        Column("basket_id", _STRING, "Receipt or order"),
        Column(
            "line_id",
            _STRING,
            "Line within the basket; file and position in it when the source has none",
        ),
        _customer_id(required=False),
        Column("product_id", _STRING, "Product", required=True),
        Column("store_id", _STRING, "Store, or NULL online"),
        Column("channel", _STRING, "store, web, app, …"),
        Column("ordered_at", T.TimestampType(), "Instant of purchase, UTC", required=True),
        Column("order_date", T.DateType(), "The retailer's own day of purchase", required=True, derived=True),
        Column(
            "order_hour",
            T.IntegerType(),
            "The retailer's own hour of day",
            unit="hour",
            required=True,
            derived=True,
        ),
        Column("week_start_date", T.DateType(), "Monday of the retailer's week", required=True, derived=True),
        Column("quantity", QUANTITY, "Units; negative for a return", unit="units", required=True),
        Column("sales_amount", MONEY, "What the retailer receives for the line", unit="currency", required=True),
        Column("retail_discount_amount", MONEY, "Discount the retailer paid for", unit="currency"),
        Column("coupon_discount_amount", MONEY, "Discount a manufacturer's coupon paid for", unit="currency"),
        Column("coupon_match_amount", MONEY, "Match of a coupon that the retailer paid for", unit="currency"),
        Column("is_return", T.BooleanType(), "Goods came back", required=True, derived=True),
        Column(
            "is_outlier",
            T.BooleanType(),
            "Quantity or amount far outside its product category",
            required=True,
            derived=True,
        ),
        *LINEAGE,
    ),
    checks=(
        # Tills give a discount back with the goods.
        "retail_discount_amount >= 0 OR is_return",
        "coupon_discount_amount >= 0 OR is_return",
        "coupon_match_amount >= 0 OR is_return",
        "order_hour BETWEEN 0 AND 23",
    ),
    mode="merged",
)

PROMOTIONS = TableContract(
    name="silver.promotions",
    grain="one row per promotion that was run",
    key=("promotion_id",),
    columns=(
        Column("promotion_id", _STRING, "Promotion or campaign"),
        Column("promotion_type", _STRING, "The retailer's own class of promotion"),
        Column(
            "mechanic",
            _STRING,
            "percent_off, coupon, spend_threshold, gift, cashback, points, members_only, flash_sale",
        ),
        Column("depth_rate", T.DoubleType(), "Discount as a share of the regular price", unit="share"),
        Column("threshold_amount", MONEY, "Spend that earns the promotion", unit="currency"),
        Column("channel", _STRING, "How it was announced"),
        Column("start_date", T.DateType(), "First day", required=True),
        Column("end_date", T.DateType(), "Last day", required=True),
        Column("budget_amount", MONEY, "Budget it was given", unit="currency"),
        *LINEAGE,
    ),
    checks=("end_date >= start_date", "depth_rate BETWEEN 0 AND 1", "budget_amount >= 0"),
    mode="merged",
)

PROMOTION_PRODUCTS = TableContract(
    name="silver.promotion_products",
    grain="one row per product that a promotion's coupon covers",
    key=("promotion_id", "coupon_id", "product_id"),
    columns=(
        Column("promotion_id", _STRING, "Promotion"),
        Column("coupon_id", _STRING, "Coupon within the promotion; the promotion itself when it has none"),
        Column("product_id", _STRING, "Product covered"),
        *LINEAGE,
    ),
    mode="merged",
)

ASSIGNMENTS = TableContract(
    name="silver.assignments",
    grain="one row per customer per decision",
    key=("decision_id", "customer_id"),
    columns=(
        Column("decision_id", _STRING, "The decision, for instance a campaign"),
        _customer_id(),
        Column("arm", _STRING, "Promotion assigned, or none", required=True),
        Column(
            "propensity",
            T.DoubleType(),
            "P(this arm | customer) when it was drawn; NULL when not randomised",
            unit="probability",
        ),
        Column("is_holdout", T.BooleanType(), "Kept back to measure against", required=True),
        Column("decided_at", T.TimestampType(), "When it was decided, UTC", required=True),
        *LINEAGE,
    ),
    checks=("propensity > 0 AND propensity <= 1",),
    mode="merged",
)

REDEMPTIONS = TableContract(
    name="silver.redemptions",
    grain="one row per coupon a customer redeemed on a day",
    key=("promotion_id", "customer_id", "coupon_id", "redeemed_date"),
    columns=(
        Column("promotion_id", _STRING, "Promotion"),
        _customer_id(),
        Column("coupon_id", _STRING, "Coupon within the promotion"),
        Column("redeemed_date", T.DateType(), "The retailer's own day of redemption"),
        *LINEAGE,
    ),
    mode="merged",
)

RATINGS = TableContract(
    name="silver.ratings",
    grain="one row per product a customer rated on a day",
    key=("customer_id", "product_id", "rated_date"),
    columns=(
        _customer_id(),
        Column("product_id", _STRING, "Product"),
        Column("rated_date", T.DateType(), "The retailer's own day of the rating"),
        Column("rating", T.DoubleType(), "What the customer gave, on the retailer's own scale", required=True),
        *LINEAGE,
    ),
    checks=("abs(rating) < 1e6",),
    mode="merged",
)

PRICES = TableContract(
    name="silver.prices",
    grain="one row per product, store and week in which it was displayed, advertised or priced",
    key=("product_id", "store_id", "week_start_date"),
    columns=(
        Column("product_id", _STRING, "Product"),
        Column("store_id", _STRING, "Store"),
        Column("week_start_date", T.DateType(), "Monday of the retailer's week"),
        Column("display_location", _STRING, "Where in the store it is displayed; NULL when it is not"),
        Column("mailer_location", _STRING, "Where in the mailer it appears; NULL when it does not"),
        Column("shelf_price_amount", MONEY, "Price on the shelf", unit="currency"),
        *LINEAGE,
    ),
    checks=("shelf_price_amount >= 0",),
    mode="merged",
)

EXPOSURES = TableContract(
    name="silver.exposures",
    grain="one row per promotion delivered to, or seen by, a customer at an instant",
    key=("promotion_id", "customer_id", "exposed_at"),
    columns=(
        Column("promotion_id", _STRING, "Promotion"),
        _customer_id(),
        Column("exposed_at", T.TimestampType(), "When it was delivered or seen, UTC"),
        Column("channel", _STRING, "How"),
        *LINEAGE,
    ),
    mode="merged",
)

EVENTS = TableContract(
    name="silver.events",
    grain="one row per thing a customer did with a product at an instant",
    key=("customer_id", "product_id", "event_type", "happened_at"),
    columns=(
        _customer_id(),
        Column("product_id", _STRING, "Product"),
        Column("event_type", _STRING, "view, search, click, cart or review"),
        Column("happened_at", T.TimestampType(), "When, UTC"),
        *LINEAGE,
    ),
    checks=("event_type IN ('view', 'search', 'click', 'cart', 'review')",),
    mode="merged",
)

OVERRIDES = TableContract(
    name="silver.overrides",
    grain="one row per customer and promotion that a manager decided about",
    key=("customer_id", "promotion_id"),
    columns=(
        _customer_id(),
        Column("promotion_id", _STRING, "Promotion; * for any, with exclude"),
        Column("action", _STRING, "force: gets it; lock: it or nothing; exclude: does not get it", required=True),
        Column("first_date", T.DateType(), "First day it holds for; always where NULL"),
        Column("last_date", T.DateType(), "Last day it holds for; always where NULL"),
        Column("reason", _STRING, "Why, in the manager's words"),
        *LINEAGE,
    ),
    checks=("action IN ('force', 'lock', 'exclude')", "promotion_id <> '*' OR action = 'exclude'"),
    mode="merged",
)

SILVER = (
    CUSTOMERS,
    PRODUCTS,
    ORDER_LINES,
    PROMOTIONS,
    PROMOTION_PRODUCTS,
    ASSIGNMENTS,
    REDEMPTIONS,
    RATINGS,
    PRICES,
    EXPOSURES,
    EVENTS,
    OVERRIDES,
    CONSENTS,
)

"""Lines before a date: what is known of their product, their store and week, and what is not."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame, Row

from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import ORDER_LINES, PRICES, PRODUCTS
from promo_spark.features.lines import describe_lines

DAY = date(2024, 6, 3)
MONDAY = date(2024, 5, 20)
MakeRows = Callable[..., DataFrame]


def line(line_id: str, **columns: object) -> dict[str, Any]:
    usual = {
        "basket_id": "b1",
        "line_id": line_id,
        "customer_id": "ann",
        "product_id": "milk",
        "store_id": "s1",
        "order_date": date(2024, 5, 22),
        "order_hour": 9,
        "week_start_date": MONDAY,
        "quantity": Decimal(2),
        "sales_amount": Decimal("3.00"),
        "is_return": False,
        "is_outlier": False,
    }
    return {**usual, **columns}


def described(
    make_rows: MakeRows,
    lines: list[dict[str, Any]],
    products: list[dict[str, Any]] | None = None,
    prices: list[dict[str, Any]] | None = None,
) -> dict[str, Row]:
    frame = describe_lines(
        order_lines=make_rows(ORDER_LINES, lines),
        products=make_rows(PRODUCTS, products or []),
        prices=make_rows(PRICES, prices or []),
        as_of_date=DAY,
        settings=FeatureSettings(lookback_days=28),
    )
    rows = frame.collect()
    assert len({row.line_id for row in rows}) == len(rows)
    return {row.line_id: row for row in rows}


def price(product: str, store: str, week: date = MONDAY, **columns: str) -> dict[str, Any]:
    return {"product_id": product, "store_id": store, "week_start_date": week, **columns}


def test_the_date_itself_is_the_future_and_the_look_back_is_marked(make_rows: MakeRows) -> None:
    rows = described(
        make_rows,
        [
            line("old", order_date=date(2024, 5, 5)),
            line("edge", order_date=date(2024, 5, 6)),
            line("eve", order_date=date(2024, 6, 2)),
            line("day", order_date=DAY),
        ],
    )
    assert {name: row.is_recent for name, row in rows.items()} == {"old": False, "edge": True, "eve": True}


def test_value_at_regular_price_adds_what_the_retailer_gave_away(make_rows: MakeRows) -> None:
    rows = described(
        make_rows,
        [
            line(
                "all",
                retail_discount_amount=Decimal("0.50"),
                coupon_discount_amount=Decimal("0.30"),
                coupon_match_amount=Decimal("0.20"),
            ),
            line("nothing known"),
        ],
    )
    assert rows["all"].regular_amount == Decimal("3.70")
    assert rows["all"].coupon_amount == Decimal("0.50")
    assert rows["all"].has_coupon
    assert rows["nothing known"].regular_amount == Decimal("3.00")
    assert rows["nothing known"].discount_amount is None
    assert rows["nothing known"].coupon_amount is None
    assert rows["nothing known"].has_coupon is None


def test_an_outlier_keeps_its_sales_and_loses_its_quantity(make_rows: MakeRows) -> None:
    row = described(make_rows, [line("1", is_outlier=True)])["1"]
    assert (row.quantity, row.sales_amount) == (None, Decimal("3.00"))


def test_display_and_mailer_are_known_where_prices_cover_the_store_and_week(make_rows: MakeRows) -> None:
    rows = described(
        make_rows,
        [
            line("shown"),
            line("advertised", product_id="tea"),
            line("covered", product_id="jam"),
            line("other store", store_id="s2"),
            line("other week", week_start_date=date(2024, 5, 13)),
            line("online", store_id=None),
        ],
        prices=[price("milk", "s1", display_location="front"), price("tea", "s1", mailer_location="page 1")],
    )
    known = {name: (row.is_displayed, row.is_mailed) for name, row in rows.items()}
    assert known == {
        "shown": (True, False),
        "advertised": (False, True),
        "covered": (False, False),
        "other store": (None, None),
        "other week": (None, None),
        "online": (None, None),
    }


def test_what_the_catalogue_does_not_say_is_unknown(make_rows: MakeRows) -> None:
    brands = {"milk": "PRIVATE", "tea": "Our own label", "jam": "Crown & Brown", "oil": None}
    products = [
        {"product_id": product, "brand": brand, "department": "food", "category": product}
        for product, brand in brands.items()
    ]
    rows = described(make_rows, [line(p, product_id=p) for p in (*brands, "new")], products=products)
    private = {name: row.is_private_brand for name, row in rows.items()}
    assert private == {"milk": True, "tea": True, "jam": False, "oil": None, "new": None}
    assert (rows["milk"].department, rows["milk"].category) == ("food", "milk")
    assert (rows["new"].department, rows["new"].category) == ("(unknown)", "(unknown)")

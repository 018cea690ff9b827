"""Sales, prices, promotion weeks, margins and ABC classes of products, by hand."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from math import sqrt
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row

from promo_spark.contracts.features import DESCRIBED_LINES
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import PRICES, PRODUCTS
from promo_spark.features.abc import class_products
from promo_spark.features.products import build_product_features

DAY = date(2024, 6, 3)
MONDAY = date(2024, 5, 27)
MakeRows = Callable[..., DataFrame]


def line(basket: str, product: str, sales: str, quantity: int | None = 1, **columns: object) -> dict[str, Any]:
    weeks_ago = columns.pop("weeks_ago", 1)
    monday = DAY - timedelta(weeks=weeks_ago)
    usual = {
        "basket_id": basket,
        "line_id": "1",
        "customer_id": "ann",
        "product_id": product,
        "department": "food",
        "category": "misc",
        "order_date": monday,
        "week_start_date": monday,
        "quantity": quantity,
        "sales_amount": Decimal(sales),
        "regular_amount": Decimal(sales) + (columns.get("discount_amount") or 0),
        "is_return": False,
        "is_recent": True,
    }
    row = {**usual, **columns}
    row["quantity"] = None if row["quantity"] is None else Decimal(row["quantity"])
    return row


def features(
    make_rows: MakeRows,
    lines: list[dict[str, Any]],
    products: list[dict[str, Any]] | None = None,
    prices: list[dict[str, Any]] | None = None,
    **settings: object,
) -> dict[str, Row]:
    frame = build_product_features(
        lines=make_rows(DESCRIBED_LINES, lines),
        products=make_rows(PRODUCTS, products or []),
        prices=make_rows(PRICES, prices or []),
        as_of_date=DAY,
        settings=FeatureSettings(**settings),
    )
    rows = frame.collect()
    assert len({row.product_id for row in rows}) == len(rows)
    return {row.product_id: row for row in rows}


def test_sales_and_buyers(make_rows: MakeRows) -> None:
    lines = [
        line("a", "milk", "4.00", 2),
        line("a", "milk", "2.00", 1, line_id="2"),
        line("b", "milk", "2.00", 1),
        line("c", "milk", "3.00", 1, customer_id="bob", weeks_ago=6),
        line("d", "milk", "3.00", 1, customer_id=None, weeks_ago=6),
        line("e", "milk", "-2.00", -1, is_return=True),
        line("f", "tea", "8.00", None),
    ]
    rows = features(make_rows, lines)
    milk, tea = rows["milk"], rows["tea"]
    assert (milk.customer_count, milk.order_count, milk.repeat_customer_rate) == (2, 4, 0.5)
    assert (milk.sales_amount, milk.sales_28d_amount, milk.units_count) == (12, 6, 6.0)
    assert milk.paid_price_amount == pytest.approx(14 / 6)
    assert milk.sales_share_rate == pytest.approx(12 / 20)
    # An outlier's quantity is unknown, so it has sales but no price.
    assert (tea.sales_amount, tea.units_count, tea.paid_price_amount) == (8, 0.0, None)


def test_prices_over_weeks(make_rows: MakeRows) -> None:
    lines = [
        line("a", "milk", "2.00", 1, weeks_ago=3),
        line("b", "milk", "6.00", 2, weeks_ago=2, discount_amount=Decimal("2.00")),
        line("c", "milk", "4.00", 1, weeks_ago=1, discount_amount=Decimal("0.00")),
        line("d", "tea", "0.10", 1, weeks_ago=2),
        line("e", "tea", "0.10", 1, weeks_ago=1),
    ]
    rows = features(make_rows, lines)
    milk, tea = rows["milk"], rows["tea"]
    assert (milk.last_price_amount, milk.regular_price_amount) == (4.0, 4.0)
    assert milk.price_spread_rate == pytest.approx(sqrt(2 / 3) / 3, abs=1e-6)
    assert milk.discount_depth_rate == pytest.approx(2 / 12)
    assert milk.discounted_line_rate == 0.5
    assert (tea.price_spread_rate, tea.discount_depth_rate, tea.discounted_line_rate) == (0.0, None, None)


def test_weeks_on_display_and_in_the_mailer_before_the_date(make_rows: MakeRows) -> None:
    def price(store: str, week: date, **where: str) -> dict[str, Any]:
        return {"product_id": "milk", "store_id": store, "week_start_date": week, **where}

    lines = [line("a", "milk", "1.00"), line("b", "tea", "1.00")]
    prices = [
        price("s1", MONDAY, display_location="front"),
        price("s2", MONDAY, display_location="rear", mailer_location="page 1"),
        price("s1", MONDAY - timedelta(weeks=1), mailer_location="page 2"),
        price("s1", DAY, display_location="front"),
    ]
    rows = features(make_rows, lines, prices=prices)
    assert (rows["milk"].display_week_count, rows["milk"].mailer_week_count) == (1, 2)
    assert (rows["tea"].display_week_count, rows["tea"].mailer_week_count) == (0, 0)
    unknown = features(make_rows, lines)["milk"]
    assert (unknown.display_week_count, unknown.mailer_week_count) == (None, None)


def test_margin_comes_from_costs_where_there_are_any(make_rows: MakeRows) -> None:
    lines = [line("a", name, "2.00") for name in ("listed", "unlisted", "dear", "costless")]
    lines += [line("b", "wine", "9.00", department="wine")]
    products = [
        {"product_id": "listed", "list_price_amount": Decimal("4.00"), "unit_cost_amount": Decimal("3.00")},
        {"product_id": "unlisted", "unit_cost_amount": Decimal("1.00")},
        {"product_id": "dear", "list_price_amount": Decimal("4.00"), "unit_cost_amount": Decimal("5.00")},
        {"product_id": "costless", "list_price_amount": Decimal("4.00")},
    ]
    rows = features(make_rows, lines, products, margin_rate=0.3, margin_rates={"wine": 0.4})
    margins = {name: (row.margin_rate, row.is_margin_assumed) for name, row in rows.items()}
    assert margins == {
        "listed": (0.25, False),
        "unlisted": (0.5, False),
        "dear": (0.0, False),
        "costless": (0.3, True),
        "wine": (0.4, True),
    }


class TestAbc:
    @staticmethod
    def classes(lines: DataFrame) -> dict[str, str]:
        return {row.product_id: row.abc_class for row in class_products(lines=lines).collect()}

    def test_by_hand(self, make_rows: MakeRows) -> None:
        # Before each: 0, 70, 79, 88, 97 % of sales; then nothing sold.
        sales = {"a": "70.00", "b": "9.00", "c": "9.00", "d": "9.00", "e": "3.00", "f": "0.00", "g": "-5.00"}
        lines = make_rows(DESCRIBED_LINES, [line("x", name, amount) for name, amount in sales.items()])
        assert "".join(self.classes(lines)[name] for name in sales) == "AAABCCC"

    def test_nothing_sold(self, make_rows: MakeRows) -> None:
        lines = make_rows(DESCRIBED_LINES, [line("x", "a", "0.00")])
        assert self.classes(lines) == {"a": "C"}

    @pytest.mark.parametrize("seed", [1, 2])
    def test_as_a_plain_running_sum(self, make_rows: MakeRows, seed: int) -> None:
        sales = {f"p{i:03d}": (i * 7919 * seed) % 1009 for i in range(200)}
        lines = make_rows(DESCRIBED_LINES, [line("x", name, f"{value}.00") for name, value in sales.items()])
        total, before, expected = sum(sales.values()), 0, {}
        for name in sorted(sales, key=lambda name: (-sales[name], name)):
            rate = before / total
            expected[name] = "C" if sales[name] == 0 or rate >= 0.95 else "B" if rate >= 0.8 else "A"
            before += sales[name]
        assert self.classes(lines.repartition(5)) == expected

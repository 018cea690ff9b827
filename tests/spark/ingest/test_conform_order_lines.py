"""Order lines: the retailer's calendar, returns, and what is far outside the usual."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from promo_spark.contracts.silver import ORDER_LINES, PRICES, PRODUCTS, REDEMPTIONS
from promo_spark.contracts.table import bronze_of
from promo_spark.ingest.entities import conform_prices, conform_redemptions
from promo_spark.ingest.order_lines import conform_order_lines
from tests.conftest import MakeRows

BRONZE = bronze_of(ORDER_LINES)


def a_line(**columns: Any) -> dict[str, Any]:
    usual = {
        "basket_id": "b",
        "product_id": "p",
        "ordered_at": datetime(2017, 1, 2, 12, tzinfo=UTC),
        "quantity": Decimal(1),
        "sales_amount": Decimal("2.00"),
        "source_ordinal": 7,
        "faults": [],
    }
    return {**usual, **columns}


def conformed(
    make_rows: MakeRows, lines: list[dict[str, Any]], categories: dict[str, str], zone: str = "UTC"
) -> list[Any]:
    rows = make_rows(BRONZE, lines)
    products = make_rows(PRODUCTS, [{"product_id": name, "category": kind} for name, kind in categories.items()])
    frame = conform_order_lines(order_lines=rows, history=rows, products=products, time_zone=zone)
    assert frame.columns == [*ORDER_LINES.column_names, "faults"]
    return frame.orderBy("source_ordinal").collect()


def test_days_hours_and_weeks_are_the_retailers(make_rows: MakeRows) -> None:
    instants = [
        datetime(2017, 1, 2, 4, 59, tzinfo=UTC),  # Sunday 23:59 in New York
        datetime(2017, 1, 2, 5, 0, tzinfo=UTC),  # Monday 00:00
        datetime(2017, 7, 3, 4, 0, tzinfo=UTC),  # summer time: Monday 00:00
    ]
    lines = [a_line(ordered_at=instant, source_ordinal=place) for place, instant in enumerate(instants)]
    found = conformed(make_rows, lines, {}, "America/New_York")
    assert [(row.order_date, row.order_hour, row.week_start_date) for row in found] == [
        (date(2017, 1, 1), 23, date(2016, 12, 26)),
        (date(2017, 1, 2), 0, date(2017, 1, 2)),
        (date(2017, 7, 3), 0, date(2017, 7, 3)),
    ]


def test_missing_line_numbers_are_positions(make_rows: MakeRows) -> None:
    found = conformed(make_rows, [a_line(source_ordinal=7), a_line(source_ordinal=8, line_id="x")], {})
    assert [row.line_id for row in found] == ["7", "x"]


def test_returns_and_unreadable_values(make_rows: MakeRows) -> None:
    lines = [
        a_line(source_ordinal=1, quantity=Decimal(-1), sales_amount=Decimal(-2)),
        a_line(source_ordinal=2, sales_amount=Decimal(-2)),
        a_line(source_ordinal=3, quantity=None, sales_amount=None, ordered_at=None, faults=["x"]),
        a_line(source_ordinal=4),
    ]
    found = conformed(make_rows, lines, {})
    assert [row.is_return for row in found] == [True, True, False, False]
    assert [row.is_outlier for row in found] == [False] * 4
    assert (found[2].order_date, found[2].faults) == (None, ["x"])
    assert found[3].retail_discount_amount is None


def test_outliers_by_category(make_rows: MakeRows) -> None:
    """Yogurt: 40 lines of 1, so the unit is ln 2 and the limit exp(ln 2 + 3.5 ln 2) - 1 = 21.6 units."""
    assert math.isclose(math.exp(4.5 * math.log(2)) - 1, 21.627, abs_tol=0.001)
    usual = [a_line(source_ordinal=place, product_id="yogurt") for place in range(40)]
    odd = [
        a_line(source_ordinal=100 + quantity, product_id="yogurt", quantity=Decimal(quantity))
        for quantity in (6, 12, 21, 22, 144)
    ]
    found = conformed(make_rows, usual + odd, {"yogurt": "YOGURT"})
    assert [row.source_ordinal - 100 for row in found if row.is_outlier] == [22, 144]


def test_a_category_of_impossible_quantities_does_not_hide_them(make_rows: MakeRows) -> None:
    goods = [a_line(source_ordinal=place, product_id="milk") for place in range(200)]
    fuel = [
        a_line(
            source_ordinal=1000 + place, product_id="fuel", quantity=Decimal(10_000 + place), sales_amount=Decimal(30)
        )
        for place in range(50)
    ]
    found = conformed(make_rows, goods + fuel, {"milk": "MILK", "fuel": "FUEL"})
    assert {row.product_id for row in found if row.is_outlier} == {"fuel"}
    assert sum(row.is_outlier for row in found) == 50


def test_amounts_far_outside_and_small_categories(make_rows: MakeRows) -> None:
    usual = [a_line(source_ordinal=place, product_id="gum") for place in range(60)]
    odd = [
        a_line(source_ordinal=100, product_id="gum", sales_amount=Decimal(900)),
        # Five lines say nothing of what is usual for pianos; against all lines 255 is the limit.
        *(a_line(source_ordinal=200 + place, product_id="piano", sales_amount=Decimal(300)) for place in range(5)),
    ]
    found = conformed(make_rows, usual + odd, {"gum": "GUM", "piano": "PIANO"})
    # All lines: median 2.00, so the limit is exp(ln 3 + 7 ln 2) - 1 = 383.
    assert [row.source_ordinal for row in found if row.is_outlier] == [100]


def test_weeks_of_prices_move_to_the_nearest_monday(make_rows: MakeRows) -> None:
    days = [date(2017, 1, day) for day in range(2, 9)]
    rows = make_rows(bronze_of(PRICES), [{"week_start_date": day, "faults": []} for day in days])
    found = {row.week_start_date for row in conform_prices(prices=rows).collect()}
    moved = [row.week_start_date for row in conform_prices(prices=rows.orderBy("week_start_date")).collect()]
    assert found == {date(2017, 1, 2), date(2017, 1, 9)}
    assert moved == [date(2017, 1, 2)] * 4 + [date(2017, 1, 9)] * 3


def test_a_promotion_without_coupons_is_its_own_coupon(make_rows: MakeRows) -> None:
    rows = make_rows(
        bronze_of(REDEMPTIONS), [{"promotion_id": "a", "faults": []}, {"promotion_id": "b", "coupon_id": "c"}]
    )
    assert {row.coupon_id for row in conform_redemptions(redemptions=rows).collect()} == {"a", "c"}

"""Order lines: the retailer's calendar, returns, and what is far outside the usual."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.gate import REASONS, judge_rows
from promo_spark.contracts.settings import FeatureSettings, ResponseSettings
from promo_spark.contracts.silver import ORDER_LINES, PRICES, PRODUCTS, REDEMPTIONS
from promo_spark.contracts.table import bronze_of
from promo_spark.features.lines import describe_lines
from promo_spark.ingest.entities import conform_prices, conform_products, conform_redemptions
from promo_spark.ingest.order_lines import conform_order_lines
from promo_spark.ingest.outliers import learn_usual_sizes
from promo_spark.response.products import weigh_products
from tests.conftest import MakeRows

BRONZE = bronze_of(ORDER_LINES)
TOMORROW = datetime(2017, 1, 3, 12, tzinfo=UTC)


def a_line(**columns: Any) -> dict[str, Any]:
    usual = {
        "basket_id": "b",
        "product_id": "p",
        "ordered_at": datetime(2017, 1, 2, 12, tzinfo=UTC),
        "quantity": Decimal(1),
        "sales_amount": Decimal("2.00"),
        "source_file": "a.csv",
        "source_ordinal": 7,
        "faults": [],
    }
    return {**usual, **columns}


def conformed(
    make_rows: MakeRows, lines: list[dict[str, Any]], categories: dict[str, str], zone: str = "UTC"
) -> list[Any]:
    frame = conform_frame(make_rows, lines, categories, zone)
    assert frame.columns == [*ORDER_LINES.column_names, "faults"]
    return frame.orderBy("source_ordinal").collect()


def conform_frame(
    make_rows: MakeRows,
    lines: list[dict[str, Any]],
    categories: dict[str, str],
    zone: str = "UTC",
    history: DataFrame | None = None,
) -> DataFrame:
    rows = make_rows(BRONZE, lines)
    products = make_rows(PRODUCTS, [{"product_id": name, "category": kind} for name, kind in categories.items()])
    known = make_rows(ORDER_LINES, []) if history is None else history
    usual = learn_usual_sizes(order_lines=rows, history=known, products=products, time_zone=zone).localCheckpoint()
    return conform_order_lines(order_lines=rows, usual_sizes=usual, products=products, time_zone=zone)


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
    assert [row.line_id for row in found] == ["a.csv#7", "x"]


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


def test_a_return_may_give_its_discount_back(make_rows: MakeRows) -> None:
    discounts = ("retail_discount_amount", "coupon_discount_amount", "coupon_match_amount")
    lines = [
        {"line_id": f"{name} {is_return}", "is_return": is_return, name: Decimal(-1)}
        for name in discounts
        for is_return in (False, True)
    ]
    reasons = {row.line_id: row[REASONS] for row in judge_rows(make_rows(ORDER_LINES, lines), ORDER_LINES).collect()}
    for name in discounts:
        broken = f"not ({name} >= 0 OR is_return)"
        assert broken in reasons[f"{name} False"]
        assert broken not in reasons[f"{name} True"]


def test_outliers_by_category(make_rows: MakeRows) -> None:
    """Yogurt: 40 lines of 1, so the unit is ln 2 and the limit exp(ln 2 + 3.5 ln 2) - 1 = 21.6 units."""
    assert math.isclose(math.exp(4.5 * math.log(2)) - 1, 21.627, abs_tol=0.001)
    usual = [a_line(source_ordinal=place, product_id="yogurt") for place in range(40)]
    odd = [
        a_line(source_ordinal=100 + quantity, product_id="yogurt", quantity=Decimal(quantity), ordered_at=TOMORROW)
        for quantity in (6, 12, 21, 22, 144)
    ]
    found = conformed(make_rows, usual + odd, {"yogurt": "YOGURT"})
    assert [row.source_ordinal - 100 for row in found if row.is_outlier] == [22, 144]


def test_a_category_of_impossible_quantities_does_not_hide_them(make_rows: MakeRows) -> None:
    goods = [a_line(source_ordinal=place, product_id="milk") for place in range(200)]
    fuel = [
        a_line(
            source_ordinal=1000 + place,
            product_id="fuel",
            quantity=Decimal(10_000 + place),
            sales_amount=Decimal(30),
            ordered_at=TOMORROW if place < 50 else TOMORROW + timedelta(days=1),
        )
        for place in range(100)
    ]
    found = conformed(make_rows, goods + fuel, {"milk": "MILK", "fuel": "FUEL"})
    assert {row.product_id for row in found if row.is_outlier} == {"fuel"}
    assert sum(row.is_outlier for row in found) == 100


def test_amounts_far_outside_and_small_categories(make_rows: MakeRows) -> None:
    usual = [a_line(source_ordinal=place, product_id="gum") for place in range(60)]
    odd = [
        a_line(source_ordinal=100, product_id="gum", sales_amount=Decimal(900), ordered_at=TOMORROW),
        # Five lines say nothing of what is usual for pianos; against all lines 255 is the limit.
        *(
            a_line(source_ordinal=200 + place, product_id="piano", sales_amount=Decimal(300), ordered_at=TOMORROW)
            for place in range(5)
        ),
    ]
    found = conformed(make_rows, usual + odd, {"gum": "GUM", "piano": "PIANO"})
    # All lines: median 2.00, so the limit is exp(ln 3 + 7 ln 2) - 1 = 383.
    assert [row.source_ordinal for row in found if row.is_outlier] == [100]


def test_nothing_is_unusual_on_the_first_day_or_before_thirty_lines(make_rows: MakeRows) -> None:
    first = [a_line(source_ordinal=place, quantity=Decimal(10**place)) for place in range(5)]
    second = [a_line(source_ordinal=10, quantity=Decimal(10**6), ordered_at=TOMORROW)]
    assert not any(row.is_outlier for row in conformed(make_rows, first + second, {"p": "P"}))


def some_weeks() -> list[dict[str, Any]]:
    """Ten lines a day, later a hundred; on the 20th day one of 60 units, usual only for what comes afterwards."""
    days = [datetime(2017, 1, 2, 12, tzinfo=UTC) + timedelta(days=day) for day in range(28)]
    lines = [
        a_line(
            customer_id="c",
            basket_id=f"{day}-{place}",
            ordered_at=when,
            quantity=Decimal(1 if day < 20 else 60),
            sales_amount=Decimal("2.00") if day < 20 else Decimal(500),
            source_ordinal=100 * day + place,
        )
        for day, when in enumerate(days)
        for place in range(10 if day < 20 else 100)
    ]
    return [*lines, {**lines[0], "ordered_at": days[19], "quantity": Decimal(60), "source_ordinal": 99_999}]


AS_OF = date(2017, 1, 22)


def test_later_lines_change_no_flag_no_feature_and_no_plan(make_rows: MakeRows) -> None:
    """What would be usual by the later lines is flagged before them, and stays so."""
    every = some_weeks()
    past = [line for line in every if line["ordered_at"].date() < AS_OF]
    assert len(every) > 4 * len(past)
    products = make_rows(PRODUCTS, [{"product_id": "p", "category": "P"}])
    seen = []
    for lines in (past, every):
        flagged = conform_frame(make_rows, lines, {"p": "P"}).cache()
        before = flagged.where(F.col("order_date") < F.lit(AS_OF))
        described = describe_lines(
            order_lines=flagged,
            products=products,
            prices=make_rows(PRICES, []),
            as_of_date=AS_OF,
            settings=FeatureSettings(),
        )
        weighed = weigh_products(
            order_lines=flagged,
            products=products,
            as_of_date=AS_OF,
            settings=ResponseSettings(),
            features=FeatureSettings(),
        )
        seen.append(
            (
                [row.source_ordinal for row in before.where("is_outlier").collect()],
                sorted(map(str, described.select("line_id", "quantity").collect())),
                weighed.collect(),
            )
        )
    assert seen[0][0] == [99_999]
    assert seen[0] == seen[1]


def test_flags_do_not_depend_on_how_lines_were_loaded(make_rows: MakeRows) -> None:
    every = some_weeks()
    whole = conform_frame(make_rows, every, {"p": "P"}).where("is_outlier").select("line_id")
    early = [line for line in every if line["ordered_at"].date() < AS_OF]
    first = conform_frame(make_rows, early, {"p": "P"}).select(*ORDER_LINES.column_names).cache()
    # The first day comes once more, as under a corrected mapping: it counts once.
    again = [line for line in early if line["ordered_at"].day == 2]
    later = [line for line in every if line["ordered_at"].date() >= AS_OF]
    second = conform_frame(make_rows, later + again, {"p": "P"}, history=first).where("is_outlier").select("line_id")
    found = {row.line_id for row in first.where("is_outlier").select("line_id").union(second).collect()}
    assert found == {row.line_id for row in whole.collect()}
    assert "a.csv#99999" in found


def test_a_product_without_a_category_is_its_own(make_rows: MakeRows) -> None:
    rows = make_rows(
        bronze_of(PRODUCTS),
        [{"product_id": "a", "category": "TEA", "faults": []}, {"product_id": "b", "department": "D", "faults": []}],
    )
    found = {row.product_id: row.category for row in conform_products(products=rows).collect()}
    assert found == {"a": "TEA", "b": "b"}


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

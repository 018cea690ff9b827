"""The panel of two segments, two categories and two full weeks, worked out by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame

from promo_spark.contracts.response import PLANNED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.settings import FeatureSettings, ResponseSettings
from promo_spark.contracts.silver import ORDER_LINES, PRICES, PRODUCTS
from promo_spark.response.lines import full_weeks
from promo_spark.response.panel import build_later_panel, build_panel
from promo_spark.response.products import weigh_products

DAY = date(2024, 1, 22)
FIRST, SECOND, THIRD = date(2024, 1, 8), date(2024, 1, 15), date(2024, 1, 22)
Frames = dict[str, DataFrame]
Cells = dict[tuple[int, str, date], Any]


def line(customer: str | None, product: str, day: date, sales: float, **more: Any) -> dict[str, Any]:
    week = date.fromordinal(day.toordinal() - day.weekday())
    return {
        "customer_id": customer,
        "product_id": product,
        "order_date": day,
        "week_start_date": week,
        "sales_amount": Decimal(str(sales)),
        "retail_discount_amount": Decimal(str(more.get("discount", 0))),
        "coupon_match_amount": Decimal(str(more["match"])) if "match" in more else None,
        "is_return": more.get("is_return", False),
        "is_outlier": more.get("is_outlier", False),
    }


KNOWN = [
    line("c1", "a1", date(2024, 1, 3), 10),  # a Wednesday: the week it begins is not full
    line("c1", "a1", date(2024, 1, 9), 8, discount=2),
    line("c2", "a2", date(2024, 1, 10), 5, match=5),
    line("c1", "b1", date(2024, 1, 16), 4),
    line(None, "a2", date(2024, 1, 17), 10),  # weighs its product, belongs to no segment
    line("c1", "a1", date(2024, 1, 16), 900, is_outlier=True),
    line("c1", "a1", date(2024, 1, 17), -8, is_return=True),
    line("c1", "u1", date(2024, 1, 8), 3),  # of no known category: traffic only
]
LATER = [
    line("c1", "a1", date(2024, 1, 23), 6, discount=4),
    line("c1", "a3", date(2024, 1, 24), 50, discount=50),  # first sold after the date: no weight
    line("c2", "b1", date(2024, 1, 28), 3),
]
PRODUCT_ROWS = [
    {"product_id": "a1", "category": "apples", "department": "fruit"},
    {"product_id": "a2", "category": "apples", "department": "fruit"},
    {"product_id": "a3", "category": "apples", "department": "fruit"},
    {"product_id": "b1", "category": "bread", "department": "bakery"},
    {"product_id": "u1", "category": "(unknown)", "department": None},
]


def price(product: str, store: str, week: date, *, display: bool = False, mailer: bool = False) -> dict[str, Any]:
    return {
        "product_id": product,
        "store_id": store,
        "week_start_date": week,
        "display_location": "front" if display else None,
        "mailer_location": "cover" if mailer else None,
    }


PRICE_ROWS = [
    price("a1", "s1", FIRST, display=True),
    price("a2", "s2", FIRST, mailer=True),
    price("z9", "s2", FIRST, display=True),  # not planned
    price("b1", "s1", SECOND, display=True),
    price("a1", "s1", THIRD, display=True),
    price("a3", "s1", THIRD, display=True, mailer=True),
]


def weigh(frames: Frames, **changes: Any) -> DataFrame:
    return weigh_products(
        order_lines=frames["lines"],
        products=frames["products"],
        as_of_date=DAY,
        settings=ResponseSettings(**changes),
        features=FeatureSettings(),
    )


def by_cell(panel: DataFrame) -> Cells:
    return {(row.segment_id, row.category, row.week_start_date): row for row in panel.collect()}


@pytest.fixture(scope="module")
def frames(make_rows: Any) -> Frames:
    members = [{"customer_id": f"c{k + 1}", "segment_id": k, "as_of_date": DAY, "value_tier": "new"} for k in (0, 1)]
    return {
        "lines": make_rows(ORDER_LINES, KNOWN + LATER),
        "products": make_rows(PRODUCTS, PRODUCT_ROWS),
        "prices": make_rows(PRICES, PRICE_ROWS),
        "members": make_rows(SEGMENT_CUSTOMERS, members),
    }


def past(frames: Frames, **changes: DataFrame) -> Cells:
    given = {**frames, **changes}
    return by_cell(
        build_panel(
            order_lines=given["lines"],
            prices=given["prices"],
            planned_products=weigh(given).localCheckpoint(),
            segment_customers=given["members"],
            as_of_date=DAY,
        )
    )


class TestWeighing:
    def test_products_weigh_what_was_sold_before_the_date(self, frames: Frames) -> None:
        weights = {row.product_id: (row.category, row.gross_amount, row.weight_rate) for row in weigh(frames).collect()}
        assert weights == {"a1": ("apples", 20.0, 0.5), "a2": ("apples", 20.0, 0.5), "b1": ("bread", 4.0, 1.0)}

    def test_only_the_best_selling_categories_are_planned(self, frames: Frames) -> None:
        assert {row.category for row in weigh(frames, categories=1).collect()} == {"apples"}

    @pytest.mark.parametrize("excluded", [{"excluded_categories": ("apples",)}, {"excluded_departments": ("fruit",)}])
    def test_what_settings_exclude_is_not_planned(self, frames: Frames, excluded: dict[str, Any]) -> None:
        assert {row.category for row in weigh(frames, **excluded).collect()} == {"bread"}

    def test_of_equal_sellers_the_first_by_name_is_planned(self, frames: Frames, make_rows: Any) -> None:
        equal = make_rows(ORDER_LINES, [line("c1", p, date(2024, 1, 9), 5) for p in ("b1", "a1")])
        assert {row.category for row in weigh({**frames, "lines": equal}, categories=1).collect()} == {"apples"}


@pytest.fixture(scope="module")
def cells(frames: Frames) -> Cells:
    return past(frames)


class TestPanel:
    def test_every_cell_has_every_full_week(self, cells: Cells) -> None:
        assert set(cells) == {(s, c, w) for s in (0, 1) for c in ("apples", "bread") for w in (FIRST, SECOND)}

    def test_sales_at_regular_price_and_zeros(self, cells: Cells) -> None:
        gross = {key: (row.gross_amount, row.sales_amount) for key, row in cells.items()}
        assert gross[0, "apples", FIRST] == (10.0, 8.0)
        assert gross[1, "apples", FIRST] == (10.0, 5.0)
        assert gross[0, "bread", SECOND] == (4.0, 4.0)
        assert sum(value != (0.0, 0.0) for value in gross.values()) == 3

    def test_levers_are_those_of_the_whole_store_at_fixed_weights(self, cells: Cells) -> None:
        for segment in (0, 1):
            row = cells[segment, "apples", FIRST]
            assert row.depth_rate == pytest.approx(0.5 * 0.2 + 0.5 * 0.5)
            assert row.display_rate == pytest.approx(0.5 * 1 / 2)
            assert row.mailer_rate == pytest.approx(0.5 * 1 / 2)
            # Only a2 sold, without a discount: a1, unsold, does not count.
            assert cells[segment, "apples", SECOND].depth_rate == 0.0
            assert cells[segment, "bread", SECOND].display_rate == 1.0
            assert cells[segment, "bread", FIRST].depth_rate == 0.0

    def test_traffic_is_all_that_the_segment_bought_over_its_mean_week(self, cells: Cells) -> None:
        assert cells[0, "bread", FIRST].traffic_index == pytest.approx(13 / 8.5)
        assert cells[0, "apples", SECOND].traffic_index == pytest.approx(4 / 8.5)
        assert cells[1, "apples", FIRST].traffic_index == pytest.approx(2.0)
        assert cells[1, "bread", SECOND].traffic_index == 0.0

    def test_later_rows_change_nothing(self, cells: Cells, frames: Frames, make_rows: Any) -> None:
        known = make_rows(ORDER_LINES, KNOWN)
        before = make_rows(PRICES, [row for row in PRICE_ROWS if row["week_start_date"] < DAY])
        assert cells == past(frames, lines=known, prices=before)

    def test_without_prices_nothing_was_displayed_or_mailed(self, frames: Frames) -> None:
        rows = past(frames, prices=frames["prices"].limit(0)).values()
        assert {(row.display_rate, row.mailer_rate) for row in rows} == {(0.0, 0.0)}
        assert len(rows) == 8

    def test_a_date_within_a_week_drops_that_week(self, frames: Frames) -> None:
        day = date(2024, 1, 19)
        panel = build_panel(
            order_lines=frames["lines"],
            prices=frames["prices"],
            planned_products=weigh(frames).localCheckpoint(),
            segment_customers=frames["members"],
            as_of_date=day,
        )
        assert {row.week_start_date for row in panel.collect()} == {FIRST}


DAILY = [line("c1", "a1", date(2024, 1, 1 + day), 10) for day in range(21)]
OPEN_SIX_DAYS = [row for row in DAILY if row["order_date"].weekday() < 6]
NEXT = date(2024, 1, 29)


class TestFullWeeks:
    @pytest.mark.parametrize(
        ("rows", "last_week"),
        [
            (DAILY, SECOND),
            (DAILY[:-1], FIRST),  # the data end on a Saturday of a shop that opens on Sundays
            (DAILY[:-4], FIRST),
            (OPEN_SIX_DAYS, SECOND),
            (OPEN_SIX_DAYS[:-1], FIRST),
        ],
    )
    @pytest.mark.parametrize("day", [DAY, date(2024, 1, 25), NEXT])
    def test_data_that_end_within_a_week_end_with_the_week_before(
        self, make_rows: Any, rows: list[dict[str, Any]], last_week: date, day: date
    ) -> None:
        assert self.weeks(make_rows, rows, day)[-1] == last_week

    def test_data_that_begin_within_a_week_begin_with_the_next(self, make_rows: Any) -> None:
        assert self.weeks(make_rows, DAILY, DAY)[0] == date(2024, 1, 1)
        assert self.weeks(make_rows, DAILY[1:], DAY)[0] == FIRST
        assert self.weeks(make_rows, DAILY[6:], DAY)[0] == FIRST

    def test_later_orders_change_nothing(self, make_rows: Any) -> None:
        cut = [row for row in DAILY if row["order_date"] < date(2024, 1, 18)]
        later = [line("c1", "a1", date(2024, 1, day), 1) for day in (22, 23, 31)]
        assert self.weeks(make_rows, cut, DAY) == self.weeks(make_rows, cut + later, DAY) == [date(2024, 1, 1), FIRST]

    @staticmethod
    def weeks(make_rows: Any, rows: list[dict[str, Any]], day: date) -> list[date]:
        found = full_weeks(lines=make_rows(ORDER_LINES, rows), as_of_date=day).collect()
        return sorted(row.week_start_date for row in found)


class TestLaterPanel:
    def test_outcomes_are_later_and_all_else_is_frozen(self, frames: Frames) -> None:
        cells = by_cell(self.later(frames, frames["lines"]))
        assert set(cells) == {(s, c, THIRD) for s in (0, 1) for c in ("apples", "bread")}
        apples = cells[0, "apples", THIRD]
        assert apples.gross_amount == 10.0  # a3 had no weight at the date and is not planned
        assert apples.depth_rate == pytest.approx(0.4)
        assert apples.display_rate == pytest.approx(0.5)
        assert apples.mailer_rate == 0.0
        assert apples.traffic_index == pytest.approx(110 / 8.5)
        assert cells[1, "bread", THIRD].gross_amount == 3.0

    def test_a_week_that_orders_do_not_reach_the_end_of_is_left_out(self, frames: Frames, make_rows: Any) -> None:
        cut = make_rows(ORDER_LINES, KNOWN + LATER[:2])
        assert self.later(frames, cut).isEmpty()

    @staticmethod
    def later(frames: Frames, lines: DataFrame) -> DataFrame:
        return build_later_panel(
            order_lines=lines,
            prices=frames["prices"],
            planned_products=weigh(frames).localCheckpoint(),
            segment_customers=frames["members"],
            as_of_date=DAY,
            weeks=9,
        )


def test_nothing_comes_of_nothing(frames: Frames, make_rows: Any) -> None:
    panel = build_panel(
        order_lines=frames["lines"].limit(0),
        prices=frames["prices"],
        planned_products=make_rows(PLANNED_PRODUCTS, []),
        segment_customers=frames["members"],
        as_of_date=DAY,
    )
    assert panel.isEmpty()

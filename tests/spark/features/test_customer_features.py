"""A handful of lines per customer, with every figure worked out by hand."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import log
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row

from promo_spark.contracts.features import CUSTOMER_FEATURES, DESCRIBED_LINES
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import ASSIGNMENTS, CUSTOMERS, REDEMPTIONS
from promo_spark.features.baskets import summarise_baskets
from promo_spark.features.customers import build_customer_features, complete_customer_features
from promo_spark.features.spending import summarise_spending
from promo_spark.features.targeting import summarise_targeting, targeted_customers, with_known_targeting
from promo_spark.features.tastes import summarise_tastes

DAY = date(2024, 6, 3)
SETTINGS = FeatureSettings(lookback_days=364, imputation={})
DESCRIBED = [{"customer_id": "shopper", "age_band": "35-44", "income_band": "50-74K", "household_size": "2"}]
MakeRows = Callable[..., DataFrame]


def line(basket: str, days_ago: int, sales: str, **columns: object) -> dict[str, Any]:
    ordered = DAY - timedelta(days=days_ago)
    usual = {
        "basket_id": basket,
        "line_id": f"{basket}-{columns.get('product_id', 'milk')}",
        "customer_id": "ann",
        "product_id": "milk",
        "store_id": "s1",
        "department": "dairy",
        "category": "milk",
        "order_date": ordered,
        "order_hour": 10,
        "week_start_date": ordered - timedelta(days=ordered.weekday()),
        "quantity": Decimal(1),
        "sales_amount": Decimal(sales),
        "regular_amount": Decimal(sales) + (columns.get("discount_amount") or 0),
        "is_return": False,
        "is_recent": days_ago <= 364,
    }
    return {**usual, **columns}


def features(
    make_rows: MakeRows,
    lines: list[dict[str, Any]],
    *,
    customers: list[dict[str, Any]] | None = None,
    settings: FeatureSettings = SETTINGS,
) -> dict[str, Row]:
    frame = build_customer_features(
        lines=make_rows(DESCRIBED_LINES, lines),
        customers=make_rows(CUSTOMERS, customers or []),
        assignments=make_rows(ASSIGNMENTS, []),
        redemptions=make_rows(REDEMPTIONS, []),
        as_of_date=DAY,
        settings=settings,
        time_zone="UTC",
    )
    return {row.customer_id: row for row in frame.collect()}


def redated(lines: list[dict[str, Any]], customer: str) -> list[dict[str, Any]]:
    """The same lines as another customer's own baskets."""
    return [{**made, "customer_id": customer, "basket_id": f"{customer}-{made['basket_id']}"} for made in lines]


@pytest.fixture(scope="module")
def people(make_rows: MakeRows) -> dict[str, Row]:
    """One customer per case, so that the table is built once."""
    windows = [("a", 1, "10.00"), ("b", 28, "20.00"), ("c", 29, "40.00"), ("d", 91, "80.00"), ("e", 92, "7.00")]
    back = line("r", 2, "-4.00", is_return=True, quantity=Decimal(-1))
    cases = {
        "windows": [line(*basket) for basket in windows],
        "returner": [line("a", 3, "10.00"), back],
        "only returns": [back],
        "rising": [line("a", 100, "5.00"), line("b", 30, "1.00"), line("c", 1, "9.00")],
        "gone": [line("a", 100, "5.00"), line("b", 40, "5.00")],
        "away": [line("a", 100, "5.00")],
        "eight weeks": [line("a", 55, "5.00")],
        "long ago": [line("old", 400, "99.00", category="old"), line("a", 14, "6.00"), line("b", 7, "8.00")],
        "first day": [line("a", 1, "12.00")],
        "shopper": [
            line("a", 3, "1.00"),
            line("a", 3, "1.00", product_id="tea"),
            line("b", 2, "1.00", store_id="s2"),
        ],
    }
    lines = [made for name, own in cases.items() for made in redated(own, name)]
    lines += [line("x", 1, "12.00", customer_id=None)]
    return features(make_rows, lines, customers=DESCRIBED)


class TestRecencyFrequencyMoney:
    def test_windows_count_back_from_the_day_before(self, people: dict[str, Row]) -> None:
        ann = people["windows"]
        assert (ann.first_order_date, ann.last_order_date) == (DAY - timedelta(92), DAY - timedelta(1))
        assert (ann.recency_days, ann.tenure_days) == (1, 92)
        assert (ann.order_count, ann.order_28d_count, ann.order_91d_count) == (5, 2, 4)
        assert (ann.spend_amount, ann.spend_28d_amount, ann.spend_91d_amount) == (157, 30, 150)
        assert ann.weekly_spend_amount == pytest.approx(157 / (92 / 7))
        assert ann.order_gap_days == pytest.approx(91 / 4)
        # 30 in the last 28 days; 40 in the 28 before.
        assert ann.spend_trend_rate == pytest.approx(-0.25)

    def test_returns_lower_spend_and_are_no_visits(self, people: dict[str, Row]) -> None:
        ann = people["returner"]
        assert (ann.order_count, ann.recency_days, ann.spend_amount, ann.basket_spend_amount) == (1, 3, 6, 10.0)
        assert "only returns" not in people

    def test_the_trend_stays_within_one_and_needs_eight_weeks(self, people: dict[str, Row]) -> None:
        trends = {name: people[name].spend_trend_rate for name in ("rising", "gone", "away", "eight weeks")}
        assert trends == {"rising": 1.0, "gone": -1.0, "away": 0.0, "eight weeks": None}

    def test_means_and_shares_look_back_only_so_far(self, people: dict[str, Row]) -> None:
        ann = people["long ago"]
        assert (ann.order_count, ann.spend_amount, ann.tenure_days) == (3, 113, 400)
        assert (ann.basket_spend_amount, ann.order_gap_days) == (7.0, 7.0)
        assert (ann.favourite_category, ann.favourite_category_rate) == ("milk", 1.0)
        assert ann.weekly_spend_amount == pytest.approx(14 / 52)

    def test_one_day_of_tenure_counts_as_a_week(self, people: dict[str, Row]) -> None:
        assert (people["first day"].weekly_spend_amount, people["first day"].order_gap_days) == (12.0, None)

    def test_products_and_stores(self, people: dict[str, Row]) -> None:
        assert (people["shopper"].product_count, people["shopper"].store_count) == (2, 2)

    def test_lines_without_a_customer_make_no_customer(self, people: dict[str, Row]) -> None:
        assert None not in people
        assert len(people) == 9


class TestBaskets:
    @staticmethod
    def summaries(make_rows: MakeRows, lines: list[dict[str, Any]]) -> dict[str, Row]:
        frame = summarise_baskets(lines=make_rows(DESCRIBED_LINES, lines), as_of_date=DAY)
        return {row.customer_id: row for row in frame.collect()}

    def test_shape_and_slots_of_the_day_and_week(self, make_rows: MakeRows) -> None:
        lines = [
            line("a", 3, "1.00"),
            line("a", 3, "2.00", product_id="cream"),
            line("a", 3, "3.00", product_id="tea", category="tea"),
            line("b", 2, "4.00"),
        ]
        hours = [4, 5, 11, 12, 16, 17, 21, 22]
        # 2 June 2024 was a Sunday, 31 May a Friday.
        lines += [line(f"h{hour}", 1 if hour < 6 else 3, "1.00", order_hour=hour, customer_id="bob") for hour in hours]
        # A basket over midnight belongs to the hour of its first line.
        lines += [
            line("n", 2, "1.00", order_hour=23, customer_id="cid"),
            line("n", 1, "1.00", order_hour=0, product_id="tea", customer_id="cid"),
            line("o", 1, "1.00", order_hour=18, customer_id="cid"),
            line("p", 1, "1.00", order_hour=18, customer_id="cid"),
        ]
        rows = self.summaries(make_rows, lines)
        ann, bob, cid = rows["ann"], rows["bob"], rows["cid"]
        assert (ann.basket_line_count, ann.basket_category_count, ann.basket_spend_amount) == (2.0, 1.5, 5.0)
        assert bob.morning_order_rate == bob.afternoon_order_rate == bob.evening_order_rate == 0.25
        assert (bob.night_order_rate, bob.weekend_order_rate, bob.favourite_time_slot) == (0.25, 0.25, "morning")
        assert (cid.order_count, cid.favourite_time_slot) == (3, "evening")
        assert cid.night_order_rate == pytest.approx(1 / 3)

    def test_a_source_without_time_of_day_has_no_slots(self, make_rows: MakeRows) -> None:
        lines = [line("a", 2, "1.00", order_hour=0), line("b", 1, "1.00", order_hour=0, customer_id="bob")]
        ann = self.summaries(make_rows, lines)["ann"]
        assert (ann.night_order_rate, ann.favourite_time_slot) == (None, None)
        assert ann.weekend_order_rate == 1.0


class TestTastes:
    @staticmethod
    def tastes(make_rows: MakeRows, lines: list[dict[str, Any]]) -> dict[str, Row]:
        frame = summarise_tastes(lines=make_rows(DESCRIBED_LINES, lines))
        return {row.customer_id: row for row in frame.collect()}

    def test_favourites_with_ties_by_name(self, make_rows: MakeRows) -> None:
        lines = [
            line("a", 3, "5.00", category="tea", department="drinks"),
            line("b", 3, "5.00", category="rice", department="grains"),
            line("c", 3, "1.00", category="jam", department="drinks"),
        ]
        ann = self.tastes(make_rows, lines)["ann"]
        assert (ann.favourite_category, ann.favourite_department) == ("rice", "drinks")
        assert ann.favourite_category_rate == pytest.approx(5 / 11)

    def test_entropy_is_one_for_spend_spread_evenly_over_all_departments(self, make_rows: MakeRows) -> None:
        lines = [line("a", 3, "5.00", department=name) for name in ("dairy", "drinks", "grains", "meat")]
        lines += [line("b", 3, "6.00", customer_id="bob")]
        lines += [line("c", 3, "3.00", customer_id="cid")]
        lines += [line("d", 3, "1.00", customer_id="cid", department="meat")]
        rows = self.tastes(make_rows, lines)
        assert rows["ann"].category_entropy_rate == pytest.approx(1.0, abs=1e-9)
        assert rows["bob"].category_entropy_rate == pytest.approx(0.0, abs=1e-9)
        uneven = -(0.75 * log(0.75) + 0.25 * log(0.25)) / log(4)
        assert rows["cid"].category_entropy_rate == pytest.approx(uneven, abs=1e-9)

    def test_price_sensitivity_compares_with_everyone_in_the_same_categories(self, make_rows: MakeRows) -> None:
        """Of milk 3 of 10 is discounted over all, 2 of 5 for Ann; of tea nothing; of jam 1 of 4 for both."""
        lines = [
            line("a", 3, "3.00", discount_amount=Decimal("2.00")),
            line("b", 3, "5.00", category="tea", department="drinks", discount_amount=Decimal("0.00")),
            line("c", 3, "4.00", discount_amount=Decimal("1.00"), customer_id=None),
            line("d", 3, "3.00", category="jam", discount_amount=Decimal("1.00"), customer_id="bob"),
            line("e", 3, "3.00", category="jam", discount_amount=Decimal("1.00"), customer_id=None),
            line("f", 3, "3.00", category="eggs", customer_id="cid"),
        ]
        rows = self.tastes(make_rows, lines)
        # Own depth 2 / 10; expected: 5 at regular price in milk, of which 30 %, over 10.
        assert rows["ann"].price_sensitivity_rate == pytest.approx(0.2 - 0.15)
        assert rows["bob"].price_sensitivity_rate == pytest.approx(0.0, abs=1e-9)
        assert rows["cid"].price_sensitivity_rate is None


def test_shares_leave_out_lines_of_which_the_lever_is_unknown(make_rows: MakeRows) -> None:
    lines = [
        line("a", 3, "6.00", is_private_brand=True, is_displayed=True, is_mailed=False),
        line("b", 3, "2.00", is_private_brand=False, is_displayed=False, is_mailed=True),
        line("c", 3, "4.00"),
        line("d", 3, "4.00", customer_id="bob"),
        line("e", 3, "6.00", discount_amount=Decimal("2.00"), has_coupon=True, customer_id="cid"),
        line("f", 3, "2.00", discount_amount=Decimal("0.00"), has_coupon=False, customer_id="cid"),
        line("g", 3, "2.00", discount_amount=Decimal("0.00"), has_coupon=False, customer_id="cid"),
    ]
    frame = summarise_spending(lines=make_rows(DESCRIBED_LINES, lines), as_of_date=DAY)
    rows = {row.customer_id: row for row in frame.collect()}
    ann, bob, cid = rows["ann"], rows["bob"], rows["cid"]
    assert (ann.private_brand_rate, ann.display_spend_rate, ann.mailer_spend_rate) == (0.75, 0.75, 0.25)
    assert (bob.private_brand_rate, bob.display_spend_rate, bob.discount_depth_rate) == (None, None, None)
    assert cid.discount_spend_rate == pytest.approx(0.6)
    assert cid.discount_depth_rate == pytest.approx(2 / 12)
    assert cid.coupon_line_rate == pytest.approx(1 / 3)


class TestTargeting:
    @staticmethod
    def assigned(
        promotion: str, customer: str = "ann", when: str = "2024-05-01T12:00", **columns: object
    ) -> dict[str, Any]:
        return {
            "decision_id": promotion,
            "customer_id": customer,
            "arm": promotion,
            "is_holdout": False,
            "decided_at": datetime.fromisoformat(when).replace(tzinfo=UTC),
            **columns,
        }

    def known(
        self, make_rows: MakeRows, assignments: list[dict[str, Any]], redemptions: list[dict[str, Any]]
    ) -> dict[str, tuple[Any, ...]]:
        tables = {
            "assignments": make_rows(ASSIGNMENTS, assignments),
            "redemptions": make_rows(REDEMPTIONS, redemptions),
        }
        found = summarise_targeting(**tables, as_of_date=DAY, time_zone="UTC")
        people = make_rows(CUSTOMERS, [{"customer_id": "ann"}, {"customer_id": "bob"}]).select("customer_id")
        frame = with_known_targeting(customers=people.join(found, "customer_id", "left"), **tables)
        columns = ("targeted_promotion_count", "redemption_count", "redemption_rate")
        return {row.customer_id: tuple(row[name] for name in columns) for row in frame.collect()}

    def test_promotions_given_and_redeemed(self, make_rows: MakeRows) -> None:
        def redeemed(promotion: str, coupon: str, when: date) -> dict[str, Any]:
            return {"promotion_id": promotion, "customer_id": "ann", "coupon_id": coupon, "redeemed_date": when}

        rows = self.known(
            make_rows,
            [
                self.assigned("p1"),
                self.assigned("p2"),
                self.assigned("p3", is_holdout=True),
                self.assigned("p4", arm="none"),
            ],
            [
                redeemed("p1", "c1", date(2024, 5, 9)),
                redeemed("p1", "c2", date(2024, 6, 2)),
                redeemed("p2", "c3", DAY),
                redeemed("p9", "c4", date(2024, 5, 9)),
            ],
        )
        assert rows == {"ann": (2, 3, 0.5), "bob": (0, 0, None)}

    def test_without_assignments_nothing_is_known(self, make_rows: MakeRows) -> None:
        assert self.known(make_rows, [], []) == {"ann": (None, None, None), "bob": (None, None, None)}

    @pytest.mark.parametrize(("time_zone", "count"), [("UTC", 1), ("America/New_York", 1), ("Asia/Tokyo", 0)])
    def test_the_date_begins_at_the_retailers_own_midnight(
        self, make_rows: MakeRows, time_zone: str, count: int
    ) -> None:
        given = make_rows(ASSIGNMENTS, [self.assigned("p1", when="2024-06-02T16:00")])
        assert targeted_customers(assignments=given, as_of_date=DAY, time_zone=time_zone).count() == count


def test_demographics_are_copied_only_where_allowed(make_rows: MakeRows, people: dict[str, Row]) -> None:
    known = people["shopper"]
    assert (known.age_band, known.income_band, known.household_size) == ("35-44", "50-74K", "2")
    assert people["windows"].age_band is None
    settings = SETTINGS.model_copy(update={"demographics_allowed": False})
    kept = features(make_rows, [line("a", 3, "1.00", customer_id="shopper")], customers=DESCRIBED, settings=settings)
    assert (kept["shopper"].age_band, kept["shopper"].household_size) == (None, None)


class TestFitting:
    @staticmethod
    def completed(make_rows: MakeRows, rows: list[dict[str, Any]], **settings: object) -> dict[str, Row]:
        customers = make_rows(CUSTOMER_FEATURES, [{"as_of_date": DAY, **row} for row in rows])
        frame = complete_customer_features(customers=customers, settings=FeatureSettings(**settings))
        return {row.customer_id: row for row in frame.collect()}

    def test_tails_are_pulled_in_to_exact_quantiles(self, make_rows: MakeRows) -> None:
        rows = [
            {"customer_id": str(i), "weekly_spend_amount": float(i), "basket_spend_amount": None} for i in range(11)
        ]
        done = self.completed(make_rows, rows, winsorise_quantile=0.9)
        assert [done[str(i)].weekly_spend_amount for i in (0, 1, 5, 9, 10)] == [1.0, 1.0, 5.0, 9.0, 9.0]
        assert done["3"].basket_spend_amount is None

    @pytest.mark.parametrize(("method", "value"), [("mean", 4.0), ("median", 2.5), ("mode", 1.0)])
    def test_gaps_are_filled_and_named(self, make_rows: MakeRows, method: str, value: float) -> None:
        rows = [{"customer_id": str(i), "order_gap_days": gap} for i, gap in enumerate([1.0, 1.0, 4.0, 10.0, None])]
        done = self.completed(make_rows, rows, imputation={"order_gap_days": method, "redemption_rate": "mean"})
        assert done["4"].order_gap_days == value
        assert done["4"].imputed_columns == ["order_gap_days"]
        assert (done["0"].order_gap_days, done["0"].imputed_columns) == (1.0, [])
        # Unknown for everyone: nothing to fit, nothing filled.
        assert done["4"].redemption_rate is None

    def test_nobody_to_fit_on_gives_nobody(self, make_rows: MakeRows) -> None:
        assert self.completed(make_rows, []) == {}

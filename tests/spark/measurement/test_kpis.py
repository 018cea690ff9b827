"""Key figures of small tables, against the same worked out row by row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, Row
from scipy import stats

from promo_spark.contracts.assignment import ASSIGNMENT
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.kpi_settings import KpiSettings
from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.contracts.segments import LIFETIME_VALUES, SEGMENT_CUSTOMERS
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import (
    ASSIGNMENTS,
    CUSTOMERS,
    EVENTS,
    EXPOSURES,
    ORDER_LINES,
    PROMOTION_PRODUCTS,
    PROMOTIONS,
    RATINGS,
    REDEMPTIONS,
)
from promo_spark.contracts.table import TableContract
from promo_spark.measurement.customer_periods import sum_customer_periods
from promo_spark.measurement.kpi_catalogue import CATALOGUE
from promo_spark.measurement.kpi_terms import lay_out_period_terms, lay_out_promotion_terms
from promo_spark.measurement.kpis import measure_kpis
from promo_spark.measurement.plan_terms import lay_out_plan_terms, lay_out_redemption_terms
from promo_spark.measurement.promotion_customers import sum_promotion_customers
from tests.conftest import MakeRows
from tests.spark.measurement.money_rows import Rows, with_money

DAY = date(2024, 3, 4)
SETTINGS = KpiSettings(days=7, promotion_days=28)
FEATURES = FeatureSettings(margin_rate=0.25)
COSTS = AssignSettings(contact_cost_amount=0.5)
PRODUCTS = [
    {"product_id": "p", "category": "dairy", "margin_rate": 0.5, "as_of_date": DAY},
    {"product_id": "q", "category": "dairy", "margin_rate": 0.5, "as_of_date": DAY},
    {"product_id": "r", "category": "bread", "margin_rate": None, "as_of_date": DAY},
]


def line(customer: str, days_before: int, sales: float, product: str = "p", **more: Any) -> dict[str, Any]:
    day = DAY - timedelta(days=days_before)
    told = {
        "basket_id": f"{customer}-{day}",
        "line_id": product,
        "customer_id": customer,
        "product_id": product,
        "order_date": day,
        "sales_amount": sales,
        "is_return": False,
        "is_outlier": False,
    }
    return told | more


def midday(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


class Shop:
    """Tables of a shop, empty unless said otherwise, and the figures made of them."""

    def __init__(self, make_rows: MakeRows, **tables: Rows) -> None:
        self._make, self._tables = make_rows, tables

    def _table(self, name: str, contract: TableContract) -> DataFrame:
        return self._make(contract, with_money(contract, self._tables.get(name, ())))

    def _period_terms(self) -> DataFrame:
        periods = sum_customer_periods(
            order_lines=self._table("lines", ORDER_LINES),
            events=self._table("events", EVENTS),
            ratings=self._table("ratings", RATINGS),
            customers=self._table("customers", CUSTOMERS),
            product_features=self._make(PRODUCT_FEATURES, PRODUCTS),
            lifetime_values=self._table("lifetimes", LIFETIME_VALUES),
            earlier_lifetime_values=self._make(LIFETIME_VALUES, ()),
            as_of_date=DAY,
            time_zone="UTC",
            settings=SETTINGS,
            features=FEATURES,
        )
        segments = self._table("segments", SEGMENT_CUSTOMERS)
        return lay_out_period_terms(customer_periods=periods, segment_customers=segments, as_of_date=DAY)

    def _promotion_terms(self) -> DataFrame:
        pairs = sum_promotion_customers(
            order_lines=self._table("lines", ORDER_LINES),
            assignments=self._table("assignments", ASSIGNMENTS),
            exposures=self._table("exposures", EXPOSURES),
            events=self._table("events", EVENTS),
            promotions=self._table("promotions", PROMOTIONS),
            promotion_products=self._table("covered", PROMOTION_PRODUCTS),
            redemptions=self._table("redemptions", REDEMPTIONS),
            product_features=self._make(PRODUCT_FEATURES, PRODUCTS),
            as_of_date=DAY,
            time_zone="UTC",
            settings=SETTINGS,
            features=FEATURES,
            costs=COSTS,
        )
        segments = self._table("segments", SEGMENT_CUSTOMERS)
        return lay_out_promotion_terms(promotion_customers=pairs, segment_customers=segments, as_of_date=DAY)

    def _plan_terms(self) -> DataFrame:
        plans = lay_out_plan_terms(
            segment_plan=self._table("plan", SEGMENT_PLAN),
            segment_customers=self._table("planned_segments", SEGMENT_CUSTOMERS),
            order_lines=self._table("lines", ORDER_LINES),
            product_features=self._make(PRODUCT_FEATURES, PRODUCTS),
            as_of_date=DAY,
        )
        redeemed = lay_out_redemption_terms(
            assignment=self._table("planned", ASSIGNMENT),
            assignments=self._table("assignments", ASSIGNMENTS),
            promotions=self._table("promotions", PROMOTIONS),
            redemptions=self._table("redemptions", REDEMPTIONS),
            as_of_date=DAY,
        )
        return plans.unionByName(redeemed)

    def kpis(self, *parts: str) -> dict[tuple[str, str, str], Row]:
        makers = {"periods": self._period_terms, "promotions": self._promotion_terms, "plans": self._plan_terms}
        terms = reduce(DataFrame.unionByName, [makers[part]() for part in parts or makers])
        found = measure_kpis(terms=terms, as_of_date=DAY, settings=SETTINGS).collect()
        return {(row["kpi"], row["comparison"], row["scope_id"]): row for row in found}


def test_periods_are_summed_and_compared_customer_by_customer(make_rows: MakeRows) -> None:
    lines = [
        line("a", 1, 10.0, retail_discount_amount=2.0),
        line("a", 1, 4.0, "q"),
        line("a", 9, 6.0),
        line("b", 3, 5.0, "r"),
        line("b", 2, -5.0, "r", is_return=True, basket_id="back"),
        line("c", 14, 8.0),
        line("c", 60, 8.0),
        line("d", 0, 99.0),
    ]
    rated = [{"customer_id": "a", "product_id": "p", "rated_date": DAY - timedelta(days=2), "rating": 4.0}]
    customers = [
        {"customer_id": "b", "registered_date": DAY - timedelta(days=4)},
        {"customer_id": "c", "registered_date": DAY - timedelta(days=90)},
    ]
    browsed = {"customer_id": "c", "product_id": "p", "event_type": "view", "happened_at": midday(date(2024, 3, 1))}
    lifetimes = [
        {"customer_id": customer, "as_of_date": DAY, "lifetime_value_amount": amount}
        for customer, amount in (("a", 30.0), ("b", 10.0))
    ]
    segments = [{"customer_id": "a", "as_of_date": DAY, "segment_id": 1}]
    found = Shop(
        make_rows,
        lines=lines,
        ratings=rated,
        customers=customers,
        events=[browsed],
        lifetimes=lifetimes,
        segments=segments,
    ).kpis("periods")

    def told(name: str, scope: str = "all") -> tuple[float | None, float | None]:
        row = found[name, "before", scope]
        return row["value"], row["comparison_value"]

    assert told("sales") == (14.0, 14.0)
    assert told("sales", "1") == (14.0, 6.0)
    # Half of 12 + 4 at regular price, less the discount of 2; bread has the margin assumed, and came back.
    assert told("margin") == (6.0, 7.0)
    assert told("discount") == (2.0, 0.0)
    assert told("visits") == (3.0, 2.0)
    assert told("new_visits") == (1.0, 1.0)
    assert told("returning_visits") == (2.0, 1.0)
    assert told("new_customers") == (1.0, 1.0)
    assert told("new_registrations") == (1.0, 0.0)
    assert told("conversion") == (pytest.approx(2 / 3), 1.0)
    assert told("average_order_value") == (7.0, 7.0)
    assert told("complaints") == (0.5, 0.0)
    assert told("satisfaction") == (4.0, None)
    assert told("lifetime_value") == (20.0, None)
    sales = found["sales", "before", "all"]
    changes = np.array([14.0 - 6.0, 0.0, -8.0])
    assert sales["change_error"] == pytest.approx(changes.std(ddof=1) * np.sqrt(3))
    assert sales["observation_count"] == 3


def campaign() -> dict[str, list[dict[str, Any]]]:
    """Forty customers of whom a quarter are kept from a promotion of eight days, half of it days before the date."""
    draws = np.random.default_rng(1)
    start = DAY - timedelta(days=4)
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in ("lines", "assignments", "redemptions")}
    for number in range(40):
        customer, is_given = f"c{number:02d}", number % 4 != 0
        for days_before, product in ((6, "p"), (6, "q"), (2, "p"), (2, "q"), (1, "r")):
            lift = 25.0 * (days_before == 2) * is_given * (1 if product == "p" else -0.4)
            amount = round(float(draws.gamma(5.0, 4.0)) + 10.0 + lift, 2)
            if draws.uniform() < 0.8:
                off = 1.0 if product == "p" and days_before == 2 and is_given else 0.0
                tables["lines"].append(line(customer, days_before, amount, product, retail_discount_amount=off))
        tables["assignments"].append(
            {
                "decision_id": "d",
                "customer_id": customer,
                "arm": "promo" if is_given else "none",
                "propensity": 0.75 if is_given else 0.25,
                "is_holdout": not is_given,
                "decided_at": midday(start - timedelta(days=1)),
            }
        )
        if is_given and number % 3 == 0:
            used = {"promotion_id": "promo", "customer_id": customer, "coupon_id": "x", "redeemed_date": start}
            tables["redemptions"].append(used)
    tables["promotions"] = [
        {"promotion_id": "promo", "start_date": start, "end_date": start + timedelta(days=7), "channel": "app"}
    ]
    tables["covered"] = [{"promotion_id": "promo", "coupon_id": coupon, "product_id": "p"} for coupon in ("x", "y")]
    return tables


@pytest.fixture(scope="module")
def measured(make_rows: MakeRows) -> dict[tuple[str, str, str], Row]:
    return Shop(make_rows, **campaign()).kpis("promotions")


def bought(product: str | None, days: Sequence[int], column: str = "sales_amount") -> np.ndarray[Any, Any]:
    sums = np.zeros(40)
    for row in campaign()["lines"]:
        if row["order_date"] in {DAY - timedelta(days=day) for day in days} and product in (None, row["product_id"]):
            sums[int(row["customer_id"][1:])] += row[column]
    return sums


GIVEN = np.arange(40) % 4 != 0


def test_a_promotion_is_compared_with_who_was_kept_from_it(measured: dict[tuple[str, str, str], Row]) -> None:
    promoted, near = bought("p", (1, 2)), bought("q", (1, 2))
    row = measured["promoted_sales_per_customer", "holdout", "promo"]
    assert row["value"] == pytest.approx(promoted[GIVEN].mean())
    assert row["comparison_value"] == pytest.approx(promoted[~GIVEN].mean())
    error = np.sqrt(promoted[GIVEN].var() / 30 + promoted[~GIVEN].var() / 10) * np.sqrt(40 / 39)
    assert row["change_error"] == pytest.approx(error)
    lost = near[~GIVEN].mean() - near[GIVEN].mean()
    won = promoted[GIVEN].mean() - promoted[~GIVEN].mean()
    assert measured["cannibalisation", "holdout", "promo"]["value"] == pytest.approx(lost / won)
    rates = (promoted > 0)[~GIVEN].mean() / (promoted > 0)[GIVEN].mean()
    assert measured["discount_to_sure_buyers", "holdout", "promo"]["value"] == pytest.approx(min(rates, 1.0))
    assert measured["participation", "holdout", "promo"]["comparison_value"] == 0.0


def test_its_return_is_what_it_adds_after_all_costs_over_them(measured: dict[tuple[str, str, str], Row]) -> None:
    off = bought("p", (1, 2), "retail_discount_amount")
    dairy = bought("p", (1, 2)) + bought("q", (1, 2))
    margin = 0.5 * (dairy + off) + 0.25 * bought("r", (1, 2)) - off
    cost = off[GIVEN].mean() + 0.5
    gain = margin[GIVEN].mean() - 0.5 - margin[~GIVEN].mean()
    assert measured["incremental_roi", "holdout", "promo"]["value"] == pytest.approx(gain / cost)
    own = 0.5 * (bought("p", (1, 2)) + off) - off
    assert measured["roi", "before", "promo"]["value"] == pytest.approx((own[GIVEN].mean() - 0.5) / cost)
    success = measured["success_rate", "holdout", "all"]
    assert success["value"] == float(gain > 0)
    assert "of 1 promotions" in success["told"]
    # Of one alone Wilson's interval says little, but knows that a share lies between 0 and 1.
    squared = stats.norm.ppf(0.975) ** 2
    ends = (1 / (1 + squared), 1.0) if gain > 0 else (0.0, squared / (1 + squared))
    assert (success["low"], success["high"]) == pytest.approx(ends)


def test_before_and_after_looks_at_as_many_days_of_who_was_given_it(measured: dict[tuple[str, str, str], Row]) -> None:
    row = measured["promoted_sales_per_customer", "before", "promo"]
    change = (bought("p", (1, 2)) - bought("p", (6,)))[GIVEN]
    assert row["change"] == pytest.approx(change.mean())
    assert row["change_error"] == pytest.approx(change.std(ddof=1) / np.sqrt(30))
    assert "before and after only" in row["told"]
    sure = bought("p", (2,), "retail_discount_amount") * (bought("p", (6,)) > 0)
    expected = sure.sum() / bought("p", (2,), "retail_discount_amount").sum()
    assert measured["discount_to_sure_buyers", "before", "promo"]["value"] == pytest.approx(expected)
    # One promotion is all promotions.
    assert measured["sales_per_customer", "before", "all"]["value"] == pytest.approx(
        measured["sales_per_customer", "before", "promo"]["value"]
    )


@pytest.mark.slow
def test_who_could_only_be_treated_so_is_not_compared(make_rows: MakeRows) -> None:
    tables = campaign()
    forced = {**tables["assignments"][1], "customer_id": "forced", "arm": "promo", "propensity": 1.0}
    tables["assignments"].append(forced | {"is_holdout": False})
    tables["lines"].append(line("forced", 2, 9_999.0))
    found = Shop(make_rows, **tables).kpis("promotions")
    promoted = bought("p", (1, 2))
    assert found["promoted_sales_per_customer", "holdout", "promo"]["value"] == pytest.approx(promoted[GIVEN].mean())
    assert found["promoted_sales_per_customer", "before", "promo"]["value"] > 300


def test_a_plan_is_held_against_what_followed(make_rows: MakeRows) -> None:
    planned = DAY - timedelta(days=10)
    cell = {
        "segment_id": 0,
        "category": "dairy",
        "as_of_date": planned,
        "decision": "promote",
        "start_date": planned,
        "end_date": planned + timedelta(days=6),
        "expected_sales_amount": 50.0,
        "base_sales_amount": 30.0,
    }
    other = cell | {"category": "bread", "decision": "none"}
    older = cell | {"as_of_date": planned - timedelta(days=7), "expected_sales_amount": 1.0}
    unfinished = cell | {"as_of_date": DAY - timedelta(days=1), "end_date": DAY}
    members = [{"customer_id": name, "as_of_date": planned, "segment_id": 0} for name in ("a", "b", "c")]
    lines = [line("a", 9, 20.0), line("b", 8, 30.0, "r"), line("b", 2, 70.0), line("x", 9, 70.0)]
    given = {
        "decision_id": "d",
        "arm": "promo",
        "is_holdout": False,
        "decided_at": midday(planned),
    }
    assigned = [
        {"customer_id": name, "slot": 1, "as_of_date": planned, "arm": "promo", "redemption_prob": prob}
        for name, prob in (("a", 0.5), ("b", 0.3), ("c", 0.9))
    ]
    found = Shop(
        make_rows,
        lines=lines,
        plan=[cell, other, older, unfinished],
        planned_segments=members,
        planned=assigned,
        assignments=[given | {"customer_id": name} for name in ("a", "b")],
        promotions=[{"promotion_id": "promo", "start_date": planned, "end_date": planned + timedelta(days=6)}],
        redemptions=[
            {"promotion_id": "promo", "customer_id": "a", "coupon_id": "x", "redeemed_date": planned},
            {"promotion_id": "promo", "customer_id": "c", "coupon_id": "x", "redeemed_date": planned},
        ],
    ).kpis("plans")
    row = found["sales_attainment", "expected", "all"]
    assert row["value"] == pytest.approx((20.0 + 30.0) / (50.0 + 30.0))
    assert row["comparison_value"] == 1.0
    assert row["standard_error"] == pytest.approx(np.std([20.0, 30.0, 0.0], ddof=1) * np.sqrt(3) / 80.0)
    assert found["redemption_attainment", "expected", "promo"]["value"] == pytest.approx(1.0 / 0.8)


def test_what_is_not_known_is_null_and_says_why(make_rows: MakeRows) -> None:
    found = Shop(make_rows, lines=[line("a", 1, 10.0), line("b", 1, 10.0)]).kpis()
    assert {name for name, _, _ in found} == set(CATALOGUE)
    for (name, comparison, _), row in found.items():
        assert row["value"] is not None or row["told"], (name, comparison)
    assert "registration" in found["new_registrations", "before", "all"]["told"]
    assert "kept" in found["incremental_roi", "holdout", "all"]["told"]
    assert found["sales", "before", "all"]["comparison_value"] == 0.0


@pytest.mark.slow
def test_without_a_holdout_nothing_is_compared_with_one(make_rows: MakeRows) -> None:
    tables = campaign()
    tables["assignments"] = [row for row in tables["assignments"] if row["arm"] != "none"]
    found = Shop(make_rows, **tables).kpis("promotions")
    for name in ("incremental_roi", "cannibalisation", "discount_to_sure_buyers"):
        row = found[name, "holdout", "promo"]
        assert row["value"] is None
        assert "nobody was kept" in row["told"]
    assert found["success_rate", "holdout", "all"]["value"] is None
    assert found["incremental_roi", "before", "promo"]["value"] is not None


def test_what_costs_nothing_returns_nothing_that_can_be_told(make_rows: MakeRows) -> None:
    tables = campaign()
    tables["lines"] = [row | {"retail_discount_amount": 0.0} for row in tables["lines"]]
    tables["exposures"] = [
        {"promotion_id": "other", "customer_id": "c01", "exposed_at": midday(DAY - timedelta(days=2))}
    ]
    row = Shop(make_rows, **tables).kpis("promotions")["incremental_roi", "holdout", "promo"]
    assert row["value"] is None
    assert "cost nothing" in row["told"]

"""Past decisions with what was known and what followed, and the candidates of planned promotions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, Row

from promo_spark.contracts.decision_settings import AssignSettings, UpliftSettings
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import (
    ASSIGNMENTS,
    CUSTOMERS,
    ORDER_LINES,
    PROMOTION_PRODUCTS,
    PROMOTIONS,
    REDEMPTIONS,
)
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES
from promo_spark.response.decision_rows import gather_candidates, gather_decisions

DAY = date(2024, 6, 3)
ZONE = "America/New_York"
FIRST, SECOND, THIRD = DAY - timedelta(days=90), DAY - timedelta(days=60), DAY - timedelta(days=20)
MakeRows = Callable[..., DataFrame]
Tables = dict[str, DataFrame]


def line(customer: str, day: date, product: str, sales: str, **amounts: str) -> dict[str, Any]:
    money = {f"{name}_amount": Decimal(value) for name, value in amounts.items()}
    return {
        "basket_id": f"{customer}{day}",
        "line_id": product,
        "customer_id": customer,
        "product_id": product,
        "order_date": day,
        "sales_amount": Decimal(sales),
        "is_return": False,
        "is_outlier": False,
        **money,
    }


def assigned(decision: str, customer: str, arm: str, day: date, **changes: Any) -> dict[str, Any]:
    # Late in the evening in New York is early on the next day in UTC.
    instant = datetime(day.year, day.month, day.day, 2, 30, tzinfo=UTC) + timedelta(days=1)
    known = {"decision_id": decision, "customer_id": customer, "arm": arm, "decided_at": instant}
    return {**known, "is_holdout": False, **changes}


@pytest.fixture
def tables(make_rows: MakeRows) -> Tables:
    start = FIRST - timedelta(days=30)
    lines = [line(name, start, "milk", "2.00") for name in ("c1", "c2", "c3")]
    lines += [
        line("c1", FIRST - timedelta(days=1), "beer", "9.00", coupon_discount="1.00"),
        line("c1", FIRST, "beer", "10.00", retail_discount="1.00", coupon_match="0.50", coupon_discount="0.50"),
        line("c1", FIRST + timedelta(days=41), "milk", "4.00"),
        line("c1", FIRST + timedelta(days=42), "milk", "100.00"),
        line("c2", FIRST + timedelta(days=30), "milk", "3.00"),
        line("c4", SECOND, "milk", "5.00"),
        line("c5", DAY, "milk", "5.00"),
        {**line("c3", FIRST, "milk", "7.00"), "is_return": True},
    ]
    assignments = [
        assigned("first", "c1", "p1", FIRST, propensity=0.4),
        assigned("first", "c2", "p1", FIRST, propensity=0.4, is_holdout=True),
        assigned("first", "c3", "none", FIRST, propensity=0.2),
        assigned("second", "c1", "p2", SECOND),
        assigned("third", "c1", "p1", THIRD),
        assigned("planned", "c2", "p3", DAY),
    ]
    handed_over = [
        assigned("first", "c1", "p1", FIRST, propensity=0.9),
        assigned("planned", "c3", "p3", DAY, propensity=0.5),
    ]
    promotions = [
        {"promotion_id": "p1", "promotion_type": "kind", "start_date": FIRST, "end_date": SECOND},
        {"promotion_id": "p2", "promotion_type": None, "start_date": SECOND, "end_date": THIRD},
        {"promotion_id": "p3", "promotion_type": "kind", "start_date": DAY, "end_date": DAY + timedelta(days=9)},
        {"promotion_id": "p4", "promotion_type": "kind", "start_date": DAY + timedelta(days=7), "end_date": date.max},
    ]
    covered = [("p1", "k1", "beer"), ("p1", "k2", "beer"), ("p3", "k3", "wine")]
    redeemed = [("p1", "c1", FIRST + timedelta(days=27)), ("p2", "c1", SECOND + timedelta(days=28))]
    return {
        "order_lines": make_rows(ORDER_LINES, lines),
        "assignments": make_rows(ASSIGNMENTS, assignments),
        "feedback": make_rows(FEEDBACK, handed_over),
        "promotions": make_rows(PROMOTIONS, promotions),
        "promotion_products": make_rows(
            PROMOTION_PRODUCTS,
            [dict(zip(("promotion_id", "coupon_id", "product_id"), row, strict=True)) for row in covered],
        ),
        "redemptions": make_rows(
            REDEMPTIONS,
            [
                {"promotion_id": promotion, "customer_id": customer, "coupon_id": "k1", "redeemed_date": day}
                for promotion, customer, day in redeemed
            ],
        ),
        "product_features": make_rows(
            PRODUCT_FEATURES,
            [
                {"product_id": "beer", "category": "drinks", "margin_rate": 0.5},
                {"product_id": "wine", "category": "drinks", "margin_rate": 0.5},
            ],
        ),
    }


def decided(tables: Tables, **settings: Any) -> dict[tuple[str, str], Row]:
    made = gather_decisions(
        **tables,
        as_of_date=DAY,
        time_zone=ZONE,
        settings=UpliftSettings(**settings),
        features=FeatureSettings(margin_rate=0.25),
    )
    return {(row.decision_id, row.customer_id): row for row in made.collect()}


def value(row: Row, name: str) -> float:
    return float(row.covariates[DECISION_COVARIATES.index(name)])


def test_decisions_whose_windows_are_over_with_their_controls(tables: Tables) -> None:
    rows = decided(tables)
    arms = {key: (row.arm, row.promotion_id, row.is_logged, row.decided_date) for key, row in rows.items()}
    assert arms == {
        ("first", "c1"): ("kind", "p1", True, FIRST),
        ("first", "c2"): ("none", "p1", True, FIRST),
        ("first", "c3"): ("none", "p1", True, FIRST),
        ("second", "c1"): ("p2", "p2", True, SECOND),
        ("second", "c2"): ("none", "p2", False, SECOND),
        ("second", "c3"): ("none", "p2", False, SECOND),
    }
    assert rows["first", "c1"].propensity == pytest.approx(0.4), "what the ledger brings back counts once"
    assert rows["first", "c3"].propensity == pytest.approx(0.2)
    assert rows["second", "c2"].propensity is None
    assert rows["second", "c1"].propensity is None, "what was not logged is not certain"


def test_outcomes_count_in_the_window_and_amounts_in_the_carry_over_too(tables: Tables) -> None:
    rows = decided(tables)
    first = rows["first", "c1"]
    assert (first.is_redeemed, first.is_visited) == (1.0, 1.0)
    assert first.sales_amount == pytest.approx(10 + 4)
    assert first.discount_amount == pytest.approx(1.5)
    assert first.margin_amount == pytest.approx(0.5 * 11.5 - 1.5 + 0.25 * 4)
    held_out, refunded = rows["first", "c2"], rows["first", "c3"]
    assert (held_out.is_visited, held_out.sales_amount) == (0.0, pytest.approx(3))
    assert (refunded.is_visited, refunded.sales_amount) == (0.0, 0.0)
    assert rows["second", "c1"].is_redeemed == 0.0
    longer = decided(tables, attribution_days_by_promotion={"p2": 29})
    assert longer["second", "c1"].is_redeemed == 1.0
    assert ("first", "c1") in longer
    assert ("second", "c1") not in decided(tables, attribution_days_by_promotion={"p2": 60})


def test_covariates_know_the_past_and_count_a_product_of_two_coupons_once(tables: Tables) -> None:
    rows = decided(tables)
    first = rows["first", "c1"]
    assert value(first, "covered_spend_91d_root") == pytest.approx(np.sqrt(9))
    assert value(first, "covered_coupon_visits_364d_root") == pytest.approx(1)
    assert value(first, "related_coupons_364d_root") == pytest.approx(1)
    assert value(first, "covered_products_log") == pytest.approx(np.log1p(1))
    assert value(first, "coupons_log") == pytest.approx(np.log1p(2))
    assert value(first, "given_log") == 0
    second = rows["second", "c1"]
    assert value(second, "given_log") == pytest.approx(np.log1p(1))
    assert value(second, "redeemed_log") == pytest.approx(np.log1p(1))
    assert value(second, "redeemed_arm_log") == 0
    # One of one redeemed before, beside fifty customers at one in twenty, twice: of all arms, then of this one.
    assert value(second, "arm_redemption_rate") == pytest.approx((1 + 2.5) / 51)
    assert value(first, "arm_redemption_rate") == pytest.approx(0.05)


def test_promotions_that_are_one_arm_share_its_propensity(tables: Tables, make_rows: MakeRows) -> None:
    draws = [("c1", "p1"), ("c2", "p3"), ("c3", "p3"), ("c4", "none")]
    drawn = [assigned("draw", name, arm, FIRST, propensity=0.25) for name, arm in draws]
    rows = decided({**tables, "assignments": make_rows(ASSIGNMENTS, drawn)})
    told = {name: (row.arm, row.propensity) for (decision, name), row in rows.items() if decision == "draw"}
    # One of three of the kind got p1, two p3; c4 is in no order line of the time.
    assert told["c1"] == ("kind", pytest.approx(0.75))
    assert told["c2"] == told["c3"] == ("kind", pytest.approx(0.375))


@pytest.mark.slow
def test_without_controls_only_the_customers_that_are_named(tables: Tables) -> None:
    rows = decided(tables, unlisted_are_controls=False, arm_level="promotion_id")
    assert {row.arm for row in rows.values()} == {"p1", "p2", "none"}
    assert all(row.is_logged for row in rows.values())


def candidates(tables: Tables, make_rows: MakeRows, **settings: Any) -> dict[tuple[str, str], Row]:
    registered = [
        {"customer_id": name, "registered_date": DAY - timedelta(days=late)} for name, late in (("c6", 1), ("c7", 0))
    ]
    made = gather_candidates(
        **tables,
        customers=make_rows(CUSTOMERS, registered),
        as_of_date=DAY,
        time_zone=ZONE,
        settings=AssignSettings(**settings),
        uplift=UpliftSettings(),
    )
    return {(row.promotion_id, row.customer_id): row for row in made.collect()}


@pytest.mark.slow
def test_candidates_are_customers_of_the_time_and_promotions_that_start_soon(
    tables: Tables, make_rows: MakeRows
) -> None:
    rows = candidates(tables, make_rows)
    assert set(rows) == {("p3", name) for name in ("c1", "c2", "c3", "c4", "c6")}
    assert {row.customer_id for row in rows.values() if row.is_listed} == {"c2"}
    assert {row.arm for row in rows.values()} == {"kind"}
    assert value(rows["p3", "c6"], "is_new") == 1
    assert value(rows["p3", "c1"], "is_new") == 0
    assert value(rows["p3", "c1"], "related_coupons_364d_root") == pytest.approx(np.sqrt(2))
    assert {promotion for promotion, _ in candidates(tables, make_rows, promotions=("p4", "p2"))} == {"p4", "p2"}

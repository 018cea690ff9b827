"""Reach, redemption and cost of promotions, and the affinity of customers to categories."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row

from promo_spark.contracts.features import DESCRIBED_LINES
from promo_spark.contracts.silver import ASSIGNMENTS, PROMOTION_PRODUCTS, PROMOTIONS, REDEMPTIONS
from promo_spark.features.affinity import build_affinity
from promo_spark.features.promotions import build_promotion_features

DAY = date(2024, 6, 3)
MakeRows = Callable[..., DataFrame]
PROMOTION = {
    "promotion_id": "p1",
    "promotion_type": "Type A",
    "mechanic": "coupon",
    "start_date": date(2024, 5, 1),
    "end_date": date(2024, 5, 31),
}


def line(customer: str | None, product: str, when: date, sales: str = "1.00", **columns: object) -> dict[str, Any]:
    return {
        "basket_id": f"{customer}-{when}",
        "line_id": product,
        "customer_id": customer,
        "product_id": product,
        "department": "food",
        "category": product,
        "order_date": when,
        "sales_amount": Decimal(sales),
        "is_return": False,
        **columns,
    }


def coupon(customer: str, product: str, when: date, amount: str) -> dict[str, Any]:
    return line(customer, product, when, coupon_amount=Decimal(amount))


def features(make_rows: MakeRows, **tables: list[dict[str, Any]]) -> dict[str, Row]:
    frame = build_promotion_features(
        promotions=make_rows(PROMOTIONS, tables.get("promotions", [PROMOTION])),
        promotion_products=make_rows(PROMOTION_PRODUCTS, tables.get("promotion_products", [])),
        assignments=make_rows(ASSIGNMENTS, tables.get("assignments", [])),
        redemptions=make_rows(REDEMPTIONS, tables.get("redemptions", [])),
        lines=make_rows(DESCRIBED_LINES, tables.get("lines", [])),
        as_of_date=DAY,
        time_zone="UTC",
    )
    return {row.promotion_id: row for row in frame.collect()}


def given(promotion: str, *customers: str) -> list[dict[str, Any]]:
    decided = datetime(2024, 5, 1, tzinfo=UTC)
    return [
        {"decision_id": promotion, "customer_id": name, "arm": promotion, "is_holdout": False, "decided_at": decided}
        for name in customers
    ]


def redeemed(customer: str, coupon_id: str, when: date = date(2024, 5, 10)) -> dict[str, Any]:
    return {"promotion_id": "p1", "customer_id": customer, "coupon_id": coupon_id, "redeemed_date": when}


def covered(*products: str, coupon_id: str = "c1") -> list[dict[str, Any]]:
    return [{"promotion_id": "p1", "coupon_id": coupon_id, "product_id": product} for product in products]


def test_reach_redemption_and_cost(make_rows: MakeRows) -> None:
    row = features(
        make_rows,
        promotion_products=covered("milk", "tea") + covered("milk", coupon_id="c2"),
        assignments=given("p1", "ann", "bob", "cid", "dot"),
        redemptions=[
            redeemed("ann", "c1"),
            redeemed("ann", "c2"),
            redeemed("eve", "c1"),
            redeemed("bob", "c1", DAY),
        ],
        lines=[
            coupon("ann", "milk", date(2024, 5, 10), "1.50"),
            coupon("ann", "tea", date(2024, 5, 31), "0.50"),
            coupon("eve", "milk", date(2024, 5, 10), "1.00"),
            coupon("ann", "milk", date(2024, 6, 1), "9.00"),
            coupon("ann", "rice", date(2024, 5, 10), "9.00"),
            coupon("bob", "milk", date(2024, 5, 10), "9.00"),
        ],
    )["p1"]
    assert (row.product_count, row.coupon_count, row.duration_days) == (2, 2, 31)
    assert (row.targeted_customer_count, row.redeeming_customer_count, row.redemption_count) == (4, 2, 3)
    # Eve redeemed without being targeted, Bob on the date itself.
    assert row.redemption_rate == 0.25
    assert row.coupon_cost_amount == Decimal("3.00")
    assert row.cost_per_redemption_amount == pytest.approx(1.0)


def test_only_promotions_that_started_before_the_date(make_rows: MakeRows) -> None:
    starts = {"eve": DAY - timedelta(days=1), "day": DAY}
    promotions = [
        {**PROMOTION, "promotion_id": name, "start_date": start, "end_date": DAY + timedelta(days=9)}
        for name, start in starts.items()
    ]
    assert set(features(make_rows, promotions=promotions)) == {"eve"}


def test_what_is_not_there_is_unknown_and_not_none(make_rows: MakeRows) -> None:
    bare = features(make_rows)["p1"]
    assert (bare.targeted_customer_count, bare.redemption_count, bare.redemption_rate) == (None, None, None)
    assert (bare.product_count, bare.coupon_cost_amount, bare.cost_per_redemption_amount) == (None, None, None)
    others = given("p2", "ann")
    known = features(make_rows, assignments=others, redemptions=[{**redeemed("ann", "c"), "promotion_id": "p2"}])["p1"]
    assert (known.targeted_customer_count, known.redemption_count, known.redemption_rate) == (0, 0, None)
    assert (known.coupon_cost_amount, known.cost_per_redemption_amount) == (0, None)


def test_whether_it_changes_the_price(make_rows: MakeRows) -> None:
    cases: list[tuple[str | None, float | None, bool | None]] = [
        ("percent_off", None, True),
        ("gift", None, False),
        ("gift", 0.1, True),
        ("raffle", None, None),
        (None, None, None),
    ]
    promotions = [
        {**PROMOTION, "promotion_id": str(place), "mechanic": mechanic, "depth_rate": depth}
        for place, (mechanic, depth, _) in enumerate(cases)
    ]
    rows = features(make_rows, promotions=promotions)
    assert [rows[str(place)].is_price_promotion for place in range(len(cases))] == [case[2] for case in cases]


def test_affinity_compares_with_everyone(make_rows: MakeRows) -> None:
    lines = [
        line("ann", "milk", DAY - timedelta(days=9), "6.00"),
        line("ann", "milk", DAY - timedelta(days=2), "3.00"),
        line("ann", "tea", DAY - timedelta(days=4), "3.00"),
        line("ann", "milk", DAY - timedelta(days=1), "-1.00", is_return=True),
        line("ann", "rice", DAY - timedelta(days=1), "-1.00", is_return=True),
        line("bob", "tea", DAY - timedelta(days=5), "8.00"),
        line(None, "tea", DAY - timedelta(days=6), "4.00"),
    ]
    frame = build_affinity(lines=make_rows(DESCRIBED_LINES, lines), as_of_date=DAY)
    rows = {(row.customer_id, row.category): row for row in frame.collect()}
    assert set(rows) == {("ann", "milk"), ("ann", "tea"), ("bob", "tea")}
    milk = rows["ann", "milk"]
    assert (milk.spend_amount, milk.order_count, milk.recency_days) == (8, 2, 2)
    assert milk.spend_share_rate == 0.75
    # Everyone: 9 of 24 on milk, 15 of 24 on tea.
    assert milk.affinity_index == pytest.approx(0.75 / (9 / 24))
    assert rows["bob", "tea"].affinity_index == pytest.approx(1 / (15 / 24))

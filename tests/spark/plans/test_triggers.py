"""Triggers: one customer for each situation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row

from promo_spark.contracts.consent import ConsentSettings, Missing, Silence
from promo_spark.contracts.decision_settings import IdeaSettings
from promo_spark.contracts.features import AFFINITY, CUSTOMER_FEATURES, PRODUCT_FEATURES
from promo_spark.contracts.recommend import SERVED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_BEHAVIOUR
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import CONSENTS, CUSTOMERS, EVENTS, ORDER_LINES
from promo_spark.plans.triggers import find_triggers

DAY = date(2024, 6, 3)
ZONE = "America/New_York"  # midnight there is 04:00 UTC
MakeRows = Callable[..., DataFrame]
Found = dict[tuple[str, str, str], Row]


def utc(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2024, month, day, hour, minute, tzinfo=UTC)


CATEGORIES = {"bread": "bakery", "roll": "bakery", "milk": "dairy", "fuel": "fuel"}


def shopper(name: str, recency: int, gap: float | None, **values: Any) -> dict[str, Any]:
    return {
        "customer_id": name,
        "as_of_date": DAY,
        "recency_days": recency,
        "tenure_days": 200,
        "order_count": 10,
        "order_gap_days": gap,
        "favourite_time_slot": "evening",
        "imputed_columns": [],
        **values,
    }


def bought(name: str, product: str, age: int, **values: Any) -> dict[str, Any]:
    day = DAY - timedelta(days=age)
    return {
        "basket_id": f"{name}-{age}",
        "line_id": product,
        "customer_id": name,
        "product_id": product,
        "order_date": day,
        "ordered_at": utc(day.month, day.day, 15),
        "quantity": Decimal(1),
        "is_return": False,
        **values,
    }


def looked(name: str, product: str, at: datetime, event_type: str = "view") -> dict[str, Any]:
    return {"customer_id": name, "product_id": product, "event_type": event_type, "happened_at": at}


@pytest.fixture
def triggers(make_rows: MakeRows) -> Callable[..., Found]:
    def find(silence: Silence = "withheld", **tables: list[dict[str, Any]]) -> Found:
        products = [
            {"product_id": p, "as_of_date": DAY, "department": "food", "category": c} for p, c in CATEGORIES.items()
        ]
        lists = [
            {"customer_id": name, "as_of_date": DAY, "slot": slot, "rank": rank, "product_id": product}
            for name in ("late", "gone", "leaving", "regular")
            for slot, rank, product in (("novel", 1, "fuel"), ("all", 2, "bread"), ("all", 1, "milk"))
        ]
        found = find_triggers(
            customers=make_rows(CUSTOMERS, tables.get("customers", [])),
            consents=make_rows(CONSENTS, tables.get("consents", [])),
            customer_features=make_rows(CUSTOMER_FEATURES, tables.get("features", [])),
            behaviour=make_rows(SEGMENT_BEHAVIOUR, tables.get("behaviour", [])),
            affinity=make_rows(AFFINITY, tables.get("affinity", [])),
            product_features=make_rows(PRODUCT_FEATURES, products),
            events=make_rows(EVENTS, tables.get("events", [])),
            served=make_rows(SERVED_PRODUCTS, lists),
            order_lines=make_rows(ORDER_LINES, tables.get("lines", [])),
            as_of_date=DAY,
            time_zone=ZONE,
            settings=IdeaSettings(),
            recommend=RecommendSettings(excluded_categories=("fuel",)),
            consent=ConsentSettings(missing=Missing(contact=silence)),
        )
        return {(row.customer_id, row.trigger, row.subject): row for row in found.collect()}

    return find


def test_late_gone_and_leaving_customers_are_told_apart(triggers: Callable[..., Found]) -> None:
    features = [
        shopper("late", 30, 10.0),
        shopper("just_late", 20, 10.0),
        shopper("in_time", 19, 10.0),
        shopper("same_day", 1, 0.0),
        shopper("few", 30, 10.0, order_count=2),
        shopper("unknown", 30, 10.0, imputed_columns=["order_gap_days"]),
        shopper("no_gap", 30, None),
        shopper("gone", 84, 5.0),
        shopper("leaving", 5, 10.0, favourite_time_slot=None),
        shopper("staying", 5, 10.0),
    ]
    risks = {"gone": 0.99, "leaving": 0.75, "staying": 0.49}
    behaviour = [{"customer_id": c, "as_of_date": DAY, "churn_prob": p, "horizon_days": 91} for c, p in risks.items()]
    found = triggers(features=features, behaviour=behaviour)
    assert {key[:2] for key in found} == {
        ("late", "overdue"),
        ("just_late", "overdue"),
        ("gone", "lapsed"),
        ("leaving", "churn_risk"),
    }
    late, gone, leaving = (
        found[key, kind, "all"] for key, kind in (("late", "overdue"), ("gone", "lapsed"), ("leaving", "churn_risk"))
    )
    assert [late.strength, gone.strength, leaving.strength] == pytest.approx([1.5, 1.5, 1.5])
    assert late.reason == "Last bought 30 days ago, usually every 10 days."
    assert gone.reason == "Nothing bought for 84 days."
    assert leaving.reason == "Buys nothing in the next 91 days with 75 % probability."
    assert (late.product_id, late.time_slot, leaving.time_slot) == ("milk", "evening", None)
    assert found["just_late", "overdue", "all"].product_id is None


def test_what_was_looked_at_and_not_bought_since(triggers: Callable[..., Found]) -> None:
    lunch = utc(6, 1, 12)
    events = [
        looked("a", "bread", lunch),
        looked("a", "bread", lunch + timedelta(hours=1), "cart"),
        looked("a", "milk", lunch),  # bought three hours later
        looked("a", "roll", lunch, "review"),
        looked("b", "milk", utc(6, 1, 16)),  # bought an hour before
        looked("b", "bread", utc(6, 3, 3, 59), "search"),  # 23:59 of the day before
        looked("b", "roll", utc(6, 3, 4)),  # the day itself
        looked("c", "roll", utc(5, 27, 4)),
        looked("c", "bread", utc(5, 27, 3, 59)),  # eight days before
        looked("d", "milk", lunch),  # bought only later than the date, and brought back
    ]
    lines = [
        *(bought(name, "milk", 2) for name in ("a", "b")),
        bought("d", "milk", 0),
        bought("d", "milk", 1, is_return=True),
    ]
    found = triggers(events=events, lines=lines, features=[shopper("a", 2, 10.0, favourite_time_slot="morning")])
    assert set(found) == {
        ("a", "browsed", "bread"),
        ("b", "browsed", "milk"),
        ("b", "browsed", "bread"),
        ("c", "browsed", "roll"),
        ("d", "browsed", "milk"),
    }
    bread = found["a", "browsed", "bread"]
    assert (bread.strength, bread.product_id, bread.time_slot) == (2.0, "bread", "morning")
    assert bread.reason == "Looked at 2 times in the last 7 days (last: cart), not bought."
    assert found["b", "browsed", "milk"].reason == "Looked at once in the last 7 days (last: view), not bought."


def test_a_category_is_replenished_when_late_and_the_customer_is_not(triggers: Callable[..., Found]) -> None:
    """Bakery, five baskets in 140 days: a gap of 35, so late from 70 days on. Dairy, five in 200: from 100 on."""
    recencies = {"regular": 4, "late": 30, "gone": 60, "plain": 4}
    ages = {"bakery": (100, 5), "dairy": (40, 5), "fuel": (100, 5), "(unknown)": (100, 5)}
    affinity = [
        {"customer_id": c, "category": k, "as_of_date": DAY, "recency_days": days, "order_count": count}
        for c in recencies
        for k, (days, count) in ages.items()
    ]
    lines = [bought(c, "roll", age) for c in ("regular", "plain") for age in (100, 120, 140)]
    lines += [bought("plain", "bread", 130), *(bought("plain", "bread", age) for age in (0, -1, -2))]
    found = triggers(
        affinity=affinity,
        lines=lines,
        features=[shopper(c, days, 10.0, tenure_days=240) for c, days in recencies.items()],
    )
    late = {key: row for key, row in found.items() if key[1] == "replenish"}
    assert set(late) == {("regular", "replenish", "bakery"), ("plain", "replenish", "bakery")}
    regular, plain = late["regular", "replenish", "bakery"], late["plain", "replenish", "bakery"]
    assert regular.strength == pytest.approx(100 / (2 * 35))
    assert regular.reason == "Last bought 100 days ago, before in 5 baskets about every 35 days."
    # On the list stands bread; who has no list is told of what was bought most often before the date.
    assert (regular.product_id, plain.product_id) == ("bread", "roll")


@pytest.mark.parametrize(("silence", "heard"), [("withheld", {"yes"}), ("granted", {"yes", "silent", "stranger"})])
def test_who_did_not_say_is_told_only_where_consent_need_not_be_given(
    triggers: Callable[..., Found], silence: Silence, heard: set[str]
) -> None:
    names = {"yes": True, "no": False, "silent": None}
    found = triggers(
        silence,
        features=[shopper(name, 30, 10.0) for name in [*names, "stranger"]],
        customers=[{"customer_id": name, "has_marketing_consent": said} for name, said in names.items()],
    )
    assert {key[0] for key in found} == heard


def test_a_customer_is_told_of_the_few_strongest_subjects(triggers: Callable[..., Found]) -> None:
    start = utc(6, 1, 9)
    events = [
        looked("a", f"p{number}", start + timedelta(minutes=10 * number + time))
        for number, times in enumerate((1, 3, 2, 2, 1))
        for time in range(times)
    ]
    assert {key[2] for key in triggers(events=events)} == {"p1", "p2", "p3"}

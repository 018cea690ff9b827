"""Words and figures of segments, by hand."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from pyspark.sql import DataFrame

from promo_spark.contracts.features import AFFINITY, CUSTOMER_FEATURES
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.segments.names import describe_segment, segment_names
from promo_spark.segments.profiles import Portrait, build_profiles, draw_portraits, summarise

DAY = date(2024, 6, 3)
MakeRows = Callable[..., DataFrame]


class TestNames:
    def test_say_level_and_clearest_differences(self) -> None:
        contrasts = [
            {"weekly_spend_amount": 1.0, "discount_depth_rate": 0.9, "basket_spend_amount": 1.2, "recency_days": 0.1},
            {"weekly_spend_amount": -0.8, "recency_days": 1.5, "coupon_line_rate": -2.0},
            {"weekly_spend_amount": 0.0},
        ]
        assert segment_names(contrasts) == [
            "High spenders: big baskets, discount hunters",
            "Light spenders: lapsing",
            "Middle spenders",
        ]

    def test_are_unique_whatever_the_contrasts(self) -> None:
        alike = {"weekly_spend_amount": 1.0, "basket_spend_amount": 1.0, "recency_days": 0.9, "mailer_spend_rate": 0.5}
        names = segment_names([alike, alike, alike, {}, {}])
        assert len(set(names)) == 5
        assert all(names)

    def test_description_gives_figures_beside_everybodys(self) -> None:
        text = describe_segment(
            {"weekly_spend_amount": 54.8, "discount_depth_rate": 0.13},
            {"weekly_spend_amount": 36.7, "discount_depth_rate": 0.151, "coupon_line_rate": 0.1},
            customer_rate=0.29,
            sales_rate=0.45,
        )
        assert "29% of customers, 45% of spend" in text
        assert "54.80 a week (all: 36.70)" in text
        assert "13% of regular value (all: 15%)" in text
        assert "coupons" not in text


def test_averages_and_contrasts(make_rows: MakeRows) -> None:
    spends = {"a": (0, 1.0), "b": (0, 3.0), "c": (1, 8.0), "d": (1, None)}
    features = make_rows(
        CUSTOMER_FEATURES, [{"customer_id": name, "weekly_spend_amount": spend} for name, (_, spend) in spends.items()]
    )
    segments = make_rows(
        SEGMENT_CUSTOMERS, [{"customer_id": name, "segment_id": segment} for name, (segment, _) in spends.items()]
    )
    members = features.join(segments.select("customer_id", "segment_id"), "customer_id")
    summary = summarise(members, ("weekly_spend_amount", "recency_days"))
    assert summary.averages == {0: {"weekly_spend_amount": 2.0}, 1: {"weekly_spend_amount": 8.0}}
    assert summary.overall == {"weekly_spend_amount": 4.0}
    assert summary.spread["weekly_spend_amount"] == pytest.approx((26 / 3) ** 0.5)
    portraits = draw_portraits(summary, shares={0: (0.5, 0.2), 1: (0.5, 0.8)}, places={0: (0.0, 1.0), 1: (2.0, 3.0)})
    assert portraits[0].contrasts["weekly_spend_amount"] == pytest.approx(-2 / (26 / 3) ** 0.5)
    assert (portraits[1].map_x, portraits[1].map_y) == (2.0, 3.0)
    assert portraits[0].segment_name != portraits[1].segment_name


def test_sizes_and_categories_bought_more_than_by_everyone(make_rows: MakeRows) -> None:
    people = {"a": (0, "30.00"), "b": (0, "50.00"), "c": (1, "20.00")}
    keys = [{"customer_id": name, "as_of_date": DAY} for name in people]
    segments = [{**key, "segment_id": segment} for key, (segment, _) in zip(keys, people.values(), strict=True)]
    features = [
        {**key, "spend_91d_amount": Decimal(spend)} for key, (_, spend) in zip(keys, people.values(), strict=True)
    ]
    # Segment 0: milk 60, tea 39, gum 1 of 100 and returned jam; segment 1: milk 20, tea 80. Everyone: milk 80,
    # tea 119, gum 1 of 200.
    bought = [
        ("a", "milk", 20),
        ("b", "milk", 40),
        ("a", "tea", 39),
        ("a", "gum", 1),
        ("a", "jam", -5),
        ("b", "(unknown)", 99),
        ("c", "milk", 20),
        ("c", "tea", 80),
    ]
    affinity = [
        {"customer_id": name, "as_of_date": DAY, "category": category, "spend_amount": Decimal(spend)}
        for name, category, spend in bought
    ]
    portraits = [Portrait(segment, f"name {segment}", "text", {}, {}, 0.0, 0.0) for segment in (0, 1)]
    frame = build_profiles(
        segments=make_rows(SEGMENT_CUSTOMERS, segments),
        customers=make_rows(CUSTOMER_FEATURES, features),
        affinity=make_rows(AFFINITY, affinity),
        portraits=portraits,
    )
    rows = {row.segment_id: row for row in frame.collect()}
    assert (rows[0].customer_count, rows[0].customer_rate) == (2, pytest.approx(2 / 3))
    assert (rows[0].spend_91d_amount, rows[0].sales_rate) == (80, pytest.approx(0.8))
    assert rows[0].favourite_categories == ["gum", "milk"]
    assert rows[1].favourite_categories == ["tea"]

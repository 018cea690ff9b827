"""The depth that offers come to, and what it does to their effects."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import DataFrame

from promo_spark.contracts.offers import Offer
from promo_spark.contracts.response import PLANNED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.response import offer_depths
from promo_spark.response.offer_depths import effective_depths, measure_depths
from promo_spark.response.segment_effects import Trial, depth_column, value_segment
from tests.spark.response.test_effects import simulate

DAY = date(2024, 6, 3)
MakeRows = Callable[..., DataFrame]


def offer(mechanic: str, offer_id: str = "one", **terms: Any) -> Offer:
    return Offer(**{"offer_id": offer_id, "name": offer_id, "mechanic": mechanic, "channel": "app", **terms})


OVER = offer("spend_threshold", "over", depth_rate=0.1, threshold_amount=20.0, stretch_prob=0.5)
GIFT = offer("gift", "gift", gift_unit_cost_amount=3.0, gift_stock_count=1)
PLAIN = offer("percent_off", "plain", depth_rate=0.2)
JOINT = offer("joint", "joint", depth_rate=0.2, vendor_share_rate=0.5)


def test_depth_is_cost_over_what_is_bought(make_rows: MakeRows) -> None:
    """Segment 0: baskets of 30 (two lines, 5 of it discounted) and 18, which reaches 20 with a chance of a quarter."""
    bought = [
        ("a", "b1", "tea", "15.00", "5.00", 10),
        ("a", "b1", "mint", "10.00", None, 10),
        ("b", "b2", "tea", "18.00", None, 3),
        ("b", "b3", "nail", "50.00", None, 3),  # not planned
        ("c", "b4", "tea", "10.00", None, 3),  # segment 1
        ("d", "b5", "tea", "99.00", None, 3),  # no segment
        ("a", "b6", "tea", "99.00", None, 0),  # the day itself
        ("a", "b7", "tea", "99.00", None, 29),  # too old
    ]
    lines = [
        {
            "basket_id": basket,
            "line_id": item,
            "customer_id": customer,
            "product_id": item,
            "order_date": DAY - timedelta(days=age),
            "order_hour": 12,
            "quantity": Decimal(1),
            "sales_amount": Decimal(amount),
            "retail_discount_amount": None if discount is None else Decimal(discount),
            "is_return": False,
            "is_outlier": False,
        }
        for customer, basket, item, amount, discount, age in bought
    ]
    planned = [{"product_id": p, "category": "drinks", "as_of_date": DAY} for p in ("tea", "mint")]
    members = [{"customer_id": c, "segment_id": s, "as_of_date": DAY} for c, s in (("a", 0), ("b", 0), ("c", 1))]
    found = effective_depths(
        order_lines=make_rows(ORDER_LINES, lines),
        planned_products=make_rows(PLANNED_PRODUCTS, planned),
        segment_customers=make_rows(SEGMENT_CUSTOMERS, members),
        as_of_date=DAY,
        offers=(OVER, GIFT, PLAIN, JOINT),
        weeks=4,
    )
    depths = {(row.segment_id, row.offer_id): row.effective_depth_rate for row in found.collect()}
    assert depths == {
        (0, "over"): pytest.approx(0.1 * (30 + 0.25 * 20) / (48 + 0.25 * 2)),
        (0, "gift"): pytest.approx(3 / 48),  # one gift for two takers
        (0, "joint"): pytest.approx(0.2),  # the vendor's share is still in it
        (1, "over"): 0.0,
        (1, "gift"): pytest.approx(3 / 10),
        (1, "joint"): pytest.approx(0.2),
    }


def test_a_sample_of_customers_gets_its_part_of_the_gifts() -> None:
    rows = pd.DataFrame(
        {
            "segment_id": 0,
            "category": "drinks",
            "customer_id": [f"c{number}" for number in range(50)],
            "basket_id": [f"b{number}" for number in range(50)],
            "spend": 10.0,
            "units": 1.0,
            "hour": 9,
            "sampled_rate": 0.5,
        }
    )
    stocked = GIFT.model_copy(update={"gift_stock_count": 40})
    found = measure_depths(rows, [stocked])
    assert found["effective_depth_rate"].tolist() == pytest.approx([3.0 * 20 / 500])
    assert offer_depths._MOST_CUSTOMERS >= 10_000


def valued(*offers: Offer, **depths: float) -> pd.DataFrame:
    """Valued offers in simulated categories; depths come to in all of them."""
    rows = simulate().assign(margin_rate=0.4, is_margin_assumed=True, customer_count=50)
    rows = rows.assign(**{depth_column(o): depths[o.offer_id] for o in offers if o.offer_id in depths})
    told = value_segment(rows, Trial(offers, weeks=4, bootstraps=100, block_weeks=4, level=0.9, seed=1))
    return told.reset_index(drop=True)


def test_an_offer_works_as_the_discount_that_it_comes_to() -> None:
    deep = offer("percent_off", "over", depth_rate=0.04)
    pd.testing.assert_frame_equal(valued(OVER, over=0.04), valued(deep))
    assert valued(OVER)["lift_rate"].gt(valued(deep)["lift_rate"]).all()  # unmeasured: as deep as it says


def test_a_vendor_bears_part_of_the_cost_and_customers_get_all_of_the_discount() -> None:
    alone, joint = valued(PLAIN), valued(JOINT, joint=0.2)
    assert joint["lift_rate"].tolist() == pytest.approx(alone["lift_rate"].tolist())
    saved = alone["discount_cost_amount"] - joint["discount_cost_amount"]
    on = 4 * alone["base_gross_amount"] * (1 + alone["lift_rate"])
    assert saved.tolist() == pytest.approx((0.1 * on).tolist())
    assert (joint["margin_amount"] - alone["margin_amount"]).tolist() == pytest.approx(saved.tolist())


def test_what_is_no_discount_at_once_is_assumed() -> None:
    found = valued(GIFT, gift=0.1)
    assert set(found["learnt_from"]) == {"assumed"}
    assert set(found["evidence_week_count"]) == {0}
    assert found["lift_rate"].mean() == pytest.approx(2.0 * 0.1, abs=0.05)

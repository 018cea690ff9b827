"""Effects against simulated weeks whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.offers import Offer
from promo_spark.contracts.response import PANEL, PLANNED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.settings import FeatureSettings, PlanSettings
from promo_spark.response.effects import estimate_effects
from promo_spark.response.segment_effects import Trial, value_segment

DAY = date(2025, 1, 6)
OFF = Offer(offer_id="off", name="20 % off", mechanic="percent_off", depth_rate=0.2, channel="app")
SHOWN = Offer(offer_id="shown", name="On display", mechanic="display", display_rate=0.3, channel="store")
DEAR = Offer(
    offer_id="dear",
    name="On display, told",
    mechanic="display",
    display_rate=0.3,
    channel="mail",
    contact_cost_amount=0.5,
    fixed_cost_amount=30.0,
)
FAR = Offer(offer_id="far", name="80 % off", mechanic="percent_off", depth_rate=0.8, channel="app")


def simulate(
    *, weeks: int = 60, categories: int = 15, depth_effect: float = 2.0, display_effect: float = 1.0, seed: int = 0
) -> pd.DataFrame:
    """Weekly sales of 100 on average; effects are shares of it per unit of lever, noise is 8 %."""
    draw = np.random.default_rng(seed)
    rows = []
    for category in range(categories):
        depth = np.where(draw.random(weeks) < 0.4, draw.uniform(0.05, 0.3, weeks), 0.0)
        display = np.where(draw.random(weeks) < 0.4, draw.uniform(0.1, 0.5, weeks), 0.0)
        lift = depth_effect * (depth - depth.mean()) + display_effect * (display - display.mean())
        gross = 100.0 * np.maximum(0.0, 1.0 + lift + 0.08 * draw.normal(size=weeks))
        rows.append(
            pd.DataFrame(
                {
                    "segment_id": 3,
                    "category": f"category {category:02}",
                    "week_start_date": [DAY - timedelta(weeks=weeks - week) for week in range(weeks)],
                    "as_of_date": DAY,
                    "gross_amount": gross,
                    "sales_amount": gross * (1 - depth),
                    "depth_rate": depth,
                    "display_rate": display,
                    "mailer_rate": 0.0,
                    "traffic_index": 1.0,
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def value(panel: pd.DataFrame, *offers: Offer, margin_rate: float = 0.4, seed: int = 1) -> pd.DataFrame:
    rows = panel.assign(margin_rate=margin_rate, is_margin_assumed=True, customer_count=50)
    return value_segment(rows, Trial(offers, weeks=4, bootstraps=300, block_weeks=4, level=0.9, seed=seed))


class TestRecovery:
    @pytest.mark.parametrize(("offer", "lift"), [(OFF, 2.0 * 0.2), (SHOWN, 1.0 * 0.3)])
    def test_a_known_lift_lies_in_its_interval(self, offer: Offer, lift: float) -> None:
        found = value(simulate(), offer)
        covered = (found["lift_low_rate"] <= lift) & (lift <= found["lift_high_rate"])
        assert covered.mean() >= 0.8
        assert found["lift_rate"].mean() == pytest.approx(lift, abs=0.05)
        assert found["carry_rate"].mean() == pytest.approx(0.0, abs=0.05)
        assert (found["learnt_from"] == "observational").all()

    def test_no_effect_is_rarely_called_one(self) -> None:
        found = value(simulate(depth_effect=0.0, display_effect=0.0), SHOWN)
        assert (found["margin_p_value"] < 0.05).mean() <= 0.1
        assert found["lift_rate"].mean() == pytest.approx(0.0, abs=0.03)


class TestMoney:
    def test_margin_is_that_of_extra_sales_less_what_the_offer_costs(self) -> None:
        found = value(simulate(), OFF, DEAR)
        gross = found["incremental_sales_amount"] + found["discount_cost_amount"]
        cost = found["discount_cost_amount"] + found["contact_cost_amount"]
        assert found["margin_amount"].to_numpy() == pytest.approx((0.4 * gross - cost).to_numpy())
        told = found.set_index("offer_id")["contact_cost_amount"]
        assert set(told["dear"]) == {50 * 0.5 + 30.0}
        assert set(told["off"]) == {0.0}

    def test_the_discount_goes_to_everybody_who_buys(self) -> None:
        panel = simulate(display_effect=0.0)
        found = value(panel, OFF).iloc[0]
        usual = panel[panel["category"] == found["category"]].tail(8)["depth_rate"].mean()
        gross = found["incremental_sales_amount"] + found["discount_cost_amount"]
        on = 4 * found["base_gross_amount"] * (1 + found["lift_rate"])
        assert found["discount_cost_amount"] == pytest.approx(0.2 * on + usual * gross)

    def test_a_dearer_message_costs_its_price_and_changes_nothing_else(self) -> None:
        found = value(simulate(), SHOWN, DEAR).pivot(index="category", columns="offer_id")
        gap = found["margin_amount"]["shown"] - found["margin_amount"]["dear"]
        assert gap.to_numpy() == pytest.approx(np.full(len(gap), 55.0))
        assert found["lift_rate"]["shown"].equals(found["lift_rate"]["dear"])


class TestEvidence:
    def test_what_was_never_tried_is_assumed(self) -> None:
        found = value(simulate(), OFF, FAR).set_index(["category", "offer_id"])
        weeks = found["evidence_week_count"].unstack()
        assert (weeks["far"] == 0).all()
        assert (weeks["off"] > 0).all()
        assert set(found["learnt_from"].unstack()["far"]) == {"assumed"}

    def test_a_category_that_was_never_promoted_gets_the_mean_of_the_others(self) -> None:
        panel = simulate()
        quiet = panel["category"] == "category 00"
        panel.loc[quiet, "depth_rate"] = 0.0
        found = value(panel, OFF).set_index("category")
        assert found.loc["category 00", "learnt_from"] == "assumed"
        others = found.drop("category 00")["lift_rate"]
        assert others.min() <= found.loc["category 00", "lift_rate"] <= others.max()

    def test_too_short_a_history_gives_nothing(self) -> None:
        assert value(simulate(weeks=12), OFF).empty

    def test_the_same_seed_gives_the_same_and_the_order_of_rows_does_not_matter(self) -> None:
        panel = simulate(categories=5)
        pd.testing.assert_frame_equal(value(panel, OFF), value(panel.sample(frac=1.0, random_state=3), OFF))


def step(
    spark: SparkSession, make_rows: Callable[..., Any], panel: pd.DataFrame, settings: PlanSettings
) -> pd.DataFrame:
    categories = sorted(set(panel["category"]))
    planned = [
        {
            "product_id": f"{c}{k}",
            "category": c,
            "as_of_date": DAY,
            "gross_amount": float(3 - 2 * k),
            "weight_rate": 0.5,
        }
        for c in categories
        for k in (0, 1)
    ]
    margins = [
        {"product_id": f"{categories[0]}{k}", "margin_rate": 0.2 + 0.4 * k, "is_margin_assumed": bool(k)}
        for k in (0, 1)
    ]
    members = [{"customer_id": f"c{k}", "segment_id": 3, "as_of_date": DAY} for k in range(7)]
    effects = estimate_effects(
        panel=spark.createDataFrame(panel, PANEL.schema(all_nullable=True)),
        planned_products=make_rows(PLANNED_PRODUCTS, planned),
        product_features=make_rows(PRODUCT_FEATURES, margins),
        segment_customers=make_rows(SEGMENT_CUSTOMERS, members),
        as_of_date=DAY,
        offers=(OFF, SHOWN),
        settings=settings,
        features=FeatureSettings(margin_rate=0.28),
        seed=5,
    )
    return effects.toPandas()


class TestStep:
    def test_margins_are_weighed_by_sales_and_assumed_where_unknown(
        self, spark: SparkSession, make_rows: Callable[..., Any]
    ) -> None:
        panel = simulate(categories=3, weeks=40)
        found = step(spark, make_rows, panel[list(PANEL.column_names)], PlanSettings(bootstraps=60))
        assert len(found) == 3 * 2
        first = found[found["category"] == "category 00"]
        assert set(first["margin_rate"].round(9)) == {round((3 * 0.2 + 1 * 0.6) / 4, 9)}
        assert set(found[found["category"] != "category 00"]["margin_rate"]) == {0.28}
        assert found["is_margin_assumed"].all()
        assert set(found["customer_count"]) == {7}
        assert found["gbt_lift_rate"].isna().all()

    def test_a_short_history_gives_no_rows(self, spark: SparkSession, make_rows: Callable[..., Any]) -> None:
        panel = simulate(categories=2, weeks=6)
        assert step(spark, make_rows, panel[list(PANEL.column_names)], PlanSettings(bootstraps=60)).empty

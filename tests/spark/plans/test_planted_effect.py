"""From simulated weeks to a plan: what truly pays is promoted, what does nothing is not."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from promo_spark.contracts.offers import Offer
from promo_spark.contracts.settings import PlanSettings
from promo_spark.plans.segment_plan import Brief, plan_rows
from promo_spark.response.segment_effects import Trial, value_segment

DAY = date(2025, 1, 6)
SETTINGS = PlanSettings(bootstraps=400, budget_amount=10_000.0, segment_budget_rate=1.0, segment_max_offers=99)
SHOWN = Offer(
    offer_id="shown", name="On display", mechanic="display", display_rate=0.3, channel="store", fixed_cost_amount=5.0
)
DEEP = Offer(offer_id="deep", name="30 % off", mechanic="percent_off", depth_rate=0.3, channel="app")


def candidates(effects: list[float], seed: int) -> pd.DataFrame:
    """Valued offers of one segment; per category a display effect, and a depth effect of 1.5 that never pays."""
    draw = np.random.default_rng(seed)
    weeks, rows = 80, []
    for place, effect in enumerate(effects):
        depth = np.where(draw.random(weeks) < 0.4, draw.uniform(0.05, 0.35, weeks), 0.0)
        display = np.where(draw.random(weeks) < 0.4, draw.uniform(0.1, 0.5, weeks), 0.0)
        lift = 1.5 * (depth - depth.mean()) + effect * (display - display.mean())
        gross = 500.0 * np.maximum(0.0, 1.0 + lift + 0.05 * draw.normal(size=weeks))
        levers = {"depth_rate": depth, "display_rate": display, "mailer_rate": 0.0}
        starts = [DAY - timedelta(weeks=weeks - week) for week in range(weeks)]
        cell = {"segment_id": 0, "category": f"c{place:02}", "as_of_date": DAY, "week_start_date": starts}
        rows.append(pd.DataFrame({**cell, "gross_amount": gross, **levers, "traffic_index": 1.0}))
    panel = pd.concat(rows).assign(margin_rate=0.4, is_margin_assumed=True, customer_count=200)
    valued = value_segment(panel, Trial((SHOWN, DEEP), SETTINGS.weeks, 400, SETTINGS.block_weeks, 0.9, seed))
    told = {"segment_size": 200, "segment_name": "all", "time_slot": "evening", "line_amount": 4.0}
    return valued.assign(**told, spend_sd_amount=8.0, store_count=40, store_change_sd_amount=5.0, gbt_lift_rate=np.nan)


def planned(effects: list[float], seed: int = 0) -> pd.DataFrame:
    return plan_rows(candidates(effects, seed), Brief((SHOWN, DEEP), SETTINGS, "USD", DAY))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_strong_effect_is_promoted_and_a_losing_discount_never_is(seed: int) -> None:
    plan = planned([1.5] * 10, seed)
    assert (plan["decision"] == "promote").mean() >= 0.8
    promoted = plan[plan["decision"] == "promote"]
    assert set(promoted["offer_id"]) == {"shown"}
    true_margin = 0.9 * (0.4 * 4 * 500 * 1.5 * 0.3) - 5.0  # nine tenths of the customers are told
    low, high = promoted["margin_low_amount"].astype(float), promoted["margin_high_amount"].astype(float)
    # The usual discount on the extra sales makes it a little less.
    assert ((low <= true_margin) & (0.7 * true_margin <= high)).mean() >= 0.8


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_any_effect_nothing_is_promoted(seed: int) -> None:
    assert (planned([0.0] * 10, seed)["decision"] == "promote").sum() == 0

"""Decisions on small candidate tables, against brute force and by hand."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from promo_spark.contracts.offers import Offer
from promo_spark.contracts.settings import PlanSettings
from promo_spark.plans.decisions import NONE, Decisions, decide, lay_out

OFFERS = tuple(
    Offer(offer_id=name, name=name, mechanic="percent_off", depth_rate=0.1, channel="app", fixed_cost_amount=fixed)
    for name, fixed in (("a", 0.0), ("b", 0.0), ("c", 8.0))
)
ALL_TOLD = PlanSettings(holdout_rate=0.0)


def candidate(segment: int, category: str, offer: str | None, **values: Any) -> dict[str, Any]:
    """An offer that is proven beyond doubt unless said otherwise: worth 10 for 5."""
    return {
        "segment_id": segment,
        "category": category,
        "offer_id": offer,
        "segment_size": 1000,
        "spend_sd_amount": 5.0,
        "store_count": 40,
        "store_change_sd_amount": 20.0,
        "line_amount": 2.0,
        "margin_rate": 0.3,
        "is_margin_assumed": True,
        "lift_rate": 0.2,
        "lift_low_rate": 0.1,
        "lift_high_rate": 0.3,
        "carry_rate": -0.05,
        "gbt_lift_rate": 0.2,
        "selection_margin_amount": 10.0,
        "margin_amount": 9.0,
        "margin_low_amount": 2.0,
        "margin_high_amount": 16.0,
        "margin_p_value": 0.001,
        "selection_sales_amount": 30.0,
        "incremental_sales_amount": 28.0,
        "sales_low_amount": 5.0,
        "sales_high_amount": 50.0,
        "sales_p_value": 0.001,
        "base_sales_amount": 100.0,
        "discount_cost_amount": 4.0,
        "contact_cost_amount": 1.0,
        "evidence_week_count": 6,
        **values,
    }


def decided(rows: list[dict[str, Any]], settings: PlanSettings = ALL_TOLD) -> Decisions:
    return decide(lay_out(pd.DataFrame(rows), OFFERS, settings), settings)


def limits(**changes: Any) -> PlanSettings:
    return PlanSettings(**{"holdout_rate": 0.0, "segment_budget_rate": 1.0, "segment_max_offers": 99, **changes})


class TestChoice:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("most", [1, 99])
    def test_the_best_plan_under_the_budget_is_found(self, seed: int, most: int) -> None:
        draw = np.random.default_rng(seed)
        rows = [
            candidate(
                segment,
                category,
                offer,
                selection_margin_amount=float(draw.integers(1, 30)),
                discount_cost_amount=float(draw.integers(1, 12)),
                contact_cost_amount=8.0 if offer == "c" else 0.0,
            )
            for segment, category, offer in product((0, 1), ("x", "y"), ("a", "b", "c"))
        ]
        settings = limits(budget_amount=20.0, segment_budget_rate=0.7, segment_max_offers=most)
        found = lay_out(pd.DataFrame(rows), OFFERS, settings)
        value, cost = found.values["selection_margin_amount"], found.values["cost_amount"]
        chosen = decide(found, settings).promoted
        worth = sum(value[cell, offer] for cell, offer in enumerate(chosen) if offer != NONE)
        best = 0.0
        for plan in product((NONE, 0, 1, 2), repeat=4):
            taken = [(cell, offer) for cell, offer in enumerate(plan) if offer != NONE]
            spent = [sum(cost[cell, offer] for cell, offer in taken if cell // 2 == segment) for segment in (0, 1)]
            count = [sum(cell // 2 == segment for cell, _ in taken) for segment in (0, 1)]
            if sum(spent) <= 20.0 and max(spent) <= 14.0 and max(count) <= most:
                best = max(best, sum(value[cell, offer] for cell, offer in taken))
        assert worth == pytest.approx(best)

    def test_more_budget_is_worth_what_the_decision_says(self) -> None:
        rows = [candidate(0, "x", "a", selection_margin_amount=20.0, discount_cost_amount=9.0)]
        decisions = decided(rows, limits(budget_amount=5.0))
        assert decisions.promoted.tolist() == [NONE]
        assert decided(rows, limits(budget_amount=10.0)).promoted.tolist() == [0]
        assert decided(rows, limits(budget_amount=100.0)).budget_value == 0.0

    def test_without_a_budget_nothing_that_costs_money_is_promoted(self) -> None:
        decisions = decided([candidate(0, "x", "a"), candidate(1, "y", "b")], limits(budget_amount=0.0))
        assert decisions.promoted.tolist() == [NONE, NONE]
        assert decisions.is_proven.all()

    def test_the_runner_up_is_the_next_best_on_the_selection_weeks(self) -> None:
        rows = [
            candidate(0, "x", "a", selection_margin_amount=5.0),
            candidate(0, "x", "b", selection_margin_amount=12.0),
            candidate(0, "x", "c", selection_margin_amount=-3.0, contact_cost_amount=9.0),
        ]
        decisions = decided(rows)
        assert decisions.promoted.tolist() == [1]
        assert decisions.runner_up.tolist() == [0]


class TestProof:
    def test_nothing_proven_promotes_nothing(self) -> None:
        rows = [candidate(s, c, "a", margin_p_value=0.2, margin_low_amount=-1.0) for s in (0, 1) for c in "xyz"]
        decisions = decided(rows)
        assert (decisions.promoted == NONE).all()
        assert not decisions.is_proven.any()

    def test_p_values_are_corrected_for_all_that_were_tried(self) -> None:
        lucky = candidate(0, "w", "a", margin_p_value=0.04)
        others = [candidate(0, f"x{k}", "a", margin_p_value=0.9, margin_low_amount=-5.0) for k in range(9)]
        decisions = decided([lucky, *others])
        assert decisions.p_value[0] == pytest.approx(0.4)
        assert (decisions.promoted == NONE).all()
        assert decided([lucky]).promoted.tolist() == [0]

    def test_an_interval_that_reaches_below_zero_proves_nothing(self) -> None:
        assert decided([candidate(0, "x", "a", margin_low_amount=-0.1)]).promoted.tolist() == [NONE]

    def test_a_strong_value_where_it_was_chosen_proves_nothing(self) -> None:
        rows = [candidate(0, "x", "a", selection_margin_amount=1e6, margin_p_value=0.5, margin_low_amount=-9.0)]
        assert decided(rows).promoted.tolist() == [NONE]

    def test_what_was_never_tried_is_not_promoted(self) -> None:
        assert decided([candidate(0, "x", "a", evidence_week_count=0)]).promoted.tolist() == [NONE]

    def test_sales_may_be_the_aim(self) -> None:
        loses = candidate(0, "x", "a", selection_margin_amount=-5.0, margin_low_amount=-9.0, margin_p_value=0.99)
        assert decided([loses]).promoted.tolist() == [NONE]
        settings = limits(objective="incremental_sales")
        assert decided([loses], settings).promoted.tolist() == [0]


class TestTests:
    UNPROVEN: dict[str, Any] = {"margin_p_value": 0.3, "margin_low_amount": -4.0}  # noqa: RUF012  (read only)

    def test_the_most_promising_unproven_offers_are_tested_up_to_the_limit(self) -> None:
        gains = {"w": 900.0, "x": 400.0, "y": 700.0, "z": 0.5}
        rows = [candidate(0, c, "a", selection_margin_amount=gain, **self.UNPROVEN) for c, gain in gains.items()]
        decisions = decided(rows, limits(max_tests_per_segment=2))
        assert decisions.tested.tolist() == [0, NONE, 0, NONE]

    def test_the_size_finds_the_promised_gain_per_customer(self) -> None:
        rows = [candidate(0, "x", "a", selection_margin_amount=400.0, **self.UNPROVEN)]
        # 2 (1.645 + 0.842)^2 (0.3 * 5 / 0.4)^2 = 173.9
        assert decided(rows).test_size.tolist() == [174.0]

    def test_a_segment_too_small_repeats_the_one_offer_that_comes_nearest(self) -> None:
        gains = {"w": 90.0, "x": 100.0, "y": 5.0}
        rows = [
            candidate(0, c, "a", selection_margin_amount=gain, segment_size=340, **self.UNPROVEN)
            for c, gain in gains.items()
        ]
        decisions = decided(rows)
        # x: 2 (1.645 + 0.842)^2 (0.3 * 5 / (100 / 340))^2 = 321.6; twice that are two segments of 340
        assert decisions.test_size[1] == 322
        assert decisions.tested.tolist() == [NONE, 0, NONE]

    def test_no_test_is_proposed_that_would_never_end(self) -> None:
        rows = [candidate(0, "x", "a", selection_margin_amount=5.0, segment_size=340, **self.UNPROVEN)]
        decisions = decided(rows)
        assert 2 * decisions.test_size[0] > 12 * 340
        assert decisions.tested.tolist() == [NONE]

    def test_an_offer_never_tried_may_be_tested(self) -> None:
        rows = [candidate(0, "x", "a", selection_margin_amount=400.0, evidence_week_count=0)]
        decisions = decided(rows)
        assert decisions.tested.tolist() == [0]
        assert np.isnan(decisions.p_value).all()


class TestStoreWide:
    SHOWN = (Offer(offer_id="a", name="a", mechanic="display", display_rate=0.1, channel="store"),)

    def sized(self, **values: Any) -> Decisions:
        row = candidate(0, "x", "a", selection_margin_amount=400.0, **TestTests.UNPROVEN, **values)
        return decide(lay_out(pd.DataFrame([row]), self.SHOWN, ALL_TOLD), ALL_TOLD)

    def test_a_display_is_tested_between_stores(self) -> None:
        decisions = self.sized()
        # 2 (1.645 + 0.842)^2 (0.3 * 20 / (400 / 40))^2 = 4.5
        assert (decisions.test_size.tolist(), decisions.tested.tolist()) == ([5.0], [0])

    def test_more_customers_do_not_make_up_for_too_few_stores(self) -> None:
        # 2 (1.645 + 0.842)^2 (0.3 * 20 / (400 / 600))^2 = 1001.6
        for count, store_count, tested in ((10**9, 40, 0), (10**9, 600, 0), (10, 600, 0)):
            assert self.sized(segment_size=count, store_count=store_count).tested.tolist() == [tested]
        assert self.sized(segment_size=10**9, store_change_sd_amount=900.0).tested.tolist() == [NONE]

    @pytest.mark.parametrize("unknown", [None, float("nan")])
    def test_without_known_stores_no_test_can_be_sized(self, unknown: float | None) -> None:
        decisions = self.sized(store_count=unknown, store_change_sd_amount=unknown)
        assert np.isnan(decisions.test_size).all()
        assert decisions.tested.tolist() == [NONE]


class TestSegmentShare:
    ROWS = tuple(candidate(segment, category, "a") for segment in (0, 1, 2) for category in "wxyz")  # each costs 5

    def spent(self, segments: int, rate: float) -> list[int]:
        rows = [row for row in self.ROWS if row["segment_id"] < segments]
        promoted = decided(rows, limits(budget_amount=20.0, segment_budget_rate=rate)).promoted.reshape(segments, 4)
        return (promoted != NONE).sum(axis=1).tolist()

    def test_a_single_segment_may_take_the_whole_budget(self) -> None:
        assert self.spent(1, 0.5) == [4]

    def test_of_two_neither_is_held_below_an_equal_share(self) -> None:
        assert self.spent(2, 0.1) == [2, 2]

    def test_of_more_none_takes_more_than_its_share(self) -> None:
        assert max(self.spent(3, 0.5)) == 2


class TestLayOut:
    def test_customers_kept_back_neither_cost_nor_bring_anything(self) -> None:
        rows = [candidate(0, "x", "c", margin_amount=92.0, discount_cost_amount=40.0, contact_cost_amount=18.0)]
        values = lay_out(pd.DataFrame(rows), OFFERS, PlanSettings(holdout_rate=0.1)).values
        assert values["margin_amount"][0, 2] == pytest.approx(0.9 * (92 + 8) - 8)
        assert values["discount_cost_amount"][0, 2] == pytest.approx(36)
        assert values["contact_cost_amount"][0, 2] == pytest.approx(0.9 * 10 + 8)
        assert values["cost_amount"][0, 2] == pytest.approx(36 + 17)
        assert values["incremental_sales_amount"][0, 2] == pytest.approx(0.9 * 28)

    def test_cells_without_effects_are_left_alone(self) -> None:
        blank = candidate(0, "w", None)
        blank |= {name: None for name in blank if name.endswith(("_rate", "_value")) or "margin" in name}
        decisions = decided([blank, candidate(0, "x", "a")])
        assert decisions.promoted.tolist() == [NONE, 0]
        assert decisions.best.tolist() == [NONE, 0]

    def test_the_order_of_rows_changes_nothing(self) -> None:
        rows = [
            candidate(s, c, o, selection_margin_amount=10.0 + s + ord(c) + ord(o))
            for s, c, o in product((0, 1), "xyz", "ab")
        ]
        settings = limits(budget_amount=20.0)
        assert decided(rows, settings).promoted.tolist() == decided(rows[::-1], settings).promoted.tolist()

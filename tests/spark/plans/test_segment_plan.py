"""The plan as a table: what its rows say, and that the figures in them add up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import Row

from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.offers import Offer
from promo_spark.contracts.response import EFFECTS, PLANNED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS, SEGMENT_PROFILES
from promo_spark.contracts.settings import PlanSettings
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.plans.segment_plan import plan_segments

DAY = date(2024, 1, 22)
OFF = Offer(offer_id="off", name="10 % off", mechanic="percent_off", depth_rate=0.1, channel="app")
SHOWN = Offer(
    offer_id="shown", name="On display", mechanic="display", display_rate=0.2, channel="store", fixed_cost_amount=10.0
)
MakeRows = Callable[..., Any]


def effect(segment: int, category: str, offer: Offer, **values: Any) -> dict[str, Any]:
    """A proven gain of 60 USD of margin in four weeks for 30 USD, at a margin rate of 0.5."""
    fixed = offer.fixed_cost_amount
    return {
        "segment_id": segment,
        "category": category,
        "offer_id": offer.offer_id,
        "as_of_date": DAY,
        "base_gross_amount": 100.0,
        "base_sales_amount": 400.0,
        "lift_rate": 0.4,
        "lift_low_rate": 0.2,
        "lift_high_rate": 0.6,
        "carry_rate": -0.1,
        "gbt_lift_rate": 0.3,
        "selection_margin_amount": 70.0,
        "margin_amount": 60.0,
        "margin_low_amount": 20.0,
        "margin_high_amount": 100.0,
        "margin_p_value": 0.002,
        "selection_sales_amount": 170.0,
        "incremental_sales_amount": 180.0 - (30.0 - fixed),
        "sales_low_amount": 90.0,
        "sales_high_amount": 220.0,
        "sales_p_value": 0.002,
        "sales_amount": 550.0,
        "discount_cost_amount": 30.0 - fixed,
        "contact_cost_amount": fixed,
        "margin_sd_amount": 20.0,
        "margin_rate": 0.5,
        "is_margin_assumed": True,
        "customer_count": 4,
        "evidence_week_count": 7,
        "learnt_from": "observational",
        **values,
    }


UNPROVEN: dict[str, Any] = {"margin_p_value": 0.6, "margin_low_amount": -50.0}
LOSING: dict[str, Any] = {"selection_margin_amount": -9.0, "margin_amount": -8.0, **UNPROVEN}


@pytest.fixture
def plan(make_rows: MakeRows) -> Callable[..., dict[tuple[int, str], Row]]:
    def made(
        effects: list[dict[str, Any]], stores: dict[str, str] | None = None, **changes: Any
    ) -> dict[tuple[int, str], Row]:
        stores = {} if stores is None else stores
        members = [(f"c{k}", k // 4) for k in range(8)]
        slots = ["evening", "morning", "evening", "night"] * 2
        profiles = [
            {"segment_id": s, "as_of_date": DAY, "segment_name": f"segment {s}", "customer_count": 4} for s in (0, 1)
        ]
        # In four weeks c0 spends 12 in two lines and c1 4 in one; c2 and c3 nothing: a deviation of 5.66.
        lines = [
            ("c0", "px", date(2024, 1, 10), "7"),
            ("c0", "px", date(2024, 1, 20), "5"),
            ("c1", "px", date(2024, 1, 11), "4"),
            ("c1", "px", date(2024, 1, 22), "500"),
            ("c1", "px", date(2023, 12, 24), "500"),
        ]
        table = plan_segments(
            effects=make_rows(EFFECTS, effects),
            profiles=make_rows(SEGMENT_PROFILES, profiles),
            segment_customers=make_rows(
                SEGMENT_CUSTOMERS, [{"customer_id": c, "segment_id": s, "as_of_date": DAY} for c, s in members]
            ),
            customer_features=make_rows(
                CUSTOMER_FEATURES,
                [
                    {"customer_id": c, "as_of_date": DAY, "favourite_time_slot": slot}
                    for (c, _), slot in zip(members, slots, strict=True)
                ],
            ),
            planned_products=make_rows(
                PLANNED_PRODUCTS, [{"product_id": f"p{c}", "category": c, "as_of_date": DAY} for c in "xy"]
            ),
            order_lines=make_rows(
                ORDER_LINES,
                [
                    {
                        "customer_id": customer,
                        "product_id": item,
                        "store_id": stores.get(customer),
                        "order_date": day,
                        "sales_amount": Decimal(amount),
                        "is_return": False,
                        "is_outlier": False,
                    }
                    for customer, item, day, amount in lines
                ],
            ),
            as_of_date=DAY,
            offers=(OFF, SHOWN),
            settings=PlanSettings(**{"holdout_rate": 0.25, "budget_amount": 1000.0, "lead_days": 7, **changes}),
            currency="USD",
        )
        return {(row.segment_id, row.category): row for row in table.collect()}

    return made


Plan = Callable[..., dict[tuple[int, str], Row]]


class TestPromoted:
    @pytest.fixture
    def row(self, plan: Plan) -> Row:
        return plan([effect(0, "x", OFF, **LOSING), effect(0, "x", SHOWN)])[0, "x"]

    def test_a_strong_effect_is_promoted(self, row: Row) -> None:
        assert (row.decision, row.offer_id, row.learnt_from) == ("promote", "shown", "observational")
        assert (row.start_date, row.end_date) == (date(2024, 1, 29), date(2024, 2, 25))
        assert (row.time_slot, row.customer_count, row.segment_name) == ("evening", 4, "segment 0")
        assert (row.runner_up_offer_id, row.display_rate if "display_rate" in row else 0.2) == ("off", 0.2)
        assert row.adjusted_p_value == pytest.approx(0.002)
        assert (row.holdout_unit, row.test_customer_count, row.test_store_count) == ("store", None, None)
        assert "keep back whole stores" in " ".join(row.reasons)

    def test_its_money_adds_up_for_the_three_quarters_who_are_told(self, row: Row) -> None:
        told = 0.75
        assert row.base_sales_amount == pytest.approx(told * 400)
        assert row.incremental_sales_amount == pytest.approx(told * 160)
        assert row.expected_sales_amount == pytest.approx(row.base_sales_amount + row.incremental_sales_amount)
        assert row.cost_amount == pytest.approx(told * 20 + 10)
        assert row.budget_amount == pytest.approx(row.cost_amount)
        gross = row.incremental_sales_amount + told * 20
        assert row.incremental_margin_amount == pytest.approx(0.5 * gross - row.cost_amount)
        assert row.break_even_margin_rate * gross == pytest.approx(row.cost_amount)
        assert row.roi_rate == pytest.approx(row.incremental_margin_amount / row.cost_amount)
        assert row.expected_redemption_count == pytest.approx(300 * 1.4 / (16 / 3))
        assert row.margin_low_amount <= row.incremental_margin_amount <= row.margin_high_amount

    def test_its_reasons_carry_the_figures(self, row: Row) -> None:
        told = " ".join(row.reasons)
        for figure in (
            "+40%",
            "+20% to +60%",
            "fall by 10%",
            "+30%",
            "0.50 (assumed)",
            "7 past weeks",
            "not randomised",
        ):
            assert figure in told
        assert f"turn at {row.break_even_margin_rate:.2f}" in told
        assert "Next best: 10 % off" in told


class TestOthers:
    def test_every_cell_has_a_row(self, plan: Plan) -> None:
        rows = plan([effect(0, "x", OFF)])
        assert set(rows) == {(s, c) for s in (0, 1) for c in "xy"}
        assert {key for key, row in rows.items() if row.decision == "promote"} == {(0, "x")}

    def test_no_effects_promote_nothing(self, plan: Plan) -> None:
        rows = plan([])
        assert len(rows) == 4
        for row in rows.values():
            assert (row.decision, row.offer_id, row.cost_amount, row.budget_amount) == ("none", "none", 0.0, 0.0)
            assert row.learnt_from == "assumed"
            assert row.reasons == ["No effect of any offer is known here: too few weeks of sales."]

    def test_a_losing_offer_is_turned_down_with_its_figures(self, plan: Plan) -> None:
        row = plan([effect(0, "x", OFF, **LOSING)])[0, "x"]
        assert (row.decision, row.offer_id) == ("none", "none")
        assert row.incremental_margin_amount == 0.0
        assert row.expected_sales_amount == row.base_sales_amount == pytest.approx(300)
        assert "no offer gains anything" in row.reasons[0]

    def test_an_unproven_offer_is_tested_where_customers_suffice(self, plan: Plan) -> None:
        promising = effect(0, "x", OFF, selection_margin_amount=400.0, **UNPROVEN)
        row = plan([promising])[0, "x"]
        # told 3 of 4: 100 a customer against a deviation of 0.5 * 5.66
        assert (row.decision, row.offer_id, row.test_customer_count) == ("test", "off", 2)
        assert (row.holdout_unit, row.test_store_count) == ("customer", None)
        assert row.budget_amount == 0.0
        small = plan([{**promising, "selection_margin_amount": 3.0}])[0, "x"]
        assert small.decision == "none"
        assert small.test_customer_count is None
        assert "A test would need" in " ".join(small.reasons)

    def test_a_display_is_tested_by_keeping_back_stores(self, plan: Plan) -> None:
        promising = effect(0, "x", SHOWN, selection_margin_amount=390.0, **UNPROVEN)
        row = plan([promising], stores={"c0": "s0", "c1": "s1"})[0, "x"]
        # s0 went from 0 to 12, s1 from 500 to 4: a deviation of 359.2; told 3 of 4 gain 400 * 0.75 (10 are fixed)
        # in 2 * 0.75 stores: 2 (1.645 + 0.842)^2 (0.5 * 359.2 / 200)^2 = 9.97
        assert (row.decision, row.offer_id, row.holdout_unit) == ("test", "shown", "store")
        assert (row.test_store_count, row.test_customer_count) == (10, None)
        told = " ".join(row.reasons)
        assert "10 stores with the offer and as many without; the segment bought the category in 2" in told
        assert "keep back whole stores" in told
        unknown = plan([promising])[0, "x"]
        assert (unknown.decision, unknown.test_store_count) == ("none", None)
        assert "whole stores" in " ".join(unknown.reasons)

    def test_without_a_budget_a_proven_offer_has_to_wait(self, plan: Plan) -> None:
        row = plan([effect(0, "x", OFF)], budget_amount=0.0)[0, "x"]
        assert row.decision == "none"
        assert "the budget of 0 USD" in row.reasons[0]

    @pytest.mark.parametrize("budget", [25.0, 60.0, 1000.0])
    def test_the_budget_and_its_limits_hold(self, plan: Plan, budget: float) -> None:
        effects = [effect(s, c, o) for s in (0, 1) for c in "xy" for o in (OFF, SHOWN)]
        rows = plan(effects, budget_amount=budget, segment_budget_rate=0.5, segment_max_offers=1).values()
        promoted = [row for row in rows if row.decision == "promote"]
        assert sum(row.budget_amount for row in promoted) <= budget
        for segment in (0, 1):
            own = [row for row in promoted if row.segment_id == segment]
            assert len(own) <= 1
            assert sum(row.budget_amount for row in own) <= 0.5 * budget
        assert len(promoted) == (0 if budget < 45 else 2)  # told, 10 % off costs 22.50 and a display 25

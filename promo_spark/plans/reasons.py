"""Why a row of the plan says what it says, in words a manager can check."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from promo_spark.contracts.settings import PlanSettings


@dataclass(frozen=True)
class Case:
    """One cell of the plan, ready to be told.

    Attributes:
        offer_name: The offer spoken of: promoted, tested, or the best of those turned down; none: no effect known.
        runner_up_name: Next best offer, if any.
        values: Numbers of the offer spoken of, named as in response.effects.
        runner_up_margin: Expected margin of the next best offer.
        p_value: Adjusted p-value of the cell's best offer.
        test_size: Customers, or stores for a store-wide offer, per arm that a test needs; NaN: nothing to test.
        segment_size: Customers of the segment.
        store_count: Stores in which they bought the category lately; 0 where none is known.
        is_store_wide: The offer reaches everybody in a store.
        is_proven: The gain of the cell's best offer is proven.
        is_margin_assumed: The margin rate comes from the settings.
    """

    offer_name: str | None
    runner_up_name: str | None
    values: Mapping[str, float]
    runner_up_margin: float
    p_value: float
    test_size: float
    segment_size: int
    store_count: int
    is_store_wide: bool
    is_proven: bool
    is_margin_assumed: bool

    @property
    def unit(self) -> str:
        """What a test splits."""
        return "stores" if self.is_store_wide else "customers"

    @property
    def unit_count(self) -> int:
        """How many of them there are."""
        return self.store_count if self.is_store_wide else self.segment_size


@dataclass(frozen=True)
class Words:
    """Tells cases in the currency and under the rules of a plan."""

    settings: PlanSettings
    currency: str

    def promote(self, case: Case) -> list[str]:
        """Why an offer is promoted."""
        return [
            self._effect(case),
            self._money(case),
            *self._holdout(case),
            self._margin(case),
            *self._next(case),
            self._source(case),
        ]

    def test(self, case: Case) -> list[str]:
        """Why an offer is worth a test."""
        repeats = math.ceil(2 * case.test_size / max(case.unit_count, 1))
        periods = f", so it takes {repeats} plan periods, or more segments at once" if repeats > 1 else ""
        return [
            f"{case.offer_name} is promising but not proven{self._doubt(case)}.",
            f"A test that would settle it needs {self._arms(case)}{periods}.",
            *self._holdout(case),
            self._effect(case),
            self._money(case),
            self._margin(case),
            *self._next(case),
            self._source(case),
        ]

    def decline(self, case: Case) -> list[str]:
        """Why nothing is promoted."""
        if case.offer_name is None:
            return ["No effect of any offer is known here: too few weeks of sales."]
        if case.is_proven:
            return [self._no_room(case), self._effect(case), self._money(case), self._source(case)]
        if not self._selection(case) > 0:
            return [
                f"In the weeks used to choose, no offer gains anything; the least bad is {case.offer_name}.",
                self._effect(case),
                self._money(case),
                self._margin(case),
                self._source(case),
            ]
        return [
            f"The best offer, {case.offer_name}, is not proven{self._doubt(case)}.",
            self._no_test(case),
            self._effect(case),
            self._money(case),
            self._margin(case),
            self._source(case),
        ]

    def _selection(self, case: Case) -> float:
        is_margin = self.settings.objective == "incremental_margin"
        return case.values["selection_margin_amount" if is_margin else "selection_sales_amount"]

    def _doubt(self, case: Case) -> str:
        if np.isnan(case.p_value):
            return ": no past week of the category was promoted half as much"
        if case.p_value <= self.settings.false_discovery_rate:
            return (
                f" (p = {case.p_value:.2f} after correcting for all that were tried, but its interval reaches below 0)"
            )
        return (
            f" (p = {case.p_value:.2f} after correcting for all that were tried; "
            f"{self.settings.false_discovery_rate:.2f} is asked for)"
        )

    def _no_room(self, case: Case) -> str:
        return (
            f"{case.offer_name} is proven, but the budget of {self._amount(self.settings.budget_amount)}, the share "
            f"of it that one segment may take, or the {self.settings.segment_max_offers} offers that a segment may "
            "get bring more elsewhere."
        )

    def _no_test(self, case: Case) -> str:
        if np.isnan(case.test_size):
            if case.is_store_wide:
                return (
                    "What a test of it would take is not known: it would keep back whole stores, and too few are "
                    "known in which the segment bought the category lately."
                )
            return "What a test of it would take is not known: no customer bought the category lately."
        if 2 * case.test_size > case.unit_count:
            return f"A test would need {self._arms(case)}."
        return f"Other offers promise more: {self.settings.max_tests_per_segment} tests are proposed per segment."

    def _arms(self, case: Case) -> str:
        place = "the segment bought the category in" if case.is_store_wide else "the segment has"
        return f"{case.test_size:,.0f} {case.unit} with the offer and as many without; {place} {case.unit_count:,}"

    def _holdout(self, case: Case) -> list[str]:
        if not case.is_store_wide:
            return []
        return [
            "Displays and mailers reach everybody in a store: keep back whole stores, drawn at random, not customers."
        ]

    def _effect(self, case: Case) -> str:
        values = case.values
        carry = values["carry_rate"]
        later = "fall" if carry < 0 else "rise"
        gbt = values["gbt_lift_rate"]
        trees = "" if np.isnan(gbt) else f" The boosted trees see {_signed(gbt)}."
        return (
            f"{case.offer_name}: sales at regular price change by {_signed(values['lift_rate'])} "
            f"({_signed(values['lift_low_rate'])} to {_signed(values['lift_high_rate'])}) in the weeks it is on and "
            f"{later} by {abs(carry):.0%} of a week in the two weeks after.{trees}"
        )

    def _money(self, case: Case) -> str:
        values = case.values
        return (
            f"In {self.settings.weeks} weeks: sales {self._amount(values['incremental_sales_amount'], sign=True)}, "
            f"margin after cost {self._amount(values['margin_amount'], sign=True)} "
            f"({self._amount(values['margin_low_amount'], sign=True)} to "
            f"{self._amount(values['margin_high_amount'], sign=True)}), for "
            f"{self._amount(values['discount_cost_amount'])} of discount and "
            f"{self._amount(values['contact_cost_amount'])} of contact and set-up."
        )

    def _margin(self, case: Case) -> str:
        kind = "assumed" if case.is_margin_assumed else "known"
        rate, turn = case.values["margin_rate"], case.values["break_even_margin_rate"]
        if np.isnan(turn) or turn > 1:
            return f"Margin rate {rate:.2f} ({kind}); no margin rate up to 1 would make it pay."
        return f"Margin rate {rate:.2f} ({kind}); the decision would turn at {turn:.2f}."

    def _next(self, case: Case) -> list[str]:
        if case.runner_up_name is None:
            return []
        return [f"Next best: {case.runner_up_name}, margin {self._amount(case.runner_up_margin, sign=True)}."]

    def _source(self, case: Case) -> str:
        weeks = int(case.values["evidence_week_count"])
        if weeks == 0:
            return "Assumed: no past week was promoted half as much; the trend of smaller promotions is continued."
        counted = f"{weeks} past week" + ("" if weeks == 1 else "s")
        return f"Learnt from {counted} promoted like that. The retailer chose when to promote: it was not randomised."

    def _amount(self, value: float, *, sign: bool = False) -> str:
        return f"{value:{'+' if sign else ''},.0f} {self.currency}"


def _signed(rate: float) -> str:
    return f"{rate:+.0%}"

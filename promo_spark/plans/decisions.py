"""Which offer each segment gets in each category: selected on one fold of weeks, proven on the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from promo_spark.contracts.offers import Offer
from promo_spark.contracts.settings import PlanSettings
from promo_spark.kernels.choice import choose_offers
from promo_spark.kernels.multiple_testing import benjamini_hochberg
from promo_spark.kernels.sample_size import two_arm_sample_size

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NONE = -1
_MOST_REPEATS = 12
_MARGINS = ("selection_margin_amount", "margin_amount", "margin_low_amount", "margin_high_amount")
_SALES = (
    "selection_sales_amount",
    "incremental_sales_amount",
    "sales_low_amount",
    "sales_high_amount",
    "base_sales_amount",
)
_RATES = ("lift_rate", "lift_low_rate", "lift_high_rate", "carry_rate", "gbt_lift_rate")
_NUMBERS = (
    *_RATES,
    *_MARGINS,
    *_SALES,
    "discount_cost_amount",
    "contact_cost_amount",
    "margin_p_value",
    "sales_p_value",
    "evidence_week_count",
)


class Candidates(NamedTuple):
    """Offers side by side. cells: one row per segment and category, in order. offers: theirs, in the order of settings.

    values: matrices of shape (n_cells, n_offers) by column name of response.effects, NaN where there is no effect;
    amounts are for the customers told, and cost_amount is what they cost.
    """

    cells: pd.DataFrame
    offers: tuple[Offer, ...]
    values: dict[str, Floats]


class Decisions(NamedTuple):
    """What was decided per cell; arrays of shape (n_cells,).

    promoted, tested, best, runner_up: index of an offer, or -1. best is the one with the highest selection value,
    whatever its sign. p_value: adjusted, NaN where nothing was tried. is_proven: the gain of the best is proven.
    test_size: customers, or for a store-wide offer stores, per arm that a test of the best needs; NaN where there is
    nothing to test or nothing known to size it by. budget_value: what one more unit of budget would add. gap: no
    choice under the budget is worth more than this one by more than this share.
    """

    promoted: Ints
    tested: Ints
    best: Ints
    runner_up: Ints
    p_value: Floats
    is_proven: Bools
    test_size: Floats
    budget_value: float
    gap: float


def lay_out(rows: pd.DataFrame, offers: tuple[Offer, ...], settings: PlanSettings) -> Candidates:
    """Turn candidate rows into matrices, with amounts cut down to the customers who are told.

    Customers kept back neither cost nor bring anything; what an offer costs to set up stays as it is.

    Args:
        rows: One row per cell and offer; NULL offer_id where a cell has no effects.
        offers: Offers in the order of settings.
        settings: Share of customers kept back.
    """
    ordered = rows.sort_values(["segment_id", "category", "offer_id"], kind="stable")
    cells = ordered.drop_duplicates(["segment_id", "category"]).reset_index(drop=True)
    keys = pd.MultiIndex.from_product([cells.index, [offer.offer_id for offer in offers]])
    place = {key: index for index, key in enumerate(zip(cells["segment_id"], cells["category"], strict=True))}
    cell = [place[key] for key in zip(ordered["segment_id"], ordered["category"], strict=True)]
    indexed = ordered.set_index([pd.Index(cell), "offer_id"])[list(_NUMBERS)].reindex(keys)
    shape = (len(cells), len(offers))
    values = {name: indexed[name].to_numpy(dtype=np.float64).reshape(shape) for name in _NUMBERS}
    told = 1.0 - settings.holdout_rate
    fixed = np.array([offer.fixed_cost_amount for offer in offers])
    for name in _MARGINS:
        values[name] = told * (values[name] + fixed) - fixed
    for name in (*_SALES, "discount_cost_amount"):
        values[name] = told * values[name]
    values["contact_cost_amount"] = told * (values["contact_cost_amount"] - fixed) + fixed
    values["cost_amount"] = values["discount_cost_amount"] + values["contact_cost_amount"]
    return Candidates(cells, offers, values)


def decide(candidates: Candidates, settings: PlanSettings) -> Decisions:
    """Choose offers under the budget and its limits, and tests for the most promising that are not proven.

    The best offer of a cell on the selection weeks is one hypothesis; the evaluation weeks test it. Hypotheses
    of all cells are corrected together (Benjamini and Hochberg), and the interval must clear zero. In a cell that
    passes, its other offers may compete for the budget too if their own evidence is as strong as the weakest
    that passed (Benjamini and Bogomolov 2014). What is taken under the budget is chosen on selection values, so
    that the reported values did not choose themselves. An `assumed` effect is never proven. The share of the budget
    that one segment may take is at least an equal one, so that few segments can use all of it.

    Args:
        candidates: What `lay_out` returned.
        settings: Objective, budget, limits and evidence asked for.

    Returns:
        Decisions in the order of the cells.
    """
    aim = _aim(candidates, settings)
    is_seen = np.nan_to_num(candidates.values["evidence_week_count"]) > 0
    wanted = np.where(is_seen & (aim.selection > 0), aim.selection, np.nan)
    leader = _first_best(wanted)
    is_proven, adjusted, threshold = _prove(aim, leader, settings.false_discovery_rate)
    eligible = is_proven[:, None] & np.isfinite(wanted) & (aim.low > 0) & (aim.p_value <= threshold)
    segments, group = np.unique(candidates.cells["segment_id"].to_numpy(), return_inverse=True)
    choice = choose_offers(
        np.where(eligible, wanted, np.nan),
        np.maximum(candidates.values["cost_amount"], 0.0),
        group.astype(np.int64),
        settings.budget_amount,
        np.full(len(segments), max(settings.segment_budget_rate, 1.0 / len(segments)) * settings.budget_amount),
        max_offers_per_group=np.full(len(segments), settings.segment_max_offers),
    )
    best = np.where(leader == NONE, _first_best(aim.selection), leader)
    sizes = _test_sizes(candidates, aim, np.where(is_proven, NONE, best), settings)
    tested = _propose_tests(candidates, _taken(aim.selection, best), best, sizes, settings)
    proposed = np.where(choice.offers != NONE, choice.offers, tested)
    return Decisions(
        promoted=choice.offers,
        tested=tested,
        best=best,
        runner_up=_first_best(_without(aim.selection, proposed)),
        p_value=adjusted,
        is_proven=is_proven,
        test_size=sizes,
        budget_value=choice.budget_value,
        gap=choice.gap,
    )


class _Aim(NamedTuple):
    """What the plan is after, shape (n_cells, n_offers): values of the selection weeks; evidence of the others."""

    selection: Floats
    low: Floats
    p_value: Floats
    fixed: Floats
    is_margin: bool


def _aim(candidates: Candidates, settings: PlanSettings) -> _Aim:
    values = candidates.values
    fixed = np.array([offer.fixed_cost_amount for offer in candidates.offers])
    if settings.objective == "incremental_margin":
        names = ("selection_margin_amount", "margin_low_amount", "margin_p_value")
    else:
        names = ("selection_sales_amount", "sales_low_amount", "sales_p_value")
        fixed = np.zeros_like(fixed)
    selection, low, p_value = (values[name] for name in names)
    return _Aim(selection, low, p_value, fixed, settings.objective == "incremental_margin")


def _first_best(values: Floats) -> Ints:
    """Index of each row's largest value, the first of equal ones; -1 for a row of NaN."""
    filled = np.where(np.isfinite(values), values, -np.inf)
    best: Ints = np.where(np.isfinite(filled).any(axis=1), filled.argmax(axis=1), NONE)
    return best


def _without(values: Floats, offers: Ints) -> Floats:
    """Values with each row's own offer taken out."""
    return np.where(np.arange(values.shape[1]) == offers[:, None], np.nan, values)


def _taken(values: Floats, offers: Ints) -> Floats:
    """Each row's value at its offer; NaN at -1."""
    found = values[np.arange(len(values)), np.maximum(offers, 0)]
    return np.where(offers == NONE, np.nan, found)


def _prove(aim: _Aim, leader: Ints, rate: float) -> tuple[Bools, Floats, float]:
    """Which leaders are proven, their adjusted p-values, and the largest raw p-value that passed."""
    tried = leader != NONE
    p_value = _taken(aim.p_value, leader)
    adjusted = np.full(len(leader), np.nan)
    passed = np.zeros(len(leader), dtype=np.bool_)
    if tried.any():
        passed[tried], adjusted[tried] = benjamini_hochberg(p_value[tried], rate)
    threshold = float(p_value[passed].max()) if passed.any() else -1.0
    return passed & (_taken(aim.low, leader) > 0), adjusted, threshold


def _test_sizes(candidates: Candidates, aim: _Aim, offers: Ints, settings: PlanSettings) -> Floats:
    """Customers or stores per arm to find the effect that the selection weeks promise; NaN where none is promised.

    The outcome is a customer's sales, or the margin on them at the category's rate, over the weeks of the offer. Of
    a store-wide offer it is the change of a store's sales to the segment from as many weeks before: stores differ
    too much in size to be compared without.
    """
    told = candidates.cells["segment_size"].to_numpy(dtype=np.float64) * (1.0 - settings.holdout_rate)
    worth = candidates.cells["margin_rate"].to_numpy(dtype=np.float64) if aim.is_margin else 1.0
    is_store_wide, units = _units(candidates, offers)
    effect = _taken(aim.selection + aim.fixed, offers) / np.where(
        is_store_wide, units * (1 - settings.holdout_rate), told
    )
    spreads = (
        candidates.cells[name].to_numpy(dtype=np.float64) for name in ("store_change_sd_amount", "spend_sd_amount")
    )
    deviation = np.where(is_store_wide, *spreads) * worth
    sizes = np.full(len(offers), np.nan)
    can = (_taken(aim.selection, offers) > 0) & (effect > 0) & np.isfinite(effect) & (deviation > 0)
    for cell in np.flatnonzero(can):
        sizes[cell] = two_arm_sample_size(
            float(effect[cell]), float(deviation[cell]), 1.0 - settings.interval_level, settings.test_power
        )
    return sizes


def _units(candidates: Candidates, offers: Ints) -> tuple[Bools, Floats]:
    """Whether each cell's offer is store-wide, and how many stores or customers there are to split, at least 1."""
    is_store_wide = np.array([*(offer.is_store_wide for offer in candidates.offers), False])[offers]
    names = ("store_count", "segment_size")
    stores, customers = (candidates.cells[name].to_numpy(dtype=np.float64) for name in names)
    return is_store_wide, np.maximum(np.where(is_store_wide, np.nan_to_num(stores), customers), 1.0)


def _propose_tests(candidates: Candidates, promise: Floats, best: Ints, sizes: Floats, settings: PlanSettings) -> Ints:
    """The unproven offers of each segment that are worth a test, up to the limit.

    Those for which there are customers, or stores, enough come first, the most promising ahead. A segment without any
    gets the one that comes nearest, if repeating the offer for up to ``_MOST_REPEATS`` plan periods would do.
    """
    segment = candidates.cells["segment_id"].to_numpy()
    repeats = 2 * sizes / _units(candidates, best)[1]
    tested = np.full(len(best), NONE, dtype=np.int64)
    for number in np.unique(segment):
        cells = np.flatnonzero((segment == number) & (repeats <= _MOST_REPEATS))
        feasible = cells[repeats[cells] <= 1]
        chosen = feasible[np.argsort(-promise[feasible], kind="stable")][: settings.max_tests_per_segment]
        if not len(chosen):
            chosen = cells[np.argsort(repeats[cells], kind="stable")][: min(1, settings.max_tests_per_segment)]
        tested[chosen] = best[chosen]
    return tested

"""What is told of an experiment, and what stops it, from sums alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from promo_spark.kernels.always_valid import mixture_scale
from promo_spark.kernels.experiment_cells import Cells, Plan
from promo_spark.kernels.experiment_checks import Check, check_experiment
from promo_spark.kernels.experiment_effects import Effect, analyse
from promo_spark.kernels.unit_sums import UnitBlock, pack_bins, sum_units, unpack_bins
from promo_spark.kernels.value_bins import BINS

ARMS, STRATA, SEGMENTS = ("a", "b", "none"), 2, 3
PLAN = Plan(
    control="none",
    outcomes=("sales", "bought"),
    covariates=("before",),
    shares={"a": 0.25, "b": 0.25, "none": 0.5},
    ratios={"value": ("sales", "bought")},
    metrics=("sales", "value"),
    guardrails=("bought",),
    quantiles=(0.5,),
    peek_scale=mixture_scale(4000.0),
)


def trial(customers: int = 6000, seed: int = 2, **changes: Any) -> Cells:
    """Arm a adds 4, b nothing; a third of the customers, segment 0, are moved twice as much."""
    rng = np.random.default_rng(seed)
    arms = rng.permutation(np.arange(customers) % 4)
    arms = np.array([0, 1, 2, 2])[arms]
    strata, segments = rng.integers(0, STRATA, customers), rng.integers(0, SEGMENTS, customers)
    before, bought = rng.gamma(2.0, 5.0, customers), (rng.random(customers) < 0.6) * 1.0
    lift = np.where(arms == 0, np.where(segments == 0, 6.0, 3.0), 0.0)
    sales = bought * (10 + before + lift / 0.6 + rng.normal(0, 3, customers)) + 2 * strata
    block = UnitBlock(
        cells=(arms * STRATA + strata) * SEGMENTS + segments,
        arms=arms,
        weights=np.ones(customers),
        is_customer=np.ones(customers, dtype=bool),
        is_unit=np.ones(customers, dtype=bool),
        faults=np.zeros((customers, 4), dtype=bool),
        propensities=np.array([0.25, 0.25, 0.5])[arms],
        covariates=before[:, None],
        outcomes=np.column_stack([sales, bought]),
    )
    sums = sum_units(block._replace(**changes), len(ARMS) * STRATA * SEGMENTS, len(ARMS))
    by_arm = (len(ARMS), STRATA * SEGMENTS)
    return Cells(
        arms=ARMS,
        segments=tuple(f"s{place}" for place in range(SEGMENTS)),
        is_clustered=False,
        counts=sums.counts.reshape(*by_arm, -1).sum(axis=1),
        propensities=sums.propensities.reshape(*by_arm, -1).sum(axis=1),
        products=sums.products.reshape(len(ARMS), STRATA, SEGMENTS, *sums.products.shape[1:]),
        bins=sums.bins,
        fractions=sums.fractions.sum(axis=0),
    )


@pytest.fixture(scope="module")
def cells() -> Cells:
    return trial()


@pytest.fixture(scope="module")
def effects(cells: Cells) -> list[Effect]:
    return analyse(cells, PLAN)


def chosen(effects: list[Effect], **wanted: str) -> list[Effect]:
    return [one for one in effects if all(getattr(one, name) == value for name, value in wanted.items())]


def test_every_arm_metric_and_method_is_told_once(effects: list[Effect]) -> None:
    keys = [(one.metric, one.arm, one.method, one.segment) for one in effects]
    assert len(keys) == len(set(keys))
    told = {one.method for one in chosen(effects, metric="sales", arm="a", segment="all")}
    means = {"difference", "stratified", "regression_adjusted", "sequential"}
    assert told == means | {"winsorised", "quantile_0.5"}
    # Of a yes or no there is nothing to cut off, and no quantile that would move; nor of a ratio.
    assert {one.method for one in chosen(effects, metric="bought", arm="a", segment="all")} == means
    assert {one.method for one in chosen(effects, metric="value", arm="a", segment="all")} == means


def test_the_planted_effects_are_found_arm_by_arm(effects: list[Effect]) -> None:
    moved, idle = (
        chosen(effects, metric="sales", arm=arm, method="regression_adjusted", segment="all")[0] for arm in "ab"
    )
    assert moved.found.low < 4.0 < moved.found.high
    assert idle.found.low < 0.0 < idle.found.high
    plain = chosen(effects, metric="sales", arm="a", method="difference", segment="all")[0]
    assert moved.found.standard_error < plain.found.standard_error


def test_p_values_are_corrected_over_arms_and_metrics_and_guardrails_among_themselves(effects: list[Effect]) -> None:
    for metrics in (("sales", "value"), ("bought",)):
        family = [
            one for one in effects if one.metric in metrics and (one.method, one.segment) == ("difference", "all")
        ]
        expected = multipletests([one.found.p_value for one in family], method="holm")[1]
        assert [one.adjusted_p_value for one in family] == pytest.approx(expected)
    both = analyse(trial(), replace(PLAN, correction="benjamini_hochberg"))
    family = [one for one in both if one.metric != "bought" and (one.method, one.segment) == ("difference", "all")]
    expected = multipletests([one.found.p_value for one in family], method="fdr_bh")[1]
    assert [one.adjusted_p_value for one in family] == pytest.approx(expected)


def test_one_method_is_the_headline_and_another_while_it_runs(cells: Cells, effects: list[Effect]) -> None:
    assert {one.method for one in effects if one.is_headline} == {"regression_adjusted"}
    running = analyse(cells, replace(PLAN, is_running=True))
    assert {one.method for one in running if one.is_headline} == {"sequential"}
    bare = analyse(cells, replace(PLAN, peek_scale=None))
    assert "sequential" not in {one.method for one in bare}


def test_sequential_intervals_are_wider_in_proportion(effects: list[Effect]) -> None:
    once, often = (
        chosen(effects, metric="sales", arm="a", method=method, segment="all")[0].found
        for method in ("regression_adjusted", "sequential")
    )
    wider = (often.high - often.effect) / (once.high - once.effect)
    assert wider > 1.5
    assert (often.relative_high - often.relative) / (once.relative_high - once.relative) == pytest.approx(wider)
    assert often.p_value > once.p_value


def test_segments_lean_on_each_other_where_chance_explains_them(effects: list[Effect]) -> None:
    raw = chosen(effects, metric="sales", arm="a", method="regression_adjusted")
    raw = [one for one in raw if one.segment != "all"]
    shrunk = chosen(effects, metric="sales", arm="a", method="shrunk")
    assert [one.segment for one in raw] == [one.segment for one in shrunk] == ["s0", "s1", "s2"]
    assert shrunk[0].found.effect > max(one.found.effect for one in shrunk[1:])  # it is moved twice as much
    assert np.ptp([one.found.effect for one in shrunk]) < np.ptp([one.found.effect for one in raw])
    alike = chosen(effects, metric="sales", arm="b", method="shrunk")
    assert np.ptp([one.found.effect for one in alike]) < 1.0


def test_the_median_is_compared_as_well(effects: list[Effect]) -> None:
    one = chosen(effects, metric="sales", arm="a", method="quantile_0.5")[0]
    assert one.found.p_value == pytest.approx(
        2 * stats.norm.sf(abs(one.found.effect) / one.found.standard_error), rel=1e-3
    )


def results(cells: Cells, plan: Plan = PLAN) -> dict[str, Check]:
    order = {"passed": 0, "warning": 1, "failed": 2}
    worst: dict[str, Check] = {}
    for check in check_experiment(cells, plan):
        if check.check not in worst or order[check.result] > order[worst[check.check].result]:
            worst[check.check] = check
        assert check.stops_headline == (check.result == "failed")
    return worst


def test_a_sound_experiment_passes_every_check(cells: Cells) -> None:
    assert {check.result for check in results(cells).values()} == {"passed"}
    assert set(results(cells)) == {
        *("arms", "two_arms", "duplicates", "outcome_dates", "missing_outcomes", "sample_ratio", "propensities"),
        *("sizes", "balance", "variance"),
    }


def test_no_control_and_no_other_arm_leave_nothing_to_tell(cells: Cells) -> None:
    for arms in ([0, 1], [2]):
        some = cells.only(arms)
        assert analyse(some, PLAN) == []
        assert results(some)["arms"].result == "failed"


def test_an_arm_that_nobody_designed_is_a_fault(cells: Cells) -> None:
    plan = replace(PLAN, shares={"a": 0.5, "none": 0.5})
    assert results(cells, plan)["arms"].told == "b has customers and is no arm of the design."


def test_unequal_propensities_need_weights() -> None:
    mixed = np.where(np.arange(6000) % 2 == 0, 0.5, 0.25)
    check = results(trial(propensities=mixed))["propensities"]
    assert check.result == "failed"
    assert "different probabilities" in check.told


def test_sizes_are_checked_against_what_was_logged_where_no_design_is_known(cells: Cells) -> None:
    assert results(cells, replace(PLAN, shares={}))["sample_ratio"].result == "passed"
    unlogged = trial(propensities=np.full(6000, np.nan))
    assert results(unlogged, replace(PLAN, shares={}))["sample_ratio"].result == "warning"
    wrong = replace(PLAN, shares={"a": 0.3, "b": 0.2, "none": 0.5})
    assert results(cells, wrong)["sample_ratio"].result == "failed"


@pytest.mark.parametrize(
    ("fault", "check", "result"),
    [
        (0, "two_arms", "failed"),
        (1, "duplicates", "warning"),
        (2, "outcome_dates", "failed"),
        (3, "missing_outcomes", "warning"),
    ],
)
def test_faulty_records_are_counted_and_left_out(fault: int, check: str, result: str) -> None:
    faults = np.zeros((6000, 4), dtype=bool)
    faults[:12, fault] = True
    faulty = trial(faults=faults)
    assert results(faulty)[check].result == result
    is_out = fault != 1
    assert faulty.whole[:, 0, 0, 0].sum() == 6000 - 12 * is_out


def test_a_metric_that_does_not_vary_stops_itself_alone() -> None:
    rng = np.random.default_rng(1)
    flat = trial(outcomes=np.column_stack([rng.gamma(2.0, 3.0, 6000), np.full(6000, 0.1)]))
    failed = [check for check in check_experiment(flat, PLAN) if check.result == "failed"]
    assert [check.metric for check in failed] == ["bought"]
    assert np.isnan(chosen(analyse(flat, PLAN), metric="bought", method="difference")[0].found.standard_error)


def test_bins_come_out_as_they_went_in(cells: Cells) -> None:
    for arm in range(len(ARMS)):
        packed = pack_bins(cells.bins[arm])
        np.testing.assert_array_equal(unpack_bins(packed, 2, BINS), cells.bins[arm])

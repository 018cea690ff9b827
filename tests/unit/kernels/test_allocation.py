from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promo_spark.errors import AllocationInfeasible
from promo_spark.kernels import allocation
from promo_spark.kernels.allocation_greedy import NONE
from promo_spark.kernels.allocation_problem import AllocationProblem, CouplingRow
from promo_spark.kernels.allocation_response import PairBlock, chosen_sums
from tests.unit.kernels.allocation_cases import best_by_trying, draw_pairs, make_row, run_in_memory, value_of


def every_kind_of_row(promotions: int, scale: float, *, floors: bool = True) -> tuple[CouplingRow, ...]:
    first, second = np.eye(promotions)[:2]
    rows = [
        make_row("budget", promotions, cells=(True, True), cost=1.0, high=0.5 * scale),
        make_row("budget of 1", promotions, cells=(False, True), cost=1.0, high=0.3 * scale),
        make_row("stock of 0", promotions, cells=(True, True), count=first, high=np.floor(0.4 * scale)),
        make_row("funding of 1", promotions, cells=(True, True), cost=second, high=0.25 * scale),
    ]
    if floors:
        rows += [
            make_row("exposure of 0", promotions, cells=(True, False), count=1.0, low=np.floor(0.25 * scale)),
            make_row("volume of 1", promotions, cells=(True, True), count=second, low=np.floor(0.2 * scale)),
            make_row("return", promotions, cells=(True, True), cost=-1.2, value=1.0, low=0.0),
        ]
    return tuple(rows)


def assert_keeps_limits(block: PairBlock, problem: AllocationProblem, slots: np.ndarray) -> None:
    sums = chosen_sums(block, problem, slots)
    used = problem.usage(sums)
    size = np.maximum(np.abs(used), np.where(np.isfinite(problem.bounds.high), np.abs(problem.bounds.high), 0.0))
    assert (problem.bounds.violations(used) <= 2e-9 * np.maximum(size, 1e-9)).all()
    promotions = block.all_promotions()
    for customer in range(len(block.keys)):
        own = slots[:, customer][slots[:, customer] != NONE]
        assert len(set(own.tolist())) == len(own)
        assert (promotions[own, customer] < problem.promotion_count).all()
        if problem.categories is not None:
            counts = np.bincount(problem.categories[promotions[own, customer]], minlength=len(problem.category_caps))
            assert (counts <= problem.category_caps).all()


@settings(max_examples=50, deadline=None)
@given(
    customers=st.integers(1, 5),
    promotions=st.integers(2, 3),
    cap=st.integers(1, 2),
    with_categories=st.booleans(),
    floors=st.booleans(),
    present=st.sampled_from([1.0, 0.6]),
    lift=st.sampled_from([0.0, -2.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_tiny_plans_are_the_best_there_are(
    *,
    customers: int,
    promotions: int,
    cap: int,
    with_categories: bool,
    floors: bool,
    present: float,
    lift: float,
    seed: int,
) -> None:
    block = draw_pairs(customers, promotions, seed=seed, cells=2, present=present)
    block = block._replace(values=(block.values + lift).round(2), costs=block.costs.round(1))
    categories = np.arange(promotions) % 2 if with_categories else None
    caps = np.ones(2, dtype=np.int64) if with_categories else np.empty(0, dtype=np.int64)
    problem = AllocationProblem(
        promotions, 2, every_kind_of_row(promotions, customers, floors=floors), cap, categories, caps
    )
    best = best_by_trying(block, problem)
    if best is None:
        with pytest.raises(AllocationInfeasible):
            run_in_memory(block, problem)
        return
    plan, slots = run_in_memory(block, problem)
    assert_keeps_limits(block, problem, slots)
    assert value_of(block, problem, slots) == pytest.approx(best, abs=1e-6)
    assert plan.value == pytest.approx(best, abs=1e-6)
    assert plan.upper_bound >= best - 1e-9


@pytest.mark.parametrize("cap", [1, 3])
@pytest.mark.parametrize("present", [1.0, 0.4])
def test_larger_plans_keep_limits_and_come_near_their_bound(
    cap: int, present: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So few near ties that most customers follow the prices.
    monkeypatch.setattr(allocation, "NEAR_PAIRS", 4_000)
    block = draw_pairs(8_000, 6, seed=5, cells=2, present=present)
    block = block._replace(values=block.values.astype(np.float32), costs=block.costs.astype(np.float32))
    categories = np.array([0, 0, 0, 1, 1, 1]) if cap > 1 else None
    caps = np.array([2, 1]) if cap > 1 else np.empty(0, dtype=np.int64)
    problem = AllocationProblem(6, 2, every_kind_of_row(6, 2_000.0), cap, categories, caps)
    plan, slots = run_in_memory(block, problem, sample_share=0.5)
    assert 0 < len(plan.settled_keys) < 4_000
    assert_keeps_limits(block, problem, slots)
    assert value_of(block, problem, slots) == pytest.approx(plan.value, rel=1e-9)
    assert 0 <= plan.gap < 3e-4


def test_more_budget_never_lowers_value() -> None:
    block = draw_pairs(300, 4, seed=3)
    values = []
    for budget in (0.0, 5.0, 20.0, 60.0, 1000.0):
        rows = (make_row("budget", 4, cost=1.0, high=budget),)
        values.append(run_in_memory(block, AllocationProblem(4, rows=rows))[0])
    assert values[0].value == 0.0
    for poorer, richer in pairwise(values):
        assert poorer.value <= richer.upper_bound
        assert poorer.value < richer.value


def test_doubling_values_and_costs_and_budget_doubles_the_plan() -> None:
    block = draw_pairs(300, 4, seed=4)
    problem = AllocationProblem(4, rows=(make_row("budget", 4, cost=1.0, high=30.0),))
    doubled = AllocationProblem(4, rows=(make_row("budget", 4, cost=1.0, high=60.0),))
    plan, _ = run_in_memory(block, problem)
    twice = block._replace(values=2 * block.values, costs=2 * block.costs)
    other, _ = run_in_memory(twice, doubled)
    assert other.value == pytest.approx(2 * plan.value, rel=1e-6)
    assert other.multipliers == pytest.approx(plan.multipliers, rel=1e-6)


def test_order_and_partitioning_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "NEAR_PAIRS", 2_000)
    block = draw_pairs(5_000, 4, seed=6, cells=2)
    problem = AllocationProblem(4, 2, every_kind_of_row(4, 1_500.0))
    _, slots = run_in_memory(block, problem, sample_share=0.5, parts=1)
    order = np.random.default_rng(0).permutation(5_000)
    _, shuffled = run_in_memory(block.take(order), problem, sample_share=0.5, parts=7)
    assert np.array_equal(shuffled, slots[:, order])


@pytest.mark.parametrize("costs", [1.0, 0.0])
def test_a_hundred_thousand_customers_alike_are_shared_out(costs: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "NEAR_PAIRS", 20_000)
    customers = 100_000
    keys = np.arange(customers)
    values = np.full((3, customers), 2.0, dtype=np.float32)
    block = PairBlock(keys, np.zeros_like(keys), None, values, np.full_like(values, costs))
    rows = (
        make_row("budget", 3, cost=1.0, high=30_000.0),
        make_row("stock of 0", 3, count=np.array([1.0, 0, 0]), high=10_000.0),
        make_row("stock of all", 3, count=1.0, high=40_000.0),
    )
    problem = AllocationProblem(3, rows=rows)
    plan, slots = run_in_memory(block, problem, sample_share=0.2)
    assert_keeps_limits(block, problem, slots)
    assert plan.value == pytest.approx(2 * (30_000 if costs else 40_000), rel=1e-4)
    assert plan.gap < 1e-4


@pytest.mark.parametrize(("customers", "promotions"), [(5_000, 1), (9_000, 2)])
def test_few_customers_alike_are_shared_out_too(customers: int, promotions: int) -> None:
    keys = np.random.default_rng(1).integers(-(2**62), 2**62, customers)
    shape = (promotions, customers)
    block = PairBlock(keys, np.zeros(customers, dtype=np.int64), None, np.full(shape, 2.0), np.full(shape, 0.5))
    problem = AllocationProblem(promotions, rows=(make_row("budget", promotions, cost=1.0, high=0.2 * customers),))
    plan, slots = run_in_memory(block, problem)
    assert np.count_nonzero(slots != NONE) == 0.4 * customers
    assert plan.gap < 1e-4


def test_a_poor_sample_is_made_up_for_by_the_customers_around_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "NEAR_PAIRS", 2_000)
    monkeypatch.setattr(allocation, "AROUND_PAIRS", 30_000)
    customers, promotions = 60_000, 8
    block = draw_pairs(customers, promotions, seed=5)
    rows = tuple(
        make_row(f"stock of {k}", promotions, count=np.eye(promotions)[k], high=0.04 * customers)
        for k in range(promotions)
    )
    problem = AllocationProblem(promotions, rows=rows)
    plan, slots = run_in_memory(block, problem, sample_share=0.03)
    assert_keeps_limits(block, problem, slots)
    assert plan.gap < 5e-5
    assert plan.passes <= 3


def test_a_budget_of_nothing_lets_only_free_promotions_through() -> None:
    block = draw_pairs(50, 3, seed=1)
    block.costs[1, ::2] = 0.0
    problem = AllocationProblem(3, rows=(make_row("budget", 3, cost=1.0, high=0.0),))
    plan, slots = run_in_memory(block, problem)
    assert ((slots[0] == 1) == (np.arange(50) % 2 == 0)).all()
    assert plan.value == pytest.approx(block.values[1, ::2].sum())
    assert plan.gap < 1e-6


def test_negative_values_are_chosen_only_for_a_floor() -> None:
    block = draw_pairs(40, 2, seed=2)
    block = block._replace(values=-block.values)
    assert run_in_memory(block, AllocationProblem(2))[0].value == 0.0
    problem = AllocationProblem(2, rows=(make_row("volume", 2, count=1.0, low=7.0),))
    plan, slots = run_in_memory(block, problem)
    assert (slots != NONE).sum() == 7
    assert plan.value == pytest.approx(np.sort(block.values.max(axis=0))[-7:].sum())


def test_nobody_gets_nothing() -> None:
    empty = draw_pairs(0, 2, seed=0)
    problem = AllocationProblem(2, rows=(make_row("budget", 2, cost=1.0, high=5.0),))
    plan, slots = run_in_memory(empty, problem)
    assert (plan.value, plan.upper_bound, plan.gap) == (0.0, 0.0, 0.0)
    assert slots.shape == (1, 0)


@pytest.mark.parametrize("customers", [320, 30_000])
def test_a_floor_out_of_reach_is_named_with_its_relaxation(customers: int) -> None:
    block = draw_pairs(customers, 2, seed=8)
    rows = (make_row("gifts", 2, count=1.0, low=customers + 180.0), make_row("budget", 2, cost=1.0, high=1e9))
    told = f"Row gifts: asks at least {customers + 180}, at most {customers} can be met; relax by 180"
    with pytest.raises(AllocationInfeasible, match=told):
        run_in_memory(block, AllocationProblem(2, rows=rows))


def test_floors_that_only_together_ask_too_much_are_named() -> None:
    block = draw_pairs(100, 2, seed=8)
    rows = tuple(make_row(f"volume of {k}", 2, count=np.eye(2)[k], low=60.0) for k in range(2))
    with pytest.raises(AllocationInfeasible, match=r"Row volume of \d: asks at least 60, at most") as caught:
        run_in_memory(block, AllocationProblem(2, rows=rows))
    assert sum(map(float, re.findall(r"relax by (\d+)", str(caught.value)))) == 20


def test_a_customer_twice_is_refused() -> None:
    block = draw_pairs(10, 2, seed=1)
    block.keys[3] = block.keys[7]
    with pytest.raises(ValueError, match="a customer appears twice"):
        run_in_memory(block, AllocationProblem(2, rows=(make_row("budget", 2, cost=1.0, high=2.0),)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": 3.0, "high": 2.0}, "no range"),
        ({"high": float("nan")}, "no range"),
        ({"cost_weight": np.array([1.0, np.inf])}, "finite"),
        ({"cells": np.ones(3, dtype=np.bool_)}, "needs 1 cells and 2 weights"),
    ],
)
def test_rows_that_make_no_sense_are_refused(change: dict[str, object], message: str) -> None:
    row = make_row("odd", 2, cost=1.0, high=2.0)
    with pytest.raises(ValueError, match=rf"row odd: .*{message}"):
        AllocationProblem(2, rows=(replace(row, **change),))  # type: ignore[arg-type]  # one field of several types


def test_names_must_differ() -> None:
    with pytest.raises(ValueError, match="repeat"):
        AllocationProblem(2, rows=(make_row("a", 2, high=1.0), make_row("a", 2, high=1.0)))

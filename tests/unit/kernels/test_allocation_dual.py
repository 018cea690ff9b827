from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promo_spark.kernels.allocation_dual import lowest_in_box, minimise_dual
from promo_spark.kernels.allocation_greedy import NONE
from promo_spark.kernels.allocation_problem import AllocationProblem, price_tables
from promo_spark.kernels.allocation_relaxation import exact_prices, write_program
from promo_spark.kernels.allocation_response import PairBlock, chosen_sums, respond, rounding_error
from promo_spark.kernels.allocation_sample import Sample, measure_scales
from promo_spark.kernels.hash_draws import draw_uniform
from tests.unit.kernels.allocation_cases import choices_of, draw_pairs, make_row
from tests.unit.kernels.test_allocation import every_kind_of_row


@settings(max_examples=80, deadline=None)
@given(
    cap=st.integers(1, 3),
    with_categories=st.booleans(),
    present=st.sampled_from([1.0, 0.6]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_best_responses_are_those_found_by_trying(
    cap: int, with_categories: bool, present: float, dtype: type, seed: int
) -> None:
    block = draw_pairs(12, 4, seed=seed, cells=2, present=present)
    block = block._replace(values=block.values.astype(dtype), costs=block.costs.astype(dtype))
    categories = np.array([0, 0, 1, 1]) if with_categories else None
    caps = np.array([1, 2]) if with_categories else np.empty(0, dtype=np.int64)
    problem = AllocationProblem(4, 2, every_kind_of_row(4, 5.0), cap, categories, caps)
    multipliers = np.random.default_rng(seed).normal(0, 0.3, len(problem.rows))
    tables = price_tables(problem, multipliers)
    reply = respond(block, problem, tables, 0.0)
    reduced = reduced_values(block, problem, multipliers)
    found = [reduced[:, i][reply.slots[:, i][reply.slots[:, i] != NONE]].sum() for i in range(12)]
    best = [max(reduced[list(own), i].sum() for own in choices_of(block, problem, i)) for i in range(12)]
    assert found == pytest.approx(best, abs=1e-5)
    assert reply.best == pytest.approx(sum(best), abs=1e-5)
    assert (reply.margins >= 0).all()


def reduced_values(block: PairBlock, problem: AllocationProblem, multipliers: np.ndarray) -> np.ndarray:
    """Value less the price of every row, pair by pair."""
    promotions = block.all_promotions()
    reduced = np.full(block.values.shape, -np.inf)
    for slot, customer in np.argwhere(promotions < problem.promotion_count):
        k, value, cost = promotions[slot, customer], block.values[slot, customer], block.costs[slot, customer]
        paid = sum(
            price * (row.cost_weight[k] * cost + row.count_weight[k] + row.value_weight[k] * value)
            for price, row in zip(multipliers, problem.rows, strict=True)
            if row.cells[block.cells[customer]]
        )
        reduced[slot, customer] = value - paid
    return reduced


def test_margins_say_how_far_the_next_choice_is() -> None:
    block = draw_pairs(200, 5, seed=4)
    problem = AllocationProblem(5, rows=(make_row("budget", 5, cost=1.0, high=30.0),))
    tables = price_tables(problem, np.array([2.0]))
    reduced = np.sort(np.vstack([block.values - 2.0 * block.costs, np.zeros(200)]), axis=0)
    assert respond(block, problem, tables, 0.0).margins == pytest.approx(reduced[-1] - reduced[-2])


@pytest.mark.parametrize("cap", [1, 2])
def test_prices_are_those_of_linear_programming(cap: int) -> None:
    block = draw_pairs(3_000, 5, seed=11, cells=2)
    problem = AllocationProblem(5, 2, every_kind_of_row(5, 1_000.0), cap)
    sample = Sample(block, np.ones(3_000))
    scales = measure_scales(sample, problem)
    program = write_program(block, problem)
    exact, missed = exact_prices(program, problem.bounds, scales.highest_prices, sample.weights)
    assert missed == []
    bounds = [
        dual_value(block, problem, prices) for prices in (exact, minimise_dual(sample, problem, problem.bounds, scales))
    ]
    assert bounds[1] == pytest.approx(bounds[0], rel=2e-5)
    assert bounds[1] >= bounds[0] * (1 - 1e-9)


def dual_value(block: PairBlock, problem: AllocationProblem, prices: np.ndarray) -> float:
    return respond(block, problem, price_tables(problem, prices), 0.0).best + problem.bounds.support(prices)


def test_rounding_to_float32_never_lowers_the_bound() -> None:
    block = draw_pairs(5_000, 5, seed=12)
    block = block._replace(values=block.values.astype(np.float32), costs=block.costs.astype(np.float32))
    problem = AllocationProblem(5, rows=(make_row("budget", 5, cost=1.0, high=30.0),))
    totals = (5_000.0, float(np.abs(block.values).max(axis=0).sum()), float(block.costs.max(axis=0).sum()))
    for price in np.linspace(0.01, 5.0, 25):
        tables = price_tables(problem, np.array([price]))
        exact = respond(block, problem, tables, 0.0).best
        rounded = respond(block, problem, tables.rounded(), 0.0).best
        assert rounded + rounding_error(problem, tables.rounded(), totals) >= exact
        assert rounded == pytest.approx(exact, rel=1e-6)


def test_weights_stand_for_copies() -> None:
    block = draw_pairs(400, 4, seed=13)
    problem = AllocationProblem(4, rows=(make_row("budget", 4, cost=1.0, high=300.0),))
    copies = PairBlock(
        np.arange(1_200), np.zeros(1_200, np.int64), None, np.tile(block.values, 3), np.tile(block.costs, 3)
    )
    found = []
    for sample in (Sample(block, np.full(400, 3.0)), Sample(copies, np.ones(1_200))):
        scales = measure_scales(sample, problem)
        found.append(minimise_dual(sample, problem, problem.bounds, scales)[0])
    assert found[0] == pytest.approx(found[1], rel=0.02)


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 6))
@example(seed=425769, size=5)
@example(seed=311, size=2)
def test_quadratics_are_lowest_where_no_step_inside_the_box_leads_down(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    root = random.normal(size=(size, size))
    curve, slope = root @ root.T + 0.1 * np.eye(size), random.normal(size=size)
    low, high = -random.random(size), random.random(size)
    x = lowest_in_box(curve, slope, low, high, np.zeros(size))
    grade = curve @ x + slope
    assert ((x >= low) & (x <= high)).all()
    assert (
        np.abs(np.where(x <= low, np.minimum(grade, 0), np.where(x >= high, np.maximum(grade, 0), grade))) < 1e-6
    ).all()


def test_random_numbers_of_two_streams_are_uniform_and_unrelated() -> None:
    first, second = (draw_uniform(np.arange(100_000), stream) for stream in (0, 1))
    for drawn in (first, second):
        counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
        assert ((counts - 5_000) ** 2 / 5_000).sum() < 44  # the 99.9th percentile of chi-square, 19 degrees
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.011


def test_usage_of_rows_is_that_of_their_definition() -> None:
    block = draw_pairs(30, 4, seed=15, cells=2)
    problem = AllocationProblem(4, 2, every_kind_of_row(4, 10.0))
    slots = np.random.default_rng(0).integers(-1, 4, (1, 30))
    used = problem.usage(chosen_sums(block, problem, slots))
    for row, total in zip(problem.rows, used.tolist(), strict=True):
        expected = sum(
            row.cost_weight[k] * block.costs[k, i] + row.count_weight[k] + row.value_weight[k] * block.values[k, i]
            for i, k in enumerate(slots[0].tolist())
            if k != NONE and row.cells[block.cells[i]]
        )
        assert total == pytest.approx(expected)

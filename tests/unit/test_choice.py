"""The exact choice against every choice there is."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from promo_spark.kernels import choice as choice_kernel
from promo_spark.kernels.choice import Choice, choose_offers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Problem = tuple[Floats, Floats, Ints, float, Floats, Ints]  # the arguments of choose_offers


@st.composite
def problems(draw: st.DrawFn, whole: bool = True) -> Problem:
    n_cells, n_offers, n_groups = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    value = rng.integers(-3, 20, (n_cells, n_offers)).astype(np.float64)
    cost = rng.integers(0, 9, (n_cells, n_offers)).astype(np.float64)
    if not whole:
        value, cost = value + rng.random(value.shape), cost + rng.random(cost.shape)
    value[rng.random(value.shape) < 0.2] = rng.choice([np.nan, -np.inf])
    groups = rng.integers(0, n_groups, n_cells)
    budget, group_budgets = float(rng.integers(0, 25)), rng.integers(0, 20, n_groups).astype(np.float64)
    return value, cost, groups, budget, group_budgets, rng.integers(0, 4, n_groups)


def choose(problem: Problem) -> Choice:
    value, cost, groups, budget, group_budgets, limits = problem
    return choose_offers(value, cost, groups, budget, group_budgets, max_offers_per_group=limits)


def spend_of(problem: Problem, offers: Ints) -> tuple[float, float, bool]:
    value, cost, groups, budget, group_budgets, limits = problem
    cells = np.flatnonzero(offers >= 0)
    spend = cost[cells, offers[cells]]
    per_group = np.bincount(groups[cells], weights=spend, minlength=len(group_budgets))
    counts = np.bincount(groups[cells], minlength=len(group_budgets))
    eligible = np.isfinite(value[cells, offers[cells]]).all()
    slack = 1e-5
    within = spend.sum() <= budget + slack and (per_group <= group_budgets + slack).all()
    return (
        value[cells, offers[cells]].sum(),
        spend.sum(),
        bool(eligible and within and (counts <= limits).all()),
    )


@given(problem=st.one_of(problems(), problems(whole=False)))
@settings(max_examples=150, deadline=None)
def test_no_choice_there_is_is_worth_more(problem: Problem) -> None:
    n_cells, n_offers = problem[0].shape
    every = (spend_of(problem, np.array(o)) for o in itertools.product(range(-1, n_offers), repeat=n_cells))
    best = max(value for value, _, allowed in every if allowed)
    choice = choose(problem)
    value, cost, allowed = spend_of(problem, choice.offers)
    assert allowed
    assert choice.value == pytest.approx(best)
    assert (choice.value, choice.cost) == pytest.approx((value, cost))
    assert choice.gap <= 1e-9


@given(problem=problems(whole=False), more=st.floats(0.0, 10.0))
@settings(max_examples=50, deadline=None)
def test_more_budget_never_lowers_value(problem: Problem, more: float) -> None:
    value, cost, groups, budget, group_budgets, limits = problem
    assert choose((value, cost, groups, budget + more, group_budgets, limits)).value >= (choose(problem).value - 1e-6)
    assert choose((value, cost, groups, budget, group_budgets + more, limits)).value >= (choose(problem).value - 1e-6)


@given(problem=st.one_of(problems(), problems(whole=False)), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_shuffling_cells_changes_nothing_but_their_order(problem: Problem, seed: int) -> None:
    value, cost, groups, budget, group_budgets, limits = problem
    value = value + np.arange(len(value))[:, None] * 1e-3  # no two cells are the same
    order = np.random.default_rng(seed).permutation(len(value))
    choice = choose((value, cost, groups, budget, group_budgets, limits))
    shuffled = choose((value[order], cost[order], groups[order], budget, group_budgets, limits))
    np.testing.assert_array_equal(shuffled.offers, choice.offers[order])
    assert shuffled[1:] == choice[1:]


@given(problem=problems(whole=False))
@settings(max_examples=50, deadline=None)
def test_doubling_amounts_doubles_value_and_cost(problem: Problem) -> None:
    value, cost, groups, budget, group_budgets, limits = problem
    single = choose(problem)
    double = choose((2 * value, 2 * cost, groups, 2 * budget, 2 * group_budgets, limits))
    np.testing.assert_array_equal(double.offers, single.offers)
    assert (double.value, double.cost) == (2 * single.value, 2 * single.cost)
    assert double.budget_value == pytest.approx(single.budget_value)


def test_value_of_more_budget_is_the_slope_of_value_over_budget() -> None:
    draw = np.random.default_rng(0)
    value, cost = draw.lognormal(3.0, 1.0, (400, 5)), draw.lognormal(2.0, 1.0, (400, 5))
    groups, free = np.arange(400) % 4, np.full(4, np.inf)
    low, middle, high = (choose_offers(value, cost, groups, budget, free) for budget in (970.0, 1000.0, 1030.0))
    assert middle.budget_value == pytest.approx((high.value - low.value) / 60.0, rel=0.1)


def test_budget_that_does_not_bind_is_worth_nothing_more() -> None:
    value, cost = np.array([[5.0]]), np.array([[2.0]])
    for budget in (10.0, np.inf):
        choice = choose_offers(value, cost, np.array([0]), budget, np.array([np.inf]))
        assert (choice.offers.tolist(), choice.budget_value) == ([0], 0.0)


def test_equal_offers_give_way_to_the_first_and_dearer_to_cheaper() -> None:
    value, cost = np.array([[5.0, 5.0, 5.0]]), np.array([[3.0, 2.0, 2.0]])
    choice = choose_offers(value, cost, np.array([0]), 10.0, np.array([10.0]))
    assert choice.offers.tolist() == [1]


def test_of_equally_good_choices_the_same_is_made_in_every_order() -> None:
    draw = np.random.default_rng(0)
    value, cost = draw.integers(1, 6, (2, 30, 3)).astype(np.float64)  # many choices are best
    cost += np.arange(30)[:, None] * 1e-6  # but no two cells are the same
    groups, group_budgets = np.zeros(30, dtype=np.int64), np.array([np.inf])
    first = choose_offers(value, cost, groups, 40.0, group_budgets)
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(30)
        again = choose_offers(value[order], cost[order], groups, 40.0, group_budgets)
        np.testing.assert_array_equal(again.offers, first.offers[order])


def test_nothing_eligible_is_nothing_chosen() -> None:
    value = np.array([[np.nan, -1.0], [-np.inf, 0.0]])
    choice = choose_offers(value, np.zeros((2, 2)), np.array([0, 0]), 1.0, np.array([1.0]))
    assert choice.offers.tolist() == [-1, -1]
    assert choice[1:] == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("cost", "budget", "group_budget", "message"),
    [
        (1.0, -1.0, 1.0, "budget must not be negative"),
        (1.0, np.nan, 1.0, "budget must not be negative"),
        (1.0, 1.0, -1.0, "group_budgets must not be negative"),
        (-1.0, 1.0, 1.0, "cost must not be negative"),
        (np.nan, 1.0, 1.0, "cost must not be negative"),
    ],
)
def test_negative_or_missing_amounts_are_refused(cost: float, budget: float, group_budget: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_offers(np.ones((1, 1)), np.full((1, 1), cost), np.array([0]), budget, np.array([group_budget]))


def test_without_time_a_feasible_choice_comes_with_an_honest_gap() -> None:
    draw = np.random.default_rng(3)
    value, cost = draw.lognormal(3.0, 1.0, (60, 5)), draw.lognormal(2.0, 1.0, (60, 5))
    groups, group_budgets, limits = np.arange(60) % 3, np.array([40.0, 30.0, np.inf]), np.array([9, 9, 2])
    best = choose_offers(value, cost, groups, 90.0, group_budgets, max_offers_per_group=limits)
    hasty = choose_offers(
        value, cost, groups, 90.0, group_budgets, max_offers_per_group=limits, time_limit_seconds=1e-9
    )
    chosen = hasty.offers >= 0
    spent = np.where(chosen, cost[np.arange(60), hasty.offers], 0.0)
    assert hasty.cost == pytest.approx(spent.sum())
    assert spent.sum() <= 90.0
    assert (np.bincount(groups, spent) <= group_budgets).all()
    assert (np.bincount(groups, chosen) <= limits).all()
    assert 0 < hasty.gap < np.inf
    assert 0.5 * best.value < hasty.value <= best.value <= hasty.value * (1 + hasty.gap) + 1e-9


def test_a_solver_that_fails_is_not_taken_for_a_plan_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = OptimizeResult(x=None, status=4, message="numerical difficulties")
    monkeypatch.setattr(choice_kernel, "milp", lambda *_args, **_options: failed)
    with pytest.raises(RuntimeError, match="numerical difficulties"):
        choose_offers(np.ones((1, 1)), np.ones((1, 1)), np.array([0]), 1.0, np.array([1.0]))

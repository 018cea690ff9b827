"""Figures and their errors against other libraries, numerical gradients, and known truths."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import approx_fprime
from statsmodels.stats.proportion import proportion_confint

from promo_spark.kernels.kpi_estimates import Estimate, Figure, Kind, estimate_figure, interval, share_interval

Floats = NDArray[np.float64]
COMPOSED: dict[Kind, Callable[[Floats], float]] = {
    "gain_over_cost": lambda t: (t[0] / t[1] - t[2] / t[3]) / (t[4] / t[1]),
    "quotient": lambda t: (t[2] / t[3]) / (t[0] / t[1]),
    "displacement": lambda t: -(t[0] / t[1] - t[2] / t[3]) / (t[4] / t[1] - t[5] / t[3]),
}


def figure_of(kind: Kind, terms: Floats) -> Figure:
    return estimate_figure(kind, len(terms), terms.sum(axis=0), terms.T @ terms)


def drawn(count: int, seed: int = 1) -> Floats:
    """Terms of customers who are in an experiment: given (a1, n1, b1) or kept (a0, n0, b0)."""
    draws = np.random.default_rng(seed)
    given = draws.uniform(size=count) < 0.6
    amount, cost = draws.gamma(2.0, 10.0, count) + 12.0 * given, draws.gamma(3.0, 2.0, count)
    zero = np.zeros(count)
    own = [np.where(given, amount, zero), given * 1.0, np.where(given, zero, amount * 0.7), ~given * 1.0]
    return np.column_stack([*own, np.where(given, cost + amount, zero), np.where(given, zero, cost)])


def test_before_and_after_on_the_same_customers_is_the_paired_t_test() -> None:
    draws = np.random.default_rng(3)
    before = draws.gamma(2.0, 20.0, 200)
    now = 0.6 * before + draws.normal(15.0, 8.0, 200)
    ones, zeros = np.ones(200), np.zeros(200)
    figure = figure_of("ratio", np.column_stack([now, ones, before, ones, zeros, zeros]))
    told = stats.ttest_rel(now, before)
    assert figure.change.value == pytest.approx(np.mean(now - before))
    assert figure.change.value / figure.change.error == pytest.approx(told.statistic)
    ends = interval(figure.change, 200, 0.95)
    assert ends == pytest.approx(tuple(told.confidence_interval(0.95)))


def test_against_a_weighted_holdout_is_weighted_least_squares_with_robust_errors() -> None:
    draws = np.random.default_rng(4)
    given = draws.uniform(size=300) < 0.3
    weight = np.where(given, 1 / 0.3, 1 / 0.7) * draws.choice([1.0, 2.0], 300)
    outcome = draws.exponential(10.0, 300) + 3.0 * given
    fitted = sm.WLS(outcome, sm.add_constant(given.astype(float)), weights=weight).fit(cov_type="HC0")
    zeros = np.zeros(300)
    terms = [weight * outcome * given, weight * given, weight * outcome * ~given, weight * ~given, zeros, zeros]
    figure = figure_of("ratio", np.column_stack(terms))
    assert figure.change.value == pytest.approx(fitted.params[1])
    assert figure.change.error == pytest.approx(fitted.bse[1] * np.sqrt(300 / 299))
    assert figure.other.value == pytest.approx(fitted.params[0])


@pytest.mark.parametrize("kind", COMPOSED)
def test_composed_figures_have_the_error_of_a_numerical_gradient(kind: Kind) -> None:
    terms = drawn(500)
    totals = terms.sum(axis=0)
    gradient = approx_fprime(totals, COMPOSED[kind], 1e-5)
    spread = len(terms) * np.cov(terms.T)
    figure = figure_of(kind, terms)
    assert figure.value.value == pytest.approx(COMPOSED[kind](totals))
    assert figure.value.error == pytest.approx(np.sqrt(gradient @ spread @ gradient), rel=1e-4)
    assert figure.change == Estimate(None, None)


def test_a_total_has_the_error_of_a_sum() -> None:
    terms = drawn(50)
    figure = figure_of("total", terms)
    assert figure.value.error == pytest.approx(terms[:, 0].std(ddof=1) * np.sqrt(50))
    assert figure.change.error == pytest.approx((terms[:, 0] - terms[:, 2]).std(ddof=1) * np.sqrt(50))


def test_intervals_of_a_ratio_cover_the_truth_as_often_as_they_say() -> None:
    draws = np.random.default_rng(8)
    covered = []
    for _ in range(2_000):
        baskets = draws.poisson(4.0, 150) + 1.0
        spend = baskets * 20.0 + draws.normal(0.0, 15.0, 150) * baskets  # a customer's baskets hang together
        zeros = np.zeros(150)
        figure = figure_of("ratio", np.column_stack([spend, baskets, zeros, zeros, zeros, zeros]))
        low, high = interval(figure.value, 150, 0.95)
        covered.append(low is not None and high is not None and low <= 20.0 <= high)
    assert 0.933 <= np.mean(covered) <= 0.967


@pytest.mark.parametrize("kind", ["total", "ratio", *COMPOSED])
def test_what_is_unknown_or_divided_by_nothing_is_not_told(kind: Kind) -> None:
    unknown = np.full(6, np.nan)
    assert estimate_figure(kind, 0, unknown, np.full((6, 6), np.nan)) == Figure(*[Estimate(None, None)] * 3)
    if kind != "total":
        zeros = np.zeros(6)
        assert estimate_figure(kind, 5, zeros, np.zeros((6, 6))).value == Estimate(None, None)


def test_nothing_is_displaced_by_what_gained_nothing() -> None:
    terms = drawn(500)
    terms[:, 4] *= 0.01
    assert figure_of("displacement", terms).value == Estimate(None, None)


def test_one_customer_has_a_value_and_no_error() -> None:
    figure = figure_of("ratio", np.array([[4.0, 2.0, 0.0, 0.0, 0.0, 0.0]]))
    assert figure.value == Estimate(2.0, None)
    assert interval(figure.value, 1, 0.95) == (None, None)


def test_customers_who_are_all_alike_leave_no_error() -> None:
    figure = figure_of("ratio", np.tile([0.1, 1.0, 0.1, 1.0, 0.0, 0.0], (1_000, 1)))
    assert figure.change.error == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_of_a_share_is_wilson_s_and_stays_a_share(level: float) -> None:
    for count in (1, 2, 3, 10, 400):
        for successes in {0, 1, count // 2, count}:
            low, high = share_interval(successes, count, level)
            assert (low, high) == pytest.approx(proportion_confint(successes, count, 1 - level, method="wilson"))
            assert low is not None
            assert high is not None
            assert 0 <= low <= successes / count <= high <= 1

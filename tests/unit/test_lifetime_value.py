"""BG/NBD and gamma-gamma: published figures, recovery of what was simulated, probabilities as often true as told."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import approx_fprime
from scipy.special import log_expit

from promo_spark.kernels.bg_nbd import (
    BgNbd,
    alive_probability,
    expected_purchases,
    fit_bg_nbd,
    log_likelihoods,
    purchase_probability,
)
from promo_spark.kernels.gamma_gamma import GammaGamma, expected_amounts, fit_gamma_gamma
from promo_spark.kernels.lifetime_value import value_lifetimes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
SHOPPERS = BgNbd(r=0.8, alpha=20.0, a=0.9, b=4.0)
HORIZON = 180.0


@dataclass
class Simulated:
    """Customers who buy and leave as the model says; what followed within the horizon beside it."""

    repeats: Ints
    last: Floats
    age: Floats
    is_alive: npt.NDArray[np.bool_]
    bought: Ints
    discounted: Floats

    @property
    def known(self) -> tuple[Ints, Floats, Floats]:
        return self.repeats, self.last, self.age


def simulate(
    truth: BgNbd, customers: int, *, seed: int, discount_rate: float = 0.0, ages: tuple[int, int] = (60, 700)
) -> Simulated:
    random = np.random.default_rng(seed)
    rate = random.gamma(truth.r, 1 / truth.alpha, customers)
    leaves = random.beta(truth.a, truth.b, customers)
    age = random.integers(*ages, customers).astype(np.float64)
    repeats, bought = np.zeros(customers, dtype=np.int64), np.zeros(customers, dtype=np.int64)
    last, clock, discounted = np.zeros(customers), np.zeros(customers), np.zeros(customers)
    left_at = np.full(customers, np.inf)
    active = np.arange(customers)
    while len(active):
        clock[active] += random.exponential(1 / np.maximum(rate[active], 1e-12))
        active = active[clock[active] <= age[active] + HORIZON]
        before = clock[active] <= age[active]
        past, future = active[before], active[~before]
        repeats[past] += 1
        last[past] = clock[past]
        bought[future] += 1
        discounted[future] += (1 + discount_rate) ** (-(clock[future] - age[future]) / 365)
        gone = random.random(len(active)) < leaves[active]
        left_at[active[gone]] = clock[active[gone]]
        active = active[~gone]
    return Simulated(repeats, last, age, left_at > age, bought, discounted)


@pytest.fixture(scope="module")
def shoppers() -> Simulated:
    return simulate(SHOPPERS, 200_000, seed=5, discount_rate=0.3)


@pytest.fixture(scope="module")
def cdnow() -> Floats:
    return np.loadtxt(Path(__file__).parent / "data" / "cdnow.csv", delimiter=",", skiprows=1)


def errors(likelihood: Callable[[Floats], float], point: Floats, step: float = 1e-3) -> Floats:
    """Standard errors from the curvature of a summed log-likelihood, by central differences."""
    size = len(point)
    curvature = np.zeros((size, size))
    moves = np.eye(size) * step
    for i in range(size):
        for j in range(size):
            corners = [likelihood(point + s * moves[i] + t * moves[j]) * s * t for s in (-1, 1) for t in (-1, 1)]
            curvature[i, j] = -sum(corners) / (4 * step * step)
    return np.sqrt(np.diag(np.linalg.inv(curvature)))


def assert_as_often_as_told(told: Floats, happened: Floats, groups: int = 20) -> None:
    """In each group told alike, the mean of what happened is what was told, within its error and one customer."""
    order = np.argsort(told, kind="stable")
    for members in np.array_split(order, groups):
        difference = happened[members] - told[members]
        error = difference.std() / np.sqrt(len(members))
        assert abs(difference.mean()) < 4 * error + 1 / len(members), (
            told[members].mean(),
            happened[members].mean(),
            error,
        )


@pytest.mark.parametrize(("unit", "shift"), [(1.0, 0), (7.0, 1)], ids=["weeks", "days"])
def test_the_published_fit_is_found_in_any_unit_of_time(cdnow: Floats, unit: float, shift: int) -> None:
    repeats, last, age, _, customers = cdnow.T
    fit = fit_bg_nbd(repeats.astype(np.int64), unit * last, unit * age, customers)
    assert fit.is_converged
    in_weeks = np.array(fit.parameters) / [1.0, unit, 1.0, 1.0]
    assert in_weeks.round(3).tolist() == [0.243, 4.414, 0.793, 2.426]
    assert round(fit.log_likelihood + shift * float(customers @ repeats) * np.log(unit), 1) == -9582.4


def test_the_published_fit_of_amounts_is_found(cdnow: Floats) -> None:
    again = np.repeat(cdnow, cdnow[:, 4].astype(int), axis=0)
    again = again[again[:, 0] > 0]
    assert len(again) == 946
    fit = fit_gamma_gamma(again[:, 0], again[:, 3])
    assert fit.is_converged
    assert np.array(fit.parameters).round(2).tolist() == [6.25, 3.74, 15.45]


def test_customers_alike_may_be_counted_once() -> None:
    few = simulate(SHOPPERS, 60, seed=1)
    weights = np.random.default_rng(2).integers(1, 6, 60)
    counted = fit_bg_nbd(*few.known, weights.astype(np.float64))
    copied = fit_bg_nbd(*(np.repeat(values, weights) for values in few.known))
    assert counted.log_likelihood == pytest.approx(copied.log_likelihood, abs=1e-9)
    assert counted.parameters == pytest.approx(copied.parameters, rel=1e-4)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_simulated_parameters_are_recovered(seed: int) -> None:
    seen = simulate(SHOPPERS, 3_000, seed=seed)
    fit = fit_bg_nbd(*seen.known)
    assert fit.is_converged
    found, truth = np.log(fit.parameters), np.log(SHOPPERS)
    spread = errors(lambda point: log_likelihoods(BgNbd(*np.exp(point)), *seen.known).sum(), found)
    assert (np.abs(found - truth) < 3 * spread).all()
    assert (spread < 0.35).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_simulated_amounts_are_recovered(seed: int) -> None:
    truth = GammaGamma(p=4.0, q=5.0, v=40.0)
    random = np.random.default_rng(seed)
    counts = random.integers(1, 12, 3_000).astype(np.float64)
    rates = random.gamma(truth.q, 1 / truth.v, len(counts))
    means = random.gamma(truth.p * counts) / rates / counts
    fit = fit_gamma_gamma(counts, means)
    assert fit.is_converged
    assert np.log(fit.parameters) == pytest.approx(np.log(truth), abs=0.25)
    mean = fit.parameters.p * fit.parameters.v / (fit.parameters.q - 1)
    assert mean == pytest.approx(40.0, rel=0.04)
    assert_as_often_as_told(expected_amounts(truth, counts, means), truth.p / rates)


def test_the_likelihood_is_of_what_is_seen() -> None:
    """Chances of all numbers of purchases sum to one: integrate over the time of the last, given how many."""
    truth, age = BgNbd(1.3, 4.0, 0.7, 2.0), 5.0
    times = np.linspace(0, age, 20_001)
    total = float(np.exp(log_likelihoods(truth, np.array([0]), np.zeros(1), np.array([age])))[0])
    for repeats in range(1, 60):
        # All but the last purchase may lie anywhere before it, in order.
        earlier = np.cumsum(np.log(np.arange(1, repeats)))[-1] if repeats > 1 else 0.0
        with np.errstate(divide="ignore"):
            places = (repeats - 1) * np.log(times) if repeats > 1 else np.zeros(len(times))
        density = log_likelihoods(truth, np.full(len(times), repeats), times, np.full(len(times), age))
        total += float(np.trapezoid(np.exp(density + places - earlier), times))
    assert total == pytest.approx(1.0, abs=2e-3)


def test_the_fit_is_at_the_top_whichever_way_is_looked(cdnow: Floats) -> None:
    repeats, last, age, _, customers = cdnow.T
    counts = repeats.astype(np.int64)

    def likelihood(point: Floats) -> float:
        return float(customers @ log_likelihoods(BgNbd(*np.exp(point)), counts, last, age))

    top = np.log(fit_bg_nbd(counts, last, age, customers).parameters)
    assert np.abs(approx_fprime(top, likelihood, 1e-5)).max() < 0.2
    assert np.abs(approx_fprime(top + 0.1, likelihood, 1e-5)).max() > 20


def test_probabilities_are_as_often_true_as_told(shoppers: Simulated) -> None:
    assert_as_often_as_told(alive_probability(SHOPPERS, *shoppers.known), shoppers.is_alive.astype(np.float64))
    assert_as_often_as_told(
        purchase_probability(SHOPPERS, *shoppers.known, HORIZON), (shoppers.bought > 0).astype(np.float64)
    )


def test_expected_purchases_and_values_are_the_mean_of_what_follows(shoppers: Simulated) -> None:
    assert_as_often_as_told(expected_purchases(SHOPPERS, *shoppers.known, HORIZON), shoppers.bought.astype(np.float64))
    told = value_lifetimes(
        SHOPPERS,
        GammaGamma(p=1e6, q=1e6, v=7.0),
        repeats=shoppers.repeats,
        last=shoppers.last,
        age=shoppers.age,
        spend=7.0 * (shoppers.repeats + 1),
        horizon=HORIZON,
        discount_rate=0.3,
    )
    assert told.amounts == pytest.approx(7.0, rel=1e-4)
    assert_as_often_as_told(told.values / 7.0, shoppers.discounted)
    assert (told.values < told.amounts * told.purchases).all()


@pytest.mark.parametrize("a", [0.01, 0.3, 1.0, 40.0])
@pytest.mark.parametrize("b", [0.05, 3.0, 1e6])
def test_expected_purchases_are_the_mean_over_chances_to_leave(a: float, b: float) -> None:
    repeats, age = np.array([0, 1, 40, 300, 1, 5]), np.array([200.0, 200.0, 200.0, 200.0, 1.0, 5.0])
    truth, last = BgNbd(1.4, 2.5, a, b), np.where(repeats > 0, age, 0.0)
    told = {horizon: expected_purchases(truth, repeats, last, age, horizon) for horizon in (364.0, 1092.0)}
    alive = alive_probability(truth, repeats, last, age)
    for place, count in enumerate(repeats):
        # Mean over beta(a, b + count) on a fine grid of the log-odds.
        odds = np.linspace(-60 / min(a, 1) - 30, 60 / min(b + count, 1) + 10, 400_001)
        logs = a * log_expit(odds) + (b + count) * log_expit(-odds)
        weights = np.exp(logs - logs.max())
        chance = np.maximum(np.exp(log_expit(odds)), 1e-300)
        for horizon, digits in ((364.0, 1e-6), (1092.0, 1e-4)):
            reach = horizon / (truth.alpha + age[place])
            bought = -np.expm1(-(truth.r + count) * np.log1p(chance * reach)) / chance
            expected = alive[place] * (weights @ bought) / weights.sum()
            assert told[horizon][place] == pytest.approx(expected, rel=digits)


@pytest.mark.parametrize(
    ("truth", "alive"),
    [
        (BgNbd(1.4, 9.5, 1e-9, 1.0), 1.0),
        (BgNbd(1.4, 9.5, 600.0, 1_000_000.0), None),
        (BgNbd(5_000.0, 50_000.0, 1.0, 30.0), None),
    ],
    ids=["nobody leaves", "all leave alike", "all buy alike"],
)
def test_the_limits_of_the_model_are_no_failure(truth: BgNbd, alive: float | None) -> None:
    seen = simulate(truth, 1_500, seed=8, ages=(60, 240))
    fit = fit_bg_nbd(*seen.known)
    assert fit.is_converged
    told = alive_probability(fit.parameters, *seen.known)
    assert told.mean() == pytest.approx(seen.is_alive.mean(), abs=0.03)
    if alive is not None:
        assert told.min() > 0.99
    bought = expected_purchases(fit.parameters, *seen.known, HORIZON)
    assert np.isfinite(bought).all()
    assert bought.sum() == pytest.approx(seen.bought.sum(), rel=0.05)


def test_amounts_without_a_mean_are_not_told() -> None:
    random = np.random.default_rng(4)
    rates = random.gamma(0.4, 1.0, 2_000)
    fit = fit_gamma_gamma(np.ones(2_000), random.gamma(2.0, 1.0, 2_000) / rates)
    assert not fit.is_converged


def test_equal_amounts_are_expected_again() -> None:
    fit = fit_gamma_gamma(np.arange(1.0, 101.0), np.full(100, 12.5))
    assert fit.is_converged
    assert expected_amounts(fit.parameters, np.array([0.0, 3.0]), np.array([0.0, 12.5])) == pytest.approx(
        [12.5, 12.5], rel=1e-3
    )


@pytest.mark.parametrize(
    ("repeats", "last", "age"),
    [([], [], []), ([1], [1.0], [0.0]), ([1], [3.0], [2.0]), ([0], [1.0], [2.0]), ([1], [-1.0], [2.0])],
)
def test_impossible_customers_are_refused(repeats: list[int], last: list[float], age: list[float]) -> None:
    with pytest.raises(ValueError, match="customers need"):
        fit_bg_nbd(np.array(repeats, dtype=np.int64), np.array(last), np.array(age))


@pytest.mark.parametrize(("counts", "means"), [([], []), ([0.0], [1.0]), ([1.0], [0.0])])
def test_customers_without_amounts_are_refused(counts: list[float], means: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one purchase"):
        fit_gamma_gamma(np.array(counts), np.array(means))

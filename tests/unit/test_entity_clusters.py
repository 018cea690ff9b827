"""Clusters of products and promotions, their names, and rates of few trials."""

import numpy as np
import pytest
from scipy.stats import betabinom

from promo_spark.kernels.beta_binomial import fit_rates
from promo_spark.kernels.entity_clusters import Words, find_clusters, name_clusters

WORDS: Words = {"price": ("dear", "cheap"), "sales": ("best sellers", "slow sellers"), "shown": ("on display", None)}


def planted(centres: list[list[float]], sizes: list[int], spread: float = 0.2) -> np.ndarray:
    random = np.random.default_rng(3)
    points = [random.normal(centre, spread, (size, 2)) for centre, size in zip(centres, sizes, strict=True)]
    return np.concatenate(points)


def test_planted_clusters_are_found() -> None:
    centres = [[0.0, 0.0], [3.0, 0.0], [0.0, 3.0], [3.0, 3.0]]
    found = find_clusters(planted(centres, [200, 100, 50, 50]), (2, 3, 4, 5, 6), smallest_rate=0.02, seed=1)
    assert sorted(found.centres.round(0).tolist()) == sorted(centres)
    assert found.silhouette is not None
    assert found.silhouette > 0.8
    assert found.stability == 1.0


def test_a_handful_of_odd_ones_is_no_cluster() -> None:
    points = planted([[0.0, 0.0], [3.0, 0.0], [0.0, 9.0]], [100, 100, 3])
    assert len(find_clusters(points, (2, 3), smallest_rate=0.0, seed=1).centres) == 3
    assert len(find_clusters(points, (2, 3), smallest_rate=0.02, seed=1).centres) == 2
    # Where every number leaves one too small, none is set aside.
    assert len(find_clusters(points, (3,), smallest_rate=0.02, seed=1).centres) == 3


@pytest.mark.parametrize(
    "points", [np.zeros((50, 2)), np.array([[1.0, 2.0]]), np.zeros((4, 0)), np.array([[0.0], [1.0], [2.0]])]
)
def test_who_cannot_be_told_apart_is_one_cluster(points: np.ndarray) -> None:
    found = find_clusters(points, (2, 3), smallest_rate=0.02, seed=1)
    assert found.centres == pytest.approx(points.mean(axis=0, keepdims=True))
    assert (found.silhouette, found.stability) == (None, None)


def test_clusters_are_named_by_what_sets_them_apart() -> None:
    centres = np.array([[2.0, 0.5, 0.0], [2.0, 0.5, 0.9], [-1.0, 0.1, -3.0], [0.1, 0.1, 0.1], [0.0, 0.0, 0.0]])
    assert name_clusters(centres, ("price", "sales", "shown"), WORDS) == [
        "Dear, best sellers",
        "Dear, on display",
        "Cheap",
        "Average",
        "Average (2)",
    ]
    alike = np.array([[2.0, 0.5, 0.6], [2.0, 0.6, 0.5], [2.0, 0.7, 0.6]])
    names = name_clusters(alike, ("price", "sales", "shown"), WORDS)
    assert names == ["Dear, on display", "Dear, best sellers", "Dear, best sellers, on display"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_spread_of_rates_is_recovered(seed: int) -> None:
    random = np.random.default_rng(seed)
    trials = random.integers(5, 400, 800)
    rates = random.beta(2.0, 30.0, 800)
    successes = random.binomial(trials, rates)
    a, b = fit_rates(successes.astype(np.float64), trials.astype(np.float64))
    assert a / (a + b) == pytest.approx(2 / 32, rel=0.06)
    assert a + b == pytest.approx(32, rel=0.3)

    def likelihood(mean: float, spread: float) -> float:
        return float(betabinom.logpmf(successes, trials, mean * spread, (1 - mean) * spread).sum())

    top = likelihood(a / (a + b), a + b)
    assert top >= likelihood(2 / 32, 32)
    assert all(top > likelihood(m * a / (a + b), s * (a + b)) for m, s in ((1.03, 1), (0.97, 1), (1, 1.1), (1, 0.9)))
    pulled = (successes + a) / (trials + a + b)
    few = trials < 40
    assert np.square(pulled - rates)[few].mean() < 0.7 * np.square(successes / trials - rates)[few].mean()


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [([], [], 0.5), ([0.0], [0.0], 0.5), ([0.0, 0.0], [100.0, 50.0], 0.0), ([50.0, 60.0], [50.0, 60.0], 1.0)],
    ids=["none", "nobody tried", "never", "always"],
)
def test_rates_at_the_ends_have_a_finite_fit(successes: list[float], trials: list[float], expected: float) -> None:
    a, b = fit_rates(np.array(successes), np.array(trials))
    assert a > 0
    assert b > 0
    assert (np.array([*successes, 0.0]) + a)[0] / (np.array([*trials, 0.0]) + a + b)[0] == pytest.approx(
        expected, abs=1e-3
    )

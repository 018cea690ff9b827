"""The share of later behaviour that groups explain, against F statistics and simulation."""

import numpy as np
import pytest
from scipy.stats import f_oneway

from promo_spark.kernels.variance_explained import variance_explained


def test_is_epsilon_squared_of_the_analysis_of_variance() -> None:
    """By the F statistic, ε² = (g − 1)(F − 1) / ((g − 1)F + n − g)."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 300)
    outcomes = np.column_stack([rng.normal(size=300) + labels, rng.normal(size=300)])
    expected = []
    for outcome in outcomes.T:
        ratio = f_oneway(*[outcome[labels == group] for group in range(4)]).statistic
        expected.append(3 * (ratio - 1) / (3 * ratio + 296))
    assert variance_explained(labels, outcomes).rate == pytest.approx(np.mean(expected))


def test_groups_by_chance_explain_nothing_however_many() -> None:
    rng = np.random.default_rng(2)
    outcomes = rng.normal(size=(200, 1))
    rates = [variance_explained(rng.integers(0, 40, 200), outcomes).rate for _ in range(300)]
    assert np.mean(rates) == pytest.approx(0, abs=0.01)


def test_the_error_is_that_of_other_samples() -> None:
    rng = np.random.default_rng(3)

    def draw() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        kind = rng.integers(0, 4, 400)
        outcomes = 0.6 * kind + rng.normal(size=400)
        order = np.lexsort((outcomes, kind))  # as a sample comes
        return kind[order], kind[order] // 2, outcomes[order, None]

    fine, gains = [], []
    for _ in range(200):
        kind, half, outcomes = draw()
        one, other = variance_explained(kind, outcomes), variance_explained(half, outcomes)
        fine.append((one.rate, one.standard_error))
        gains.append(one.gain_over(other))
    for told in (np.array(fine), np.array(gains)):
        assert told[:, 1].mean() == pytest.approx(told[:, 0].std(), rel=0.15)
    # Of a variance of 1 + 0.45, four kinds explain 0.45 and their halves 0.36.
    assert np.array(gains)[:, 0].mean() == pytest.approx(0.09 / 1.45, abs=0.005)


def test_what_is_the_same_for_all_is_explained_by_nothing() -> None:
    labels = np.array([0, 0, 1, 1])
    assert variance_explained(labels, np.full((4, 1), 1e6 / 3)).rate == 0.0
    assert variance_explained(labels, np.array([[1.0, 5.0], [1.0, 5.0], [2.0, 5.0], [2.0, 5.0]])).rate == 0.5


@pytest.mark.parametrize("customers", [1, 2])
def test_too_few_customers_say_nothing(customers: int) -> None:
    explained = variance_explained(np.arange(customers), np.arange(float(customers))[:, None])
    assert (explained.rate, explained.standard_error) == (0.0, 0.0)

"""Uplift metrics against their definitions, spelt out customer by customer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promo_spark.kernels.uplift_judgement import jackknife
from promo_spark.kernels.uplift_metrics import auuc, bootstrap_errors, qini, rank_by, uplift_at


def experiment(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    treated = np.append(rng.integers(0, 2, n - 2), [0, 1])
    bought = (rng.random(n) < 0.3 + 0.3 * treated).astype(float)
    bought[-2:] = 1
    return rng.integers(0, 15, n).astype(float), treated, bought


def curve_area(scores: np.ndarray, treated: np.ndarray, bought: np.ndarray) -> float:
    """Area under scikit-uplift's Qini curve, less the random one: thresholds one by one."""
    xs, ys = [0.0], [0.0]
    for bound in sorted(set(scores), reverse=True):
        own = scores >= bound
        n_treated, n_control = treated[own].sum(), (1 - treated[own]).sum()
        lost = (bought * (1 - treated))[own].sum()
        xs.append(own.sum())
        ys.append((bought * treated)[own].sum() - (lost * n_treated / n_control if n_control else 0.0))
    return float(np.trapezoid(ys, xs)) - xs[-1] * ys[-1] / 2


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_qini_is_the_area_over_that_of_a_perfect_ranking(seed: int) -> None:
    scores, treated, bought = experiment(seed)
    perfect = curve_area(bought * treated - bought * (1 - treated), treated, bought)
    expected = curve_area(scores, treated, bought) / perfect
    assert qini(rank_by(scores, treated, bought)) == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_only_the_order_of_scores_counts_and_weights_are_repetitions(seed: int) -> None:
    scores, treated, bought = experiment(seed)
    whole = rank_by(scores, treated, bought)
    shifted = rank_by(3 * scores - 7, treated, bought)
    times = np.random.default_rng(seed).integers(1, 3, len(scores))
    repeated = [np.repeat(part, times) for part in (scores, treated, bought)]
    for metric in (qini, auuc, uplift_at(0.3)):
        assert metric(shifted) == pytest.approx(metric(whole), abs=1e-12)
        assert metric(rank_by(scores, treated, bought, times.astype(float))) == pytest.approx(
            metric(rank_by(*repeated)), abs=1e-12
        )


def test_uplift_at_k_is_the_gap_of_means_among_the_first() -> None:
    scores, treated, bought = np.arange(40.0), np.tile([0, 1], 20), np.repeat([0.0, 1.0], 20)
    bought[30:] = treated[30:]
    assert uplift_at(0.25)(rank_by(scores, treated, bought)) == 1.0


def test_bootstrap_errors_are_the_spread_of_new_samples() -> None:
    def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        x = np.repeat(rng.normal(size=400), 2)
        treated = rng.integers(0, 2, 800)
        own = np.repeat(rng.normal(size=400), 2)
        return x, treated, (0.5 * x * treated + own + rng.normal(size=800) > 0).astype(float), np.arange(800) // 2

    spread = np.std([auuc(rank_by(*draw(seed)[:3])) for seed in range(200)])
    errors = [bootstrap_errors(*draw(seed), draws=60, seed=seed)["auuc"][1] for seed in range(8)]
    assert np.mean(errors) == pytest.approx(spread, rel=0.25)


def test_jackknife_error_is_that_of_a_mean() -> None:
    values = np.random.default_rng(1).normal(size=(50, 40))
    parts = np.stack([np.full(50, 40.0), values.sum(axis=1)], axis=1)
    _, error = jackknife(parts, lambda sums: float(sums[1] / sums[0]))
    assert error == pytest.approx(1 / np.sqrt(2000), rel=0.25)

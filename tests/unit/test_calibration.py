"""Calibration, against scikit-learn and a known truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from promo_spark.kernels.calibration import (
    LEAST_FOR_STEPS,
    calibrate,
    calibration_errors,
    platt_scale,
    probabilities_of,
    reliability,
)

CASES = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=60)


def test_recovers_the_true_slope_and_intercept() -> None:
    random = np.random.default_rng(2)
    scores = random.normal(3.0, 2.0, 40_000)
    happened = (random.random(40_000) < 1 / (1 + np.exp(-(0.7 * scores - 4)))).astype(float)
    assert platt_scale(scores, happened) == pytest.approx((0.7, -4.0), rel=0.05)
    peer = LogisticRegression(C=np.inf).fit(scores[:, None], happened)
    assert platt_scale(scores, happened) == pytest.approx((peer.coef_[0, 0], peer.intercept_[0]), rel=0.01)


def test_perfect_separation_is_not_taken_for_certainty() -> None:
    slope, intercept = platt_scale(np.array([0.0, 1.0, 9.0, 10.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    told = 1 / (1 + np.exp(-(slope * np.array([0.0, 10.0]) + intercept)))
    assert 0.1 < told[0] < 0.5 < told[1] < 0.9


@pytest.mark.parametrize("scores", [[1.0, 1.0, 1.0, 1.0], [4.0, 3.0, 2.0, 1.0]], ids=["all alike", "backwards"])
def test_a_score_that_says_nothing_gives_the_share(scores: list[float]) -> None:
    slope, intercept = platt_scale(np.array(scores), np.array([0.0, 0.0, 0.0, 1.0]))
    assert (slope, 1 / (1 + np.exp(-intercept))) == (0.0, pytest.approx(2 / 6))


@given(CASES)
def test_never_ranks_anew(cases: list[tuple[int, bool]]) -> None:
    scores, happened = (np.array(column, dtype=float) for column in zip(*cases, strict=True))
    slope, intercept = platt_scale(scores, happened)
    assert slope >= 0
    assert np.isfinite([slope, intercept]).all()


def bent_cases(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores whose probability rises in a way that no logistic curve follows."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=count)
    chances = np.where(scores > 0.5, 0.6, 0.1)
    return scores, chances, (random.random(count) < chances).astype(np.float64)


def test_many_cases_are_calibrated_to_any_rising_shape() -> None:
    scores, _, happened = bent_cases(20_000, 1)
    later, chances, came = bent_cases(20_000, 2)
    told = probabilities_of(later, *calibrate(scores, happened))
    slope, intercept = platt_scale(scores, happened)
    logistic = 1 / (1 + np.exp(-(slope * later + intercept)))
    # Only around the jump, which lies within one of twenty bins, is the curve off.
    assert np.median(np.abs(told - chances)) < 0.02 < np.median(np.abs(logistic - chances))
    assert calibration_errors(told, came)[1] < 0.04 < calibration_errors(logistic, came)[1]


def test_the_order_of_scores_is_kept() -> None:
    scores, _, happened = bent_cases(5000, 3)
    assert min(happened.sum(), 5000 - happened.sum()) > LEAST_FOR_STEPS
    told = probabilities_of(np.sort(scores), *calibrate(scores, happened))
    assert (np.diff(told) > 0).all()


def test_few_cases_are_calibrated_by_a_logistic_curve() -> None:
    scores, _, happened = bent_cases(400, 4)
    slope, intercept = platt_scale(scores, happened)
    knots, logits, outside = calibrate(scores, happened)
    assert (knots.tolist(), logits.tolist(), outside) == ([0.0], [intercept], slope)


def test_a_shift_of_the_base_rate_is_told_from_the_shape() -> None:
    random = np.random.default_rng(5)
    logits = random.normal(-2, 1, 50_000)
    happened = (random.random(50_000) < 1 / (1 + np.exp(-(logits + 0.5)))).astype(np.float64)
    told = 1 / (1 + np.exp(-logits))
    shift, shape = calibration_errors(told, happened)
    assert shift == pytest.approx(told.mean() - happened.mean())
    assert shift < -0.04
    assert shape < 0.006
    assert reliability(told, happened)[:, 2].sum() == 50_000

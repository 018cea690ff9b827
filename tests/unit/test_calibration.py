"""Calibration, against scikit-learn and a known truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from promo_spark.kernels.calibration import platt_scale

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

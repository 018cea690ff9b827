import math

import numpy as np
import pytest

from promo_spark.kernels.conformal import split_conformal_scale


@pytest.mark.parametrize(("n", "level"), [(19, 0.9), (50, 0.8), (200, 0.95)])
def test_coverage_is_the_level_to_within_its_binomial_error(n: int, level: float) -> None:
    draw = np.random.default_rng(n)
    n_runs = 4000
    covered = 0
    for _ in range(n_runs):
        scale = draw.uniform(0.5, 5.0, n + 1)
        predicted = draw.normal(size=n + 1)
        actual = predicted + scale * draw.standard_t(3, size=n + 1)
        width = split_conformal_scale(actual[:n], predicted[:n], scale[:n], level) * scale[n]
        covered += abs(actual[n] - predicted[n]) <= width
    expected = math.ceil((n + 1) * level) / (n + 1)
    error = math.sqrt(expected * (1 - expected) / n_runs)
    assert level <= expected
    assert covered / n_runs == pytest.approx(expected, abs=3 * error)


def test_half_width_follows_the_unit_of_the_errors() -> None:
    draw = np.random.default_rng(0)
    actual, predicted = draw.normal(size=(2, 40))
    single = split_conformal_scale(actual, predicted, np.ones(40), 0.9)
    assert split_conformal_scale(10 * actual, 10 * predicted, np.ones(40), 0.9) == pytest.approx(10 * single)
    assert split_conformal_scale(actual, predicted, np.full(40, 10.0), 0.9) == pytest.approx(single / 10)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_level_outside_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        split_conformal_scale(np.ones(3), np.ones(3), np.ones(3), level)


def test_scale_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="scale must be positive"):
        split_conformal_scale(np.ones(3), np.ones(3), np.zeros(3), 0.9)


def test_no_calibration_rows_give_an_infinite_width() -> None:
    assert split_conformal_scale(np.ones(0), np.ones(0), np.ones(0), 0.9) == math.inf

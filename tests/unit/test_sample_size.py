import math

import numpy as np
import pytest
from scipy import stats

from promo_spark.kernels.sample_size import two_arm_sample_size


@pytest.mark.parametrize(("effect", "alpha", "power"), [(0.4, 0.05, 0.8), (0.25, 0.1, 0.9)])
def test_that_many_customers_find_the_effect_as_often_as_promised(effect: float, alpha: float, power: float) -> None:
    n_runs, mean = 4000, 20.0  # exponential spend: its standard deviation is its mean
    n = two_arm_sample_size(effect * mean, mean, alpha, power)
    draw = np.random.default_rng(0)
    control, treated = draw.exponential(mean, (2, n_runs, n))
    found = (stats.ttest_ind(treated + effect * mean, control, axis=1).pvalue < alpha).mean()
    # with 99 customers per arm Student's t has up to 1 % less power than the normal
    assert found == pytest.approx(power, abs=0.01 + 3 * math.sqrt(power * (1 - power) / n_runs))


def test_published_sizes() -> None:
    # Cohen 1988, table 2.4.1, gives 64 and 393 with Student's t; the normal needs one less or as many
    assert two_arm_sample_size(0.5, 1.0) == 63
    assert two_arm_sample_size(0.2, 1.0) == 393


def test_halving_the_effect_takes_four_times_as_many() -> None:
    assert two_arm_sample_size(0.01, 1.0) == pytest.approx(4 * two_arm_sample_size(0.02, 1.0), rel=1e-3)
    assert two_arm_sample_size(-0.5, 1.0) == two_arm_sample_size(0.5, 1.0)


@pytest.mark.parametrize(
    ("effect", "sd", "alpha", "power"),
    [(0.0, 1.0, 0.05, 0.8), (math.nan, 1.0, 0.05, 0.8), (1.0, 0.0, 0.05, 0.8), (1.0, 1.0, 0.0, 0.8)],
)
def test_what_has_no_answer_is_refused(effect: float, sd: float, alpha: float, power: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        two_arm_sample_size(effect, sd, alpha, power)

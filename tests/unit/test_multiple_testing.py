import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from promo_spark.kernels.multiple_testing import benjamini_hochberg


@given(p_values=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), rate=st.floats(0.0, 1.0))
def test_agrees_with_scipy(p_values: list[float], rate: float) -> None:
    rejected, adjusted = benjamini_hochberg(np.array(p_values), rate)
    expected = stats.false_discovery_control(p_values)
    np.testing.assert_allclose(adjusted, expected, rtol=1e-12)
    np.testing.assert_array_equal(rejected, adjusted <= rate)


def test_false_discoveries_stay_below_the_rate() -> None:
    draw = np.random.default_rng(0)
    shares = []
    for _ in range(400):
        z = draw.normal(size=100)
        z[:30] += 3.0
        rejected, _ = benjamini_hochberg(stats.norm.sf(z), rate=0.2)
        shares.append(rejected[30:].sum() / max(1, rejected.sum()))
    # true hypotheses are 70 % of all, so the expected share is 0.2 * 0.7
    assert np.mean(shares) == pytest.approx(0.14, abs=3 * np.std(shares) / 20)


def test_nothing_to_test_is_nothing_rejected() -> None:
    rejected, adjusted = benjamini_hochberg(np.array([]))
    assert rejected.size == adjusted.size == 0


@pytest.mark.parametrize("p_value", [-0.1, 1.1, np.nan])
def test_what_is_no_probability_is_refused(p_value: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        benjamini_hochberg(np.array([0.5, p_value]))

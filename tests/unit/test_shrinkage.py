import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from promo_spark.kernels.shrinkage import bootstrap_variances, shrink_draws, shrink_effects

ESTIMATES = arrays(np.float64, (5, 2), elements=st.floats(-10.0, 10.0))
VARIANCES = arrays(np.float64, (5, 2), elements=st.one_of(st.floats(0.01, 10.0), st.just(np.inf)))


@given(estimates=ESTIMATES, variances=VARIANCES)
def test_shrunk_effects_lie_between_their_own_estimate_and_the_pooled_mean(
    estimates: np.ndarray, variances: np.ndarray
) -> None:
    shrunk = shrink_effects(estimates, variances)
    own = np.where(np.isfinite(variances), estimates, shrunk.pooled)
    low, high = np.minimum(own, shrunk.pooled), np.maximum(own, shrunk.pooled)
    assert (low - 1e-9 <= shrunk.effects).all()
    assert (shrunk.effects <= high + 1e-9).all()
    assert ((shrunk.weights >= 0) & (shrunk.weights < 1)).all()
    assert (shrunk.cautious_variance >= shrunk.between_variance).all()
    assert (shrunk.variance > 0).all()


@given(estimates=ESTIMATES, variances=VARIANCES, shift=st.floats(-5.0, 5.0))
def test_shifting_estimates_shifts_learnt_effects(estimates: np.ndarray, variances: np.ndarray, shift: float) -> None:
    learnt = np.isfinite(variances).any(axis=0)
    before, after = (shrink_effects(moved, variances).effects for moved in (estimates, estimates + shift))
    np.testing.assert_allclose(after, before + shift * learnt, atol=1e-6)


def test_pooled_mean_and_between_variance_agree_with_a_loop() -> None:
    draw = np.random.default_rng(0)
    estimates, variances = draw.normal(size=(7, 1)), draw.uniform(0.1, 0.5, (7, 1))
    weights = [1.0 / v for v in variances[:, 0]]
    mean = sum(w * b for w, b in zip(weights, estimates[:, 0], strict=True)) / sum(weights)
    spread = sum(w * (b - mean) ** 2 for w, b in zip(weights, estimates[:, 0], strict=True))
    tau2 = max(0.0, (spread - 6) / (sum(weights) - sum(w * w for w in weights) / sum(weights)))
    credence = [1.0 / (v + tau2) for v in variances[:, 0]]
    pooled = sum(c * b for c, b in zip(credence, estimates[:, 0], strict=True)) / sum(credence)
    shrunk = shrink_effects(estimates, variances)
    assert tau2 > 0
    assert shrunk.between_variance[0] == pytest.approx(tau2)
    assert shrunk.pooled[0] == pytest.approx(pooled)


def test_variance_agrees_with_figures_worked_by_hand() -> None:
    # Q = 4, C = 1/2: tau^2 = 6; t = 6 + sqrt(2) * 4 / (1/2) = 17.314; w' = 17.314 / 19.314 = 0.89645
    shrunk = shrink_effects(np.array([[0.0], [4.0], [0.0]]), np.array([[2.0], [2.0], [np.inf]]))
    pooled_variance = 19.3137 / 2
    expected = [[17.3137 * 0.10355 + 0.10355**2 * pooled_variance]] * 2 + [[17.3137 + pooled_variance]]
    np.testing.assert_allclose(shrunk.variance, expected, rtol=1e-4)


def test_equal_estimates_have_no_variance_between_and_all_take_the_mean() -> None:
    shrunk = shrink_effects(np.full((4, 1), 2.0), np.array([[0.5], [1.0], [2.0], [np.inf]]))
    assert shrunk.between_variance[0] == 0.0
    np.testing.assert_allclose(shrunk.effects, 2.0)
    np.testing.assert_allclose(shrunk.weights, 0.0)


def test_one_cell_keeps_its_estimate_and_variance() -> None:
    shrunk = shrink_effects(np.array([[1.5]]), np.array([[0.4]]))
    assert shrunk.effects[0, 0] == 1.5
    assert shrunk.variance[0, 0] == pytest.approx(0.4)


def test_effect_learnt_nowhere_is_zero_with_infinite_variance() -> None:
    shrunk = shrink_effects(np.array([[3.0], [4.0]]), np.full((2, 1), np.inf))
    assert (shrunk.effects == 0.0).all()
    assert np.isinf(shrunk.variance).all()


def test_variance_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="variances must be positive"):
        shrink_effects(np.zeros((2, 1)), np.zeros((2, 1)))


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.5, 2.0])
def test_shrinking_lowers_the_squared_error_and_variance_covers_it(spread: float) -> None:
    draw = np.random.default_rng(int(10 * spread))
    true = draw.normal(0.7, spread, (60, 40))  # 40 coefficients, each of 60 cells
    variances = draw.uniform(0.05, 0.5, true.shape)
    estimates = true + np.sqrt(variances) * draw.normal(size=true.shape)
    shrunk = shrink_effects(estimates, variances)
    assert ((shrunk.effects - true) ** 2).mean() < ((estimates - true) ** 2).mean()
    covered = (np.abs(shrunk.effects - true) <= 1.96 * np.sqrt(shrunk.variance)).mean()
    assert covered > 0.95 - 3 * np.sqrt(0.95 * 0.05 / true.size)


def test_draws_spread_as_the_posterior_variance_around_shrunk_effects() -> None:
    draw = np.random.default_rng(1)
    estimates, variances = draw.normal(size=(50, 1)), draw.uniform(0.2, 0.6, (50, 1))
    variances[:5] = np.inf
    noise = np.where(np.isfinite(variances), np.sqrt(variances), 0.0) * draw.normal(size=(20_000, 50, 1))
    shrunk = shrink_effects(estimates, variances)
    draws = shrink_draws(estimates + noise, estimates, variances, shrunk)
    np.testing.assert_allclose(draws.mean(axis=0), shrunk.effects, atol=0.03)
    np.testing.assert_allclose(draws.var(axis=0), shrunk.variance, rtol=0.12)


def test_draws_of_one_cell_are_its_own() -> None:
    estimates, variances = np.array([[1.0]]), np.array([[0.3]])
    draws = np.array([[[0.5]], [[1.7]]])
    shrunk = shrink_effects(estimates, variances)
    np.testing.assert_allclose(shrink_draws(draws, estimates, variances, shrunk), draws)


def test_variance_of_draws_is_that_of_a_normal_whatever_a_few_wild_draws_say() -> None:
    draws = np.random.default_rng(2).normal(0.0, 2.0, (20_000, 1, 1))
    draws[:200] = 1e6
    assert bootstrap_variances(draws)[0, 0] == pytest.approx(4.0, rel=0.05)


@pytest.mark.parametrize(("learnt", "finite"), [(1.0, True), (0.85, True), (0.7, False), (0.0, False)])
def test_effect_learnt_in_too_few_resamples_has_infinite_variance(learnt: float, finite: bool) -> None:
    draws = np.random.default_rng(3).normal(1.0, 0.1, (100, 1, 1))
    draws[round(100 * learnt) :] = 0.0
    assert np.isfinite(bootstrap_variances(draws)[0, 0]) == finite

"""The batched effect model against one least-squares fit at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from promo_spark.kernels import weekly_effects
from promo_spark.kernels.weekly_effects import fit_effects, lagged_levers, relative_sales

Floats = NDArray[np.float64]


def make_panel(seed: int, n_cells: int = 4, n_weeks: int = 40) -> tuple[Floats, Floats, Floats]:
    draw = np.random.default_rng(seed)
    sales = draw.gamma(5.0, 20.0, (n_cells, n_weeks))
    return sales, draw.random((n_cells, n_weeks, 2)), draw.normal(size=(1, n_weeks, 2))


def fit_one_cell(sales: Floats, levers: Floats, controls: Floats, weights: Floats) -> Floats:
    columns = [np.ones((len(sales), 1)), levers, lagged_levers(levers[None])[0], controls]
    root = np.sqrt(weights)
    target = relative_sales(sales[None], weights)[0]
    solution = np.linalg.lstsq(np.hstack(columns) * root[:, None], target * root)[0]
    return np.asarray(solution[1 : 1 + 2 * levers.shape[1]])


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_batch_agrees_with_one_least_squares_fit_at_a_time(seed: int) -> None:
    sales, levers, controls = make_panel(seed)
    weights = np.random.default_rng(seed).poisson(1.5, (3, sales.shape[1])).astype(float)
    batch = fit_effects(sales, levers, controls, weights, ridge=0.0)
    for row, counts in enumerate(weights):
        for cell in range(len(sales)):
            alone = fit_one_cell(sales[cell], levers[cell], controls[0], counts)
            np.testing.assert_allclose(batch[row, cell], alone, rtol=1e-5, atol=1e-6)


def test_ridge_adds_its_share_of_each_levers_variance_and_leaves_the_mean_alone() -> None:
    draw = np.random.default_rng(0)
    lever = draw.random(30)
    sales = 100.0 * (1.0 + lever + 0.1 * draw.normal(size=30))
    lever[:12] = 0.5 + 0.1 * lever[:12]
    columns = np.stack([lever, lagged_levers(lever[None, :, None])[0, :, 0]], axis=1)[:12]
    centred = columns - columns.mean(axis=0)
    gram = centred.T @ centred
    target = relative_sales(sales[None, :12])[0]
    expected = np.linalg.solve(gram + 0.5 * np.diag(np.diag(gram)), centred.T @ target)
    first_weeks = (np.arange(30) < 12).astype(float)[None]
    panel = sales[None], lever[None, :, None], np.zeros((1, 30, 0)), first_weeks
    np.testing.assert_allclose(fit_effects(*panel, ridge=0.5)[0, 0], expected, rtol=1e-9)


def test_doubling_sales_or_units_of_controls_leaves_effects_as_they_are() -> None:
    sales, levers, controls = make_panel(1)
    weights = np.ones((1, sales.shape[1]))
    effects = fit_effects(sales, levers, controls, weights)
    np.testing.assert_allclose(fit_effects(2.0 * sales, levers, 1e4 * controls, weights), effects, rtol=1e-7)


def test_shuffling_cells_shuffles_effects() -> None:
    sales, levers, controls = make_panel(2)
    weights = np.ones((1, sales.shape[1]))
    order = np.array([2, 0, 3, 1])
    effects = fit_effects(sales, levers, controls, weights)
    shuffled = fit_effects(sales[order], levers[order], controls, weights)
    np.testing.assert_allclose(shuffled, effects[:, order], rtol=1e-9)


def test_chunks_of_cells_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sales, levers, controls = make_panel(3)
    weights = np.random.default_rng(3).poisson(1.0, (5, sales.shape[1])).astype(float)
    whole = fit_effects(sales, levers, controls, weights)
    monkeypatch.setattr(weekly_effects, "_WORKING_BYTES", 1)
    np.testing.assert_allclose(fit_effects(sales, levers, controls, weights), whole, rtol=1e-9)


def test_weeks_of_weight_zero_do_not_count() -> None:
    sales, levers, controls = make_panel(4)
    weights = np.ones((1, sales.shape[1]))
    weights[:, 20:] = 0.0
    effects = fit_effects(sales, levers, controls, weights)
    sales[:, 20:] *= 7.0
    np.testing.assert_allclose(fit_effects(sales, levers, controls, weights), effects, rtol=1e-9)


@pytest.mark.parametrize("setting", [0.0, 0.3, 1.0])
def test_lever_that_never_varies_has_no_effect_and_harms_no_other(setting: float) -> None:
    sales, levers, controls = make_panel(5)
    weights = np.ones((1, sales.shape[1]))
    levers[0, :, 1] = setting
    effects = fit_effects(sales, levers, controls, weights)
    alone = fit_effects(sales, levers[:, :, :1], controls, weights)
    assert (effects[0, 0, [1, 3]] == 0.0).all()
    assert (effects[0, 1:] != 0.0).all()
    np.testing.assert_allclose(effects[0, 0, [0, 2]], alone[0, 0], rtol=1e-9)


def test_cell_without_sales_and_controls_that_repeat_each_other_give_finite_effects() -> None:
    sales, levers, controls = make_panel(6)
    sales[1] = 0.0
    twice = np.concatenate([controls, controls], axis=2)
    effects = fit_effects(sales, levers, twice, np.ones((1, sales.shape[1])))
    assert (effects[0, 1] == 0.0).all()
    once = fit_effects(sales, levers, controls, np.ones((1, sales.shape[1])))
    np.testing.assert_allclose(effects, once, rtol=1e-4, atol=1e-6)


@given(held=st.integers(1, 6), start=st.integers(1, 5), lags=st.integers(1, 4), setting=st.floats(0.0, 1.0))
def test_held_lever_adds_as_much_lagged_as_now(held: int, start: int, lags: int, setting: float) -> None:
    levers = np.zeros((1, 20, 1))
    levers[0, start + lags : start + lags + held] = setting
    assert lagged_levers(levers, lags).sum() == pytest.approx(levers.sum())


def test_lagged_levers_use_no_later_week() -> None:
    levers = np.random.default_rng(7).random((2, 10, 2))
    np.testing.assert_array_equal(lagged_levers(levers[:, :6]), lagged_levers(levers)[:, :6])


def test_lags_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="lags must be at least 1"):
        lagged_levers(np.zeros((1, 3, 1)), lags=0)

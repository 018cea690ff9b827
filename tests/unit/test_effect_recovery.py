"""Simulated weekly panels with known effects: what the kernels together recover, and how surely."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from promo_spark.kernels.block_bootstrap import (
    alternating_folds,
    block_bootstrap_weights,
    count_blocks,
    interval,
)
from promo_spark.kernels.offer_values import offer_values
from promo_spark.kernels.shrinkage import bootstrap_variances, shrink_draws, shrink_effects
from promo_spark.kernels.weekly_effects import fit_effects, lagged_levers

Floats = NDArray[np.float64]

N_WEEKS, BLOCK_WEEKS = 43, 4
SELECTION, EVALUATION = alternating_folds(N_WEEKS, BLOCK_WEEKS)
N_BLOCKS = count_blocks(SELECTION, BLOCK_WEEKS)


class Panel(NamedTuple):
    """Sales in units of their mean without noise, so that true effects are shares of it."""

    sales: Floats
    levers: Floats
    controls: Floats


def draw_autocorrelated(draw: np.random.Generator, shape: tuple[int, ...], correlation: float) -> Floats:
    series = draw.normal(size=shape)
    for week in range(1, shape[1]):
        fresh = np.sqrt(1.0 - correlation**2) * series[:, week]
        series[:, week] = correlation * series[:, week - 1] + fresh
    return series


def simulate_panel(effects: Floats, seed: int, n_controls: int = 2, correlation: float = 0.3) -> Panel:
    """Effects of shape (n_cells, 2 * n_levers); noise of 15 % a week, correlated from week to week."""
    draw = np.random.default_rng(seed)
    n_cells, n_levers = effects.shape[0], effects.shape[1] // 2
    levers = np.clip(0.3 + 0.15 * draw_autocorrelated(draw, (n_cells, N_WEEKS, n_levers), 0.5), 0.0, 1.0)
    columns = np.concatenate([levers, lagged_levers(levers)], axis=2)
    trend_and_traffic = np.stack([np.linspace(-1, 1, N_WEEKS), 0.1 * draw.normal(size=N_WEEKS)], axis=1)
    controls = trend_and_traffic[None, :, :n_controls]
    centred = columns - columns.mean(axis=1, keepdims=True)
    sales = 1.0 + np.einsum("cwl,cl->cw", centred, effects) + controls @ np.array([0.1, 0.5])[:n_controls]
    sales += 0.15 * draw_autocorrelated(draw, (n_cells, N_WEEKS), correlation)
    return Panel(np.maximum(sales, 0.0), levers, controls)


def fit_fold(panel: Panel, seed: int, n_boot: int = 400) -> tuple[Floats, Floats]:
    """Effects on the selection fold and their draws, as shares of mean sales over all weeks."""
    counts = block_bootstrap_weights(N_WEEKS, BLOCK_WEEKS, n_boot, seed, SELECTION)
    scale = panel.sales[:, SELECTION].mean(axis=1)[:, None]
    point = fit_effects(*panel, SELECTION[None].astype(float))[0]
    return point * scale, fit_effects(*panel, counts) * scale


def test_effects_and_the_stock_piling_dip_are_recovered() -> None:
    true = np.tile([2.0, 0.8, 0.5, -0.8, -0.3, 0.0], (300, 1))
    panel = simulate_panel(true, seed=0)
    effects = fit_effects(*panel, np.ones((1, N_WEEKS)))[0]
    error = effects - true
    standard_error = error.std(axis=0) / np.sqrt(len(true))
    # the ridge, and dividing by a noisy mean, may bias by 2 % of the effect
    assert (np.abs(error.mean(axis=0)) <= 3 * standard_error + 0.02 * np.abs(true[0])).all()
    assert (error[:, :3].std(axis=0) < 0.25).all()
    assert (error[:, 3:].std(axis=0) < 0.35).all()


def covered_share(true: Floats, lower: Floats, upper: Floats) -> float:
    return float(((lower <= true) & (true <= upper)).mean())


@pytest.mark.parametrize(
    ("n_levers", "n_controls", "uncorrected", "corrected"),
    [(1, 0, 0.90, 0.95), (3, 2, 0.97, 0.99)],
)
def test_corrected_intervals_cover_as_often_as_documented(
    n_levers: int, n_controls: int, uncorrected: float, corrected: float
) -> None:
    n_cells = 300
    one_cell = np.array([2.0, 0.8, 0.5][:n_levers] + [-0.8, -0.3, -0.1][:n_levers])
    true = np.tile(one_cell, (n_cells, 1))
    shares = []
    for seed in (1, 2):
        point, draws = fit_fold(simulate_panel(true, seed, n_controls), seed)
        plain, wide = interval(draws, point), interval(draws, point, n_blocks=N_BLOCKS)
        shares.append([covered_share(true, found.lower, found.upper) for found in (plain, wide)])
    error = np.sqrt(corrected * (1 - corrected) / (2 * n_cells))  # effects of one cell are not independent
    found_plain, found_wide = np.mean(shares, axis=0)
    assert found_plain == pytest.approx(uncorrected, abs=0.03)
    assert found_wide == pytest.approx(corrected, abs=3 * error)
    assert found_wide >= 0.95 - 3 * error


def test_p_values_without_effect_come_no_more_often_than_they_say() -> None:
    n_cells, n_runs = 200, 3
    found = []
    for seed in range(n_runs):
        point, draws = fit_fold(simulate_panel(np.zeros((n_cells, 2)), seed, n_controls=0), seed, n_boot=999)
        found.append(interval(draws, point, n_blocks=N_BLOCKS).p_value <= 0.025)
    assert np.mean(found) <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / (n_cells * n_runs))


@pytest.mark.parametrize("spread", [0.2, 0.5])
def test_shrinking_lowers_the_error_and_its_draws_still_cover(spread: float) -> None:
    n_cells, n_unlearnt = 200, 20
    draw = np.random.default_rng(3)
    true = np.array([1.5, 0.6, -0.6, -0.2]) + spread * draw.normal(size=(n_cells, 4))
    panel = simulate_panel(true, seed=3)
    mean_lever = panel.levers[:n_unlearnt, :, 1].mean(axis=1, keepdims=True)
    departure = panel.levers[:n_unlearnt, :, 1] - mean_lever
    lagged = lagged_levers(departure[:, :, None])[:, :, 0]
    panel.sales[:n_unlearnt] -= departure * true[:n_unlearnt, [1]] + lagged * true[:n_unlearnt, [3]]
    panel.levers[:n_unlearnt, :, 1] = 0.3  # these cells never varied the second lever
    point, draws = fit_fold(panel, seed=3)
    variances = bootstrap_variances(draws)
    unlearnt = np.isinf(variances)
    assert unlearnt[:n_unlearnt, [1, 3]].all()
    assert unlearnt.sum() == 2 * n_unlearnt
    shrunk = shrink_effects(point, variances)
    raw_error, error = (np.square(found - true)[~unlearnt].mean() for found in (point, shrunk.effects))
    assert error < {0.2: 0.5, 0.5: 0.95}[spread] * raw_error
    shrunk_draws = shrink_draws(draws, point, variances, shrunk)
    found = interval(shrunk_draws, shrunk.effects, n_blocks=N_BLOCKS)
    covered = (found.lower <= true) & (true <= found.upper)
    for cells in (unlearnt, ~unlearnt):
        assert covered[cells].mean() >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / (cells.sum() / 4))


@pytest.mark.parametrize(("correlation", "gap_weeks"), [(0.0, 0), (0.3, 1)])
def test_best_of_many_offers_is_flattered_where_it_was_chosen_and_not_on_the_other_fold(
    correlation: float, gap_weeks: int
) -> None:
    n_cells, n_levers = 2000, 3  # each cell is a retailer of its own in whom no offer does anything
    panel = simulate_panel(np.zeros((n_cells, 2 * n_levers)), seed=4, correlation=correlation)
    offers = np.random.default_rng(4).uniform(0.0, 1.0, (20, n_levers))
    offers[:, 0] = 0.0  # no discount, so that every offer is worth exactly 0
    folds = np.stack(alternating_folds(N_WEEKS, BLOCK_WEEKS, gap_weeks)).astype(float)
    values = offer_values(
        effects=fit_effects(*panel, folds),
        offers=offers,
        base=np.ones(n_cells),
        margin_rate=np.ones(n_cells),
        contact_cost=np.zeros((n_cells, len(offers))),
        fixed_cost=np.zeros(len(offers)),
        weeks=1,
    ).incremental_margin
    best = values[0].argmax(axis=1)
    chosen = values[:, np.arange(n_cells), best]
    selected, evaluated = chosen.mean(axis=1)
    error = chosen.std(axis=1) / np.sqrt(n_cells)
    assert abs(evaluated) <= 3 * error[1]
    assert selected > 20 * error[0]

import numpy as np
import pytest
from numpy.typing import NDArray

from promo_spark.kernels.offer_values import OfferValues, offer_values

Floats = NDArray[np.float64]

EFFECTS = np.array([[2.0, 0.5, -0.6, -0.1], [0.0, 0.0, 0.0, 0.0]])
OFFERS = np.array([[0.2, 0.0], [0.0, 1.0], [0.0, 0.0]])
BASE, MARGIN_RATE = np.array([100.0, 50.0]), np.array([0.3, 0.4])
CONTACT_COST, FIXED_COST = np.array([[5.0, 1.0, 0.0], [2.0, 1.0, 0.0]]), np.array([3.0, 4.0, 0.0])


def value_offers(effects: Floats = EFFECTS, money: float = 1.0, baseline: Floats | None = None) -> OfferValues:
    return offer_values(
        effects=effects,
        offers=OFFERS,
        base=BASE * money,
        margin_rate=MARGIN_RATE,
        contact_cost=CONTACT_COST * money,
        fixed_cost=FIXED_COST * money,
        weeks=2,
        baseline=baseline,
    )


def test_values_agree_with_figures_worked_by_hand() -> None:
    values = value_offers()
    # depth 0.2: gross 200 * 1.4 * 0.2 = 56; discount 0.2 * 200 * 1.4 = 56; display: gross 200 * 0.4 = 80
    np.testing.assert_allclose(values.discount_cost, [[56.0, 0.0, 0.0], [20.0, 0.0, 0.0]])
    np.testing.assert_allclose(values.incremental_sales, [[0.0, 80.0, 0.0], [-20.0, 0.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(values.incremental_margin, [[-47.2, 19.0, 0.0], [-25.0, -5.0, 0.0]])


def test_no_offer_is_worth_nothing() -> None:
    assert (value_offers().incremental_margin[:, 2] == 0.0).all()


def test_doubling_amounts_doubles_values() -> None:
    for double, single in zip(value_offers(money=2.0), value_offers(), strict=True):
        np.testing.assert_allclose(double, 2.0 * single)


def test_offer_that_is_the_baseline_costs_only_its_contact_and_fixed_cost() -> None:
    values = value_offers(baseline=OFFERS[0])
    np.testing.assert_allclose(values.discount_cost[:, 0], 0.0, atol=1e-12)
    np.testing.assert_allclose(values.incremental_margin[:, 0], [-8.0, -5.0])


def test_sales_under_an_offer_never_fall_below_zero() -> None:
    assert (value_offers(effects=-10.0 * np.abs(EFFECTS)).discount_cost >= 0.0).all()


def test_leading_bootstrap_axis_is_kept() -> None:
    draws = np.random.default_rng(0).normal(size=(7, 2, 4))
    together = value_offers(effects=draws)
    assert together.incremental_margin.shape == (7, 2, 3)
    alone = value_offers(effects=draws[4])
    np.testing.assert_allclose(together.incremental_margin[4], alone.incremental_margin)


def test_value_is_what_a_week_by_week_simulation_of_the_model_gives() -> None:
    weeks, lags, setting = 3, 2, 0.25
    now, lag, base = 1.8, -0.7, 40.0
    lever = np.zeros(weeks + 2 * lags)
    lever[lags : lags + weeks] = setting
    lagged = np.array([lever[max(0, week - lags) : week].sum() / lags for week in range(len(lever))])
    gross = base * (1.0 + now * lever + lag * lagged)
    values = offer_values(
        effects=np.array([[now, lag]]),
        offers=np.array([[setting]]),
        base=np.array([base]),
        margin_rate=np.array([0.3]),
        contact_cost=np.zeros((1, 1)),
        fixed_cost=np.zeros(1),
        weeks=weeks,
    )
    incremental_gross = values.incremental_sales + values.discount_cost
    assert incremental_gross.item() == pytest.approx(gross.sum() - base * len(lever))

"""Lifts beyond chance, and what a discount on two products is worth."""

from typing import Any

import numpy as np
import pytest

from promo_spark.kernels.bundle_values import bundle_values, lift_lower_bound


def test_independent_products_seldom_pass_the_bound() -> None:
    """20,000 pairs that do not belong together: no more than the stated rate lies above 1."""
    dice = np.random.default_rng(8)
    n_baskets, first, second = 10_000.0, 800.0, 700.0
    shared = dice.binomial(int(first), second / n_baskets, 20_000).astype(float)
    margins: dict[str, Any] = {
        "first": np.full(20_000, first),
        "second": np.full(20_000, second),
        "n_baskets": n_baskets,
    }
    bound = lift_lower_bound(shared=shared, shoppers=shared, level=0.05, **margins)
    assert 0.02 < (bound > 1).mean() <= 0.05
    strict = lift_lower_bound(shared=shared, shoppers=shared, level=0.05 / 20_000, **margins)
    assert (strict > 1).sum() == 0


def test_the_bound_covers_the_true_lift() -> None:
    dice = np.random.default_rng(9)
    n_baskets, first, second, lift = 10_000.0, 500.0, 400.0, 2.5
    shared = dice.binomial(int(first), lift * second / n_baskets, 5000).astype(float)
    margins: dict[str, Any] = {"first": np.full(5000, first), "second": np.full(5000, second), "n_baskets": n_baskets}
    assert (lift_lower_bound(shared=shared, shoppers=shared, level=0.1, **margins) <= lift).mean() >= 0.9


def test_baskets_of_few_shoppers_are_weak_evidence() -> None:
    margins: dict[str, Any] = {
        "shared": np.full(3, 60.0),
        "first": np.full(3, 200.0),
        "second": np.full(3, 200.0),
        "n_baskets": 2000.0,
    }
    bound = lift_lower_bound(shoppers=np.array([2.0, 20.0, 60.0]), level=0.01, **margins)
    assert (np.diff(bound) > 0).all()
    assert bound[0] < 1 < bound[2] < 3.0


def simulate(share: float, discount: float, partner: float, expected: float) -> float:
    """Margin of the added product over 400,000 of the anchor's baskets with the discount, less without."""
    dice = np.random.default_rng(2)
    wants = dice.random(400_000)
    before = 2.0 * (wants < share)
    after = (2.0 - discount * (1 - partner)) * (wants < expected)
    return float((after - before).mean())


@pytest.mark.parametrize(("share", "discount", "partner"), [(0.2, 0.5, 0.0), (0.2, 0.5, 0.5), (0.7, 1.5, 0.0)])
def test_gain_is_that_of_simulated_baskets(share: float, discount: float, partner: float) -> None:
    told = bundle_values(
        anchor_baskets=np.array([1.0]),
        share=np.array([share]),
        added_price=np.array([5.0]),
        added_margin=np.array([2.0]),
        discount=np.array([discount]),
        partner_share=np.array([partner]),
        elasticity=2.6,
    )
    assert told.gain.item() == pytest.approx(
        simulate(share, discount, partner, told.expected_share.item()), rel=0.02, abs=0.003
    )


def test_at_the_break_even_share_nothing_is_gained() -> None:
    """The elasticity that leads exactly to the break-even share gains nothing; more gains, less loses."""
    pair: dict[str, Any] = {
        "anchor_baskets": np.array([50.0]),
        "share": np.array([0.2]),
        "added_price": np.array([4.0]),
    }
    money: dict[str, Any] = {
        "added_margin": np.array([2.0]),
        "discount": np.array([1.0]),
        "partner_share": np.array([0.5]),
    }
    share = bundle_values(elasticity=1.0, **pair, **money).break_even.item()
    even = np.log(0.2 / share) / np.log(0.75)
    assert bundle_values(elasticity=even, **pair, **money).gain.item() == pytest.approx(0.0, abs=1e-9)
    assert bundle_values(elasticity=even + 0.5, **pair, **money).gain.item() > 0
    assert bundle_values(elasticity=even - 0.5, **pair, **money).gain.item() < 0


def test_a_discount_above_the_margin_never_pays_and_one_above_the_price_moves_everybody() -> None:
    told = bundle_values(
        anchor_baskets=np.array([10.0]),
        share=np.array([0.1]),
        added_price=np.array([1.0]),
        added_margin=np.array([0.5]),
        discount=np.array([2.0]),
        partner_share=np.array([0.0]),
        elasticity=2.0,
    )
    assert told.expected_share.item() == 1.0
    assert np.isnan(told.break_even).all()
    assert told.gain.item() == pytest.approx(10 * (0.9 * 0.5 - 2.0))

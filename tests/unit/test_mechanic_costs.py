"""Cost models of mechanics, compared with customers simulated one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from promo_spark.kernels.basket_rewards import Baskets, Terms
from promo_spark.kernels.mechanic_costs import MECHANICS, effective_depth, expected_mechanic_cost

N_CUSTOMERS, REPEATS = 120, 300
THRESHOLD = Terms(depth_rate=0.1, threshold_amount=30.0, stretch_rate=0.4, stretch_prob=0.6, participation_rate=0.7)
Dice = np.random.Generator
Basket = tuple[float, float, int]
"""Spend, units, hour."""


def drawn(seed: int = 3) -> Baskets:
    """Some customers with no basket at all, some with several; spends around the threshold."""
    dice = np.random.default_rng(seed)
    customer = np.sort(dice.integers(0, N_CUSTOMERS, 2 * N_CUSTOMERS))
    n = len(customer)
    spend = dice.gamma(3.0, 8.0, n).round(2)
    return Baskets(spend, customer, dice.integers(1, 5, n).astype(float), dice.integers(0, 24, n), N_CUSTOMERS)


def moves(dice: Dice, spend: float, terms: Terms) -> float | None:
    """What a basket spends if it reaches the threshold."""
    threshold = terms.threshold_amount
    assert threshold is not None
    if spend >= threshold:
        return spend
    short = (threshold - spend) / (terms.stretch_rate * threshold)
    return threshold if short < 1 and dice.random() < terms.stretch_prob * (1 - short) else None


def spend_threshold(dice: Dice, baskets: list[Basket], terms: Terms) -> float:
    reached = [moves(dice, spend, terms) for spend, _, _ in baskets]
    return terms.depth_rate * sum(spend for spend in reached if spend is not None)


def gift(dice: Dice, baskets: list[Basket], terms: Terms) -> float:
    return terms.gift_unit_cost_amount * any(moves(dice, spend, terms) is not None for spend, _, _ in baskets)


def bundle(dice: Dice, baskets: list[Basket], terms: Terms) -> float:
    cost = 0.0
    for spend, units, _ in baskets:
        if units == terms.bundle_units - 1 and dice.random() < terms.stretch_prob:
            cost += terms.depth_rate * spend * terms.bundle_units / units
        elif units >= terms.bundle_units:
            cost += terms.depth_rate * spend
    return cost


def flash_sale(dice: Dice, baskets: list[Basket], terms: Terms) -> float:
    assert terms.flash_hours is not None
    first, last = terms.flash_hours
    hours = [*range(first, 24), *range(last + 1)] if first > last else range(first, last + 1)
    inside = [spend for spend, _, hour in baskets if hour in hours or dice.random() < terms.flash_shift_rate]
    return terms.depth_rate * sum(inside)


def coupon(_: Dice, baskets: list[Basket], terms: Terms) -> float:
    return terms.depth_rate * sum(spend for spend, _, _ in baskets)


def cashback(dice: Dice, baskets: list[Basket], terms: Terms) -> float:
    assert terms.cashback_cap_amount is not None
    due = min(coupon(dice, baskets, terms), terms.cashback_cap_amount)
    claimed = dice.random() >= terms.breakage_rate
    later: float = (1 + terms.annual_discount_rate) ** (terms.cashback_delay_days / 365)
    return due * claimed / later


def points(dice: Dice, baskets: list[Basket], terms: Terms) -> float:
    earned = terms.points_per_amount * sum(spend for spend, _, _ in baskets)
    return earned * terms.point_value_amount * (dice.random() >= terms.breakage_rate)


CASES: dict[str, tuple[Callable[[Dice, list[Basket], Terms], float], Terms]] = {
    "percent_off": (coupon, Terms(depth_rate=0.2)),
    "coupon": (coupon, Terms(depth_rate=0.2, participation_rate=0.3)),
    "members_only": (coupon, Terms(depth_rate=0.15, participation_rate=0.8)),
    "joint": (coupon, Terms(depth_rate=0.2, vendor_share_rate=0.4)),
    "spend_threshold": (spend_threshold, THRESHOLD),
    "gift": (gift, replace(THRESHOLD, depth_rate=0.0, gift_unit_cost_amount=3.0)),
    "bundle": (bundle, Terms(depth_rate=0.1, bundle_units=3, stretch_prob=0.4)),
    "cashback": (
        cashback,
        Terms(
            depth_rate=0.1,
            cashback_cap_amount=6.0,
            breakage_rate=0.2,
            cashback_delay_days=90,
            annual_discount_rate=0.1,
        ),
    ),
    "points": (
        points,
        Terms(points_per_amount=2.0, point_value_amount=0.02, breakage_rate=0.3, participation_rate=0.6),
    ),
    "flash_sale": (flash_sale, Terms(depth_rate=0.3, flash_hours=(22, 3), flash_shift_rate=0.2)),
}


@pytest.mark.parametrize("mechanic", CASES)
def test_the_cost_is_the_mean_of_simulated_customers(mechanic: str) -> None:
    act, terms = CASES[mechanic]
    baskets = drawn()
    lines = list(zip(baskets.spend, baskets.units, baskets.hour, strict=True))
    owned = [[lines[k] for k in np.flatnonzero(baskets.customer == c)] for c in range(N_CUSTOMERS)]
    dice = np.random.default_rng(11)
    share = terms.participation_rate * (1 - terms.vendor_share_rate)
    drawn_costs = np.array([share * sum(act(dice, own, terms) for own in owned) for _ in range(REPEATS)])
    told = expected_mechanic_cost(mechanic, terms, baskets)
    error = drawn_costs.std() / np.sqrt(len(drawn_costs)) + 1e-9 * drawn_costs.mean()
    assert abs(told.cost.sum() - drawn_costs.mean()) < 4 * error
    assert told.cost[np.array([not own for own in owned])].max() == 0.0


def test_every_mechanic_is_simulated_or_gives_nothing_away() -> None:
    assert set(MECHANICS) - set(CASES) == {"display", "mailer"}
    for mechanic in ("display", "mailer"):
        assert expected_mechanic_cost(mechanic, Terms(), drawn()).cost.sum() == 0.0


def test_gifts_that_run_out_cost_no_more_than_simulated_first_comers_and_hardly_less() -> None:
    terms = replace(THRESHOLD, participation_rate=1.0, gift_unit_cost_amount=3.0)
    baskets = drawn()
    free = expected_mechanic_cost("gift", terms, baskets)
    stock = round(free.takers.sum() * 1.02)
    dice = np.random.default_rng(5)
    given = np.minimum((dice.random((20_000, N_CUSTOMERS)) < free.takers).sum(axis=1), stock)
    limited = expected_mechanic_cost("gift", replace(terms, gift_stock_count=stock), baskets).cost.sum()
    assert 3.0 * given.mean() <= limited <= 1.05 * 3.0 * given.mean()
    assert expected_mechanic_cost("gift", replace(terms, gift_stock_count=7), baskets).cost.sum() == pytest.approx(21.0)


@pytest.mark.parametrize("mechanic", MECHANICS)
def test_the_order_of_baskets_changes_nothing_and_money_scales(mechanic: str) -> None:
    terms = CASES[mechanic][1] if mechanic in CASES else Terms()
    baskets = drawn()
    told = expected_mechanic_cost(mechanic, terms, baskets)
    order = np.random.default_rng(1).permutation(len(baskets.spend))
    spend, customer, units, hour, _ = baskets
    shuffled = Baskets(spend[order], customer[order], units[order], hour[order], N_CUSTOMERS)
    np.testing.assert_allclose(expected_mechanic_cost(mechanic, terms, shuffled).cost, told.cost)
    cents = replace(
        terms,
        threshold_amount=None if terms.threshold_amount is None else 100 * terms.threshold_amount,
        gift_unit_cost_amount=100 * terms.gift_unit_cost_amount,
        cashback_cap_amount=None if terms.cashback_cap_amount is None else 100 * terms.cashback_cap_amount,
    )
    in_cents = expected_mechanic_cost(mechanic, cents, baskets._replace(spend=100 * baskets.spend))
    np.testing.assert_allclose(in_cents.cost, 100 * told.cost)
    np.testing.assert_allclose(in_cents.takers, told.takers)
    assert ((told.takers >= 0) & (told.takers <= 1)).all()


def test_a_higher_threshold_costs_less_and_a_threshold_below_all_is_percent_off() -> None:
    baskets = drawn()
    costs = [
        expected_mechanic_cost("spend_threshold", replace(THRESHOLD, threshold_amount=amount), baskets).cost.sum()
        for amount in (0.01, 20.0, 40.0, 80.0)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == pytest.approx(expected_mechanic_cost("percent_off", THRESHOLD, baskets).cost.sum())


def test_effective_depth_of_a_plain_discount_is_its_depth() -> None:
    baskets = drawn()
    told = expected_mechanic_cost("percent_off", Terms(depth_rate=0.25), baskets)
    assert effective_depth(told, baskets) == pytest.approx(0.25)
    nobody = Baskets(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0, dtype=np.int64), 4)
    assert effective_depth(expected_mechanic_cost("gift", THRESHOLD, nobody), nobody) == 0.0


@pytest.mark.parametrize(
    ("mechanic", "terms", "spend", "message"),
    [
        ("raffle", Terms(), 1.0, "raffle has no cost model"),
        ("spend_threshold", Terms(depth_rate=0.1), 1.0, "needs a threshold_amount"),
        ("percent_off", Terms(depth_rate=0.1), -1.0, "not negative"),
        ("percent_off", Terms(depth_rate=0.1), float("nan"), "finite"),
    ],
)
def test_what_cannot_be_priced_is_refused(mechanic: str, terms: Terms, spend: float, message: str) -> None:
    one = np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match=message):
        expected_mechanic_cost(mechanic, terms, Baskets(np.array([spend]), one, np.ones(1), one, 1))

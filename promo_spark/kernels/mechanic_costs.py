"""What a promotion costs per customer told, mechanic by mechanic, from the baskets that customers are expected to fill.

Amounts are currency over the weeks of the offer, at regular price. The baskets stand for those weeks; usually they are
those of as many weeks before. A cost is what the retailer gives away, not what the offer brings: who would have bought
anyway gets it too. Where a reward needs a threshold, some baskets just below move up to it (see ``reaching``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.basket_rewards import Baskets, MechanicCost, Terms, reaching, rewarded

Floats = NDArray[np.float64]

_DAYS_PER_YEAR = 365.0
_ALL_DAY = (0, 23)


def expected_mechanic_cost(mechanic: str, terms: Terms, baskets: Baskets) -> MechanicCost:
    """Cost that is expected of telling each customer of an offer.

    Args:
        mechanic: One of ``MECHANICS``.
        terms: The small print.
        baskets: What each customer is expected to buy while the offer runs, had there been none.

    Returns:
        Cost after the vendor's share, extra spend and chance of taking, per customer; 0 for who buys nothing.

    Raises:
        ValueError: Unknown mechanic, what it needs is missing, or a spend is negative or not finite.

    Complexity: O(n_baskets + n_customers).

    >>> spend = np.array([30.0, 10.0])
    >>> two = Baskets(spend, np.array([0, 1]), np.ones(2), np.array([9, 20]), 2)
    >>> expected_mechanic_cost("joint", Terms(depth_rate=0.2, vendor_share_rate=0.5), two).cost.tolist()
    [3.0, 1.0]
    """
    if mechanic not in _MODELS:
        raise ValueError(f"mechanic {mechanic} has no cost model; there are {', '.join(MECHANICS)}")
    if not (np.isfinite(baskets.spend).all() and (baskets.spend >= 0).all()):
        raise ValueError("spend of baskets must be finite and not negative")
    told = _MODELS[mechanic](terms, baskets)
    return told._replace(cost=told.cost * (1.0 - terms.vendor_share_rate))


def effective_depth(told: MechanicCost, baskets: Baskets) -> float:
    """The discount depth that costs as much: cost over the spend it goes with, the extra spend included.

    It exceeds 1 where an offer costs more than is bought; 0 where nothing is bought.

    >>> baskets = Baskets(np.array([40.0, 10.0]), np.array([0, 0]), np.ones(2), np.zeros(2, dtype=np.int64), 1)
    >>> effective_depth(spend_threshold(Terms(depth_rate=0.1, threshold_amount=30.0), baskets), baskets)
    0.08
    """
    gross = float(baskets.spend.sum() + told.extra_spend.sum())
    return float(told.cost.sum()) / gross if gross > 0 else 0.0


def percent_off(terms: Terms, baskets: Baskets) -> MechanicCost:
    """Depth times spend times the share who take part: also coupons, members-only prices and joint offers.

    Displays and mailers mostly give nothing away: their depth is then 0.

    >>> one = Baskets(np.array([30.0, 20.0]), np.array([0, 0]), np.ones(2), np.zeros(2, dtype=np.int64), 1)
    >>> percent_off(Terms(depth_rate=0.1, participation_rate=0.5), one).cost.tolist()  # 0.5 * 0.1 * 50
    [2.5]
    """
    spend = baskets.per_customer(baskets.spend)
    share = terms.participation_rate
    return MechanicCost(share * terms.depth_rate * spend, np.zeros_like(spend), np.where(spend > 0, share, 0.0))


def spend_threshold(terms: Terms, baskets: Baskets) -> MechanicCost:
    """Depth times the spend of baskets that reach the threshold, those that move up to it included.

        cost = share * d * sum of chance(x) * max(x, T)      extra spend = share * sum of chance(x) * max(T - x, 0)

    >>> one = Baskets(np.array([40.0, 27.0]), np.array([0, 0]), np.ones(2), np.zeros(2, dtype=np.int64), 1)
    >>> told = spend_threshold(Terms(depth_rate=0.1, threshold_amount=30.0, stretch_prob=0.5), one)
    >>> told.cost.round(6).tolist(), told.extra_spend.tolist()  # 0.1 * (40 + 0.25 * 30); 0.25 * 3
    ([4.75], [0.75])
    """
    threshold = _threshold(terms)
    chance = reaching(baskets.spend, threshold, terms.stretch_rate, terms.stretch_prob)
    return rewarded(terms, baskets, chance, np.maximum(baskets.spend, threshold))


def bundle(terms: Terms, baskets: Baskets) -> MechanicCost:
    """Depth times the spend of baskets with enough units; of those one unit short some add it, at their mean price.

    >>> two = Baskets(np.array([10.0, 4.0]), np.array([0, 1]), np.array([2.0, 1.0]), np.zeros(2, dtype=np.int64), 2)
    >>> bundle(Terms(depth_rate=0.1, bundle_units=2, stretch_prob=0.5), two).cost.round(6).tolist()
    [1.0, 0.4]
    """
    needed = terms.bundle_units
    is_short = (baskets.units < needed) & (baskets.units >= needed - 1) & (baskets.units > 0)
    chance = np.where(baskets.units >= needed, 1.0, np.where(is_short, terms.stretch_prob, 0.0))
    filled = np.where(is_short, baskets.spend * needed / np.where(is_short, baskets.units, 1.0), baskets.spend)
    return rewarded(terms, baskets, chance, filled)


def gift(terms: Terms, baskets: Baskets) -> MechanicCost:
    """Unit cost times the chance of at least one basket that earns the gift: one per customer, while stock lasts.

    Where more takers are expected than there are gifts, all have the same chance of one: the mean of the smaller of
    two is at most the smaller of the means, so the cost is on the safe side. Without a threshold any basket earns it.

    >>> spend = np.array([40.0, 10.0, 35.0])
    >>> three = Baskets(spend, np.array([0, 0, 1]), np.ones(3), np.zeros(3, dtype=np.int64), 3)
    >>> gift(Terms(threshold_amount=30.0, gift_unit_cost_amount=4.0, gift_stock_count=1), three).cost.tolist()
    [2.0, 2.0, 0.0]
    """
    threshold = terms.threshold_amount
    if threshold is None:
        chance, lifted = (baskets.spend > 0).astype(np.float64), baskets.spend
    else:
        chance = reaching(baskets.spend, threshold, terms.stretch_rate, terms.stretch_prob)
        lifted = np.maximum(baskets.spend, threshold)
    told = rewarded(terms, baskets, chance, lifted)
    wanted = float(told.takers.sum())
    stock = np.inf if terms.gift_stock_count is None else terms.gift_stock_count
    served = min(1.0, stock / wanted) if wanted > 0 else 1.0
    takers = told.takers * served
    return MechanicCost(terms.gift_unit_cost_amount * takers, told.extra_spend, takers)


def cashback(terms: Terms, baskets: Baskets) -> MechanicCost:
    """A share of the spend, at most the cap per customer, that some never claim and that is paid later.

        cost = share * (1 - breakage) * min(cap, d * spend) / (1 + annual rate) ** (days / 365)

    >>> one = Baskets(np.array([80.0, 40.0]), np.array([0, 0]), np.ones(2), np.zeros(2, dtype=np.int64), 1)
    >>> cashback(Terms(depth_rate=0.1, cashback_cap_amount=10.0, breakage_rate=0.2), one).cost.tolist()
    [8.0]
    """
    spend = baskets.per_customer(baskets.spend)
    due = np.minimum(
        np.inf if terms.cashback_cap_amount is None else terms.cashback_cap_amount, terms.depth_rate * spend
    )
    later = (1.0 + terms.annual_discount_rate) ** (-terms.cashback_delay_days / _DAYS_PER_YEAR)
    claimed = terms.participation_rate * (1.0 - terms.breakage_rate)
    return MechanicCost(claimed * later * due, np.zeros_like(spend), np.where(due > 0, claimed, 0.0))


def points(terms: Terms, baskets: Baskets) -> MechanicCost:
    """Points earned times the cost of one, less the share that is never used (breakage).

    >>> one = Baskets(np.array([50.0]), np.array([0]), np.ones(1), np.zeros(1, dtype=np.int64), 1)
    >>> terms = Terms(points_per_amount=2.0, point_value_amount=0.01, breakage_rate=0.25)
    >>> points(terms, one).cost.tolist()  # 100 points, 75 of them used
    [0.75]
    """
    worth = terms.points_per_amount * terms.point_value_amount
    used = terms.participation_rate * (1.0 - terms.breakage_rate)
    spend = baskets.per_customer(baskets.spend)
    return MechanicCost(used * worth * spend, np.zeros_like(spend), np.where(spend > 0, used, 0.0))


def flash_sale(terms: Terms, baskets: Baskets) -> MechanicCost:
    """Depth times the spend within the hours, and the share of other baskets that move into them; no hours: all day.

    >>> two = Baskets(np.array([30.0, 20.0]), np.array([0, 0]), np.ones(2), np.array([18, 9]), 1)
    >>> flash_sale(Terms(depth_rate=0.2, flash_hours=(17, 19), flash_shift_rate=0.1), two).cost.round(6).tolist()
    [6.4]
    """
    first, last = _ALL_DAY if terms.flash_hours is None else terms.flash_hours
    is_after, is_before = baskets.hour >= first, baskets.hour <= last
    is_within = is_after & is_before if first <= last else is_after | is_before
    return rewarded(terms, baskets, np.where(is_within, 1.0, terms.flash_shift_rate), baskets.spend)


def _threshold(terms: Terms) -> float:
    if terms.threshold_amount is None:
        raise ValueError("a spend_threshold needs a threshold_amount")
    return terms.threshold_amount


_MODELS: dict[str, Callable[[Terms, Baskets], MechanicCost]] = {
    "percent_off": percent_off,
    "coupon": percent_off,
    "members_only": percent_off,
    "joint": percent_off,
    "spend_threshold": spend_threshold,
    "bundle": bundle,
    "gift": gift,
    "cashback": cashback,
    "points": points,
    "flash_sale": flash_sale,
    "display": percent_off,
    "mailer": percent_off,
}
MECHANICS = tuple(_MODELS)
"""Every mechanic that has a cost model."""

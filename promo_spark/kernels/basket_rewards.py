"""Who earns a reward, with which baskets: what the cost models of promotions have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Terms:
    """The small print of an offer; a mechanic looks only at its own part.

    Attributes:
        depth_rate: Share of the spend that is given back.
        participation_rate: Share of customers told who take part: redeem, register, are members.
        threshold_amount: Spend in one basket that earns the reward.
        bundle_units: Units in one basket that earn it.
        stretch_rate: Share of the threshold below which no basket moves up.
        stretch_prob: Chance that a basket just below the threshold moves up to it.
        gift_unit_cost_amount: Cost of one gift.
        gift_stock_count: Gifts there are.
        cashback_cap_amount: Most that one customer gets back.
        cashback_delay_days: Until it is paid.
        annual_discount_rate: What money paid a year later is worth less.
        points_per_amount: Points per unit of currency spent.
        point_value_amount: Cost of one point that is used.
        breakage_rate: Share of cashback or points that is never claimed.
        flash_hours: First and last hour of day of a flash sale, both counted; over midnight where the first is later.
        flash_shift_rate: Share of baskets of other hours that move into them.
        vendor_share_rate: Share of the cost that the vendor or partner bears.
    """

    depth_rate: float = 0.0
    participation_rate: float = 1.0
    threshold_amount: float | None = None
    bundle_units: int = 2
    stretch_rate: float = 0.2
    stretch_prob: float = 0.0
    gift_unit_cost_amount: float = 0.0
    gift_stock_count: float | None = None
    cashback_cap_amount: float | None = None
    cashback_delay_days: float = 0.0
    annual_discount_rate: float = 0.0
    points_per_amount: float = 0.0
    point_value_amount: float = 0.0
    breakage_rate: float = 0.0
    flash_hours: tuple[int, int] | None = None
    flash_shift_rate: float = 0.0
    vendor_share_rate: float = 0.0


class Baskets(NamedTuple):
    """Baskets expected while the offer runs, each of shape (n_baskets,), and of how many customers they are.

    spend: in scope, at regular price, currency, not negative. customer: 0 to n_customers - 1. units: in scope. hour: of
    the day, 0 to 23.
    """

    spend: Floats
    customer: Ints
    units: Floats
    hour: Ints
    n_customers: int

    def per_customer(self, values: Floats) -> Floats:
        """Sum a value of each basket over the baskets of each customer."""
        return np.bincount(self.customer, weights=values, minlength=self.n_customers).astype(np.float64)


class MechanicCost(NamedTuple):
    """Expected per customer told, each of shape (n_customers,).

    cost: given away by the retailer. extra_spend: what moving up to a threshold adds to the spend. takers: probability
    of getting anything.
    """

    cost: Floats
    extra_spend: Floats
    takers: Floats


def reaching(spend: Floats, threshold: float, stretch_rate: float, stretch_prob: float) -> Floats:
    """Chance that a basket reaches a threshold: the stretch model.

    With x the spend, T the threshold, w the stretch rate and p the chance just below it:

        1                          x >= T
        p (1 - (T - x) / (w T))    T (1 - w) < x < T
        0                          else

    Who moves up spends exactly T: baskets bunch at a threshold, and the fewer the farther they come from.

    >>> reaching(np.array([30.0, 27.0, 24.0, 5.0]), threshold=30.0, stretch_rate=0.2, stretch_prob=0.5).tolist()
    [1.0, 0.25, 0.0, 0.0]
    """
    if stretch_rate <= 0:
        return (spend >= threshold).astype(np.float64)
    near = 1.0 - (threshold - spend) / (stretch_rate * threshold)
    return np.where(spend >= threshold, 1.0, stretch_prob * np.clip(near, 0.0, 1.0))


def rewarded(terms: Terms, baskets: Baskets, chance: Floats, spend: Floats) -> MechanicCost:
    """Depth off baskets that qualify with a chance and then have such a spend.

    Args:
        terms: Depth and the share who take part.
        baskets: As they would be without the offer.
        chance: That each basket earns the reward, shape (n_baskets,).
        spend: Of each basket that does, shape (n_baskets,), currency.

    Complexity: O(n_baskets + n_customers).
    """
    share = terms.participation_rate
    with np.errstate(divide="ignore"):
        missed = np.exp(baskets.per_customer(np.log1p(-np.where(baskets.spend > 0, chance, 0.0))))
    return MechanicCost(
        cost=share * terms.depth_rate * baskets.per_customer(chance * spend),
        extra_spend=share * baskets.per_customer(chance * (spend - baskets.spend)),
        takers=share * (1.0 - missed),
    )

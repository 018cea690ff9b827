"""What customers will buy, and what that is worth: BG/NBD for how often, gamma-gamma for how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from promo_spark.kernels.bg_nbd import BgNbd, alive_probability, expected_purchases
from promo_spark.kernels.gamma_gamma import GammaGamma, expected_amounts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_PERIOD_DAYS = 28.0
_YEAR_DAYS = 365.0


@dataclass(frozen=True)
class LifetimeValues:
    """What is expected of each customer, each of shape (customers,).

    Attributes:
        alive: Probability that the customer has not left for good.
        purchases: Purchases within the horizon.
        amounts: Mean amount of one, currency.
        values: Amount of all within the horizon, discounted, currency.
    """

    alive: Floats
    purchases: Floats
    amounts: Floats
    values: Floats


def value_lifetimes(
    purchases: BgNbd,
    amounts: GammaGamma,
    *,
    repeats: Ints,
    last: Floats,
    age: Floats,
    spend: Floats,
    horizon: float,
    discount_rate: float = 0.0,
) -> LifetimeValues:
    """Value customers over a horizon.

    How often a customer buys and how much each time are taken to be independent over customers.

    Args:
        purchases: Parameters of BG/NBD, in days.
        amounts: Parameters of gamma-gamma.
        repeats: Purchases after the first, shape (customers,).
        last: Days from the first purchase to the last, same shape.
        age: Days from the first purchase to now, same shape.
        spend: Amount of all purchases, the first among them, same shape, currency.
        horizon: Days looked ahead.
        discount_rate: An amount that comes a year later counts 1 / (1 + rate); the purchases of each 28 days count
            as if made in their middle.

    Returns:
        Values of each customer.

    Complexity: O(customers), times the number of 28 days in the horizon where there is a discount. Source: Fader,
    Hardie and Lee 2005; Fader and Hardie 2013.

    A customer who cannot leave and buys 2 + 1 times in 10 + 10 days, 6 each time as everybody does:

    >>> told = value_lifetimes(
    ...     BgNbd(2.0, 10.0, 1e-9, 1.0), GammaGamma(1e6, 1e6, 6.0), repeats=np.array([1]), last=np.array([5.0]),
    ...     age=np.array([10.0]), spend=np.array([12.0]), horizon=56.0, discount_rate=1.0,
    ... )
    >>> [round(float(value[0]), 3) for value in (told.alive, told.purchases, told.amounts)]
    [1.0, 8.4, 6.0]
    >>> round(float(told.values[0]), 3) == round(6 * 4.2 * (2 ** (-14 / 365) + 2 ** (-42 / 365)), 3)
    True
    """
    counts = (repeats + 1).astype(np.float64)
    mean = expected_amounts(amounts, counts, spend / counts)
    ends = np.append(np.arange(_PERIOD_DAYS, horizon, _PERIOD_DAYS), horizon) if discount_rate else np.array([horizon])
    bought, discounted = np.zeros(len(age)), np.zeros(len(age))
    for start, end in zip(np.append(0.0, ends[:-1]), ends, strict=True):
        until = expected_purchases(purchases, repeats, last, age, float(end))
        discounted += (until - bought) * (1.0 + discount_rate) ** (-(start + end) / 2.0 / _YEAR_DAYS)
        bought = until
    return LifetimeValues(alive_probability(purchases, repeats, last, age), bought, mean, mean * discounted)

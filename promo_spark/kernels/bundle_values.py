"""Whether two products sell together beyond chance, and what a discount on the two is worth."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Floats = NDArray[np.float64]


def lift_lower_bound(
    *, shared: Floats, shoppers: Floats, first: Floats, second: Floats, n_baskets: Floats | float, level: Floats | float
) -> Floats:
    """Lower bound of the lift of pairs of products.

    Lift is N n12 / (n1 n2). With the two margins held, n12 is at most as variable as a Poisson count; its exact lower
    limit at error rate a is chi2.ppf(a, 2 n) / 2. Baskets of one shopper are not independent, so n is the number of
    shoppers with both, and the limit's share of it is taken off the lift: one who always buys both is one witness.

    Args:
        shared: Baskets with both, shape (n_pairs,), at least 1.
        shoppers: Different shoppers with a basket of both, shape (n_pairs,), 1 to shared.
        first: Baskets with the first, shape (n_pairs,).
        second: Baskets with the second, shape (n_pairs,).
        n_baskets: All baskets, one number or shape (n_pairs,).
        level: One-sided error rate of one bound, one number or shape (n_pairs,). For all of m pairs at once at 0.05
            give 0.05 / m (Bonferroni).

    Returns:
        Bounds, shape (n_pairs,).

    Source: Garwood 1936, Fiducial limits for the Poisson distribution.

    >>> counts = dict(shared=np.array([40.0]), first=np.array([100.0]), second=np.array([200.0]), n_baskets=1000)
    >>> lift_lower_bound(shoppers=np.array([40.0]), level=0.05, **counts).round(2).tolist()  # lift 2
    [1.51]
    >>> lift_lower_bound(shoppers=np.array([4.0]), level=0.05, **counts).round(2).tolist()
    [0.68]
    """
    lift = shared * n_baskets / (first * second)
    bound: Floats = lift * chi2.ppf(level, 2.0 * shoppers) / (2.0 * shoppers)
    return bound


class BundleValues(NamedTuple):
    """Per pair, each of shape (n_pairs,).

    expected_share: share of the anchor's baskets that hold both at the discount. break_even: the share at which the
    discount pays; NaN where it never does. gain: currency, over all baskets of the anchor.
    """

    expected_share: Floats
    break_even: Floats
    gain: Floats


def bundle_values(
    *,
    anchor_baskets: Floats,
    share: Floats,
    added_price: Floats,
    added_margin: Floats,
    discount: Floats,
    partner_share: Floats,
    elasticity: float,
) -> BundleValues:
    """Value a discount for buying two products together, seen from the one that is bought anyway.

    A share q of the anchor's n baskets hold the added product already, and get the discount D all the same. At the
    discount a share s does. Of D the partner bears a share f. With m the margin of the added product:

        gain       = n ((s - q) m - s D (1 - f))
        break-even = q m / (m - D (1 - f))     never where the margin does not exceed the retailer's part of D
        s          = min(1, q (1 - D / p) ** -e)

    The discount is taken as one on the added product, whose share in these baskets answers by a constant price
    elasticity e. Left out: baskets with the added product alone that gain the anchor (the gain is then higher), and
    sales of other products that the pair replaces (lower).

    Args:
        anchor_baskets: Baskets with the anchor, shape (n_pairs,).
        share: Share of them with both, shape (n_pairs,), above 0.
        added_price: Regular price of the added product, shape (n_pairs,), currency.
        added_margin: Its margin at that price, shape (n_pairs,), currency.
        discount: On the two together, shape (n_pairs,), currency.
        partner_share: Share of the discount that the partner bears, shape (n_pairs,).
        elasticity: Of the added product's share in its price, as a positive number.

    Returns:
        Expected share, break-even share and gain.

    >>> pair = dict(anchor_baskets=np.array([100.0]), share=np.array([0.2]), added_price=np.array([4.0]))
    >>> money = dict(added_margin=np.array([2.0]), discount=np.array([1.0]), elasticity=2.0)
    >>> told = bundle_values(partner_share=np.array([0.0]), **pair, **money)
    >>> [value.round(4).item() for value in told]  # 0.2 / 0.75 ** 2; 0.2 * 2 / 1; 100 (0.1556 * 2 - 0.3556 * 1)
    [0.3556, 0.4, -4.4444]
    """
    own = discount * (1.0 - partner_share)
    left = np.clip(1.0 - discount / added_price, 0.0, 1.0)
    with np.errstate(divide="ignore"):
        expected = np.minimum(1.0, share * left**-elasticity)
    spare = added_margin - own
    break_even = np.where(spare > 0, share * added_margin / np.where(spare > 0, spare, 1.0), np.nan)
    gain = anchor_baskets * ((expected - share) * added_margin - expected * own)
    return BundleValues(expected, break_even, gain)

"""What customers' purchase days say at a cut: how often, how lately, how regularly; by customer and by product.

Days are counted from a date: negative ones lie before it. Everything at a cut uses earlier days only.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HALF_LIVES = (14, 28, 56, 112, 224)
"""In days."""
RECENT, SEASON = 28, 84
"""In days."""
DISCOUNT_DAYS = (7, 14)
"""Days before a cut over which discounts are counted, besides all."""
_LATELY = 7
_TRIP_HALF_LIFE = 28
_USUAL_GAP, _USUAL_REPEAT = 60.0, 0.2
"""Days between purchases, and share of buyers who come back, where little is known; weighed by the next two."""
_GAP_WEIGHT, _REPEAT_WEIGHT, _RETENTION_WEIGHT = 3.0, 10.0, 5.0


class Purchases(NamedTuple):
    """Days on which customers bought products, end to end; within a customer by product, then by day.

    Attributes:
        offsets: Entries of customer i are ``offsets[i]:offsets[i + 1]``.
        products: Product of each entry.
        days: Day of each entry.
        discounted: Bought below the usual price.
    """

    offsets: Ints
    products: Ints
    days: Ints
    discounted: Bools


class Habits(NamedTuple):
    """One entry per customer and product bought before a cut, in the order of ``Purchases``.

    Attributes:
        offsets: Entries of customer i are ``offsets[i]:offsets[i + 1]``.
        products: Shape (n,), as all that follow but the last two.
        decayed: Days of purchase, each losing half its weight every half-life, shape (n, len(HALF_LIVES)).
        day_count: Days of purchase.
        last_days: Days since the last one.
        first_days: Days since the first one.
        gap_squares: Squared days between one purchase and the next, summed.
        was_earlier: Bought in the 28 days before the last 28.
        trips: Decayed days on which the customer bought anything, shape (n_customers,).
        idle_days: Days since the customer last bought anything, shape (n_customers,); NaN for nothing.
    """

    offsets: Ints
    products: Ints
    decayed: Floats
    day_count: Floats
    last_days: Floats
    first_days: Floats
    gap_squares: Floats
    was_earlier: Bools
    trips: Floats
    idle_days: Floats

    @property
    def customers(self) -> Ints:
        """Row of each entry."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def matrix(self, values: Floats, n_products: int) -> sparse.csr_matrix:
        """Values of the entries, shape (n_customers, n_products)."""
        return sparse.csr_matrix((values, self.products, self.offsets), shape=(len(self.offsets) - 1, n_products))


class Catalogue(NamedTuple):
    """Products at a cut.

    Attributes:
        is_open: Enough customers bought it to recommend it, shape (n_products,).
        features: Shape (n_products, len(PRODUCT_FEATURES)).
        groups: Category and subcategory of each product, numbered from 0, shape (2, n_products).
    """

    is_open: Bools
    features: Floats
    groups: Ints

    def feature(self, name: str) -> Floats:
        """One of ``PRODUCT_FEATURES``, shape (n_products,)."""
        column: Floats = self.features[:, PRODUCT_FEATURES.index(name)]
        return column


PRODUCT_FEATURES = (
    "buyers_7d", "buyers_28d", "buyers_84d", "buyers", "new_buyers_28d", "retention_rate", "repeat_rate",
    "usual_gap_days", "trend_7d", "trend_28d", "new_buyer_rate",
    *(f"discount_rate_{days}d" for days in DISCOUNT_DAYS), "discount_rate",
)  # fmt: skip


def habits_before(purchases: Purchases, cut: int) -> Habits:
    """Summarise the days before a cut.

    Complexity: O(entries).

    >>> bought = Purchases(np.array([0, 3]), np.array([4, 4, 6]), np.array([-28, -14, 2]), np.zeros(3, dtype=bool))
    >>> habits = habits_before(bought, 0)
    >>> habits.products.tolist(), habits.decayed[:, 0].tolist(), habits.last_days.tolist()
    ([4], [0.75], [14.0])
    """
    n_customers = len(purchases.offsets) - 1
    past = purchases.days < cut
    rows = np.repeat(np.arange(n_customers), np.diff(purchases.offsets))[past]
    products, ages = purchases.products[past], (cut - purchases.days[past]).astype(np.float64)
    firsts = np.flatnonzero(np.concatenate([[True], (np.diff(rows) != 0) | (np.diff(products) != 0)])[: len(rows)])
    owners = rows[firsts]
    gaps = -np.diff(ages, prepend=ages[:1])
    gaps[firsts] = 0
    weights = 0.5 ** (ages[:, None] / np.array(HALF_LIVES))
    days = np.unique(rows * (np.int64(1) << 32) + ages.astype(np.int64))
    visitors, visit_ages = days >> 32, (days & 0xFFFFFFFF).astype(np.float64)
    idle = np.full(n_customers, np.nan)
    np.fmin.at(idle, visitors, visit_ages)
    earlier = (ages > RECENT) & (ages <= 2 * RECENT)

    def single(values: NDArray[np.generic], function: np.ufunc) -> NDArray[np.generic]:
        reduced: NDArray[np.generic] = function.reduceat(values, firsts) if len(firsts) else values[:0]
        return reduced

    return Habits(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=n_customers))]),
        products=products[firsts],
        decayed=single(weights, np.add).astype(np.float32),
        day_count=single(np.ones(len(rows)), np.add).astype(np.float32),
        last_days=single(ages, np.minimum).astype(np.float32),
        first_days=single(ages, np.maximum).astype(np.float32),
        gap_squares=single(gaps**2, np.add).astype(np.float32),
        was_earlier=single(earlier, np.logical_or).astype(np.bool_),
        trips=np.bincount(visitors, weights=0.5 ** (visit_ages / _TRIP_HALF_LIFE), minlength=n_customers).astype(
            np.float32
        ),
        idle_days=idle.astype(np.float32),
    )


def sum_products(purchases: Purchases, cut: int, n_products: int) -> Doubles:
    """Sums over customers that ``describe_products`` takes, shape (n_products, N_SUMS); sums of parts add up."""
    of_habits = _sum_habits(habits_before(purchases, cut), n_products)
    ages = cut - purchases.days
    inside = [(ages > 0) & (ages <= days) for days in (*DISCOUNT_DAYS, np.inf)]
    counted = [chosen for own in inside for chosen in (own, own & purchases.discounted)]
    columns = [np.bincount(purchases.products[chosen], minlength=n_products) for chosen in counted]
    return np.column_stack([of_habits, *columns])


def _sum_habits(habits: Habits, n_products: int) -> Doubles:
    recent, came_back = habits.last_days <= RECENT, habits.day_count > 1
    summed = (
        habits.last_days <= _LATELY,
        recent,
        habits.last_days <= SEASON,
        np.ones(len(recent)),
        habits.first_days <= RECENT,
        habits.was_earlier,
        habits.was_earlier & recent,
        came_back,
        np.where(came_back, habits.first_days - habits.last_days, 0),
        habits.day_count - 1,
    )
    return np.column_stack([np.bincount(habits.products, weights=v, minlength=n_products) for v in summed])


N_SUMS = 10 + 2 * (len(DISCOUNT_DAYS) + 1)
"""Columns of ``sum_products``."""


def describe_products(sums: Doubles, groups: Ints, min_customers: int) -> Catalogue:
    """Make features of products from their sums.

    Args:
        sums: Of all customers, as by ``sum_products``.
        groups: Category and subcategory, shape (2, n_products).
        min_customers: Products bought by fewer are not recommended.
    """
    lately, recent, season, buyers, new, earlier, kept, came_back, gap_days, gaps, *counts = sums.T
    usual_retention = kept.sum() / max(earlier.sum(), 1)
    features = (
        lately,
        recent,
        season,
        buyers,
        new,
        (kept + _RETENTION_WEIGHT * usual_retention) / (earlier + _RETENTION_WEIGHT),
        (came_back + _REPEAT_WEIGHT * _USUAL_REPEAT) / (buyers + _REPEAT_WEIGHT),
        (gap_days + _GAP_WEIGHT * _USUAL_GAP) / (gaps + _GAP_WEIGHT),
        4 * lately / (recent + 2),
        3 * recent / (season + 3),
        new / (recent + 2),
        *(discounted / np.maximum(bought, 1) for bought, discounted in zip(counts[::2], counts[1::2], strict=True)),
    )
    return Catalogue(buyers >= min_customers, np.column_stack(features).astype(np.float32), groups)

"""How much of what customers do later their segments explain, with an error."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_PARTS = 20


@dataclass(frozen=True, eq=False)
class Explained:
    """A share of variance, and what it is without each twentieth of the customers.

    Attributes:
        rate: Share of the variance, at most 1; about 0 for groups that say nothing, and below it by chance.
        without: The same without one part of the customers each, shape (20,).
    """

    rate: float
    without: Floats

    @property
    def standard_error(self) -> float:
        """Of the rate, by the jackknife over parts (Quenouille 1956, Tukey 1958)."""
        return _jackknife_error(self.without)

    def gain_over(self, other: Explained) -> tuple[float, float]:
        """How much more is explained than by other groups of the same customers, and the error of the difference."""
        return self.rate - other.rate, _jackknife_error(self.without - other.without)


def variance_explained(labels: Ints, outcomes: Floats) -> Explained:
    """Share of the variance that groups explain, meaned over outcomes.

    For each outcome ε² = 1 − (within / (n − groups)) / (total / (n − 1)): η² without what any groups would explain by
    chance, so that more groups are no better for being more (Kelley 1935).

    Args:
        labels: Group of each customer, shape (customers,).
        outcomes: Shape (customers, outcomes); one that is the same for all is explained by nothing: 0.

    >>> outcomes = np.array([[1.0], [1.0], [3.0], [3.0]])
    >>> variance_explained(np.array([0, 0, 1, 1]), outcomes).rate
    1.0
    """
    # Mixed, because customers come sorted and each part would hold some of every kind. What is explained settles how,
    # so that two groupings of the same customers are compared on the same parts.
    mixed = np.random.default_rng(crc32(np.ascontiguousarray(outcomes).tobytes()))
    parts = mixed.permutation(len(labels)) % _PARTS
    without = [_rate(labels[parts != part], outcomes[parts != part]) for part in range(_PARTS)]
    return Explained(_rate(labels, outcomes), np.array(without))


def explained_by_sums(counts: Floats, sums: Floats, squares: Floats) -> Explained:
    """The same of one outcome from sums over the customers of each group and part, where there are too many to hold.

    Args:
        counts: Customers, shape (parts, groups); parts are drawn at random.
        sums: Sum of the outcome over them.
        squares: Sum of its squares.

    >>> explained_by_sums(np.array([[2.0, 2.0]]), np.array([[2.0, 6.0]]), np.array([[2.0, 18.0]])).rate
    1.0
    """
    moments = np.stack([counts, sums, squares])
    whole = moments.sum(axis=1)
    return Explained(_rate_by_sums(whole), np.array([_rate_by_sums(whole - own) for own in moments.swapaxes(0, 1)]))


def _rate_by_sums(moments: Floats) -> float:
    counts, sums, squares = moments[:, moments[0] > 0]
    customers = counts.sum()
    freedom = customers - len(counts)
    if freedom < 1:
        return 0.0
    total = squares.sum() - sums.sum() ** 2 / customers
    if total <= 1e-12 * max(squares.sum(), customers):  # what is left of a constant is rounding
        return 0.0
    within = (squares - sums**2 / counts).sum()
    return float(1 - (within / freedom) / (total / (customers - 1)))


def _rate(labels: Ints, outcomes: Floats) -> float:
    _, groups, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    freedom = len(labels) - len(sizes)
    if freedom < 1 or not outcomes.shape[1]:
        return 0.0
    centred = outcomes - outcomes.mean(axis=0)
    means = np.column_stack([np.bincount(groups, column) / sizes for column in centred.T])
    within, total = ((centred - means[groups]) ** 2).sum(axis=0), (centred**2).sum(axis=0)
    # What is left of a constant is rounding.
    varies = total > len(labels) * (1e-9 * np.maximum(1.0, np.abs(outcomes).max(axis=0))) ** 2
    rates = 1 - (within / freedom) / (np.where(varies, total, 1.0) / (len(labels) - 1))
    return float(np.where(varies, rates, 0.0).mean())


def _jackknife_error(without: Floats) -> float:
    return float(np.sqrt((len(without) - 1) * without.var()))

"""Candidates of an earlier cut with what followed: rows that a ranker learns from, drawn by hash."""

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.candidates import Candidates
from promo_spark.kernels.habits import Purchases
from promo_spark.kernels.hash_draws import draw_uniform

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def label_candidates(found: Candidates, purchases: Purchases, first_day: int, days: int, n_products: int) -> Bools:
    """Whether each candidate was bought in the days from ``first_day`` on, shape (n_candidates,).

    >>> bought = Purchases(np.array([0, 2]), np.array([0, 1]), np.array([3, 4]), np.zeros(2, dtype=bool))
    >>> none = np.zeros(2, dtype=bool)
    >>> pairs = Candidates(np.array([0, 0]), np.array([0, 1]), none, none, np.empty((2, 0), dtype=np.float32))
    >>> label_candidates(pairs, bought, 0, 4, 2).tolist()
    [True, False]
    """
    inside = (purchases.days >= first_day) & (purchases.days < first_day + days)
    rows = np.repeat(np.arange(len(purchases.offsets) - 1), np.diff(purchases.offsets))[inside]
    bought = rows * np.int64(n_products) + purchases.products[inside]
    found_in: Bools = np.isin(found.customers * np.int64(n_products) + found.products, bought)
    return found_in


def draw_examples(found: Candidates, labels: Bools, slot: str, keys: Ints, share: float) -> Ints:
    """Choose rows to learn from: what was bought, and a share of the rest, of customers who bought a candidate.

    Args:
        found: Candidates.
        labels: Whether each was bought.
        slot: all or novel.
        keys: A hash of each customer, shape (n_customers,).
        share: Of the candidates that were not bought, drawn by hash: the same in any layout.

    Returns:
        Places among the candidates, ascending.
    """
    competes = found.competes(slot)
    buyers = np.bincount(found.customers[labels & competes], minlength=len(keys)) > 0
    drawn = draw_uniform(keys[found.customers], found.products) < share
    return np.flatnonzero(competes & buyers[found.customers] & (labels | drawn))

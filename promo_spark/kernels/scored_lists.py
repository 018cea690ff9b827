"""Lists from a customer's scores of products: the best of all, the best new to the customer, the best cold ones."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from promo_spark.kernels.packed_items import NONE
from promo_spark.kernels.topk import TopK, select_top_k

Floats = NDArray[np.float32]
Scorer = Callable[[slice], tuple[Floats, Floats]]
"""Scores of some customers where repeats compete, and where they do not: shapes (n_rows, n_items).

What is not above 0, or NaN, is never listed."""

_SCORES_AT_ONCE = 1 << 22


def best_of_slots(
    habits: sparse.csr_matrix, score: Scorer, length: int, *, n_catalogue: int, width: int
) -> Mapping[str, TopK]:
    """Score customers a few at a time, and take the best of each slot.

    Args:
        habits: What each customer bought, shape (n_customers, n_items); an explicit zero counts as bought.
        score: Scores of the customers in a slice.
        length: Length of the lists.
        n_catalogue: Items from this one on are cold: hardly anybody tried them.
        width: Most numbers that scoring holds per customer; it sets how many are scored at once.

    Returns:
        The slots all (of the catalogue), novel (of it, never bought) and, where there are such items, cold (never
        bought). Equal scores go to the smaller item; a list ends where no score is above 0.

    >>> habits = sparse.csr_matrix([[1.0, 0.0, 0.0]])
    >>> scores = np.array([[3, 2, 4]], dtype=np.float32)
    >>> best = best_of_slots(habits, lambda rows: (scores, scores), 2, n_catalogue=2, width=3)
    >>> {slot: lists.items.tolist() for slot, lists in best.items()}
    {'all': [[0, 1]], 'novel': [[1, -1]], 'cold': [[2, -1]]}
    """
    n_customers = habits.shape[0]
    step = max(1, _SCORES_AT_ONCE // max(1, width))
    # At least one tile, so that no customers make empty lists.
    tiles = [
        _best_of_tile(
            habits[first : first + step], *score(slice(first, min(first + step, n_customers))), length, n_catalogue
        )
        for first in range(0, max(n_customers, 1), step)
    ]
    return {slot: _stacked([tile[slot] for tile in tiles]) for slot in tiles[0]}


def _best_of_tile(
    habits: sparse.csr_matrix, scores: Floats, novel: Floats, length: int, n_catalogue: int
) -> dict[str, TopK]:
    n_customers, n_items = habits.shape
    fresh = novel.copy()
    fresh[np.repeat(np.arange(n_customers), np.diff(habits.indptr)), habits.indices] = 0
    best = {
        "all": _best_positive(scores[:, :n_catalogue], length),
        "novel": _best_positive(fresh[:, :n_catalogue], length),
    }
    if n_items > n_catalogue:
        cold = _best_positive(fresh[:, n_catalogue:], length)
        best["cold"] = TopK(np.where(cold.items == NONE, NONE, cold.items + n_catalogue), cold.scores)
    return best


def _best_positive(scores: Floats, length: int) -> TopK:
    # A comparison with NaN is false, so that it is left out too.
    return select_top_k(np.where(scores > 0, scores, np.float32(-np.inf)), length)


def _stacked(lists: list[TopK]) -> TopK:
    return TopK(np.concatenate([own.items for own in lists]), np.concatenate([own.scores for own in lists]))

"""What customers with a similar past buy: k nearest neighbours by cosine among a bounded pool of customers.

Everything is sparse, and each row is worked out on its own in a fixed order, so a customer's scores are the same
to the bit in any block. Source: Hu, He, Gao and Zhang 2020, Modeling personalized item frequency information for
next-basket recommendation (TIFU-KNN).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from promo_spark.kernels.packed_items import NONE
from promo_spark.kernels.scored_lists import best_of_slots
from promo_spark.kernels.topk import TopK, select_top_k

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Pool(NamedTuple):
    """Customers that others are compared with; made by ``make_pool``.

    Attributes:
        habits: Decayed baskets of each product, shape (n_pool, n_products).
        recent: Baskets of each product in the last days, shape (n_pool, n_products).
        importance: How much a product says about its buyer, shape (n_products,).
        likeness: Unit vectors that customers are compared by, shape (n_products, n_pool).
    """

    habits: sparse.csr_matrix
    recent: sparse.csr_matrix
    importance: Floats
    likeness: sparse.csr_matrix


class Neighbourhood(NamedTuple):
    """How neighbours are chosen and weighed.

    Attributes:
        size: Neighbours per customer, at least 1.
        power: A neighbour weighs its similarity to this power.
        weight: Of the neighbours' mean habits beside the customer's own.
    """

    size: int
    power: float
    weight: float


def make_pool(habits: sparse.csr_matrix, recent: sparse.csr_matrix) -> Pool:
    """Prepare a pool.

    Args:
        habits: Decayed baskets, shape (n_pool, n_products), columns ascending within a row.
        recent: Baskets in the last days, of the same shape.

    Returns:
        The pool. A product bought by c of n customers has importance log((n + 1) / c) ** 0.5.

    >>> pool = make_pool(sparse.csr_matrix([[4.0, 0.0], [4.0, 0.0]]), sparse.csr_matrix((2, 2)))
    >>> pool.likeness.toarray().tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    habits, recent = habits.astype(np.float32), recent.astype(np.float32)
    n_buyers = np.maximum(np.bincount(habits.indices, minlength=habits.shape[1]), 1)
    importance = np.sqrt(np.log((habits.shape[0] + 1) / n_buyers)).astype(np.float32)
    return Pool(habits, recent, importance, _directions(habits, importance).T.tocsr())


def weigh_neighbours(
    habits: sparse.csr_matrix, places: Ints, pool: Pool, neighbourhood: Neighbourhood
) -> sparse.csr_matrix:
    """Find each customer's nearest in the pool; equally near ones by their place in it.

    Args:
        habits: Decayed baskets of the customers, shape (n_customers, n_products), columns ascending within a row.
        places: The customers' own places in the pool, ``NONE`` outside it: nobody is their own neighbour.
        pool: Made by ``make_pool``.
        neighbourhood: How many, and how they are weighed.

    Returns:
        Weights, shape (n_customers, n_pool); a row sums to 1, or is empty where nobody shares a product.

    Complexity: per customer, the buyers in the pool of each product of the customer's.
    """
    similarity = (_directions(habits.astype(np.float32), pool.importance) @ pool.likeness).toarray()
    within = np.flatnonzero(places != NONE)
    similarity[within, places[within]] = 0
    similarity[similarity <= 0] = -np.inf
    nearest = select_top_k(similarity, neighbourhood.size)
    found = nearest.items != NONE
    weights = np.where(found, nearest.scores, np.float32(0)) ** np.float32(neighbourhood.power)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    offsets = np.concatenate([[0], np.cumsum(found.sum(axis=1))])
    return sparse.csr_matrix((weights[found], nearest.items[found], offsets), shape=similarity.shape)


def recommend_from_neighbours(
    habits: sparse.csr_matrix, places: Ints, pool: Pool, neighbourhood: Neighbourhood, length: int
) -> Mapping[str, TopK]:
    """The best products by own and neighbours' habits, and the best novel ones by what neighbours bought lately.

    Args:
        habits: Decayed baskets of the customers, shape (n_customers, n_products), columns ascending within a
            row; an explicit zero marks a product as bought before.
        places: The customers' own places in the pool, ``NONE`` outside it.
        pool: Made by ``make_pool``.
        neighbourhood: How neighbours are chosen and weighed.
        length: Products per list.

    Returns:
        The slots all and novel; products without any score are left out, equal scores go to the smaller item.

    Complexity: per customer, the products of its neighbours; memory O(max(n_pool, n_products)) per customer of a
    tile of bounded size.

    >>> pool = make_pool(sparse.csr_matrix([[1.0, 0.0], [1.0, 1.0]]), sparse.csr_matrix([[0.0, 0.0], [0.0, 3.0]]))
    >>> best = recommend_from_neighbours(pool.habits[:1], np.array([0]), pool, Neighbourhood(9, 2.0, 0.5), 2)
    >>> best["all"].scores.tolist(), best["novel"].items.tolist(), best["novel"].scores.tolist()
    ([[1.5, 0.5]], [[1, -1]], [[3.0, -inf]])
    """

    def score(rows: slice) -> tuple[Floats, Floats]:
        own = habits[rows]
        weights = weigh_neighbours(own, places[rows], pool, neighbourhood)
        usual = (weights @ pool.habits).toarray()
        usual *= np.float32(neighbourhood.weight)
        usual[np.repeat(np.arange(own.shape[0]), np.diff(own.indptr)), own.indices] += own.data
        return usual, (weights @ pool.recent).toarray()

    return best_of_slots(habits, score, length, n_catalogue=habits.shape[1], width=max(pool.habits.shape))


def _directions(habits: sparse.csr_matrix, importance: Floats) -> sparse.csr_matrix:
    """Square roots of habits times importance, each row brought to length 1; an empty row stays so."""
    values = np.sqrt(habits.data) * importance[habits.indices]
    rows = np.repeat(np.arange(habits.shape[0]), np.diff(habits.indptr))
    lengths = np.sqrt(np.bincount(rows, weights=values.astype(np.float64) ** 2, minlength=habits.shape[0]))
    lengths[lengths == 0] = 1
    return sparse.csr_matrix(
        ((values / lengths[rows]).astype(np.float32), habits.indices, habits.indptr), shape=habits.shape
    )

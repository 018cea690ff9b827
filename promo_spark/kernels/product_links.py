"""What goes with what a customer bought: products linked by the buyers or the baskets they share.

A link from one product to another has a weight; a customer's score of a product is the sum, over what the customer
bought, of habit times weight. Sources: Sarwar, Karypis, Konstan and Riedl 2001, Item-based collaborative filtering
recommendation algorithms; Robertson and Zaragoza 2009, The probabilistic relevance framework: BM25 and beyond;
Agrawal, Imielinski and Swami 1993, Mining association rules between sets of items.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from promo_spark.kernels.packed_items import NONE
from promo_spark.kernels.topk import TopK, select_top_k

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Weighting = Literal["cosine", "tfidf", "bm25"]

_SCORES_AT_ONCE = 1 << 22
_BM25_SATURATION, _BM25_LENGTH = 1.2, 0.75


class Linked(NamedTuple):
    """Two factors whose product holds what links are made from; sent to every worker once.

    Attributes:
        left: Shape (n_products, n_shared): buyers or baskets of each product.
        right: Shape (n_shared, n_products).
        link: Makes weights of a tile's products of left and right; see ``buyer_links`` and ``basket_links``.
    """

    left: sparse.csr_matrix
    right: sparse.csr_matrix
    link: Callable[[Floats, int], Floats]


def buyer_links(habits: sparse.csr_matrix, weighting: Weighting) -> Linked:
    """Link products by the customers who buy both.

    Args:
        habits: Decayed baskets, shape (n_customers, n_products).
        weighting: ``cosine`` of the square roots of habits; ``tfidf``, the same with buyers of few products counting
            more; ``bm25``, habits that saturate, where products that sell less and buyers of few products count more.

    Returns:
        What ``strongest_links`` takes. A product's link to itself is its own weight: 1 for the cosines.

    >>> linked = buyer_links(sparse.csr_matrix([[4.0, 4.0], [1.0, 0.0]]), "cosine")
    >>> np.square((linked.left @ linked.right).toarray()).astype(float).round(3).tolist()
    [[1.0, 0.8], [0.8, 1.0]]
    """
    # A product is the document, its buyers are the terms.
    documents = habits.astype(np.float64).T.tocsr()
    documents.sort_indices()
    n_products, n_customers = documents.shape
    products = np.repeat(np.arange(n_products), np.diff(documents.indptr))
    bought = np.bincount(documents.indices, minlength=n_customers)
    rarity = np.log((n_products + 1) / np.maximum(bought, 1))[documents.indices]
    if weighting == "bm25":
        lengths = np.bincount(products, weights=documents.data, minlength=n_products)
        average = max(float(lengths.mean()), np.finfo(np.float64).tiny) if n_products else 1.0
        slack = _BM25_SATURATION * (1 - _BM25_LENGTH + _BM25_LENGTH * lengths[products] / average)
        values = documents.data * (_BM25_SATURATION + 1) / (slack + documents.data) * rarity
    else:
        values = np.sqrt(documents.data) * (rarity if weighting == "tfidf" else 1.0)
        lengths = np.sqrt(np.bincount(products, weights=values**2, minlength=n_products))
        lengths[lengths == 0] = 1
        values = values / lengths[products]
    left = sparse.csr_matrix((values.astype(np.float32), documents.indices, documents.indptr), shape=documents.shape)
    return Linked(left, left.T.tocsr(), _as_they_are)


def _as_they_are(products: Floats, first: int) -> Floats:  # noqa: ARG001  (the shape of a link function)
    return products


class BasketRule:
    """Turns counts of shared baskets into confidences of rules "who buys this also buys that".

    Attributes:
        counts: Baskets of each product, shape (n_products,).
        n_baskets: All baskets.
        fewest: Shared baskets below which there is no rule.
    """

    def __init__(self, counts: Ints, n_baskets: int, fewest: int) -> None:
        self.counts, self.n_baskets, self.fewest = counts, n_baskets, fewest

    def __call__(self, shared: Floats, first: int) -> Floats:
        """Confidence of rules from the products from ``first`` on; 0 unless more often together than by chance."""
        own = np.maximum(self.counts[first : first + len(shared)], 1)[:, None]
        # Whole numbers: a quotient would let a lift of exactly 1 pass by rounding.
        is_rule = (shared >= self.fewest) & (shared.astype(np.int64) * self.n_baskets > own * self.counts)
        rows = np.arange(len(shared))
        is_rule[rows, rows + first] = False
        return np.where(is_rule, shared / own, 0).astype(np.float32)


def basket_links(baskets: sparse.csr_matrix, fewest: int) -> Linked:
    """Link products by rules between two products: confidence, where lift exceeds 1.

    Args:
        baskets: Which products each basket holds, shape (n_baskets, n_products).
        fewest: Baskets that must hold both.

    Returns:
        What ``strongest_links`` takes. No product is linked to itself.

    >>> linked = basket_links(sparse.csr_matrix([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]]), 2)
    >>> strongest_links(linked, 0, 3, 5).toarray().astype(float).round(3).tolist()
    [[0.0, 0.667, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    right = baskets.astype(bool).astype(np.float32).tocsr()
    counts = np.bincount(right.indices, minlength=right.shape[1])
    return Linked(right.T.tocsr(), right, BasketRule(counts, right.shape[0], fewest))


def strongest_links(linked: Linked, first: int, last: int, size: int) -> sparse.csr_matrix:
    """The strongest links of the products from ``first`` to before ``last``.

    Args:
        linked: Made by ``buyer_links`` or ``basket_links``.
        first: First product.
        last: After the last product.
        size: Most links of a product.

    Returns:
        Positive weights, shape (last - first, n_products); equally strong ones go to the smaller product.

    Complexity: per product, the products of each of its buyers or baskets; memory of a tile of bounded size.
    """
    n_products = linked.right.shape[1]
    step = max(1, _SCORES_AT_ONCE // max(1, n_products))
    tiles = []
    for start in range(first, last, step):
        some = linked.left[start : min(start + step, last)]
        weights = linked.link((some @ linked.right).toarray(), start)
        tiles.append(_as_matrix(select_top_k(np.where(weights > 0, weights, -np.inf), size), n_products))
    return (
        sparse.vstack(tiles, format="csr")
        if tiles
        else _as_matrix(select_top_k(np.empty((0, 1), dtype=np.float32), size), n_products)
    )


def _as_matrix(best: TopK, n_columns: int) -> sparse.csr_matrix:
    found = best.items != NONE
    offsets = np.concatenate([[0], np.cumsum(found.sum(axis=1))])
    return sparse.csr_matrix((best.scores[found], best.items[found], offsets), shape=(len(found), n_columns))

"""Links between products, compared with their definitions written out in dense float64."""

from typing import Literal

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity

from promo_spark.kernels import product_links
from promo_spark.kernels.product_links import Linked, basket_links, buyer_links, strongest_links


def habits_of(n_customers: int = 30, n_products: int = 12, seed: int = 4) -> np.ndarray:
    dice = np.random.default_rng(seed)
    return np.where(dice.random((n_customers, n_products)) < 0.3, dice.random((n_customers, n_products)) * 5, 0)


def all_links(linked: Linked) -> np.ndarray:
    n_products = linked.right.shape[1]
    return strongest_links(linked, 0, n_products, n_products).toarray()


def by_definition(habits: np.ndarray, weighting: Literal["tfidf", "bm25"]) -> np.ndarray:
    """Product vectors over customers."""
    n_products = habits.shape[1]
    vectors = np.zeros(habits.T.shape)
    lengths = habits.sum(axis=0)
    for product in range(n_products):
        for customer in range(len(habits)):
            habit = habits[customer, product]
            rarity = np.log((n_products + 1) / max((habits[customer] > 0).sum(), 1))
            if weighting == "tfidf":
                vectors[product, customer] = np.sqrt(habit) * rarity
            else:
                slack = 1.2 * (0.25 + 0.75 * lengths[product] / lengths.mean())
                vectors[product, customer] = habit * 2.2 / (slack + habit) * rarity
    return vectors


def test_links_by_buyers_are_those_of_the_definition() -> None:
    habits = habits_of()
    given = sparse.csr_matrix(habits)
    np.testing.assert_allclose(all_links(buyer_links(given, "cosine")), cosine_similarity(np.sqrt(habits.T)), atol=1e-6)
    np.testing.assert_allclose(
        all_links(buyer_links(given, "tfidf")), cosine_similarity(by_definition(habits, "tfidf")), atol=1e-6
    )
    vectors = by_definition(habits, "bm25")
    np.testing.assert_allclose(all_links(buyer_links(given, "bm25")), vectors @ vectors.T, rtol=1e-5, atol=1e-6)


def test_rules_hold_more_often_than_by_chance_and_often_enough() -> None:
    baskets = np.random.default_rng(1).random((200, 8)) < 0.25
    baskets[:, 1] |= baskets[:, 0]  # who buys 0 buys 1
    found = all_links(basket_links(sparse.csr_matrix(baskets), 12))
    for first in range(8):
        for second in range(8):
            both = (baskets[:, first] & baskets[:, second]).sum()
            confidence = both / baskets[:, first].sum()
            lift = confidence / baskets[:, second].mean()
            expected = confidence if first != second and both >= 12 and lift > 1 else 0
            assert found[first, second] == pytest.approx(expected, abs=1e-6)
    assert found[0, 1] == 1
    assert (found == 0).sum() > 20


def test_only_the_strongest_are_kept_and_equal_ones_by_product() -> None:
    habits = sparse.csr_matrix(np.ones((3, 4)))
    links = strongest_links(buyer_links(habits, "cosine"), 0, 4, 2).toarray()
    assert (links > 0).tolist() == [[True, True, False, False]] * 4


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    linked = basket_links(sparse.csr_matrix(habits_of() > 0), 2)
    whole = strongest_links(linked, 0, 12, 5).toarray()
    monkeypatch.setattr(product_links, "_SCORES_AT_ONCE", 3 * 12)
    parts = [strongest_links(linked, first, first + 4, 5).toarray() for first in (0, 4, 8)]
    assert (np.concatenate(parts) == whole).all()


@pytest.mark.parametrize("weighting", ["cosine", "tfidf", "bm25"])
def test_products_nobody_or_everybody_bought_have_finite_links(weighting: Literal["cosine", "tfidf", "bm25"]) -> None:
    habits = np.zeros((4, 3))
    habits[:, 1] = 2.0
    links = all_links(buyer_links(sparse.csr_matrix(habits), weighting))
    assert np.isfinite(links).all()
    assert (links[[0, 2]] == 0).all()
    assert links[1, 1] > 0


def test_one_product_and_none() -> None:
    one = strongest_links(buyer_links(sparse.csr_matrix([[3.0]]), "cosine"), 0, 1, 5)
    assert one.toarray().tolist() == [[1.0]]
    assert strongest_links(basket_links(sparse.csr_matrix((0, 4)), 1), 2, 2, 5).shape == (0, 4)

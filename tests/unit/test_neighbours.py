"""The sparse kernel is compared with the definition, written out in dense float64."""

import numpy as np
import pytest
from scipy import sparse

from promo_spark.kernels import scored_lists
from promo_spark.kernels.neighbours import (
    Neighbourhood,
    Pool,
    make_pool,
    recommend_from_neighbours,
    weigh_neighbours,
)
from promo_spark.kernels.packed_items import NONE

FEW = Neighbourhood(size=4, power=2.0, weight=0.2)


def world(n_customers: int, n_products: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Habits of whole halves, and what of them is recent."""
    dice = np.random.default_rng(seed)
    habits = np.where(
        dice.random((n_customers, n_products)) < 0.3, dice.integers(1, 9, (n_customers, n_products)) / 2, 0
    )
    return habits, np.where(dice.random(habits.shape) < 0.4, np.ceil(habits), 0)


def pool_of(habits: np.ndarray, recent: np.ndarray) -> Pool:
    return make_pool(sparse.csr_matrix(habits), sparse.csr_matrix(recent))


def weights_by_definition(
    habits: np.ndarray, places: np.ndarray, pool_habits: np.ndarray, neighbourhood: Neighbourhood
) -> np.ndarray:
    n_buyers = np.maximum((pool_habits > 0).sum(axis=0), 1)
    importance = np.log((len(pool_habits) + 1) / n_buyers) ** 0.5
    weights = np.zeros((len(habits), len(pool_habits)))
    for row, own in enumerate(habits):
        similar = np.zeros(len(pool_habits))
        for place, other in enumerate(pool_habits):
            a, b = np.sqrt(own) * importance, np.sqrt(other) * importance
            if place != places[row] and a.any() and b.any():
                similar[place] = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        nearest = [place for place in np.argsort(-similar, kind="stable")[: neighbourhood.size] if similar[place] > 0]
        weights[row, nearest] = similar[nearest] ** neighbourhood.power
        weights[row] /= max(weights[row].sum(), 1e-30)
    return weights


@pytest.mark.parametrize("n_pool", [1, 5, 30], ids=["one", "part", "everybody"])
def test_weights_and_lists_are_those_of_the_definition(n_pool: int) -> None:
    habits, recent = world(30, 17)
    places = np.where(np.arange(30) < n_pool, np.arange(30), NONE)
    pool = pool_of(habits[:n_pool], recent[:n_pool])
    expected = weights_by_definition(habits, places, habits[:n_pool], FEW)
    np.testing.assert_allclose(
        weigh_neighbours(sparse.csr_matrix(habits), places, pool, FEW).toarray(), expected, atol=1e-6
    )
    lists = recommend_from_neighbours(sparse.csr_matrix(habits), places, pool, FEW, 6)
    scores = habits + 0.2 * expected @ habits[:n_pool]
    novel = np.where(habits > 0, 0, expected @ recent[:n_pool])
    for slot, all_scores in ((lists["all"], scores), (lists["novel"], novel)):
        # Compared by score: two products whose scores differ by rounding may change places.
        best = -np.sort(-all_scores, axis=1)[:, :6]
        best = np.where(best > 0, best, -np.inf)
        np.testing.assert_allclose(slot.scores, best, rtol=1e-5)
        rows, columns = np.nonzero(slot.items != NONE)
        found = slot.items[rows, columns]
        np.testing.assert_allclose(all_scores[rows, found], slot.scores[rows, columns], rtol=1e-5)


def test_nobody_is_their_own_neighbour_and_identical_customers_are_nearest() -> None:
    habits, recent = world(6, 12)
    habits[4] = habits[1]
    weights = weigh_neighbours(
        sparse.csr_matrix(habits), np.arange(6), pool_of(habits, recent), FEW._replace(size=1)
    ).toarray()
    assert (weights.diagonal() == 0).all()
    assert weights[1, 4] == weights[4, 1] == 1


def test_equally_near_customers_are_taken_by_their_place() -> None:
    habits = np.ones((5, 3))
    weights = weigh_neighbours(
        sparse.csr_matrix(habits), np.arange(5), pool_of(habits, habits), FEW._replace(size=2)
    ).toarray()
    assert (np.nonzero(weights)[1].reshape(5, 2) == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]).all()
    assert set(weights[weights > 0]) == {0.5}


def test_customers_alone_or_without_purchases_get_what_is_theirs() -> None:
    habits = np.array([[2.0, 1.0], [0.0, 0.0]])
    lists = recommend_from_neighbours(
        sparse.csr_matrix(habits), np.array([0, NONE]), pool_of(habits[:1], habits[:1]), FEW, 3
    )
    assert lists["all"].items.tolist() == [[0, 1, NONE], [NONE] * 3]
    assert (lists["novel"].items == NONE).all()


def test_what_was_bought_so_long_ago_that_it_weighs_nothing_is_not_novel() -> None:
    own = sparse.csr_matrix((np.array([1.0, 0.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    pool = pool_of(np.array([[1.0, 1.0]]), np.array([[1.0, 1.0]]))
    lists = recommend_from_neighbours(own, np.array([NONE]), pool, FEW, 2)
    assert (lists["novel"].items == NONE).all()
    assert lists["all"].items.tolist() == [[0, 1]]


def test_lists_are_the_same_to_the_bit_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    habits, recent = world(40, 25, seed=3)
    pool, own = pool_of(habits, recent), sparse.csr_matrix(habits)
    whole = recommend_from_neighbours(own, np.arange(40), pool, FEW, 5)
    monkeypatch.setattr(scored_lists, "_SCORES_AT_ONCE", 3 * 40)
    in_tiles = recommend_from_neighbours(own, np.arange(40), pool, FEW, 5)
    turned = np.arange(40)[::-1]
    backwards = recommend_from_neighbours(own[turned], turned, pool, FEW, 5)
    for other in (in_tiles, backwards):
        order = turned if other is backwards else np.arange(40)
        assert (whole["all"].items[order] == other["all"].items).all()
        assert (whole["all"].scores[order] == other["all"].scores).all()
        assert (whole["novel"].scores[order] == other["novel"].scores).all()


def test_no_customers_get_no_lists() -> None:
    habits, recent = world(3, 4)
    lists = recommend_from_neighbours(
        sparse.csr_matrix((0, 4)), np.empty(0, dtype=np.int64), pool_of(habits, recent), FEW, 2
    )
    assert lists["all"].items.shape == lists["novel"].items.shape == (0, 2)

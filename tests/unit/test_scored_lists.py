"""Lists from scores, compared with sorting them."""

import numpy as np
import pytest
from scipy import sparse

from promo_spark.kernels import scored_lists
from promo_spark.kernels.packed_items import NONE
from promo_spark.kernels.scored_lists import best_of_slots


def ranked(scores: np.ndarray, items: np.ndarray, length: int) -> list[int]:
    order = sorted(items.tolist(), key=lambda item: (-scores[item], item))
    found = [item for item in order if scores[item] > 0][:length]
    return found + [NONE] * (length - len(found))


def test_each_slot_holds_the_best_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = np.random.default_rng(2)
    scores = dice.integers(-2, 6, (9, 14)).astype(np.float32)  # many are equal
    scores[0, 3] = np.nan
    habits = sparse.csr_matrix((dice.random((9, 14)) < 0.4).astype(np.float32))
    for at_once in (1 << 22, 2 * 14):
        monkeypatch.setattr(scored_lists, "_SCORES_AT_ONCE", at_once)
        best = best_of_slots(habits, lambda rows: (scores[rows], scores[rows]), 4, n_catalogue=10, width=14)
        for row in range(9):
            own = np.nan_to_num(scores[row], nan=-1)
            bought = habits[row].indices
            assert best["all"].items[row].tolist() == ranked(own, np.arange(10), 4)
            assert best["novel"].items[row].tolist() == ranked(own, np.setdiff1d(np.arange(10), bought), 4)
            assert best["cold"].items[row].tolist() == ranked(own, np.setdiff1d(np.arange(10, 14), bought), 4)


def test_what_is_longer_than_the_catalogue_ends_early() -> None:
    habits = sparse.csr_matrix((np.array([0.0]), np.array([0]), np.array([0, 1])), shape=(1, 1))
    score = np.ones((1, 1), dtype=np.float32)
    best = best_of_slots(habits, lambda rows: (score, score), 3, n_catalogue=1, width=1)
    assert {slot: lists.items.tolist() for slot, lists in best.items()} == {
        "all": [[0, NONE, NONE]],
        "novel": [[NONE] * 3],  # bought so long ago that it weighs nothing, and still bought
    }


def test_nobody_gets_nothing() -> None:
    none = np.empty((0, 5), dtype=np.float32)
    best = best_of_slots(sparse.csr_matrix((0, 5)), lambda rows: (none, none), 2, n_catalogue=3, width=5)
    assert {slot: lists.items.shape for slot, lists in best.items()} == {
        "all": (0, 2), "novel": (0, 2), "cold": (0, 2),
    }  # fmt: skip

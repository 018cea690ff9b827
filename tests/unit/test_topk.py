import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from promo_spark.kernels.topk import NONE, PackedItems, recommend_block, row_blocks, select_top_k

FEW_VALUES = st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.0, math.nan, math.inf, -math.inf])
SMALL = hnp.arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(0, 9)), elements=FEW_VALUES)


def by_sorting(scores: np.ndarray, k: int) -> list[list[int]]:
    """The definition: sort every row, leave out what can never be chosen."""
    lists = []
    for row in scores.tolist():
        choosable = [item for item, score in enumerate(row) if not math.isnan(score) and score != -math.inf]
        best = sorted(choosable, key=lambda item: (-row[item], item))[:k]
        lists.append(best + [NONE] * (k - len(best)))
    return lists


@given(scores=SMALL, k=st.integers(1, 12))
def test_ties_missing_and_infinite_scores_are_ranked_as_by_sorting(scores: np.ndarray, k: int) -> None:
    assert select_top_k(scores, k).items.tolist() == by_sorting(scores, k)


@given(
    n_items=st.integers(190, 1300),
    k=st.integers(1, 120),
    n_values=st.sampled_from([2, 50, 10**6]),
    masked_rate=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_many_items_in_ragged_groups_are_ranked_as_by_sorting(
    n_items: int, k: int, n_values: int, masked_rate: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(-n_values, n_values, size=(3, n_items)).astype(np.float32)
    scores[random.random(scores.shape) < masked_rate] = -np.inf
    scores[random.random(scores.shape) < 0.01] = np.nan
    best = select_top_k(scores, k)
    assert best.items.tolist() == by_sorting(scores, k)
    found = best.items != NONE
    assert np.array_equal(best.scores[found], np.take_along_axis(scores, best.items, axis=1)[found])
    assert np.isneginf(best.scores[~found]).all()


def test_the_best_items_may_all_lie_in_one_group() -> None:
    scores = np.zeros((1, 1000), dtype=np.float32)
    scores[0, ::200] = [5, 4, 3, 2, 1]
    assert select_top_k(scores, 5).items.tolist() == [[0, 200, 400, 600, 800]]


def test_wanting_no_item_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        select_top_k(np.zeros((1, 1), dtype=np.float32), 0)


@given(
    n_customers=st.integers(1, 5),
    n_items=st.integers(1, 40),
    k=st.integers(1, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_lists_of_a_block_agree_with_one_customer_at_a_time(n_customers: int, n_items: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    customers = random.integers(-3, 4, size=(n_customers, 2)).astype(np.float32)
    items = random.integers(-3, 4, size=(n_items, 2)).astype(np.float32)
    bought = [np.flatnonzero(random.random(n_items) < 0.4) for _ in range(n_customers)]
    offsets = np.cumsum([0, *(len(own) for own in bought)])
    lists = recommend_block(customers, items, PackedItems(offsets, np.concatenate(bought)), k)

    scores = np.array([[float(a @ b) for b in items] for a in customers], dtype=np.float32)
    assert lists.all_items.items.tolist() == by_sorting(scores, k)
    repeats = [[item in own for item in row] for row, own in zip(lists.all_items.items, bought, strict=True)]
    assert lists.is_repeat.tolist() == repeats
    for row, own in zip(scores, bought, strict=True):
        row[own] = -np.inf
    assert lists.novel_items.items.tolist() == by_sorting(scores, k)


def test_a_customer_who_bought_everything_has_no_novel_item() -> None:
    ones = np.ones((3, 1), dtype=np.float32)
    lists = recommend_block(ones[:1], ones, PackedItems(np.array([0, 3]), np.arange(3)), 2)
    assert lists.all_items.items.tolist() == [[0, 1]]
    assert lists.is_repeat.tolist() == [[True, True]]
    assert lists.novel_items.items.tolist() == [[NONE, NONE]]


def test_an_item_without_a_sound_factor_is_never_recommended() -> None:
    items = np.array([[1], [np.nan], [2]], dtype=np.float32)
    lists = recommend_block(items[:1], items, PackedItems(np.array([0, 0]), np.array([], dtype=np.int64)), 3)
    assert lists.all_items.items.tolist() == [[2, 0, NONE]]


@given(n_rows=st.integers(0, 50), n_items=st.integers(0, 50), block_scores=st.integers(1, 300))
def test_blocks_cover_every_row_once_within_their_size(n_rows: int, n_items: int, block_scores: int) -> None:
    blocks = list(row_blocks(n_rows, n_items, block_scores))
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(n_rows))
    assert all((b.stop - b.start) * n_items <= max(block_scores, n_items) for b in blocks)

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from promo_spark.kernels.packed_items import NONE, PackedItems
from promo_spark.kernels.topk import EligibleSets, Tile, TopK, best_items, recommend_block, select_top_k

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


NO_ITEMS = np.empty(0, dtype=np.int64)


def pack(lists: list[np.ndarray]) -> PackedItems:
    return PackedItems(np.cumsum([0, *map(len, lists)]), np.concatenate([NO_ITEMS, *lists]).astype(np.int64))


def whole_numbers(random: np.random.Generator, n_rows: int, rank: int, largest: int) -> np.ndarray:
    """Factors whose products are exact in float32 in any order of summation."""
    return random.integers(-largest, largest + 1, size=(n_rows, rank)).astype(np.float32)


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """Customers, items, what was seen and who may get what; many ties where factors are few."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_customers, n_items = draw(st.integers(0, 9)), draw(st.sampled_from([0, 1, 2, 17, 150, 700]))
    rank, largest = draw(st.sampled_from([(1, 0), (1, 1), (2, 3), (8, 50)]))
    n_sets = draw(st.integers(0, 3))
    rates = random.choice([0.0, 0.02, 0.5, 1.0], size=(n_customers + n_sets))
    lists = [np.flatnonzero(random.random(n_items) < rate) for rate in rates]
    return {
        "customers": whole_numbers(random, n_customers, rank, largest),
        "items": whole_numbers(random, n_items, rank, largest),
        "seen": lists[:n_customers],
        "sets": lists[n_customers:],
        "set_of": random.integers(NONE, n_sets, size=n_customers),
        "k": draw(st.sampled_from([1, 2, 20, 200])),
    }


def by_lexsort(problem: dict[str, Any], *, mask_seen: bool) -> list[list[int]]:
    """The definition, one customer at a time."""
    lists = []
    for row, factors in enumerate(problem["customers"]):
        scores = problem["items"].astype(np.float64) @ factors.astype(np.float64)
        allowed = np.ones(len(scores), dtype=bool)
        if problem["set_of"][row] != NONE:
            allowed = np.isin(np.arange(len(scores)), problem["sets"][problem["set_of"][row]])
        if mask_seen:
            allowed[problem["seen"][row]] = False
        order = [item for item in np.lexsort((np.arange(len(scores)), -scores)).tolist() if allowed[item]]
        best = order[: problem["k"]]
        lists.append(best + [NONE] * (problem["k"] - len(best)))
    return lists


def solve(problem: dict[str, Any], tile: Tile) -> tuple[TopK, TopK]:
    eligible = EligibleSets(pack(problem["sets"]), problem["set_of"])
    own, seen = (problem["customers"], problem["items"]), pack(problem["seen"])
    lists = recommend_block(*own, seen, problem["k"], eligible=eligible, tile=tile)
    alone = best_items(*own, problem["k"], eligible=eligible, tile=tile)
    novel = best_items(*own, problem["k"], seen=seen, eligible=eligible, tile=tile)
    assert np.array_equal(alone.items, lists.all_items.items)
    assert np.array_equal(novel.items, lists.novel_items.items)
    return alone, novel


@settings(deadline=None, max_examples=60)
@given(problem=problems(), tile=st.builds(Tile, st.integers(1, 12), st.integers(1, 800)))
def test_masks_sets_and_tiles_agree_with_lexsort(problem: dict[str, Any], tile: Tile) -> None:
    alone, novel = solve(problem, tile)
    assert alone.items.tolist() == by_lexsort(problem, mask_seen=False)
    assert novel.items.tolist() == by_lexsort(problem, mask_seen=True)
    for row, (items, scores) in enumerate(zip(alone.items, alone.scores, strict=True)):
        found = items != NONE
        assert scores[found].tolist() == (problem["items"][items[found]] @ problem["customers"][row]).tolist()
        assert np.isneginf(scores[~found]).all()


@settings(deadline=None, max_examples=40)
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_customers_changes_no_list(problem: dict[str, Any], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(problem["customers"]))
    shuffled = {
        **problem,
        "customers": problem["customers"][order],
        "seen": [problem["seen"][row] for row in order],
        "set_of": problem["set_of"][order],
    }
    for usual, other in zip(solve(problem, Tile()), solve(shuffled, Tile(3, 100)), strict=True):
        assert np.array_equal(usual.items[order], other.items)
        assert np.array_equal(usual.scores[order], other.scores)


def test_tiles_change_scores_of_real_factors_by_rounding_only() -> None:
    random = np.random.default_rng(3)
    customers, items = (random.standard_normal((n, 64)).astype(np.float32) for n in (130, 3000))
    usual = best_items(customers, items, 20)
    exact = customers.astype(np.float64) @ items.T.astype(np.float64)
    assert np.allclose(usual.scores, -np.sort(-exact, axis=1)[:, :20], rtol=1e-5, atol=0)
    for tile in (Tile(1, 3000), Tile(7, 77), Tile(64, 1000)):
        other = best_items(customers, items, 20, tile=tile)
        assert np.allclose(usual.scores, other.scores, rtol=1e-5, atol=0)
        assert np.allclose(np.take_along_axis(exact, other.items, axis=1), other.scores, rtol=1e-5, atol=0)


@pytest.mark.parametrize("n_items", [1, 5, 5000])
def test_factors_of_zero_and_identical_items_give_the_first_items(n_items: int) -> None:
    customers = np.array([[0, 0], [1, 2], [-1, 0]], dtype=np.float32)
    best = best_items(customers, np.tile(np.array([[1, -0.5]], dtype=np.float32), (n_items, 1)), 4)
    assert best.items.tolist() == [[i if i < n_items else NONE for i in range(4)]] * 3
    assert best.scores[:, 0].tolist() == [0, 0, -1]


def test_scores_that_are_not_finite_are_ranked_or_left_out() -> None:
    items = np.array([[np.nan], [np.inf], [2], [-np.inf], [1]], dtype=np.float32)
    best = best_items(np.array([[1], [np.nan], [0], [-1]], dtype=np.float32), items, 4)
    assert best.items.tolist() == [[1, 2, 4, NONE], [NONE] * 4, [2, 4, NONE, NONE], [3, 4, 2, NONE]]
    assert best.scores[0].tolist() == [np.inf, 2, 1, -np.inf]


def test_one_customer_with_many_ties_leaves_the_others_exact() -> None:
    random = np.random.default_rng(11)
    customers, items = whole_numbers(random, 20, 4, 500), whole_numbers(random, 4000, 4, 500)
    usual = best_items(customers, items, 10)
    customers[7] = 0
    best = best_items(customers, items, 10)
    assert best.items[7].tolist() == list(range(10))
    others = np.arange(20) != 7
    assert np.array_equal(best.items[others], usual.items[others])


def test_items_are_read_from_a_memory_map(tmp_path: Path) -> None:
    items = whole_numbers(np.random.default_rng(2), 1000, 3, 40)
    np.save(tmp_path / "items.npy", items)
    mapped = np.load(tmp_path / "items.npy", mmap_mode="r")
    expected = best_items(items[:30], items, 5)
    assert np.array_equal(best_items(items[:30], mapped, 5, tile=Tile(8, 90)).items, expected.items)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"k": 0}, "at least 1"),
        ({"items": np.ones((3, 4), dtype=np.float32)}, "2 factors, items 4"),
        ({"seen": pack([np.array([3])])}, "from 0 to 2"),
        ({"seen": pack([np.array([-1])])}, "from 0 to 2"),
        ({"seen": pack([])}, "1 customers, but 0 lists"),
        ({"eligible": EligibleSets(pack([]), np.array([0]))}, "no set 0"),
        ({"eligible": EligibleSets(pack([]), NO_ITEMS)}, "but 0 have a set"),
        ({"eligible": EligibleSets(pack([np.array([1, 0])]), np.array([0]))}, "ascending items from 0 to 2"),
        ({"eligible": EligibleSets(pack([np.array([3])]), np.array([0]))}, "ascending items from 0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], words: str) -> None:
    ones = np.ones((3, 2), dtype=np.float32)
    with pytest.raises(ValueError, match=words):
        best_items(**{"customers": ones[:1], "items": ones, "k": 1, **changed})

"""Habits, candidates and examples of a small world, compared with counting by hand or in plain Python."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeRegressor

from promo_spark.kernels import candidates
from promo_spark.kernels.boosted_trees import LEAF, Trees, add_trees
from promo_spark.kernels.candidates import (
    FEATURES,
    LEARNT_FROM,
    Candidates,
    find_candidates,
    pool_matrices,
)
from promo_spark.kernels.examples import draw_examples, label_candidates
from promo_spark.kernels.habits import (
    PRODUCT_FEATURES,
    Catalogue,
    Habits,
    Purchases,
    describe_products,
    habits_before,
    sum_products,
)
from promo_spark.kernels.neighbours import Neighbourhood, make_pool
from promo_spark.kernels.packed_items import NONE

N_CUSTOMERS, N_PRODUCTS = 25, 14
GROUPS = np.stack([np.arange(N_PRODUCTS) % 3, np.arange(N_PRODUCTS) % 6])
Bought = list[tuple[int, int, int]]
"""Customer, product, day."""


def world(seed: int = 4) -> Bought:
    dice = np.random.default_rng(seed)
    rows = {
        (int(c), int(p), int(d))
        for c, p, d in zip(
            dice.integers(0, N_CUSTOMERS - 1, 900),
            dice.integers(0, N_PRODUCTS, 900) * dice.integers(0, 2, 900),
            -dice.integers(1, 150, 900),
            strict=True,
        )
    }
    return sorted(rows)


def packed(bought: Bought, n_customers: int = N_CUSTOMERS) -> Purchases:
    rows = np.array(sorted(bought), dtype=np.int64).reshape(-1, 3)
    counts = np.bincount(rows[:, 0], minlength=n_customers)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Purchases(offsets, rows[:, 1], rows[:, 2], is_discounted(rows[:, 1], rows[:, 2]))


def is_discounted(products: NDArray[np.int64], days: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Every third product, every fourth day."""
    found: NDArray[np.bool_] = (products % 3 == 1) & (days % 4 == 0)
    return found


def described(bought: Bought, cut: int) -> tuple[Habits, Catalogue]:
    habits = habits_before(packed(bought), cut)
    return habits, describe_products(sum_products(packed(bought), cut, N_PRODUCTS), GROUPS, 2)


def found_at(bought: Bought, cut: int) -> Candidates:
    habits, catalogue = described(bought, cut)
    pool = make_pool(*pool_matrices(habits, catalogue))
    places = np.arange(N_CUSTOMERS)
    parts = list(find_candidates(habits, places, catalogue, pool, Neighbourhood(5, 2.0, 0.2)))
    return Candidates(*(np.concatenate(own) for own in zip(*parts, strict=True)))


def test_habits_are_those_of_counting() -> None:
    bought, cut = world(), -20
    habits, _ = described(bought, cut)
    for place, (customer, product) in enumerate(zip(habits.customers, habits.products, strict=True)):
        ages = [cut - day for c, p, day in bought if (c, p) == (customer, product) and day < cut]
        assert habits.day_count[place] == len(ages)
        assert (habits.last_days[place], habits.first_days[place]) == (min(ages), max(ages))
        assert habits.decayed[place, 1] == pytest.approx(sum(0.5 ** (age / 28) for age in ages))
        gaps = np.diff(sorted(ages))
        assert habits.gap_squares[place] == (gaps**2).sum()
        assert habits.was_earlier[place] == any(28 < age <= 56 for age in ages)
    pairs = {(c, p) for c, p, day in bought if day < cut}
    assert len(habits.products) == len(pairs)
    trips = {(c, cut - day) for c, _, day in bought if day < cut}
    assert habits.trips[3] == pytest.approx(sum(0.5 ** (age / 28) for c, age in trips if c == 3))
    assert habits.idle_days[3] == min(age for c, age in trips if c == 3)
    assert np.isnan(habits.idle_days[N_CUSTOMERS - 1])


def test_products_are_described_by_their_buyers_and_parts_add_up() -> None:
    bought = world()
    _, catalogue = described(bought, 0)
    for product in range(N_PRODUCTS):
        buyers = {c for c, p, _ in bought if p == product}
        recent = {c for c, p, day in bought if p == product and day >= -28}
        assert catalogue.feature("buyers")[product] == len(buyers)
        assert catalogue.feature("buyers_28d")[product] == len(recent)
        assert catalogue.is_open[product] == (len(buyers) >= 2)
        for days, name in ((7, "discount_rate_7d"), (14, "discount_rate_14d"), (999, "discount_rate")):
            inside = [day for _, p, day in bought if p == product and day >= -days]
            reduced = is_discounted(np.full(len(inside), product), np.array(inside, dtype=int))
            assert catalogue.feature(name)[product] == pytest.approx(reduced.mean() if inside else 0)
    half = [row for row in bought if row[0] < 9], [row for row in bought if row[0] >= 9]
    summed = sum(sum_products(packed(part), 0, N_PRODUCTS) for part in half)
    np.testing.assert_array_equal(summed, sum_products(packed(bought), 0, N_PRODUCTS))


def test_nothing_from_the_cut_on_changes_a_candidate() -> None:
    bought = world()
    past = [row for row in bought if row[2] < -28]
    for one, other in zip(found_at(bought, -28), found_at(past, -28), strict=True):
        np.testing.assert_array_equal(one, other)


def test_candidates_are_open_unique_and_told_apart() -> None:
    bought = world()
    found = found_at(bought, 0)
    _, catalogue = described(bought, 0)
    pairs = {(c, p) for c, p, _ in bought}
    asked = list(zip(found.customers.tolist(), found.products.tolist(), strict=True))
    assert asked == sorted(set(asked))
    assert catalogue.is_open[found.products].all()
    assert found.is_repeat.tolist() == [pair in pairs for pair in asked]
    # The small world has fewer products than there is room: each that was bought competes for the slot all.
    assert {pair for pair in pairs if catalogue.is_open[pair[1]]} <= set(asked)
    assert not any(customer == N_CUSTOMERS - 1 for customer, _ in asked)


def test_features_are_those_of_the_habits_and_unknown_for_what_is_new() -> None:
    bought = world()
    found, (habits, catalogue) = found_at(bought, 0), described(bought, 0)
    assert found.features.shape == (len(found.customers), len(FEATURES))
    assert not np.isinf(found.features).any()
    count, last = (found.features[:, FEATURES.index(name)] for name in ("day_count", "last_days"))
    known = {
        (c, p): (n, d)
        for c, p, n, d in zip(
            habits.customers.tolist(), habits.products.tolist(), habits.day_count, habits.last_days, strict=True
        )
    }
    for place, pair in enumerate(zip(found.customers.tolist(), found.products.tolist(), strict=True)):
        np.testing.assert_array_equal((count[place], last[place]), known.get(pair, (np.nan, np.nan)))
    first = len(FEATURES) - 14 - len(PRODUCT_FEATURES)
    np.testing.assert_array_equal(
        found.features[:, first : first + len(PRODUCT_FEATURES)], catalogue.features[found.products]
    )
    habit = found.features[:, FEATURES.index("category_habit_112d")]
    for place in range(0, len(habit), 7):
        own = (habits.customers == found.customers[place]) & (habits.products % 3 == found.products[place] % 3)
        assert habit[place] == pytest.approx(habits.decayed[own, 3].sum(), rel=1e-5)
    assert not {FEATURES[column] for column in LEARNT_FROM["novel"]} & {"day_count", "last_days"}


def test_labels_are_what_was_bought_from_the_cut_on() -> None:
    bought = world()
    found = found_at(bought, -28)
    labels = label_candidates(found, packed(bought), -28, 20, N_PRODUCTS)
    later = {(c, p) for c, p, day in bought if -28 <= day < -8}
    asked = zip(found.customers.tolist(), found.products.tolist(), strict=True)
    assert labels.tolist() == [pair in later for pair in asked]


def test_examples_hold_all_purchases_and_only_customers_who_bought() -> None:
    found = found_at(world(), -28)
    labels = label_candidates(found, packed(world()), -28, 28, N_PRODUCTS)
    keys = np.arange(N_CUSTOMERS) * 7919
    drawn = draw_examples(found, labels, "all", keys, 0.5)
    competing = np.flatnonzero(found.in_all & labels)
    assert set(competing) <= set(drawn)
    assert set(found.customers[drawn]) == set(found.customers[competing])
    assert len(competing) < len(drawn) < found.in_all.sum()
    assert len(draw_examples(found, labels, "all", keys, 0.0)) == len(competing)


def test_no_customers_have_no_candidates() -> None:
    habits, catalogue = described(world(), 0)
    nobody = habits_before(packed([], 0), 0)
    pool = make_pool(*pool_matrices(habits, catalogue))
    assert list(find_candidates(nobody, np.empty(0, int), catalogue, pool, Neighbourhood(5, 2.0, 0.2))) == []
    newcomer = habits_before(packed([], 1), 0)
    (found,) = find_candidates(newcomer, np.array([NONE]), catalogue, pool, Neighbourhood(5, 2.0, 0.2))
    assert len(found.customers) == 0


def test_trees_fall_as_those_of_another_library() -> None:
    dice = np.random.default_rng(0)
    rows = dice.normal(size=(400, 3)).astype(np.float32)
    fitted = [DecisionTreeRegressor(max_depth=3, random_state=0).fit(rows, rows[:, k] ** 2) for k in range(2)]
    trees = Trees(np.full((2, 15), LEAF), np.zeros((2, 15)), np.zeros((2, 15)))
    for place, model in enumerate(fitted):
        waiting = [(0, 0)]
        while waiting:
            node, cell = waiting.pop()
            trees.values[place, cell] = model.tree_.value[node, 0, 0]
            if model.tree_.children_left[node] != -1:
                trees.features[place, cell] = model.tree_.feature[node]
                trees.thresholds[place, cell] = model.tree_.threshold[node]
                waiting += [
                    (model.tree_.children_left[node], 2 * cell + 1),
                    (model.tree_.children_right[node], 2 * cell + 2),
                ]
    expected = sum(model.predict(rows) for model in fitted)
    np.testing.assert_allclose(add_trees(trees, rows), expected)


def test_what_was_bought_is_never_novel_where_there_is_no_room_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "OWN", 2)
    found = found_at(world(), 0)
    pairs = {(c, p) for c, p, _ in world()}
    asked = zip(found.customers.tolist(), found.products.tolist(), strict=True)
    assert found.is_repeat.tolist() == [pair in pairs for pair in asked]
    assert np.bincount(found.customers[found.is_repeat]).max() == 2

"""The second stage on Spark: learnt from earlier weeks of a simulated taste, never from what follows the date."""

import numpy as np
import pytest
from pyspark.sql import DataFrame

from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import PRODUCTS
from promo_spark.recommend.hybrid import Hybrid, fit_hybrid, recommend_by_hybrid
from promo_spark.recommend.purchases import list_catalogue, summarise_purchases
from tests.spark.recommend.shopping import DAY, MakeRows, Purchase, lines_of

pytestmark = pytest.mark.slow  # the second stage is off unless set; its kernels are tested without Spark
SETTINGS = RecommendSettings(list_length=5, min_customers=2, neighbours=10, ranker_windows=2)
N_CUSTOMERS, N_PRODUCTS = 80, 30
Lists = dict[tuple[str, str], list[tuple[str, float, bool]]]


def bought() -> list[Purchase]:
    """Everybody buys a few favourites about weekly, and now and then something else."""
    dice = np.random.default_rng(3)
    rows = set()
    for customer in range(N_CUSTOMERS):
        favourites = dice.choice(N_PRODUCTS, 4, replace=False)
        for age in range(1, 150, 7):
            for product in (*favourites[dice.random(4) < 0.6], *dice.choice(N_PRODUCTS, 1)):
                rows.add((f"c{customer:03}", f"p{product:02}", int(age + dice.integers(0, 5))))
    return sorted(rows)


def products_of(make_rows: MakeRows) -> DataFrame:
    return make_rows(
        PRODUCTS, [{"product_id": f"p{p:02}", "category": f"k{p % 4}", "subcategory": f"s{p % 8}"} for p in range(25)]
    )


def fitted(lines: DataFrame, make_rows: MakeRows) -> Hybrid | None:
    products = products_of(make_rows)
    purchases = summarise_purchases(order_lines=lines, products=products, as_of_date=DAY, settings=SETTINGS)
    catalogue = list_catalogue(purchases=purchases, as_of_date=DAY, settings=SETTINGS)
    return fit_hybrid(
        order_lines=lines, products=products, catalogue=catalogue, as_of_date=DAY, settings=SETTINGS, seed=1
    )


def lists_of(lines: DataFrame, hybrid: Hybrid, make_rows: MakeRows) -> Lists:
    recommended = recommend_by_hybrid(
        order_lines=lines, products=products_of(make_rows), hybrid=hybrid, as_of_date=DAY, settings=SETTINGS
    )
    lists: Lists = {}
    for row in sorted(recommended.collect(), key=lambda row: row["rank"]):
        own = lists.setdefault((row.customer_id, row.slot), [])
        own.append((row.product_id, row.score, row.is_repeat))
        assert (row.model, row.as_of_date, row["rank"]) == ("hybrid", DAY, len(own))
    return lists


@pytest.fixture(scope="module")
def hybrid(make_rows: MakeRows) -> Hybrid:
    found = fitted(lines_of(make_rows, bought()), make_rows)
    assert found is not None
    return found


def test_lists_hold_favourites_with_honest_probabilities(make_rows: MakeRows, hybrid: Hybrid) -> None:
    purchases = bought()
    lists = lists_of(lines_of(make_rows, purchases), hybrid, make_rows)
    customers = {customer for customer, _, _ in purchases}
    pairs = {(customer, product) for customer, product, _ in purchases}
    assert {customer for customer, slot in lists if slot == "all"} == customers
    for (customer, slot), entries in lists.items():
        scores = [score for _, score, _ in entries]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        for product, _, is_repeat in entries:
            assert is_repeat == ((customer, product) in pairs)
            assert not (slot == "novel" and is_repeat)
    top = [lists[customer, "all"][0] for customer in customers]
    count = {pair: sum((c, p) == pair for c, p, _ in purchases) for pair in pairs}
    favourite = [count[customer, lists[customer, "all"][0][0]] >= 6 for customer in customers]
    assert np.mean(favourite) > 0.9
    assert np.mean([score for _, score, _ in top]) > 0.7


def test_neither_the_future_nor_the_layout_changes_a_list(make_rows: MakeRows, hybrid: Hybrid) -> None:
    purchases = bought()
    order = np.random.default_rng(0).permutation(len(purchases))
    later = [("c000", "p29", 0), ("new", "p01", -3), ("c001", "p00", -10)]
    lines = lines_of(make_rows, [*(purchases[place] for place in order), *later]).repartition(5)
    again = fitted(lines, make_rows)
    assert again is not None
    assert lists_of(lines, again, make_rows) == lists_of(lines_of(make_rows, purchases), hybrid, make_rows)


def test_too_little_to_learn_from_is_said(make_rows: MakeRows) -> None:
    few = [("a", "p00", 3), ("b", "p00", 30), ("a", "p01", 40)]
    assert fitted(lines_of(make_rows, few), make_rows) is None
    assert fitted(lines_of(make_rows, []), make_rows) is None

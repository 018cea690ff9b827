"""Lists from neighbours on Spark, compared with the definition over a customer-by-product matrix."""

import numpy as np
import pytest
from pyspark.sql import DataFrame

from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import PRODUCTS
from promo_spark.recommend.neighbours import (
    ReferenceCustomers,
    draw_reference_customers,
    recommend_by_neighbours,
)
from promo_spark.recommend.purchases import list_catalogue, summarise_purchases
from tests.spark.recommend.shopping import DAY, MakeRows, Purchase, lines_of

SETTINGS = RecommendSettings(
    list_length=4, min_customers=1, half_life_days=10.0, popularity_days=28, neighbours=3, neighbour_power=2.0
)
Lists = dict[tuple[str, str], list[tuple[str, float, bool]]]


def bought(n_customers: int = 12, n_products: int = 9) -> list[Purchase]:
    dice = np.random.default_rng(8)
    return [
        (f"c{customer:02}", f"p{product}", int(age))
        for customer in range(n_customers)
        for product in range(n_products)
        if dice.random() < 0.4
        for age in dice.choice(60, size=2, replace=False) + 1
    ]


def reference_of(
    lines: DataFrame, make_rows: MakeRows, settings: RecommendSettings = SETTINGS
) -> ReferenceCustomers | None:
    products = make_rows(PRODUCTS, [])
    purchases = summarise_purchases(order_lines=lines, products=products, as_of_date=DAY, settings=settings)
    catalogue = list_catalogue(purchases=purchases, as_of_date=DAY, settings=settings)
    return draw_reference_customers(purchases=purchases, catalogue=catalogue, as_of_date=DAY, settings=settings)


def lists_of(lines: DataFrame, reference: ReferenceCustomers, make_rows: MakeRows) -> Lists:
    recommended = recommend_by_neighbours(
        order_lines=lines,
        products=make_rows(PRODUCTS, []),
        reference=reference,
        as_of_date=DAY,
        settings=SETTINGS,
    )
    lists: Lists = {}
    for row in sorted(recommended.collect(), key=lambda row: row["rank"]):
        own = lists.setdefault((row.customer_id, row.slot), [])
        own.append((row.product_id, row.score, row.is_repeat))
        assert (row.model, row.as_of_date, row["rank"]) == ("neighbours", DAY, len(own))
    return lists


def scores_by_definition(purchases: list[Purchase], pool: list[str]) -> dict[tuple[str, str], dict[str, float]]:
    """Per customer and slot, the products with a score and their scores."""
    customers, products = (sorted({purchase[place] for purchase in purchases}) for place in (0, 1))
    habits, recent = np.zeros((2, len(customers), len(products)))
    for customer, product, age in purchases:
        place = customers.index(customer), products.index(product)
        habits[place] += 0.5 ** (age / 10)
        recent[place] = max(recent[place], float(age <= 28))
    members = [customers.index(customer) for customer in pool]
    buyers = np.maximum((habits[members] > 0).sum(axis=0), 1)
    likeness = np.sqrt(habits) * np.log((len(pool) + 1) / buyers) ** 0.5
    likeness /= np.linalg.norm(likeness, axis=1, keepdims=True)
    scores = {}
    for row, customer in enumerate(customers):
        similar = {other: likeness[row] @ likeness[other] for other in members if other != row}
        nearest = sorted(similar, key=lambda other: -similar[other])[: SETTINGS.neighbours]
        weights = np.array([similar[other] ** 2 for other in nearest])
        weights /= weights.sum()
        for slot, values in (
            ("all", habits[row] + 0.2 * weights @ habits[nearest]),
            ("novel", np.where(habits[row] > 0, 0, weights @ recent[nearest])),
        ):
            scores[customer, slot] = {p: v for p, v in zip(products, values.tolist(), strict=True) if v > 0}
    return scores


@pytest.mark.parametrize("limit", [5, 100], ids=["a pool", "everybody"])
def test_lists_are_those_of_the_definition(make_rows: MakeRows, limit: int) -> None:
    purchases = bought()
    lines = lines_of(make_rows, purchases)
    reference = reference_of(lines, make_rows, SETTINGS.model_copy(update={"reference_customers": limit}))
    assert reference is not None
    assert len(reference.customer_ids) == min(limit, len({customer for customer, _, _ in purchases}))
    lists = lists_of(lines, reference, make_rows)
    scores = scores_by_definition(purchases, reference.customer_ids.tolist())
    assert set(lists) == {key for key, values in scores.items() if values}
    for (customer, slot), entries in lists.items():
        expected = scores[customer, slot]
        best = sorted(expected.values(), reverse=True)[: SETTINGS.list_length]
        assert [score for _, score, _ in entries] == pytest.approx(best, abs=2e-6)
        for product, score, is_repeat in entries:
            assert score == pytest.approx(expected[product], abs=2e-6)
            assert is_repeat == any((c, p) == (customer, product) for c, p, _ in purchases)


def test_neither_the_future_nor_the_layout_changes_a_list(make_rows: MakeRows) -> None:
    purchases = bought()
    runs = []
    for more, partitions in (([], 1), ([("c00", "p8", 0), ("new", "p0", -3)], 4)):
        order = np.random.default_rng(partitions).permutation(len(purchases))
        rows = [*(purchases[place] for place in order), *more]
        lines = lines_of(make_rows, rows).repartition(partitions)
        reference = reference_of(lines, make_rows)
        assert reference is not None
        runs.append(lists_of(lines, reference, make_rows))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("purchases", [[], [("a", "x", 1), ("a", "y", 1)]], ids=["nobody", "one customer"])
def test_without_two_customers_there_are_no_neighbours(make_rows: MakeRows, purchases: list[Purchase]) -> None:
    assert reference_of(lines_of(make_rows, purchases), make_rows) is None


def test_a_customer_outside_the_catalogue_gets_no_list(make_rows: MakeRows) -> None:
    lines = lines_of(make_rows, [("a", "x", 1), ("b", "x", 1), ("c", "rare", 1)])
    reference = reference_of(lines, make_rows, SETTINGS.model_copy(update={"min_customers": 2}))
    assert reference is not None
    assert {customer for customer, _ in lists_of(lines, reference, make_rows)} == {"a", "b"}

"""Three products, hand-made histories; larger ones are compared with NumPy."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame

from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import CUSTOMERS, ORDER_LINES, PRODUCTS
from promo_spark.recommend.baselines import recommend_by_baselines
from promo_spark.recommend.factorisation import Factorisation, describe_factors, fit_factorisation
from promo_spark.recommend.lists import recommend_by_factors
from promo_spark.recommend.purchases import list_catalogue, summarise_purchases
from tests.spark.recommend.shopping import DAY, MakeRows, Purchase, lines_of

SETTINGS = RecommendSettings(
    rank=4, iterations=3, list_length=3, min_customers=1, half_life_days=10.0, popularity_days=28
)


def lists_of(recommended: DataFrame) -> dict[tuple[str, str, str], list[tuple[str, float, bool]]]:
    lists: dict[tuple[str, str, str], list[tuple[str, float, bool]]] = {}
    for row in sorted(recommended.collect(), key=lambda row: row["rank"]):
        entries = lists.setdefault((row.customer_id, row.model, row.slot), [])
        entries.append((row.product_id, row.score, row.is_repeat))
        assert row["rank"] == len(entries)
        assert row.as_of_date == DAY
    return lists


def baselines(
    lines: DataFrame,
    products: DataFrame,
    settings: RecommendSettings = SETTINGS,
    customers: DataFrame | None = None,
) -> DataFrame:
    nobody = contract_frame(lines.sparkSession, CUSTOMERS)
    return recommend_by_baselines(
        order_lines=lines, products=products, customers=customers or nobody, as_of_date=DAY, settings=settings
    )


def fitted(lines: DataFrame, products: DataFrame, settings: RecommendSettings) -> Factorisation | None:
    purchases = summarise_purchases(order_lines=lines, products=products, as_of_date=DAY, settings=settings)
    catalogue = list_catalogue(purchases=purchases, as_of_date=DAY, settings=settings)
    return fit_factorisation(purchases=purchases, catalogue=catalogue, settings=settings, seed=7)


def by_factors(lines: DataFrame, products: DataFrame, model: Factorisation, length: int) -> DataFrame:
    return recommend_by_factors(
        factors=describe_factors(factorisation=model, as_of_date=DAY),
        order_lines=lines,
        products=products,
        product_factors=model.product_factors,
        as_of_date=DAY,
        settings=SETTINGS.model_copy(update={"list_length": length}),
        customer_blocks=model.customer_blocks,
    )


def two_tastes(customers: int = 24, products: int = 9) -> list[Purchase]:
    """Even customers buy mostly even products, odd ones odd products; nobody buys everything."""
    dice = np.random.default_rng(5)
    bought: list[Purchase] = []
    for customer in range(customers):
        own = [p for p in range(products) if p % 2 == customer % 2 or dice.random() < 0.1]
        for product in own[:-1]:
            ages = dice.integers(1, 60, size=dice.integers(1, 4)).tolist()
            bought += [(f"c{customer:02}", f"p{product}", age) for age in ages]
    return bought


@pytest.fixture(scope="module")
def no_products(make_rows: MakeRows) -> DataFrame:
    return make_rows(PRODUCTS, [])


def test_baskets_lose_half_their_weight_every_half_life(make_rows: MakeRows, no_products: DataFrame) -> None:
    # Twice in one basket counts once: 1/2 for 10 days, 1/4 for 20 days.
    lines = lines_of(make_rows, [("a", "x", 10), ("a", "x", 10), ("a", "x", 20), ("a", "y", 30)])
    purchases = summarise_purchases(
        order_lines=lines, products=no_products, as_of_date=DAY, settings=SETTINGS
    ).collect()
    assert sorted(map(tuple, purchases)) == [
        ("a", "x", 0.75, DAY - timedelta(days=20), DAY - timedelta(days=10)),
        ("a", "y", 0.125, DAY - timedelta(days=30), DAY - timedelta(days=30)),
    ]


def test_baselines_by_hand(make_rows: MakeRows, no_products: DataFrame) -> None:
    # Customers in the last 28 days: y 2 (a, c), x 1 (b; a's is older), z 1, w 0. x leads z: 2 customers so far.
    bought = [("a", "x", 40), ("a", "y", 1), ("b", "x", 10), ("c", "y", 20), ("c", "z", 20), ("b", "w", 30)]
    lists = lists_of(baselines(lines_of(make_rows, bought), no_products))
    assert lists == {
        ("a", "popularity", "all"): [("y", 2.0, True), ("x", 1.0, True), ("z", 1.0, False)],
        ("a", "popularity", "novel"): [("z", 1.0, False), ("w", 0.0, False)],
        ("a", "personal_frequency", "all"): [
            ("y", pytest.approx(0.5**0.1), True),
            ("x", pytest.approx(0.5**4), True),
            ("z", 0.0, False),
        ],
        ("b", "popularity", "all"): [("y", 2.0, False), ("x", 1.0, True), ("z", 1.0, False)],
        ("b", "popularity", "novel"): [("y", 2.0, False), ("z", 1.0, False)],
        ("b", "personal_frequency", "all"): [("x", 0.5, True), ("w", 0.125, True), ("y", 0.0, False)],
        ("c", "popularity", "all"): [("y", 2.0, True), ("x", 1.0, False), ("z", 1.0, True)],
        ("c", "popularity", "novel"): [("x", 1.0, False), ("w", 0.0, False)],
        # Equal weights: by product_id.
        ("c", "personal_frequency", "all"): [("y", 0.25, True), ("z", 0.25, True), ("x", 0.0, False)],
    }


def test_who_has_not_bought_yet_is_told_what_is_popular(make_rows: MakeRows, no_products: DataFrame) -> None:
    lines = lines_of(make_rows, [("a", "x", 1), ("b", "x", 2), ("b", "y", 2)])
    joined = [("a", None), ("new", DAY - timedelta(days=1)), ("unknown", None), ("tomorrow", DAY)]
    customers = make_rows(CUSTOMERS, [{"customer_id": c, "registered_date": day} for c, day in joined])
    lists = lists_of(baselines(lines, no_products, customers=customers))
    popular = [("x", 2.0, False), ("y", 1.0, False)]
    for newcomer in ("new", "unknown"):
        own = {key[1:]: entries for key, entries in lists.items() if key[0] == newcomer}
        assert own == {("popularity", "all"): popular, ("popularity", "novel"): popular}
    assert {customer for customer, _, _ in lists} == {"a", "b", "new", "unknown"}


def test_only_what_known_customers_chose_to_buy_counts(make_rows: MakeRows) -> None:
    products = make_rows(
        PRODUCTS,
        [
            {"product_id": "fuel", "department": "FUEL", "category": "PUMP"},
            {"product_id": "coupon", "department": "GROCERY", "category": "COUPON"},
            {"product_id": "x", "department": "GROCERY", "category": "BREAD"},
            {"product_id": "vague"},
        ],
    )
    kept = lines_of(make_rows, [("a", "x", 1), ("a", "vague", 1), ("a", "undescribed", 1)])
    excluded = [
        lines_of(make_rows, [("a", "fuel", 1), ("a", "coupon", 1), (None, "anonymous", 1), ("a", "today", 0)]),
        lines_of(make_rows, [("a", "returned", 1)], is_return=True, quantity=Decimal(-1)),
        lines_of(make_rows, [("a", "nothing", 1)], quantity=Decimal(0)),
    ]
    lines = kept
    for more in excluded:
        lines = lines.unionByName(more)
    settings = SETTINGS.model_copy(
        update={"excluded_departments": ("FUEL",), "excluded_categories": ("COUPON",), "list_length": 9}
    )
    lists = lists_of(baselines(lines, products, settings))
    assert {product for entries in lists.values() for product, _, _ in entries} == {
        "x",
        "vague",
        "undescribed",
    }
    assert {customer for customer, _, _ in lists} == {"a"}


def test_products_of_few_customers_are_not_recommended(make_rows: MakeRows, no_products: DataFrame) -> None:
    lines = lines_of(make_rows, [("a", "x", 1), ("b", "x", 1), ("b", "rare", 1), ("c", "rarer", 1)])
    settings = SETTINGS.model_copy(update={"min_customers": 2})
    lists = lists_of(baselines(lines, no_products, settings))
    assert {product for entries in lists.values() for product, _, _ in entries} == {"x"}
    # c bought nothing of the catalogue, and still gets what is popular.
    assert lists["c", "popularity", "novel"] == [("x", 2.0, False)]


def test_factor_lists_are_the_largest_products_of_the_factors(make_rows: MakeRows, no_products: DataFrame) -> None:
    bought = two_tastes()
    lines = lines_of(make_rows, bought)
    model = fitted(lines, no_products, SETTINGS)
    assert model is not None
    assert (model.customer_count, model.rating_count) == (24, len({(c, p) for c, p, _ in bought}))
    factors = {
        (row.entity, row.entity_id): np.array(row.factors)
        for row in describe_factors(factorisation=model, as_of_date=DAY).collect()
    }
    lists = lists_of(by_factors(lines, no_products, model, 5))
    names = sorted(name for entity, name in factors if entity == "product")
    for customer in {customer for customer, _, _ in bought}:
        scores = {p: float(factors["customer", customer] @ factors["product", p]) for p in names}
        seen = {p for c, p, _ in bought if c == customer}
        ranked = sorted(names, key=lambda p: (-scores[p], p))
        novel = [p for p in ranked if p not in seen]
        expected = {"all": ranked[:5], "novel": novel[:5]}
        for slot, products in expected.items():
            entries = lists[customer, "als", slot]
            assert [product for product, _, _ in entries] == products
            assert [score for _, score, _ in entries] == pytest.approx([scores[p] for p in products], abs=2e-6)
            assert [repeat for _, _, repeat in entries] == [p in seen for p in products]


def test_factors_learn_each_customers_taste(make_rows: MakeRows, no_products: DataFrame) -> None:
    lines = lines_of(make_rows, two_tastes())
    model = fitted(lines, no_products, SETTINGS)
    assert model is not None
    lists = lists_of(by_factors(lines, no_products, model, 3))
    own_taste = [
        int(product[1:]) % 2 == int(customer[1:]) % 2
        for (customer, _, slot), entries in lists.items()
        for product, _, _ in entries
        if slot == "all"
    ]
    assert np.mean(own_taste) > 0.9


@pytest.mark.slow
def test_lists_are_the_same_whatever_the_order_and_partitions(make_rows: MakeRows, no_products: DataFrame) -> None:
    bought = two_tastes()
    runs: list[list[Any]] = []
    for seed, partitions in ((0, 1), (1, 5)):
        order = np.random.default_rng(seed).permutation(len(bought))
        lines = lines_of(make_rows, [bought[place] for place in order]).repartition(partitions)
        model = fitted(lines, no_products, SETTINGS)
        assert model is not None
        recommended = by_factors(lines, no_products, model, 4).unionByName(baselines(lines, no_products))
        runs.append(sorted(map(tuple, recommended.collect())))
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    "bought",
    [[], [("a", "x", 1), ("a", "y", 1)], [("a", "x", 1), ("b", "x", 1)]],
    ids=["no", "customer", "product"],
)
def test_too_little_data_has_no_factors(
    make_rows: MakeRows, no_products: DataFrame, bought: Sequence[Purchase]
) -> None:
    assert fitted(lines_of(make_rows, bought), no_products, SETTINGS) is None


def test_no_lines_give_no_lists(make_rows: MakeRows, no_products: DataFrame) -> None:
    recommended = baselines(make_rows(ORDER_LINES, []), no_products)
    assert recommended.columns == list(RECOMMENDED_PRODUCTS.column_names)
    assert recommended.isEmpty()

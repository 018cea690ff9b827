"""Lists of the other models on Spark: by links, by content, by segment, and the list to use."""

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from pyspark.ml.fpm import FPGrowth
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import PRODUCTS
from promo_spark.recommend.content import ContentVectors, describe_content, recommend_by_content
from promo_spark.recommend.neighbours import ReferenceCustomers, draw_reference_customers
from promo_spark.recommend.product_links import (
    ProductLinks,
    fit_association_rules,
    fit_item_neighbours,
    recommend_by_links,
)
from promo_spark.recommend.purchases import list_catalogue, summarise_purchases
from promo_spark.recommend.segment_popularity import count_segment_buyers, recommend_by_segment
from promo_spark.recommend.served import serve_lists
from tests.spark.recommend.shopping import DAY, MakeRows, Purchase, lines_of

SETTINGS = RecommendSettings(
    list_length=4, min_customers=2, half_life_days=10.0, popularity_days=28, item_weighting="cosine", rule_min_baskets=3
)
Lists = dict[tuple[str, str], list[tuple[str, float, bool]]]


def purchases_of_many() -> list[Purchase]:
    dice = np.random.default_rng(6)
    return [
        (f"c{customer:02}", f"p{product}", int(age))
        for customer in range(20)
        for age in dice.choice(60, size=3, replace=False) + 1
        for product in range(9)
        if dice.random() < 0.3 + 0.3 * ((product + customer) % 3 == 0)
    ]


class Shop:
    """What the models start from."""

    def __init__(self, make_rows: MakeRows, bought: list[Purchase], products: DataFrame | None = None) -> None:
        self.lines = lines_of(make_rows, bought)
        self.products = make_rows(PRODUCTS, []) if products is None else products
        self.tables: dict[str, DataFrame] = {"order_lines": self.lines, "products": self.products}
        self.purchases = summarise_purchases(**self.tables, as_of_date=DAY, settings=SETTINGS)
        catalogue = list_catalogue(purchases=self.purchases, as_of_date=DAY, settings=SETTINGS)
        drawn = draw_reference_customers(
            purchases=self.purchases, catalogue=catalogue, as_of_date=DAY, settings=SETTINGS
        )
        assert drawn is not None
        self.reference: ReferenceCustomers = drawn

    def item_links(self) -> ProductLinks:
        return fit_item_neighbours(spark=self.lines.sparkSession, reference=self.reference, settings=SETTINGS)

    def rules(self) -> ProductLinks:
        return fit_association_rules(**self.tables, reference=self.reference, as_of_date=DAY, settings=SETTINGS)

    def content(self) -> ContentVectors | None:
        return describe_content(
            purchases=self.purchases,
            products=self.products,
            reference=self.reference,
            as_of_date=DAY,
            settings=SETTINGS,
        )


def lists_of(recommended: DataFrame, model: str) -> Lists:
    lists: Lists = defaultdict(list)
    for row in sorted(recommended.collect(), key=lambda row: row["rank"]):
        own = lists[row.customer_id, row.slot]
        own.append((row.product_id, row.score, row.is_repeat))
        assert (row.model, row.as_of_date, row["rank"]) == (model, DAY, len(own))
    return dict(lists)


def test_item_neighbours_sum_habit_times_likeness(make_rows: MakeRows) -> None:
    bought = purchases_of_many()
    shop = Shop(make_rows, bought)
    lists = lists_of(
        recommend_by_links(**shop.tables, links=shop.item_links(), as_of_date=DAY, settings=SETTINGS), "item_neighbours"
    )
    customers, products = sorted({c for c, _, _ in bought}), sorted({p for _, p, _ in bought})
    habits = np.zeros((len(customers), len(products)))
    for customer, product, age in set(bought):
        habits[customers.index(customer), products.index(product)] += 0.5 ** (age / 10)
    roots = np.sqrt(habits)
    unit = roots / np.linalg.norm(roots, axis=0)
    scores = habits @ (unit.T @ unit)
    assert {customer for customer, _ in lists} == set(customers)
    for row, customer in enumerate(customers):
        for slot, allowed in (("all", habits[row] >= 0), ("novel", habits[row] == 0)):
            expected = np.sort(scores[row][allowed])[::-1][:4]
            found = lists.get((customer, slot), [])
            assert [score for _, score, _ in found] == pytest.approx(expected.tolist(), abs=2e-5)
            for product, score, is_repeat in found:
                place = products.index(product)
                assert score == pytest.approx(scores[row, place], abs=2e-5)
                assert is_repeat == (habits[row, place] > 0)


def test_rules_are_those_of_frequent_patterns(make_rows: MakeRows) -> None:
    shop = Shop(make_rows, purchases_of_many())
    links = shop.rules()
    baskets = shop.lines.groupBy("basket_id").agg(F.collect_set("product_id").alias("items"))
    count = baskets.count()
    mined = FPGrowth(minSupport=2.5 / count, minConfidence=0.0).fit(baskets).associationRules
    expected = {
        (row.antecedent[0], row.consequent[0]): row.confidence
        for row in mined.where("size(antecedent) = 1 AND size(consequent) = 1 AND lift > 1.000001").collect()
    }
    ids = shop.reference.product_ids
    rows, columns = links.links.nonzero()
    found = {(ids[a], ids[b]): links.links[a, b] for a, b in zip(rows, columns, strict=True)}
    assert len(expected) > 10
    assert found == pytest.approx(expected, abs=1e-6)


def described(make_rows: MakeRows) -> DataFrame:
    kinds = {"p0": "bread", "p1": "bread", "p2": "milk", "p3": "milk", "p4": "eggs", "p5": "eggs", "new": "bread"}
    kinds |= {"dull": "milk", "never": "milk"}
    return make_rows(
        PRODUCTS,
        [
            {"product_id": product, "category": kind, "department": "food", "product_name": f"{kind} of the house"}
            for product, kind in kinds.items()
        ],
    )


CONTENT = [("a", "p0", 1), ("a", "p0", 9), ("b", "p0", 3), ("a", "p2", 50), ("b", "p2", 2), ("b", "p3", 2),
           ("c", "p3", 4), ("c", "p1", 5), ("b", "p1", 5), ("c", "new", 3), ("c", "dull", 70),
           *((customer, eggs, 6) for customer in "bc" for eggs in ("p4", "p5"))]  # fmt: skip


def test_content_recommends_what_is_described_alike_and_what_hardly_anybody_tried(make_rows: MakeRows) -> None:
    shop = Shop(make_rows, list(CONTENT), described(make_rows))
    content = shop.content()
    assert content is not None
    # Bought by one: new within the last days, dull long before. Since when what was never bought is on sale is unknown.
    assert content.product_ids.tolist() == ["p0", "p1", "p2", "p3", "p4", "p5", "new"]
    lists = lists_of(recommend_by_content(**shop.tables, content=content, as_of_date=DAY, settings=SETTINGS), "content")
    # a buys bread often, milk once long ago.
    assert [product for product, _, _ in lists["a", "all"]] == ["p0", "p1", "p2", "p3"]
    assert [product for product, _, _ in lists["a", "novel"]] == ["p1", "p3"]
    assert [product for product, _, _ in lists["a", "cold"]] == ["new"]
    assert ("c", "cold") not in lists  # c is the one who bought it
    assert [repeat for _, _, repeat in lists["a", "all"]] == [True, False, True, False]
    vectors = content.vectors.toarray()
    habits = {"p0": 0.5**0.1 + 0.5**0.9, "p2": 0.5**5}
    ids = content.product_ids.tolist()
    profile = sum(habit * vectors[ids.index(product)] for product, habit in habits.items())
    expected = {product: float(vectors[place] @ profile) for place, product in enumerate(ids)}
    for product, score, _ in lists["a", "all"] + lists["a", "cold"]:
        assert score == pytest.approx(expected[product], abs=2e-6)


@pytest.mark.parametrize("columns", [{}, {"category": "the same"}], ids=["nothing", "nothing that differs"])
def test_products_that_nothing_tells_apart_have_no_content(make_rows: MakeRows, columns: dict[str, str]) -> None:
    products = make_rows(PRODUCTS, [{"product_id": f"p{place}", **columns} for place in range(4)])
    assert Shop(make_rows, list(CONTENT), products).content() is None


def test_a_segment_is_told_what_its_customers_bought_lately(make_rows: MakeRows) -> None:
    # Segment 0 is a, b, c; segment 1 is d; nobody knows e's. p3 was bought too long ago to count.
    bought: list[Purchase] = [
        ("a", "p0", 1), ("b", "p0", 1), ("c", "p1", 1), ("d", "p1", 1), ("d", "p2", 1), ("e", "p2", 1), ("e", "p0", 1),
        ("a", "p3", 40), ("b", "p3", 40),
    ]  # fmt: skip
    shop = Shop(make_rows, bought)
    segments = make_rows(
        SEGMENT_CUSTOMERS,
        [{"customer_id": c, "segment_id": s, "as_of_date": DAY} for c, s in (("a", 0), ("b", 0), ("c", 0), ("d", 1))],
    )
    popularity = count_segment_buyers(
        purchases=shop.purchases,
        segments=segments,
        product_ids=shop.reference.product_ids,
        as_of_date=DAY,
        settings=SETTINGS,
    )
    assert popularity is not None
    lists = lists_of(
        recommend_by_segment(
            **shop.tables, segments=segments, popularity=popularity, as_of_date=DAY, settings=SETTINGS
        ),
        "segment_popularity",
    )
    # Of four customers two bought p0, two p1, one p2; twenty such customers are lent to each segment.
    shares = {
        0: {"p0": (2 + 20 * 2 / 4) / 23, "p1": (1 + 20 * 2 / 4) / 23, "p2": 20 / 4 / 23},
        1: {"p0": 20 * 2 / 4 / 21, "p1": (1 + 20 * 2 / 4) / 21, "p2": (1 + 20 / 4) / 21},
    }
    for customer, segment in (("a", 0), ("b", 0), ("c", 0), ("d", 1)):
        own = {product: score for product, score, _ in lists[customer, "all"]}
        assert own == pytest.approx(shares[segment], abs=2e-6)
        assert list(own) == sorted(own, key=lambda product: -own[product])
    assert [product for product, _, _ in lists["d", "novel"]] == ["p0"]
    assert not any(customer == "e" for customer, _ in lists)


def test_the_list_to_use_takes_from_the_next_model_where_one_ends(make_rows: MakeRows) -> None:
    def entries(customer: str, model: str, products: str, slot: str = "all") -> list[dict[str, Any]]:
        return [
            {"customer_id": customer, "model": model, "slot": slot, "rank": place + 1, "product_id": product,
             "score": 1.0, "is_repeat": product == "x", "as_of_date": DAY}
            for place, product in enumerate(products)
        ]  # fmt: skip

    lists = make_rows(
        RECOMMENDED_PRODUCTS,
        entries("a", "als", "yx") + entries("a", "neighbours", "xz") + entries("a", "popularity", "xyzvw")
        + entries("a", "item_neighbours", "q") + entries("a", "content", "n", "cold")
        + entries("b", "popularity", "xyzvw"),
    )  # fmt: skip
    settings = SETTINGS.model_copy(update={"models": ("neighbours", "als", "content")})
    served: dict[tuple[str, str], list[tuple[str, str, int]]] = defaultdict(list)
    for row in sorted(serve_lists(lists=lists, settings=settings).collect(), key=lambda row: row["rank"]):
        served[row.customer_id, row.slot].append((row.product_id, row.model, row.model_rank))
        assert row["rank"] == len(served[row.customer_id, row.slot])
        assert row.is_repeat == (row.product_id == "x")
    assert served == {
        ("a", "all"): [("x", "neighbours", 1), ("z", "neighbours", 2), ("y", "als", 1), ("v", "popularity", 4)],
        ("a", "cold"): [("n", "content", 1)],
        ("b", "all"): [("x", "popularity", 1), ("y", "popularity", 2), ("z", "popularity", 3), ("v", "popularity", 4)],
    }

import math
from collections.abc import Iterable
from datetime import timedelta

import numpy as np
import pytest
from pyspark.sql import DataFrame
from sklearn.metrics import ndcg_score

from promo_spark.contracts.backtest_settings import BacktestSettings
from promo_spark.contracts.measurement import BACKTESTS
from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import PRODUCTS
from promo_spark.measurement.ranking import backtest_recommendations
from tests.spark.recommend import shopping
from tests.spark.recommend.shopping import DAY, MakeRows

SETTINGS = BacktestSettings(days=7, list_length=2)
RECOMMEND = RecommendSettings(min_customers=1, excluded_departments=("FUEL",))
DESCRIBED = [
    {"product_id": "fuel", "department": "FUEL", "category": "FUEL"},
    *({"product_id": product, "category": category} for product, category in (("x", "A"), ("y", "A"), ("z", "B"))),
]
Purchase = tuple[str, str, int]
"""Customer, product, days from the date on; negative ones are before it."""


def lines_of(make_rows: MakeRows, purchases: Iterable[Purchase]) -> DataFrame:
    return shopping.lines_of(make_rows, [(customer, product, -day) for customer, product, day in purchases])


def lists_of(make_rows: MakeRows, lists: dict[tuple[str, str, str], list[str]]) -> DataFrame:
    rows = [
        {
            "customer_id": customer,
            "model": model,
            "slot": slot,
            "rank": rank,
            "product_id": product,
            "as_of_date": DAY,
        }
        for (customer, model, slot), products in lists.items()
        for rank, product in enumerate(products, start=1)
    ]
    return make_rows(RECOMMENDED_PRODUCTS, rows)


def judge(
    make_rows: MakeRows,
    recommended: DataFrame,
    lines: DataFrame,
    settings: BacktestSettings = SETTINGS,
    recommend_settings: RecommendSettings | None = None,
) -> DataFrame:
    return backtest_recommendations(
        recommended=recommended,
        order_lines=lines,
        products=make_rows(PRODUCTS, DESCRIBED),
        as_of_date=DAY,
        settings=settings,
        recommend_settings=recommend_settings or RECOMMEND,
    )


def figures(backtest: DataFrame) -> dict[tuple[str, str, str], tuple[float, float | None, int]]:
    return {
        (row.subject, row.model, row.metric): (row.value, row.standard_error, row.observation_count)
        for row in backtest.collect()
    }


PAST = [("a", "x", -5), ("a", "y", -5), ("b", "y", -5), ("b", "z", -5), ("c", "w", -5)]
LISTS = {
    ("a", "popularity", "all"): ["y", "x", "z"],
    ("b", "popularity", "all"): ["y", "x", "z"],
    ("a", "als", "all"): ["x", "w"],
    ("b", "als", "all"): ["z", "y"],
    ("a", "popularity", "novel"): ["z", "w"],
    ("b", "popularity", "novel"): ["x", "w"],
}
# a buys x (again) and z (new), b buys z (again). Not counted: fuel, the 8th day, d who has no list.
FUTURE = [
    ("a", "x", 0),
    ("a", "z", 6),
    ("b", "z", 3),
    ("b", "z", 4),
    ("b", "fuel", 3),
    ("b", "x", 7),
    ("d", "x", 1),
]


def test_figures_by_hand(make_rows: MakeRows) -> None:
    backtest = judge(make_rows, lists_of(make_rows, LISTS), lines_of(make_rows, PAST + FUTURE))
    found = figures(backtest)
    discount = 1 / math.log2(3)
    # Slot all, k = 2. popularity: a finds x at rank 2 of 2 relevant, b nothing (z is third).
    # als: a finds x at rank 1 of 2 relevant, b finds z at rank 1 of 1.
    popularity_a, als_a = discount / (1 + discount), 1 / (1 + discount)
    expected = {
        "ndcg_at_2": (popularity_a / 2, (als_a + 1) / 2),
        "recall_at_2": (0.5 / 2, (0.5 + 1) / 2),
        "map_at_2": (0.25 / 2, (0.5 + 1) / 2),
        "hit_at_2": (0.5, 1.0),
        "precision_at_2": (0.5 / 2, (0.5 + 0.5) / 2),
    }
    for metric, (popularity, als) in expected.items():
        assert found["recommend_all", "popularity", metric][0] == pytest.approx(popularity, abs=1e-9)
        assert found["recommend_all", "als", metric][0] == pytest.approx(als, abs=1e-9)
        difference = found["recommend_all", "als", f"{metric}_minus_popularity"]
        assert difference[0] == pytest.approx(als - popularity, abs=1e-9)
        assert difference[2] == 2
    # Of two values the standard error of the mean is half their distance.
    assert found["recommend_all", "popularity", "ndcg_at_2"][1] == pytest.approx(popularity_a / 2)
    paired = ((als_a - popularity_a) + 1) / 2, abs((als_a - popularity_a) - 1) / 2
    assert found["recommend_all", "als", "ndcg_at_2_minus_popularity"][:2] == pytest.approx(paired)
    # Shown of the catalogue w, x, y, z: popularity y, x; als x, w, z, y.
    assert found["recommend_all", "popularity", "coverage_at_2"] == (0.5, None, 2)
    assert found["recommend_all", "als", "coverage_at_2"] == (1.0, None, 2)
    # Slot novel: b bought z before and nothing new, so a alone is judged, and has no standard error.
    assert found["recommend_novel", "popularity", "ndcg_at_2"] == (1.0, None, 1)
    assert ("recommend_all", "popularity", "ndcg_at_2_minus_popularity") not in found
    days = backtest.select("as_of_date", "first_date", "last_date").distinct().collect()
    assert [tuple(row) for row in days] == [(DAY, DAY, DAY + timedelta(days=6))]


def test_what_lists_are_like_by_hand(make_rows: MakeRows) -> None:
    found = figures(judge(make_rows, lists_of(make_rows, LISTS), lines_of(make_rows, PAST + FUTURE)))

    def mean(model: str, metric: str, slot: str = "all") -> float:
        return found[f"recommend_{slot}", model, f"{metric}_at_2"][0]

    # Of the three customers before the date two bought y, one each of the others.
    rare, common = math.log2(3), math.log2(3 / 2)
    assert mean("popularity", "novelty") == pytest.approx((rare + common) / 2)
    assert mean("als", "novelty") == pytest.approx((rare + (rare + common) / 2) / 2)
    # popularity shows y, x: one category. als shows x, w and z, y: two, w being its own.
    assert (mean("popularity", "diversity"), mean("als", "diversity")) == (0.0, 1.0)
    # a bought A alone, b half A, half B; of what is not shown a hundredth is mixed in.
    b_of_popularity = 0.5 * math.log(0.5 / 0.995) + 0.5 * math.log(0.5 / 0.005)
    assert mean("popularity", "miscalibration") == pytest.approx(b_of_popularity / 2)
    assert mean("als", "miscalibration") == pytest.approx(math.log(1 / 0.505) / 2)
    assert mean("als", "mrr") == 1.0
    assert mean("popularity", "mrr") == 0.25
    assert found["recommend_all", "als", "diversity_at_2_minus_popularity"] == (1.0, 0.0, 2)


def test_a_list_of_one_has_no_diversity_and_a_new_customer_no_usual_categories(make_rows: MakeRows) -> None:
    lists = lists_of(make_rows, {("new", "popularity", "all"): ["nobody bought"]})
    found = figures(judge(make_rows, lists, lines_of(make_rows, [*PAST, ("new", "x", 1)])))
    told = {metric for _, _, metric in found}
    assert "ndcg_at_2" in told
    assert not told & {"diversity_at_2", "miscalibration_at_2"}
    assert found["recommend_all", "popularity", "novelty_at_2"][0] == pytest.approx(math.log2(3))


def test_a_model_is_judged_by_its_own_lists_and_compared_where_both_have_one(make_rows: MakeRows) -> None:
    lists = {key: products for key, products in LISTS.items() if key != ("b", "popularity", "all")}
    found = figures(judge(make_rows, lists_of(make_rows, lists), lines_of(make_rows, PAST + FUTURE)))
    assert found["recommend_all", "als", "hit_at_2"][::2] == (1.0, 2)
    assert found["recommend_all", "popularity", "hit_at_2"] == (1.0, None, 1)
    assert found["recommend_all", "als", "hit_at_2_minus_popularity"] == (0.0, None, 1)


def test_ndcg_agrees_with_sklearn(make_rows: MakeRows) -> None:
    dice = np.random.default_rng(3)
    products = [f"p{i}" for i in range(12)]
    lists = {(f"c{c}", "als", "all"): dice.permutation(products).tolist() for c in range(20)}
    bought = {f"c{c}": dice.permutation(products)[: dice.integers(1, 7)].tolist() for c in range(20)}
    lines = lines_of(make_rows, [(customer, product, 1) for customer, own in bought.items() for product in own])
    settings = SETTINGS.model_copy(update={"list_length": 5})
    found = figures(judge(make_rows, lists_of(make_rows, lists), lines, settings))
    expected = [
        ndcg_score([[product in bought[customer] for product in ranked]], [list(range(12, 0, -1))], k=5)
        for (customer, _, _), ranked in lists.items()
    ]
    value, standard_error, count = found["recommend_all", "als", "ndcg_at_5"]
    assert value == pytest.approx(np.mean(expected))
    assert standard_error == pytest.approx(np.std(expected, ddof=1) / math.sqrt(20))
    assert count == 20


@pytest.mark.parametrize("known", [[], PAST], ids=["nothing", "only the past"])
def test_without_purchases_from_the_date_on_there_is_no_backtest(make_rows: MakeRows, known: list[Purchase]) -> None:
    lists = lists_of(make_rows, LISTS if known else {})
    backtest = judge(make_rows, lists, lines_of(make_rows, known))
    assert backtest.columns == list(BACKTESTS.column_names)
    assert backtest.isEmpty()


def test_figures_are_the_same_whatever_the_order_and_partitions(make_rows: MakeRows) -> None:
    recommended, lines = lists_of(make_rows, LISTS), lines_of(make_rows, PAST + FUTURE)
    once = figures(judge(make_rows, recommended, lines))
    again = figures(judge(make_rows, recommended.repartition(3), lines.orderBy("product_id").repartition(4)))
    assert once == again


def test_cold_lists_are_judged_by_what_few_bought_lately(make_rows: MakeRows) -> None:
    lists = {("a", "content", "cold"): ["z", "old"], ("b", "content", "cold"): ["old", "z"]}
    # Of few customers so far: z for 5 days, old for 40. a buys both, and one nobody had; b nothing cold and new to b.
    past = [*PAST, ("c", "old", -40)]
    lines = lines_of(make_rows, [*past, *(("a", product, 1) for product in ("z", "old", "never")), ("b", "z", 1)])
    two = RECOMMEND.model_copy(update={"min_customers": 2})
    found = figures(judge(make_rows, lists_of(make_rows, lists), lines, recommend_settings=two))
    assert found["recommend_cold", "content", "recall_at_2"] == (1.0, None, 1)
    assert found["recommend_cold", "content", "precision_at_2"] == (0.5, None, 1)
    assert not any(metric.startswith("coverage") for _, _, metric in found)
    one = RECOMMEND.model_copy(update={"min_customers": 1})
    assert figures(judge(make_rows, lists_of(make_rows, lists), lines, recommend_settings=one)) == {}

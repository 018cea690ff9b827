"""Lists made on Spark are compared with a sort of the whole score matrix."""

from collections.abc import Sequence

import numpy as np
import pytest
from pyspark.errors import PythonException
from pyspark.sql import DataFrame, SparkSession

from promo_spark.recommend.factorisation import ProductFactors
from promo_spark.recommend.topk import list_best_products

N_CUSTOMERS, N_PRODUCTS, RANK, LENGTH = 40, 90, 3, 4
SCHEMA = "customer_id string, factors array<float>, seen array<int>, product_set int"
Lists = dict[tuple[str, str], list[tuple[str, float, bool]]]


def whole_numbers(n_rows: int, seed: int) -> np.ndarray:
    """Small whole numbers: exact products, many ties."""
    return np.random.default_rng(seed).integers(-3, 4, size=(n_rows, RANK)).astype(np.float32)


PRODUCTS = ProductFactors(np.array([f"p{i:02}" for i in range(N_PRODUCTS)]), whole_numbers(N_PRODUCTS, 1))
SETS = (np.arange(0, N_PRODUCTS, 7), np.array([5]), np.array([], dtype=np.int64))


def customer_rows() -> list[tuple[str, list[float], list[int] | None, int | None]]:
    random = np.random.default_rng(2)
    rows = []
    for number, factors in enumerate(whole_numbers(N_CUSTOMERS, 3).tolist()):
        seen = np.flatnonzero(random.random(N_PRODUCTS) < 0.3).tolist() if number % 5 else None
        product_set = None if number % 4 == 3 else number % 4
        rows.append((f"c{number:02}", factors, seen, product_set))
    return rows


def lists_of(frame: DataFrame) -> Lists:
    lists: Lists = {}
    for row in sorted(frame.collect(), key=lambda row: row["rank"]):
        own = lists.setdefault((row.customer_id, row.slot), [])
        own.append((row.product_id, row.score, row.is_repeat))
        assert row["rank"] == len(own)
    return lists


def by_sorting(columns: Sequence[str]) -> Lists:
    """The definition; ``columns`` are the optional ones that are there."""
    lists: Lists = {}
    for customer, factors, seen, product_set in customer_rows():
        scores = PRODUCTS.factors @ np.array(factors, dtype=np.float32)
        ranked = np.lexsort((np.arange(N_PRODUCTS), -scores)).tolist()
        if "product_set" in columns and product_set is not None:
            ranked = [product for product in ranked if product in SETS[product_set]]
        own = set(seen or ()) if "seen" in columns else set()
        slots = {"all": ranked, "novel": [product for product in ranked if product not in own]}
        for slot in slots if "seen" in columns else ("all",):
            best = [(f"p{p:02}", float(scores[p]), p in own) for p in slots[slot][:LENGTH]]
            if best:
                lists[customer, slot] = best
    return lists


@pytest.mark.parametrize(
    "columns", [(), ("seen",), ("product_set",), ("seen", "product_set")], ids=lambda names: "+".join(names) or "none"
)
@pytest.mark.parametrize("partitions", [1, 7])
def test_lists_are_those_of_a_sort_in_any_layout(spark: SparkSession, columns: Sequence[str], partitions: int) -> None:
    order = np.random.default_rng(partitions).permutation(N_CUSTOMERS)
    rows = customer_rows()
    customers = spark.createDataFrame([rows[place] for place in order], SCHEMA).repartition(partitions)
    found = list_best_products(
        customers=customers.select("customer_id", "factors", *columns),
        product_factors=PRODUCTS,
        list_length=LENGTH,
        product_sets=SETS,
    )
    assert found.columns == ["customer_id", "slot", "rank", "product_id", "score", "is_repeat"]
    assert lists_of(found) == by_sorting(columns)


def test_ids_of_another_type_and_factors_in_double_pass(spark: SparkSession) -> None:
    customers = spark.createDataFrame([(7, [1.0, 0.0, 0.0])], "customer_id int, factors array<double>")
    found = list_best_products(customers=customers, product_factors=PRODUCTS, list_length=1)
    assert found.schema["customer_id"].dataType.simpleString() == "int"
    assert [(row.customer_id, row.score) for row in found.collect()] == [(7, 3.0)]


def test_no_customers_get_no_lists(spark: SparkSession) -> None:
    none = spark.createDataFrame([], SCHEMA)
    assert list_best_products(customers=none, product_factors=PRODUCTS, list_length=2, product_sets=SETS).isEmpty()


@pytest.mark.parametrize("factors", [None, [1.0], []], ids=["no factors", "too few", "empty"])
def test_factors_that_do_not_fit_are_refused(spark: SparkSession, factors: list[float] | None) -> None:
    customers = spark.createDataFrame(
        [("a", [1.0, 1.0, 1.0]), ("b", factors)], "customer_id string, factors array<float>"
    )
    found = list_best_products(customers=customers.coalesce(1), product_factors=PRODUCTS, list_length=2)
    with pytest.raises(PythonException, match="1 customers lack factors, or have not 3 of them"):
        found.collect()

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from math import isfinite
from types import SimpleNamespace
from typing import cast, get_args

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.recommend import FACTORS, RECOMMENDED_PRODUCTS, SERVED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.settings import ProductModel, RecommendSettings
from promo_spark.contracts.silver import CUSTOMERS, ORDER_LINES, PRODUCTS, RATINGS
from promo_spark.contracts.table import TableContract
from promo_spark.pipelines.recommend import run
from promo_spark.runtime.stage import Stage

DAY = date(2024, 6, 3)


class RecordingStage:
    """Stands in for a stage: serves given tables and keeps what is written."""

    def __init__(self, tables: dict[str, DataFrame], settings: RecommendSettings | None = None) -> None:
        self.as_of_date = DAY
        self.settings = SimpleNamespace(recommend=settings or RecommendSettings(min_customers=1), seed=1)
        self.tables = tables
        self.spark = tables[ORDER_LINES.name].sparkSession
        self.limitations: list[str] = []

    def read(self, contract: TableContract) -> DataFrame:
        return self.tables[contract.name]

    def write(self, contract: TableContract, frame: DataFrame) -> None:
        self.tables[contract.name] = frame.localCheckpoint()

    def limitation(self, message: str) -> None:
        self.limitations.append(message)

    def progress(self, message: str) -> None:
        pass

    def metrics(self, values: dict[str, float]) -> None:
        assert all(isfinite(value) for value in values.values())

    def save_model(self, name: str, model: object, sample: DataFrame, output: DataFrame) -> None:
        pass


def test_a_single_customer_gets_the_baselines_and_it_is_said(make_rows: Callable[..., DataFrame]) -> None:
    line = {
        "basket_id": "1",
        "line_id": "1",
        "customer_id": "a",
        "product_id": "x",
        "order_date": date(2024, 6, 2),
        "quantity": Decimal(1),
        "is_return": False,
    }
    stage = RecordingStage(
        {
            ORDER_LINES.name: make_rows(ORDER_LINES, [line, {**line, "line_id": "2", "product_id": "y"}]),
            PRODUCTS.name: make_rows(PRODUCTS, []),
            CUSTOMERS.name: make_rows(CUSTOMERS, [{"customer_id": "newcomer"}]),
            FACTORS.name: make_rows(FACTORS, []),
        }
    )
    run(cast(Stage, stage))
    assert len(stage.limitations) == 1
    assert "only popular products and own habits" in stage.limitations[0]
    assert stage.tables[FACTORS.name].isEmpty()
    of_buyer = stage.tables[RECOMMENDED_PRODUCTS.name].where("customer_id = 'a'")
    written = of_buyer.select("model", "slot", "rank", "product_id").collect()
    assert sorted(map(tuple, written)) == [
        ("personal_frequency", "all", 1, "x"),
        ("personal_frequency", "all", 2, "y"),
        ("popularity", "all", 1, "x"),
        ("popularity", "all", 2, "y"),
    ]
    served = stage.tables[SERVED_PRODUCTS.name].select("customer_id", "slot", "rank", "product_id", "model").collect()
    assert sorted(map(tuple, served)) == [
        ("a", "all", 1, "x", "personal_frequency"),
        ("a", "all", 2, "y", "personal_frequency"),
        *[("newcomer", slot, place + 1, "xy"[place], "popularity") for slot in ("all", "novel") for place in (0, 1)],
    ]


EVERY_MODEL = get_args(ProductModel)


def lines_of_a_glutton(spark: SparkSession) -> DataFrame:
    """One customer with 50,000 lines of 200 products, two with one line each."""
    glutton = spark.range(50_000).select(
        F.lit("glutton").alias("customer_id"),
        F.concat(F.lit("b"), (F.col("id") / 50).cast("int")).alias("basket_id"),
        F.col("id").cast("string").alias("line_id"),
        F.concat(F.lit("p"), F.col("id") % 200).alias("product_id"),
        F.date_sub(F.lit(DAY), ((F.col("id") / 50).cast("int") % 300 + 1)).alias("order_date"),
    )
    others = spark.createDataFrame(
        [("once", "x1", "1", "p7", date(2024, 6, 2)), ("alike", "x2", "1", "p7", date(2024, 6, 2))], glutton.schema
    )
    return glutton.union(others).withColumns({"quantity": F.lit(1).cast("decimal(18,3)"), "is_return": F.lit(False)})


def lines_of_one_product(spark: SparkSession) -> DataFrame:
    """Three customers who bought the same one thing on the same day: all vectors are the same."""
    rows = [(customer, f"b{customer}", "1", "only", date(2024, 6, 1)) for customer in "abc"]
    lines = spark.createDataFrame(
        rows, "customer_id string, basket_id string, line_id string, product_id string, order_date date"
    )
    return lines.withColumns({"quantity": F.lit(1).cast("decimal(18,3)"), "is_return": F.lit(False)})


@pytest.mark.parametrize(
    "lines_of",
    [
        pytest.param(lines_of_a_glutton, marks=pytest.mark.slow),
        pytest.param(lines_of_one_product, marks=pytest.mark.slow),
    ],
)
def test_every_model_has_lists_for_odd_customers_or_says_why(
    spark: SparkSession, make_rows: Callable[..., DataFrame], lines_of: Callable[[SparkSession], DataFrame]
) -> None:
    lines = lines_of(spark).to(ORDER_LINES.schema(all_nullable=True))
    settings = RecommendSettings(min_customers=1, models=EVERY_MODEL, rank=4, iterations=2, rule_min_baskets=1)
    described = [{"product_id": f"p{p}", "category": f"k{p % 7}"} for p in range(200)]
    segments = [{"customer_id": c, "segment_id": 0, "as_of_date": DAY} for c in ("glutton", "once", "a", "b")]
    stage = RecordingStage(
        {
            ORDER_LINES.name: lines.cache(),
            PRODUCTS.name: make_rows(PRODUCTS, described),
            CUSTOMERS.name: make_rows(CUSTOMERS, []),
            RATINGS.name: make_rows(RATINGS, []),
            SEGMENT_CUSTOMERS.name: make_rows(SEGMENT_CUSTOMERS, segments),
            FACTORS.name: make_rows(FACTORS, []),
        },
        settings,
    )
    run(cast(Stage, stage))
    made = stage.tables[RECOMMENDED_PRODUCTS.name].toPandas()
    assert not made.duplicated(["customer_id", "model", "slot", "rank"]).any()
    assert not made.duplicated(["customer_id", "model", "slot", "product_id"]).any()
    assert made["rank"].max() <= settings.list_length
    assert made["score"].map(isfinite).all()
    said = " ".join(stage.limitations)
    reasons = {
        "hybrid": "no hybrid lists", "als": "no latent factors", "explicit_als": "no lists by ratings",
        "association_rules": "no lists by association rules", "content": "no lists by content",
    }  # fmt: skip
    for model in EVERY_MODEL:
        assert (model in set(made["model"])) != (reasons.get(model, "-") in said), model
    served = stage.tables[SERVED_PRODUCTS.name].toPandas()
    everybody = {row.customer_id for row in lines.select("customer_id").distinct().collect()}
    assert set(served["customer_id"]) == everybody
    # Who bought every product there is has nothing left to discover.
    glutton = served[served["customer_id"] == "glutton"]
    assert set(glutton["slot"]) <= {"all"}
    assert len(glutton) in (0, settings.list_length)

"""The stage from features to profiles: recovery of known groups, and odd inputs."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.features import AFFINITY, CUSTOMER_FEATURES, PRODUCT_FEATURES, PROMOTION_FEATURES
from promo_spark.contracts.segments import (
    BEHAVIOUR,
    BEHAVIOUR_QUALITY,
    LIFETIME_VALUES,
    SEGMENT_BEHAVIOUR,
    SEGMENT_CUSTOMERS,
    SEGMENT_MIGRATION,
    SEGMENT_PRODUCTS,
    SEGMENT_PROFILES,
    SEGMENT_QUALITY,
    SEGMENTS,
)
from promo_spark.contracts.settings import SegmentSettings
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.contracts.table import TableContract
from promo_spark.errors import SettingsError
from promo_spark.kernels.clustering import METHODS
from promo_spark.pipelines import segments
from promo_spark.pipelines.segments_migration import tell_migration
from promo_spark.runtime import Stage

DAY = date(2024, 6, 3)
MakeRows = Callable[..., DataFrame]
SETTINGS = SegmentSettings(
    cluster_counts=(2, 3, 4), resamples=2, columns=("weekly_spend_amount", "discount_depth_rate", "weekend_order_rate")
)


PRODUCT = {"product_id": "p", "as_of_date": DAY}
ONE_PRODUCT = [
    "products are clustered without order_count, repeat_customer_rate, regular_price_amount, discounted_line_rate, "
    "price_spread_rate, display_week_count, mailer_week_count: unknown or the same for all.",
    "products are too few (1) or too alike for clusters.",
    "no promotions are known before the date: there are no clusters of them.",
]


class StageInMemory:
    """What the stage needs of a stage, with tables kept as lists of rows."""

    def __init__(self, spark: SparkSession, tables: dict[str, DataFrame], settings: SegmentSettings) -> None:
        self.spark = spark
        self.as_of_date = DAY
        self.settings = SimpleNamespace(segments=settings, seed=7)
        self.tables = tables
        self.before: dict[str, DataFrame] = {}
        self.asked_before: dict[str, int] = {}
        self.limitations: list[str] = []
        self.figures: dict[str, float] = {}
        self.models: dict[str, PipelineModel] = {}

    def read(self, contract: TableContract) -> DataFrame:
        return self.tables[contract.name]

    def read_before(self, contract: TableContract, *, days: int = 1) -> DataFrame:
        self.asked_before[contract.name] = days
        return self.before.get(contract.name, self.spark.createDataFrame([], contract.schema()))

    def write(self, contract: TableContract, frame: DataFrame) -> None:
        rows = [tuple(row[name] for name in contract.column_names) for row in frame.collect()]
        assert len({tuple(row[contract.column_names.index(name)] for name in contract.key) for row in rows}) == len(
            rows
        )
        self.tables[contract.name] = self.spark.createDataFrame(rows, contract.schema())

    def limitation(self, message: str) -> None:
        self.limitations.append(message)

    def metrics(self, values: dict[str, float]) -> None:
        self.figures.update(values)

    def save_model(self, name: str, model: PipelineModel, _: DataFrame, output: DataFrame) -> None:
        output.collect()
        self.models[name] = model

    def progress(self, *_: object) -> None: ...

    figure = table = progress

    def rows(self, contract: TableContract) -> list[dict[str, Any]]:
        return [row.asDict() for row in self.tables[contract.name].orderBy(*contract.key).collect()]


def run(
    spark: SparkSession,
    make_rows: MakeRows,
    rows: list[dict[str, Any]],
    settings: SegmentSettings = SETTINGS,
    *,
    lines: Sequence[dict[str, Any]] = (),
    earlier: Sequence[dict[str, Any]] = (),
) -> StageInMemory:
    usual = {
        "as_of_date": DAY,
        "tenure_days": 200,
        "recency_days": 3,
        "order_gap_days": 7.0,
        "spend_91d_amount": Decimal(10),
    }
    customers, before = (
        [{"customer_id": f"c{place:03d}", **usual, **row} for place, row in enumerate(given)]
        for given in (rows, earlier)
    )
    tables = {
        CUSTOMER_FEATURES.name: make_rows(CUSTOMER_FEATURES, customers).repartition(3),
        AFFINITY.name: make_rows(AFFINITY, []),
        PRODUCT_FEATURES.name: make_rows(PRODUCT_FEATURES, [PRODUCT]),
        PROMOTION_FEATURES.name: make_rows(PROMOTION_FEATURES, []),
        ORDER_LINES.name: make_rows(ORDER_LINES, lines),
    }
    stage = StageInMemory(spark, tables, settings)
    stage.before[CUSTOMER_FEATURES.name] = make_rows(CUSTOMER_FEATURES, before)
    segments.run(cast("Stage", stage))
    return stage


def three_kinds(seed: int) -> list[dict[str, Any]]:
    """Twenty who spend much, twenty who buy what is discounted, twenty who come at weekends."""
    rng = np.random.default_rng(seed)
    return [
        {
            "weekly_spend_amount": float(spend * rng.lognormal(0, 0.1)),
            "discount_depth_rate": float(depth + rng.normal(0, 0.02)),
            "weekend_order_rate": float(weekend + rng.normal(0, 0.02)),
        }
        for spend, depth, weekend in [(200.0, 0.05, 0.2), (40.0, 0.45, 0.2), (10.0, 0.05, 0.9)]
        for _ in range(20)
    ]


def test_three_kinds_of_customers_are_found_and_named(spark: SparkSession, make_rows: MakeRows) -> None:
    stage = run(spark, make_rows, three_kinds(1))
    placed = [row["segment_id"] for row in stage.rows(SEGMENT_CUSTOMERS)]
    assert placed == [0] * 20 + [1] * 20 + [2] * 20
    quality = stage.rows(SEGMENT_QUALITY)
    assert [(row["cluster_count"], row["is_chosen"]) for row in quality] == [(2, False), (3, True), (4, False)]
    profiles = stage.rows(SEGMENT_PROFILES)
    names = [row["segment_name"] for row in profiles]
    assert names[0].startswith("High spenders")
    assert "discount hunters" in names[1]
    assert names[2].startswith("Light spenders")
    assert "weekend shoppers" in names[2]
    assert [row["customer_count"] for row in profiles] == [20, 20, 20]
    assert stage.limitations == [
        *ONE_PRODUCT,
        "churn and spend of the next 91 days are not predicted: it takes orders from 2023-11-06 on, and there are "
        "none.",
        "lifetime value is not told: 0 customers bought on a second day, and it takes 30.",
    ]
    assert stage.figures["segment_count"] == 3
    assert stage.figures["k_means_3_silhouette"] == stage.figures["silhouette"]
    assert {row["later_explained_rate"] for row in quality} == {None}
    assert "customer_segments" in stage.models


@pytest.mark.slow
def test_methods_are_judged_by_what_came_after_an_earlier_date(spark: SparkSession, make_rows: MakeRows) -> None:
    """Everyone is of the same kind at the earlier date, and the kinds then shop 10, 5 and 1 times."""
    earlier = [{**row, "as_of_date": DAY - timedelta(days=40)} for row in three_kinds(2)]
    lines = [
        {
            "basket_id": f"{customer}-{day}",
            "line_id": "1",
            "customer_id": f"c{customer:03d}",
            "order_date": DAY - timedelta(days=40 - day),
            "sales_amount": Decimal(3),
            "is_return": False,
        }
        for customer in range(60)
        for day in range((10, 5, 1)[customer // 20])
    ]
    settings = SETTINGS.model_copy(update={"cluster_counts": (3,), "methods": tuple(METHODS), "smallest_rate": 0.2})
    stage = run(spark, make_rows, three_kinds(1), settings, lines=lines, earlier=earlier)
    quality = {row["method"]: row for row in stage.rows(SEGMENT_QUALITY)}
    assert {(method, row["cluster_count"]) for method, row in quality.items()} == {(method, 3) for method in METHODS}
    assert [row["later_explained_rate"] for row in quality.values()] == [1.0] * 4
    assert [row["later_explained_se"] for row in quality.values()] == [0.0] * 4
    # None is better than the first listed.
    assert [method for method, row in quality.items() if row["is_chosen"]] == ["k_means"]
    assert stage.asked_before[CUSTOMER_FEATURES.name] == 28
    assert stage.figures["hdbscan_3_later_explained_rate"] == stage.figures["later_explained_rate"] == 1.0
    assert [row["segment_id"] for row in stage.rows(SEGMENT_CUSTOMERS)] == [0] * 20 + [1] * 20 + [2] * 20
    assert not any("silhouette alone" in text for text in stage.limitations)


@pytest.mark.slow
def test_dense_groups_label_everybody_in_a_reduced_space(spark: SparkSession, make_rows: MakeRows) -> None:
    odd = {"weekly_spend_amount": 9_000.0, "discount_depth_rate": 0.9, "weekend_order_rate": 0.5}
    changed = {"methods": ("hdbscan", "gaussian_mixture"), "reduction": "pca", "components": 2}
    stage = run(spark, make_rows, [*three_kinds(1), odd], SETTINGS.model_copy(update=changed))
    assert any("compared by silhouette alone" in text for text in stage.limitations)
    (chosen,) = [row for row in stage.rows(SEGMENT_QUALITY) if row["is_chosen"]]
    assert (chosen["method"], chosen["cluster_count"]) == ("hdbscan", 3)
    assert chosen["noise_rate"] == pytest.approx(1 / 61)
    placed = stage.rows(SEGMENT_CUSTOMERS)
    # The one who is like nobody has a segment too, and is far from its core; with that spend it is the most valuable.
    assert [row["segment_id"] for row in placed] == [1] * 20 + [0] * 20 + [2] * 20 + [0]
    assert [row["customer_id"] for row in placed if row["distance"] > 1] == ["c060"]
    assert len(stage.models["customer_segments"].stages) == 3


@pytest.mark.slow
def test_no_dense_group_is_one_segment(spark: SparkSession, make_rows: MakeRows) -> None:
    rng = np.random.default_rng(5)
    rows = [dict(zip(SETTINGS.columns, map(float, rng.random(3)), strict=True)) for _ in range(15)]
    changed = {"methods": ("hdbscan",), "reduction": "lda"}
    stage = run(spark, make_rows, rows, SETTINGS.model_copy(update=changed))
    assert any("formed without lda" in text for text in stage.limitations)  # all are of one tier
    assert {row["segment_id"] for row in stage.rows(SEGMENT_CUSTOMERS)} == {0}
    (quality,) = stage.rows(SEGMENT_QUALITY)
    assert (quality["cluster_count"], quality["noise_rate"], quality["is_chosen"]) == (1, 1.0, True)
    assert any("too few or too alike for 2 segments: 1 instead" in text for text in stage.limitations)


@pytest.mark.slow
def test_columns_nobody_has_are_left_out_and_said(spark: SparkSession, make_rows: MakeRows) -> None:
    rows = [{"weekly_spend_amount": float(10 ** (1 + i % 2) + i / 100), "weekend_order_rate": 0.5} for i in range(12)]
    stage = run(spark, make_rows, rows)
    assert any("without discount_depth_rate, weekend_order_rate" in text for text in stage.limitations)
    assert {row["segment_id"] for row in stage.rows(SEGMENT_CUSTOMERS)} == {0, 1}


@pytest.mark.parametrize("customers", [1, 12], ids=["one customer", "customers all alike"])
@pytest.mark.slow
def test_who_cannot_be_told_apart_is_one_segment(spark: SparkSession, make_rows: MakeRows, customers: int) -> None:
    stage = run(spark, make_rows, [{"weekly_spend_amount": 10.0, "discount_depth_rate": 0.1}] * customers)
    assert [(row["segment_id"], row["distance"]) for row in stage.rows(SEGMENT_CUSTOMERS)] == [(0, 0.0)] * customers
    (profile,) = stage.rows(SEGMENT_PROFILES)
    assert (profile["customer_count"], profile["customer_rate"]) == (customers, 1.0)
    assert (profile["map_x"], profile["map_y"]) == (0.0, 0.0)
    (quality,) = stage.rows(SEGMENT_QUALITY)
    assert (quality["cluster_count"], quality["is_chosen"], quality["silhouette"]) == (1, True, None)
    assert any("too few or too alike" in text for text in stage.limitations)


def test_nobody_is_no_segment(spark: SparkSession, make_rows: MakeRows) -> None:
    stage = run(spark, make_rows, [])
    assert [stage.rows(table) for table in (*SEGMENTS, *BEHAVIOUR)] == [[]] * 7
    assert stage.limitations == [*ONE_PRODUCT, "no customer is known before the date: there are no segments."]
    assert [row["cluster_name"] for row in stage.rows(SEGMENT_PRODUCTS)] == ["All products"]


def test_a_column_that_is_no_number_is_refused(spark: SparkSession, make_rows: MakeRows) -> None:
    with pytest.raises(SettingsError, match=r"segments.columns: age_band, typo"):
        run(spark, make_rows, [{}], SegmentSettings(columns=("recency_days", "age_band", "typo")))


def shopping(random: np.random.Generator, customer: str, gap: int, leaves_on: int) -> list[dict[str, Any]]:
    """A line of 10 every so many days of the last 140, until the customer leaves."""
    days = np.cumsum(1 + random.poisson(gap - 1, 140))
    return [
        {
            "basket_id": f"{customer}-{day}",
            "line_id": "1",
            "customer_id": customer,
            "order_date": DAY - timedelta(days=140 - int(day)),
            "sales_amount": Decimal(10),
            "is_return": False,
        }
        for day in days
        if day < min(leaves_on, 140)
    ]


@pytest.mark.slow
def test_churn_and_spend_are_predicted_for_everybody(spark: SparkSession, make_rows: MakeRows) -> None:
    random = np.random.default_rng(4)
    lines = [
        line
        for place in range(90)
        for line in shopping(random, f"c{place:03d}", 3, int(random.integers(60, 140)) if place >= 45 else 999)
    ]
    rows = [{"weekly_spend_amount": float(10 ** (1 + place % 2) + place / 100)} for place in range(90)]
    settings = SETTINGS.model_copy(
        update={"horizon_days": 28, "churn_models": ("logistic", "tree"), "spend_models": ("linear", "tree")}
    )
    stage = run(spark, make_rows, rows, settings, lines=lines)
    told = stage.rows(SEGMENT_BEHAVIOUR)
    assert [row["customer_id"] for row in told] == [f"c{place:03d}" for place in range(90)]
    churn = np.array([row["churn_prob"] for row in told])
    assert churn[:45].max() < 0.5 < np.quantile(churn[45:], 0.75)
    assert {row["horizon_days"] for row in told} == {28}
    quality = {(row["subject"], row["model"]): row for row in stage.rows(BEHAVIOUR_QUALITY)}
    assert {key for key, row in quality.items() if row["is_chosen"]} <= set(quality) - {
        ("churn", "recency"),
        ("churn", "bg_nbd"),
    }
    assert set(quality) == {
        ("churn", "logistic"),
        ("churn", "tree"),
        ("churn", "recency"),
        ("churn", "bg_nbd"),
        ("spend", "bg_nbd"),
        ("spend", "linear"),
        ("spend", "tree"),
        ("spend", "last_window"),
    }
    values = stage.rows(LIFETIME_VALUES)
    assert [row["customer_id"] for row in values] == [row["customer_id"] for row in told]
    alive = np.array([row["alive_prob"] for row in values])
    assert alive[45:].mean() < 0.5
    assert alive[:45].mean() > 0.9
    assert {row["horizon_days"] for row in values} == {364}
    models = {"customer_segments", "customer_churn", "customer_spend", "lifetime_value", "products_clusters"}
    assert models == set(stage.models)
    assert stage.figures["lifetime_alpha"] > 0


@pytest.mark.slow
def test_customers_are_followed_from_the_date_before(spark: SparkSession, make_rows: MakeRows) -> None:
    rows = [{"weekly_spend_amount": float(10 ** (1 + place % 2) + place / 100)} for place in range(12)]
    now = run(spark, make_rows, rows)
    assert now.rows(SEGMENT_MIGRATION) == []
    earlier, before = DAY - timedelta(days=28), now.rows(SEGMENT_CUSTOMERS)
    # Numbered the other way round then; c000 was with the others, c001 was not there, "gone" is no longer.
    was = [{**row, "as_of_date": earlier, "segment_id": 1 - row["segment_id"]} for row in before[2:]]
    was += [{**row, "as_of_date": earlier} for row in before[:1]]
    was.append({**before[0], "as_of_date": earlier, "customer_id": "gone"})
    names = [{"segment_id": place, "as_of_date": earlier, "segment_name": f"Then {place}"} for place in (0, 1)]
    now.before = {
        SEGMENT_CUSTOMERS.name: make_rows(SEGMENT_CUSTOMERS, was),
        SEGMENT_PROFILES.name: make_rows(SEGMENT_PROFILES, names),
    }
    tell_migration(cast("Stage", now))
    light = before[0]["segment_id"]
    told = {(row["previous_segment_id"], row["segment_id"]): row for row in now.rows(SEGMENT_MIGRATION)}
    counts = {pair: (row["customer_count"], row["is_match"]) for pair, row in told.items()}
    assert counts == {
        (1 - light, light): (5, True),
        (light, 1 - light): (5, True),
        (light, light): (1, False),
        (light, -1): (1, False),
        (-1, 1 - light): (1, False),
    }
    assert told[light, 1 - light]["customer_rate"] == pytest.approx(5 / 7)
    assert {row["previous_date"] for row in told.values()} == {earlier}
    assert told[light, light]["previous_segment_name"] == f"Then {light}"
    assert now.figures["migration_stayed_rate"] == pytest.approx(10 / 11)

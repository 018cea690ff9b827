"""Vectors and clusters of customers in Spark, compared with NumPy and scikit-learn."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.cluster import KMeans

from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.segments.clusters import SegmentKMeans, SegmentKMeansModel, draw_sample
from promo_spark.segments.customers import assign_value_tiers
from promo_spark.segments.scaling import CustomerScaler, numeric_columns

DAY = date(2024, 6, 3)
MakeRows = Callable[..., DataFrame]


def customers(make_rows: MakeRows, rows: list[dict[str, Any]]) -> DataFrame:
    return make_rows(
        CUSTOMER_FEATURES,
        [{"customer_id": f"c{place:04d}", "as_of_date": DAY, **row} for place, row in enumerate(rows)],
    )


def vectors(frame: DataFrame) -> np.ndarray:
    rows = frame.orderBy("customer_id").select(vector_to_array(F.col("features")).alias("point")).collect()
    return np.array([row.point for row in rows])


class TestScaler:
    COLUMNS = ("weekly_spend_amount", "discount_depth_rate", "recency_days")

    def test_shapes_standardises_and_limits(self, make_rows: MakeRows) -> None:
        rng = np.random.default_rng(1)
        spend = np.append(rng.lognormal(3, 1, 60), [-5.0, 1e9])
        depth = np.append(rng.normal(0.2, 0.05, 61), [9.0])
        rows = [
            {"weekly_spend_amount": float(s), "discount_depth_rate": float(d)}
            for s, d in zip(spend, depth, strict=True)
        ]
        frame = customers(make_rows, rows)
        model = CustomerScaler(columns=self.COLUMNS).fit(frame)
        # Nobody's recency is known.
        assert model.getInputCols() == ["weekly_spend_amount", "discount_depth_rate"]
        shaped = np.column_stack([np.log1p(spend.clip(0)), depth])
        expected = ((shaped - shaped.mean(axis=0)) / shaped.std(axis=0)).clip(-4, 4)
        assert np.allclose(vectors(model.transform(frame)), expected, atol=1e-6)
        assert expected.max() == 4

    def test_the_unknown_is_put_in_the_middle(self, make_rows: MakeRows) -> None:
        rows = [{"discount_depth_rate": 0.1}, {"discount_depth_rate": 0.3}, {"discount_depth_rate": None}]
        frame = customers(make_rows, rows)
        model = CustomerScaler(columns=self.COLUMNS).fit(frame)
        assert np.allclose(vectors(model.transform(frame))[:, 0], [-1, 1, 0])

    def test_what_is_the_same_for_everyone_is_dropped(self, make_rows: MakeRows) -> None:
        rows = [{"weekly_spend_amount": 7.3, "discount_depth_rate": 0.1, "recency_days": 5 + i} for i in range(3)]
        frame = customers(make_rows, rows)
        assert CustomerScaler(columns=self.COLUMNS).fit(frame).getInputCols() == ["recency_days"]
        empty = CustomerScaler(columns=self.COLUMNS[:2]).fit(frame)
        assert empty.getInputCols() == []
        assert vectors(empty.transform(frame)).shape == (3, 0)

    def test_columns_that_are_no_numbers_or_describe_persons_are_refused(self) -> None:
        assert numeric_columns(("recency_days", "age_band", "customer_id")) == (
            ("recency_days",),
            ("age_band", "customer_id"),
        )


@pytest.fixture(scope="module")
def cloud() -> np.ndarray:
    rng = np.random.default_rng(4)
    return np.concatenate([rng.normal(centre, 0.8, size=(40, 2)) for centre in ([0, 0], [4, 0], [0, 4])]).round(6)


@pytest.fixture(scope="module")
def points(spark: SparkSession, cloud: np.ndarray) -> DataFrame:
    rows = [(f"c{i:04d}", float(x + 10), [float(x), float(y)]) for i, (x, y) in enumerate(cloud)]
    frame = spark.createDataFrame(rows, "customer_id STRING, weekly_spend_amount DOUBLE, point ARRAY<DOUBLE>")
    return frame.withColumn("features", array_to_vector("point")).cache()


class TestSegmentKMeans:
    def test_ends_where_scikit_learn_ends_from_the_same_start(self, points: DataFrame, cloud: np.ndarray) -> None:
        start = cloud[[0, 50, 100]]
        expected = KMeans(3, init=start, n_init=1, max_iter=100, tol=0).fit(cloud)
        model = SegmentKMeans(centres=start.tolist(), iterations=50).fit(points)
        order = np.argsort(-expected.cluster_centers_[:, 0])
        assert np.allclose(model.cluster_centres(), expected.cluster_centers_[order], atol=1e-3)
        placed = model.transform(points).orderBy("customer_id").collect()
        assert [row.segment_id for row in placed] == [list(order).index(label) for label in expected.labels_]
        gaps = np.sqrt(((cloud - model.cluster_centres()[[row.segment_id for row in placed]]) ** 2).sum(axis=1))
        assert np.allclose([row.distance for row in placed], gaps)

    def test_any_layout_gives_the_same_model(self, points: DataFrame, cloud: np.ndarray) -> None:
        start = cloud[[0, 1, 2]].tolist()
        fits = [
            SegmentKMeans(centres=start, iterations=5).fit(layout).cluster_centres()
            for layout in (points, points.repartition(5).orderBy(F.rand(1)), points.coalesce(1))
        ]
        assert np.array_equal(fits[0], fits[1])
        assert np.array_equal(fits[0], fits[2])

    def test_segments_are_numbered_by_value(self, points: DataFrame) -> None:
        model = SegmentKMeans(centres=[[0.0, 0.0], [4.0, 0.0]], iterations=10).fit(points)
        means = model.transform(points).groupBy("segment_id").agg(F.avg("weekly_spend_amount").alias("spend"))
        spend = {row.segment_id: row.spend for row in means.collect()}
        assert spend[0] > spend[1]

    def test_a_centre_without_customers_stays_and_comes_last(self, points: DataFrame) -> None:
        model = SegmentKMeans(centres=[[99.0, 99.0], [0.0, 0.0]], iterations=3).fit(points)
        assert model.cluster_centres()[1].tolist() == [99.0, 99.0]

    def test_one_segment_of_customers_without_columns(self, points: DataFrame) -> None:
        bare = points.withColumn("features", array_to_vector(F.array().cast("array<double>")))
        model = SegmentKMeans(centres=[[]], iterations=3).fit(bare)
        row = model.transform(bare).first()
        assert row is not None
        assert (row.segment_id, row.distance) == (0, 0.0)

    def test_a_saved_pipeline_places_customers_alike(self, make_rows: MakeRows, tmp_path: Path) -> None:
        frame = customers(make_rows, [{"recency_days": i, "discount_depth_rate": i / 10} for i in range(6)])
        scaler = CustomerScaler(columns=("recency_days", "discount_depth_rate")).fit(frame)
        model = PipelineModel(stages=[scaler, SegmentKMeansModel(centres=[[-1.0, -1.0], [1.0, 1.0]])])
        model.write().overwrite().save(str(tmp_path / "model"))
        loaded = PipelineModel.load(str(tmp_path / "model"))
        columns = ["customer_id", "segment_id", "distance"]
        assert loaded.transform(frame).select(columns).collect() == model.transform(frame).select(columns).collect()


class TestSample:
    def test_is_bounded_and_the_same_for_any_layout(self, points: DataFrame, cloud: np.ndarray) -> None:
        drawn = draw_sample(points, features="features", size=30, seed=1)
        again = draw_sample(points.repartition(4), features="features", size=30, seed=1)
        assert np.array_equal(drawn, again)
        assert len({tuple(point) for point in drawn} & {tuple(point) for point in cloud}) == 30

    def test_other_ids_change_nothing(self, points: DataFrame) -> None:
        renamed = points.withColumn("customer_id", F.sha2("customer_id", 256))
        drawn, again = (draw_sample(rows, features="features", size=5_000, seed=1) for rows in (points, renamed))
        assert np.array_equal(drawn, again)

    def test_everyone_where_there_are_few(self, points: DataFrame, cloud: np.ndarray) -> None:
        drawn = draw_sample(points, features="features", size=5_000, seed=1)
        assert sorted(map(tuple, drawn)) == sorted(map(tuple, cloud))


class TestValueTiers:
    @staticmethod
    def tiers(make_rows: MakeRows, rows: dict[str, tuple[int, int, float | None, Decimal]]) -> dict[str, str]:
        names = ("recency_days", "tenure_days", "order_gap_days", "spend_91d_amount")
        keys = [{"customer_id": name, "as_of_date": DAY} for name in rows]
        described = [
            {**key, **dict(zip(names, row, strict=True))} for key, row in zip(keys, rows.values(), strict=True)
        ]
        segments = make_rows(SEGMENT_CUSTOMERS, [{**key, "segment_id": 0} for key in keys])
        frame = assign_value_tiers(customers=make_rows(CUSTOMER_FEATURES, described), segments=segments)
        return {row.customer_id: row.value_tier for row in frame.collect()}

    def test_rules_in_their_order(self, make_rows: MakeRows) -> None:
        # Eleven spends: the top fifth begins at the ninth, 80.
        rows: dict[str, tuple[int, int, float | None, Decimal]] = {
            "new and rich": (1, 56, 7.0, Decimal(100)),
            "rich": (56, 300, 7.0, Decimal(90)),
            "marked": (1, 300, 7.0, Decimal(80)),
            "ordinary": (56, 57, 7.0, Decimal(70)),
            "gone": (57, 300, 7.0, Decimal(60)),
            "rare but usual": (90, 300, 30.0, Decimal(50)),
            "rare and gone": (91, 300, 30.0, Decimal(40)),
            "gap unknown": (57, 300, None, Decimal(30)),
        }
        rows |= {f"filler {spend}": (1, 300, 7.0, Decimal(spend)) for spend in (0, 10, 20)}
        tiers = self.tiers(make_rows, rows)
        assert {name: tier for name, tier in tiers.items() if not name.startswith("filler")} == {
            "new and rich": "new",
            "rich": "high-value",
            "marked": "high-value",
            "ordinary": "potential",
            "gone": "at-risk",
            "rare but usual": "potential",
            "rare and gone": "at-risk",
            "gap unknown": "at-risk",
        }

    def test_who_spends_nothing_is_not_of_high_value_and_young_histories_know_nobody_new(
        self, make_rows: MakeRows
    ) -> None:
        assert self.tiers(make_rows, {"one": (20, 50, None, Decimal(0)), "two": (20, 40, None, Decimal(0))}) == {
            "one": "potential",
            "two": "potential",
        }

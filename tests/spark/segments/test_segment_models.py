"""Vectors and clusters of customers in Spark, compared with NumPy and scikit-learn."""

import math
from collections.abc import Callable
from datetime import date, timedelta
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
from promo_spark.contracts.settings import SegmentSettings
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.kernels.clustering import METHODS, Clusters, fit_clusters
from promo_spark.kernels.reduction import discriminant_axes
from promo_spark.segments.clusters import SegmentClustering, SegmentModel, draw_sample
from promo_spark.segments.customers import assign_value_tiers
from promo_spark.segments.later import LATER, join_later
from promo_spark.segments.reduction import SegmentProjection
from promo_spark.segments.scaling import CustomerScaler, numeric_columns
from promo_spark.segments.vectors import fit_vectors

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

    def test_what_is_not_finite_is_not_known(self, make_rows: MakeRows) -> None:
        depths = [0.1, 0.3, math.nan, math.inf, -math.inf]
        frame = customers(make_rows, [{"discount_depth_rate": depth} for depth in depths])
        model = CustomerScaler(columns=self.COLUMNS).fit(frame)
        assert np.allclose(vectors(model.transform(frame))[:, 0], [-1, 1, 0, 0, 0])

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


class TestKMeansOverAll:
    @staticmethod
    def fit(points: DataFrame, centres: list[list[float]] | np.ndarray, iterations: int) -> SegmentModel:
        return SegmentClustering(Clusters.around(np.array(centres)), iterations=iterations).fit(points)

    def test_ends_where_scikit_learn_ends_from_the_same_start(self, points: DataFrame, cloud: np.ndarray) -> None:
        start = cloud[[0, 50, 100]]
        expected = KMeans(3, init=start, n_init=1, max_iter=100, tol=0).fit(cloud)
        model = self.fit(points, start, 50)
        order = np.argsort(-expected.cluster_centers_[:, 0])
        centres = model.clusters().centres
        assert np.allclose(centres, expected.cluster_centers_[order], atol=1e-3)
        placed = model.transform(points).orderBy("customer_id").collect()
        assert [row.segment_id for row in placed] == [list(order).index(label) for label in expected.labels_]
        gaps = np.sqrt(((cloud - centres[[row.segment_id for row in placed]]) ** 2).sum(axis=1))
        assert np.allclose([row.distance for row in placed], gaps)

    def test_any_layout_gives_the_same_model(self, points: DataFrame, cloud: np.ndarray) -> None:
        fits = [
            self.fit(layout, cloud[[0, 1, 2]], 5).clusters().centres
            for layout in (points, points.repartition(5).orderBy(F.rand(1)), points.coalesce(1))
        ]
        assert np.array_equal(fits[0], fits[1])
        assert np.array_equal(fits[0], fits[2])

    def test_a_centre_without_customers_stays_and_comes_last(self, points: DataFrame) -> None:
        model = self.fit(points, [[99.0, 99.0], [0.0, 0.0]], 3)
        assert model.clusters().centres[1].tolist() == [99.0, 99.0]

    def test_only_single_centres_are_moved(self, points: DataFrame) -> None:
        for clusters in (
            Clusters.around(np.zeros((3, 2)), np.array([0, 1, 1])),
            Clusters(np.zeros((2, 2)), np.arange(2), np.zeros(2), np.array([np.eye(2)] * 2)),
        ):
            with pytest.raises(ValueError, match="one centre each"):
                SegmentClustering(clusters, iterations=1).fit(points)

    def test_one_segment_of_customers_without_columns(self, points: DataFrame) -> None:
        bare = points.withColumn("features", array_to_vector(F.array().cast("array<double>")))
        model = self.fit(bare, [[]], 3)
        row = model.transform(bare).first()
        assert row is not None
        assert (row.segment_id, row.distance) == (0, 0.0)


class TestEveryMethod:
    @pytest.fixture(scope="class", params=METHODS)
    def found(self, request: pytest.FixtureRequest, cloud: np.ndarray) -> Clusters:
        clusters = fit_clusters(request.param, cloud, 3, least_rate=0.1, seed=1)
        assert clusters.count == 3
        return clusters

    def test_segments_are_numbered_by_value_and_hold_the_same_customers(
        self, points: DataFrame, cloud: np.ndarray, found: Clusters
    ) -> None:
        model = SegmentClustering(found).fit(points)
        placed = model.transform(points).orderBy("customer_id").collect()
        labels = found.place(cloud)[0]
        # A customer's value is its first coordinate: the cloud that lies furthest to the right is number 0.
        order = sorted(range(3), key=lambda cluster: -cloud[labels == cluster, 0].mean())
        assert [row.segment_id for row in placed] == [order.index(label) for label in labels]
        assert [row.distance for row in placed] == pytest.approx(found.place(cloud)[1])

    def test_a_tie_goes_to_the_component_that_comes_first(self, spark: SparkSession) -> None:
        middle = spark.createDataFrame([([0.0],)], "point ARRAY<DOUBLE>").select(
            array_to_vector("point").alias("features")
        )
        centres, owners = np.array([[3.0], [1.0], [-1.0], [1.0]]), np.array([0, 2, 1, 0])
        many = Clusters.around(np.repeat(centres, 20, axis=0), np.repeat(owners, 20))
        for clusters in (Clusters.around(centres, owners), many):
            row = SegmentModel(clusters).transform(middle).first()
            assert row is not None
            assert (row.segment_id, row.distance) == (2, 1.0)

    def test_a_saved_pipeline_places_customers_alike_in_any_layout(
        self, points: DataFrame, found: Clusters, tmp_path: Path
    ) -> None:
        axes = np.array([[0.6, -0.8], [0.8, 0.6]])
        turned = Clusters(found.centres @ axes, found.owners, found.offsets, axes.T @ found.precisions @ axes)
        model = PipelineModel(stages=[SegmentProjection(axes), SegmentModel(turned, "components")])
        model.write().overwrite().save(str(tmp_path / "model"))
        loaded = PipelineModel.load(str(tmp_path / "model"))
        columns = ["customer_id", "segment_id", "distance"]

        def rows(model: PipelineModel, layout: DataFrame) -> list[Any]:
            return model.transform(layout).select(columns).orderBy("customer_id").collect()

        assert rows(loaded, points.repartition(7)) == rows(model, points.coalesce(1))
        straight = SegmentModel(found).transform(points).select(columns).orderBy("customer_id").collect()
        assert [row.segment_id for row in rows(model, points)] == [row.segment_id for row in straight]


class TestVectors:
    COLUMNS = ("recency_days", "discount_depth_rate", "basket_spend_amount")

    @pytest.fixture
    def tiered(self, make_rows: MakeRows) -> DataFrame:
        """Who was away for long is at risk, and nothing else goes with that; baskets differ most."""
        rng = np.random.default_rng(3)
        rows = [
            {
                "recency_days": int(away) + int(rng.integers(0, 20)),
                "tenure_days": 300,
                "order_gap_days": 7.0,
                "spend_91d_amount": Decimal(5),
                "discount_depth_rate": float(rng.normal(0.2, 0.1)),
                "basket_spend_amount": float(rng.lognormal(3, 1)),
            }
            for away in np.repeat([2, 90], 30)
        ]
        return customers(make_rows, rows)

    def test_lda_finds_what_tells_value_tiers_apart(self, tiered: DataFrame) -> None:
        settings = SegmentSettings(reduction="lda")
        fitted = fit_vectors(tiered, columns=self.COLUMNS, settings=settings, seed=1)
        assert fitted.column == "components"
        reduced = fitted.transform(tiered)
        rows = reduced.orderBy("customer_id").select(vector_to_array("components").alias("point")).collect()
        line = np.array([row.point for row in rows])
        assert line.shape == (60, 1)
        assert np.sort(line[:, 0]) == pytest.approx(np.sort(fitted.sample.points[:, 0]))
        scaled = vectors(fitted.scaler.transform(tiered))
        expected = scaled @ discriminant_axes(scaled, np.repeat([0, 1], 30), 1)
        assert line[:, 0] == pytest.approx(expected[:, 0])
        assert line[:30].max() < line[30:].min() or line[30:].max() < line[:30].min()

    def test_pca_keeps_the_directions_asked_for(self, tiered: DataFrame) -> None:
        settings = SegmentSettings(reduction="pca", components=2)
        points = fit_vectors(tiered, columns=self.COLUMNS, settings=settings, seed=1).sample.points
        assert points.shape == (60, 2)
        assert abs(np.corrcoef(points.T)[0, 1]) < 1e-9
        assert points[:, 0].var() > points[:, 1].var()

    @pytest.mark.parametrize("reduction", ["pca", "lda"])
    def test_where_nothing_can_be_left_out_vectors_stay_as_they_are(self, tiered: DataFrame, reduction: str) -> None:
        settings = SegmentSettings(reduction=reduction, components=3)
        alike = tiered.withColumn("recency_days", F.lit(3).cast("long"))  # one tier, and two columns that differ
        fitted = fit_vectors(alike, columns=self.COLUMNS, settings=settings, seed=1, beside=["tenure_days"])
        assert (fitted.column, fitted.projection) == ("features", None)
        assert fitted.sample.points.shape == (60, 2)
        assert fitted.sample.beside.tolist() == [[300.0]] * 60


def test_what_came_later_is_counted_within_its_days(make_rows: MakeRows) -> None:
    def line(customer: str | None, day: int, amount: str, is_return: bool = False) -> dict[str, Any]:
        return {
            "basket_id": f"{customer} {day}",
            "line_id": amount,
            "customer_id": customer,
            "order_date": DAY + timedelta(days=day),
            "sales_amount": Decimal(amount),
            "is_return": is_return,
        }

    lines = [line("c0000", day, "7") for day in (-1, 4, 5)] + [line("c0000", 0, "4"), line("c0000", 0, "5")]
    lines += [line("c0000", 1, "-90", is_return=True), line("c0002", 2, "-3"), line(None, 2, "8")]
    told = join_later(
        customers=customers(make_rows, [{}, {}, {}]),
        order_lines=make_rows(ORDER_LINES, lines),
        first=DAY,
        last=DAY + timedelta(days=5),
    )
    rows = told.orderBy("customer_id").select(*LATER).collect()
    assert [tuple(row) for row in rows] == [(2**0.5, 16**0.5), (0.0, 0.0), (1.0, 0.0)]


class TestSample:
    def test_is_bounded_and_the_same_for_any_layout(self, points: DataFrame, cloud: np.ndarray) -> None:
        drawn = draw_sample(points, features="features", size=30, seed=1, beside=["weekly_spend_amount"])
        again = draw_sample(points.repartition(4), features="features", size=30, seed=1, beside=["weekly_spend_amount"])
        assert np.array_equal(drawn.points, again.points)
        assert len({tuple(point) for point in drawn.points} & {tuple(point) for point in cloud}) == 30
        assert np.array_equal(drawn.beside[:, 0], drawn.points[:, 0] + 10)
        assert np.array_equal(drawn.beside, again.beside)

    def test_other_ids_change_nothing(self, points: DataFrame) -> None:
        renamed = points.withColumn("customer_id", F.sha2("customer_id", 256))
        drawn, again = (draw_sample(rows, features="features", size=5_000, seed=1).points for rows in (points, renamed))
        assert np.array_equal(drawn, again)

    def test_everyone_where_there_are_few(self, points: DataFrame, cloud: np.ndarray) -> None:
        drawn = draw_sample(points, features="features", size=5_000, seed=1).points
        assert sorted(map(tuple, drawn)) == sorted(map(tuple, cloud))

    def test_nobody(self, points: DataFrame) -> None:
        drawn = draw_sample(points.limit(0), features="features", size=5, seed=1)
        assert [len(part) for part in drawn] == [0, 0]


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

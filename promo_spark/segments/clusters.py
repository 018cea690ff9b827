"""K-means over all customers, from centres found on a sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pyspark.ml import Estimator, Model
from pyspark.ml.functions import vector_to_array
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasFeaturesCol, HasMaxIter
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

SEGMENT, DISTANCE = "segment_id", "distance"
_MOVED = 1e-4
_PLACES = 9
# Sums of decimals do not depend on the order of the rows.
_EXACT = "decimal(28,10)"

Points = npt.NDArray[np.float64]


def draw_sample(points: DataFrame, *, features: str, size: int, seed: int) -> Points:
    """Bring the customers with the lowest hashes to the driver, ordered by their values.

    Values and not ids decide the order, because every installation's key gives its customers other ids, and
    where clusters start depends on the order.

    Args:
        points: One row per ``customer_id`` with a vector.
        features: Column of the vector.
        size: Most customers to bring.
        seed: Another seed draws others.

    Returns:
        Vectors, shape (customers, dimensions): the same for any layout of the rows.
    """
    drawn = (
        points.orderBy(F.xxhash64("customer_id", F.lit(seed)), "customer_id")
        .limit(size)
        .select(vector_to_array(F.col(features)).alias("point"))
        .collect()
    )
    vectors = sorted(tuple(row["point"]) for row in drawn)
    return np.array(vectors, dtype=np.float64).reshape(len(drawn), -1)


class SegmentKMeansModel(Model, HasFeaturesCol, DefaultParamsReadable["SegmentKMeansModel"], DefaultParamsWritable):
    """Puts each customer into the segment with the nearest centre: ``segment_id`` and ``distance``.

    Segments are numbered in the order of the centres; a tie goes to the lower number.
    """

    centres = Param(Params._dummy(), "centres", "centre of each segment", TypeConverters.toListListFloat)

    def __init__(self, centres: Sequence[Sequence[float]] = (), features: str = "features") -> None:
        super().__init__()
        self._set(featuresCol=features, centres=[list(centre) for centre in centres])

    def cluster_centres(self) -> Points:
        """Centres, shape (segments, dimensions)."""
        centres = self.getOrDefault(self.centres)
        return np.array(centres, dtype=np.float64).reshape(len(centres), -1)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        squares = _squared_distances(vector_to_array(F.col(self.getFeaturesCol())), self.cluster_centres())
        nearest = F.array_position("_squares", F.array_min("_squares")) - 1
        return (
            dataset.withColumn("_squares", squares)
            .withColumns({SEGMENT: nearest.cast("int"), DISTANCE: F.sqrt(F.array_min("_squares"))})
            .drop("_squares")
        )


class SegmentKMeans(
    Estimator[SegmentKMeansModel],
    HasFeaturesCol,
    HasMaxIter,
    DefaultParamsReadable["SegmentKMeans"],
    DefaultParamsWritable,
):
    """Lloyd's iterations (1982) over all customers, from given centres, then numbered by value.

    ``pyspark.ml.clustering.KMeans`` takes no starting centres and makes one start from its own, and where clusters
    overlap different starts end far apart. Here the best of many starts on a sample is carried on. Sums are of
    decimals, so that the result does not depend on how customers are spread over partitions. Each
    iteration is one pass that returns one row per cluster.
    """

    centres = Param(Params._dummy(), "centres", "centres to start from", TypeConverters.toListListFloat)
    valueCol = Param(Params._dummy(), "valueCol", "segments are numbered by its mean", TypeConverters.toString)  # noqa: N815

    def __init__(
        self,
        centres: Sequence[Sequence[float]] = (),
        value: str = "weekly_spend_amount",
        features: str = "features",
        iterations: int = 30,
    ) -> None:
        super().__init__()
        self._set(
            featuresCol=features, centres=[list(map(float, c)) for c in centres], valueCol=value, maxIter=iterations
        )

    def _fit(self, dataset: DataFrame) -> SegmentKMeansModel:
        given = self.getOrDefault(self.centres)
        centres = np.array(given, dtype=np.float64).reshape(len(given), -1).round(_PLACES)
        values = np.zeros(len(centres))
        for _ in range(max(1, self.getMaxIter())):
            moved, values = self._step(dataset, centres)
            shift = float(np.abs(moved - centres).max(initial=0.0))
            centres = moved
            if shift < _MOVED:
                break
        order = sorted(range(len(centres)), key=lambda place: (-values[place], *centres[place]))
        return SegmentKMeansModel(centres=[centres[place].tolist() for place in order], features=self.getFeaturesCol())

    def _step(self, dataset: DataFrame, centres: Points) -> tuple[Points, Points]:
        """Means of the customers nearest to each centre, and of their value; an empty cluster stays where it is."""
        placed = SegmentKMeansModel(centres=centres.tolist(), features=self.getFeaturesCol()).transform(dataset)
        point = vector_to_array(F.col(self.getFeaturesCol()))
        value = F.col(self.getOrDefault(self.valueCol)).cast("double")
        sums = [_exact_sum(point[place]).alias(f"sum{place}") for place in range(centres.shape[1])]
        rows = placed.groupBy(SEGMENT).agg(F.count("*").alias("customers"), _exact_sum(value).alias("value"), *sums)
        moved, values = centres.copy(), np.full(len(centres), -np.inf)
        for row in rows.collect():
            cluster, size = row[SEGMENT], row["customers"]
            values[cluster] = (row["value"] or 0.0) / size
            moved[cluster] = [row[f"sum{place}"] / size for place in range(centres.shape[1])]
        return moved.round(_PLACES), values


def _squared_distances(point: Expression, centres: Points) -> Expression:
    rows = F.array(*[F.array(*[F.lit(float(x)) for x in centre]).cast("array<double>") for centre in centres])
    return F.transform(rows, lambda centre: F.aggregate(F.zip_with(point, centre, _squared_gap), F.lit(0.0), _plus))


def _squared_gap(one: Expression, other: Expression) -> Expression:
    return (one - other) * (one - other)


def _plus(one: Expression, other: Expression) -> Expression:
    return one + other


def _exact_sum(value: Expression) -> Expression:
    return F.sum(value.cast(_EXACT)).cast("double")

"""Clusters found on a sample, carried over to all customers.

Spark's own BisectingKMeans, GaussianMixture and KMeans draw their starts, and add up doubles, partition by partition:
the same customers laid out in another way get other segments. Here clusters are found on a sample that only the
customers decide, each customer is placed on its own, and what is summed over all is summed in decimals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.ml import Estimator, Model
from pyspark.ml.functions import vector_to_array
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasFeaturesCol, HasMaxIter
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from promo_spark.kernels.clustering import Clusters

SEGMENT, DISTANCE = "segment_id", "distance"
_MOVED = 1e-4
_PLACES = 9
# Sums of decimals do not depend on the order of the rows.
_EXACT = "decimal(28,10)"
_FEW = 32
# Its types demand the kind of function, at which it warns: it reads that from the function's own hints.
_arrow_udf: Callable[..., Callable[..., Expression]] = arrow_udf

Floats = npt.NDArray[np.float64]


class Sample(NamedTuple):
    """Customers on the driver.

    Attributes:
        points: Shape (customers, dimensions).
        beside: Numbers known of them besides, shape (customers, names).
    """

    points: Floats
    beside: Floats


def draw_sample(
    points: DataFrame,
    *,
    features: str,
    size: int,
    seed: int,
    beside: Sequence[str] = (),
    key: str = "customer_id",
) -> Sample:
    """Bring the customers, or other entities, with the lowest hashes to the driver, ordered by their values.

    Values and not ids decide the order, because every installation's key gives its customers other ids, and
    where clusters start depends on the order.

    Args:
        points: One row per entity with a vector.
        features: Column of the vector.
        size: Most customers to bring.
        seed: Another seed draws others.
        beside: Columns of numbers to bring along; NaN where unknown.
        key: Identifies an entity.

    Returns:
        The same for any layout of the rows.
    """
    unknown = F.lit(math.nan)
    numbers = F.array(*[F.coalesce(F.col(name).cast("double"), unknown) for name in beside]).cast("array<double>")
    drawn = (
        points.orderBy(F.xxhash64(key, F.lit(seed)), key)
        .limit(size)
        .select(vector_to_array(F.col(features)).alias("point"), numbers.alias("beside"))
        .collect()
    )
    if not drawn:
        return Sample(np.empty((0, 0)), np.empty((0, len(beside))))
    rows = sorted((tuple(row["point"]), tuple(row["beside"])) for row in drawn)
    return Sample(*(np.array(part, dtype=np.float64).reshape(len(rows), -1) for part in zip(*rows, strict=True)))


class _HasClusters(HasFeaturesCol):
    """Clusters as Params, which Spark's own persistence keeps as JSON."""

    centres = Param(Params._dummy(), "centres", "centre of each component", TypeConverters.toListListFloat)
    owners = Param(Params._dummy(), "owners", "segment of each component", TypeConverters.toListInt)
    offsets = Param(Params._dummy(), "offsets", "cost of each component at its centre", TypeConverters.toListFloat)
    precisions = Param(
        Params._dummy(), "precisions", "precision matrix of each component, row by row", TypeConverters.toListListFloat
    )

    def _set_clusters(self, clusters: Clusters | None, features: str) -> None:
        self._set(featuresCol=features)
        if clusters is not None:
            self._set(
                centres=clusters.centres.tolist(),
                owners=clusters.owners.tolist(),
                offsets=clusters.offsets.tolist(),
                precisions=[precision.ravel().tolist() for precision in clusters.precisions],
            )

    def clusters(self) -> Clusters:
        """Where the segments lie."""
        centres = np.array(self.getOrDefault(self.centres), dtype=np.float64)
        centres = centres.reshape(len(centres), -1)
        rows = self.getOrDefault(self.precisions)
        precisions = np.array(rows, dtype=np.float64).reshape(len(rows), centres.shape[1], centres.shape[1])
        owners = np.array(self.getOrDefault(self.owners), dtype=np.int64)
        return Clusters(centres, owners, np.array(self.getOrDefault(self.offsets)), precisions)


class SegmentModel(Model, _HasClusters, DefaultParamsReadable["SegmentModel"], DefaultParamsWritable):
    """Puts each customer into the segment that costs it least: ``segment_id`` and ``distance``.

    The distance is Euclidean, to the centre of the component that was chosen.
    """

    def __init__(self, clusters: Clusters | None = None, features: str = "features") -> None:
        super().__init__()
        self._set_clusters(clusters, features)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        clusters, point = self.clusters(), vector_to_array(F.col(self.getFeaturesCol()))
        is_plain = not len(clusters.precisions) and not clusters.offsets.any() and len(clusters.centres) <= _FEW
        placed = nearest_centre(point, clusters) if is_plain else _cheapest_component(point, clusters)
        names = {name: F.col("_placed")[name] for name in (SEGMENT, DISTANCE)}
        return dataset.withColumn("_placed", placed).withColumns(names).drop("_placed")


class SegmentClustering(
    Estimator[SegmentModel],
    _HasClusters,
    HasMaxIter,
    DefaultParamsReadable["SegmentClustering"],
    DefaultParamsWritable,
):
    """Numbers the clusters by their customers' value, after Lloyd's iterations (1982) over all customers.

    Iterations are for clusters of one centre each, those of k-means. ``pyspark.ml.clustering.KMeans`` takes
    no starting centres and makes one start from its own, and where clusters overlap different starts end far
    apart. Here the best of many starts on a sample is carried on. Each iteration is one pass that returns one row
    per cluster.
    """

    valueCol = Param(Params._dummy(), "valueCol", "segments are numbered by its mean", TypeConverters.toString)  # noqa: N815

    def __init__(
        self,
        clusters: Clusters | None = None,
        value: str = "weekly_spend_amount",
        features: str = "features",
        iterations: int = 0,
    ) -> None:
        super().__init__()
        self._set_clusters(clusters, features)
        self._set(valueCol=value, maxIter=iterations)

    def _fit(self, dataset: DataFrame) -> SegmentModel:
        clusters = self.clusters()
        if self.getMaxIter() and (len(clusters.precisions) or len(clusters.owners) > clusters.count):
            raise ValueError("Lloyd's iterations move clusters of one centre each")
        means, values = self._means(dataset, clusters)
        for _ in range(self.getMaxIter()):
            moved = Clusters.around(means.round(_PLACES))
            shift = float(np.abs(moved.centres - clusters.centres).max(initial=0.0))
            clusters = moved
            if shift < _MOVED:
                break
            means, values = self._means(dataset, clusters)
        order = sorted(range(clusters.count), key=lambda cluster: (-values[cluster], *clusters.middles()[cluster]))
        return SegmentModel(clusters.renumbered(order), self.getFeaturesCol())

    def _means(self, dataset: DataFrame, clusters: Clusters) -> tuple[Floats, Floats]:
        """Means of each cluster's customers, and of their value; an empty cluster stays where it is."""
        means, values = clusters.middles(), np.full(clusters.count, -np.inf)
        point = vector_to_array(F.col(self.getFeaturesCol()))
        value = F.col(self.getOrDefault(self.valueCol)).cast("double")
        sums = [_exact_sum(point[place]).alias(f"sum{place}") for place in range(means.shape[1])]
        placed = SegmentModel(clusters, self.getFeaturesCol()).transform(dataset)
        rows = placed.groupBy(SEGMENT).agg(F.count("*").alias("customers"), _exact_sum(value).alias("value"), *sums)
        for row in rows.collect():
            cluster, size = row[SEGMENT], row["customers"]
            values[cluster] = (row["value"] or 0.0) / size
            means[cluster] = [row[f"sum{place}"] / size for place in range(means.shape[1])]
        return means, values


def _exact_sum(value: Expression) -> Expression:
    return F.sum(value.cast(_EXACT)).cast("double")


def _cheapest_component(point: Expression, clusters: Clusters) -> Expression:
    def place(points: pa.Array) -> pa.Array:
        values = points.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        labels, distances = clusters.place(values.reshape(len(points), clusters.centres.shape[1]))
        columns = [pa.array(labels.astype(np.int32)), pa.array(distances)]
        return pa.StructArray.from_arrays(columns, names=[SEGMENT, DISTANCE])

    return _arrow_udf(place, f"{SEGMENT} int, {DISTANCE} double")(point)


def nearest_centre(point: Expression, clusters: Clusters) -> Expression:
    """Place points without a Python worker, for a few centres: k-means passes over all customers time and again.

    Args:
        point: Array of doubles.
        clusters: Without precisions and offsets.

    Returns:
        A struct of ``segment_id`` and ``distance``; of equally near centres the first is taken.
    """
    centres = [F.array(*map(F.lit, centre)).cast("array<double>") for centre in clusters.centres.tolist()]
    squares = [F.aggregate(F.zip_with(point, centre, _squared_gap), F.lit(0.0), _plus) for centre in centres]
    owners = clusters.owners.tolist()
    # The least struct is the nearest, and of equals the first.
    best = F.array_min(
        F.array(
            *[
                F.struct(square.alias("square"), F.lit(place).alias("place"), F.lit(owner).alias("owner"))
                for place, (square, owner) in enumerate(zip(squares, owners, strict=True))
            ]
        )
    )
    return F.struct(best["owner"].cast("int").alias(SEGMENT), F.sqrt(best["square"]).alias(DISTANCE))


def _squared_gap(one: Expression, other: Expression) -> Expression:
    return (one - other) * (one - other)


def _plus(one: Expression, other: Expression) -> Expression:
    return one + other

"""Products and promotions in clusters: learnt from a bounded sample, then every one of them placed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.ml import Model, PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasFeaturesCol
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.table import TableContract
from promo_spark.kernels.beta_binomial import fit_rates
from promo_spark.kernels.clustering import Clusters
from promo_spark.kernels.entity_clusters import EntityClusters, Words, find_clusters, name_clusters
from promo_spark.segments.clusters import DISTANCE, SEGMENT, draw_sample, nearest_centre
from promo_spark.segments.scaling import FEATURES, CustomerScaler

CLUSTER, NAME = "cluster_id", "cluster_name"
EXPECTED_RATE = "expected_redemption_rate"
SAMPLE_SIZE = 5_000
_MOST_RATES = 100_000
"""Promotions that rates are learnt from at most."""


@dataclass(frozen=True)
class Kind:
    """What is clustered.

    Attributes:
        name: In the plural.
        key: Column that identifies one.
        value: Clusters are numbered by its mean, the highest first.
        words: Columns that tell entities apart, and what a high and a low mean of each is called.
    """

    name: str
    key: str
    value: str
    words: Words


PRODUCTS = Kind(
    name="products",
    key="product_id",
    value="sales_amount",
    words={
        "order_count": ("best sellers", "slow sellers"),
        "repeat_customer_rate": ("bought again", "seldom bought again"),
        "regular_price_amount": ("dear", "cheap"),
        "discounted_line_rate": ("often discounted", "seldom discounted"),
        "price_spread_rate": ("changing prices", "steady prices"),
        "display_week_count": ("on display", None),
        "mailer_week_count": ("in mailers", None),
    },
)
PROMOTIONS = Kind(
    name="promotions",
    key="promotion_id",
    value=EXPECTED_RATE,
    words={
        EXPECTED_RATE: ("often redeemed", "seldom redeemed"),
        "cost_per_redemption_amount": ("costly", "low-cost"),
        "targeted_customer_count": ("wide reach", "narrow reach"),
        "product_count": ("many products", "few products"),
        "duration_days": ("long", "short"),
    },
)


@dataclass(frozen=True)
class EntityFit:
    """What was learnt of one kind.

    Attributes:
        model: From features to cluster, name and distance.
        found: The clusters.
        columns: Those that tell entities apart.
        sampled: Entities learnt from.
    """

    model: PipelineModel
    found: EntityClusters
    columns: tuple[str, ...]
    sampled: int


class EntityClusterModel(Model, HasFeaturesCol, DefaultParamsReadable["EntityClusterModel"], DefaultParamsWritable):
    """Puts each entity into the cluster with the nearest centre: number, name and distance; ties go to the lower."""

    centres = Param(Params._dummy(), "centres", "centre of each cluster", TypeConverters.toListListFloat)
    names = Param(Params._dummy(), "names", "name of each cluster", TypeConverters.toListString)

    def __init__(self, centres: Sequence[Sequence[float]] = (), names: Sequence[str] = ()) -> None:
        super().__init__()
        self._set(featuresCol=FEATURES, centres=[list(centre) for centre in centres], names=list(names))

    def _transform(self, dataset: DataFrame) -> DataFrame:
        centres = Clusters.around(np.array(self.getOrDefault(self.centres), dtype=np.float64))
        names = F.array(*[F.lit(name) for name in self.getOrDefault(self.names)])
        return (
            dataset.withColumn("_placed", nearest_centre(vector_to_array(F.col(self.getFeaturesCol())), centres))
            .withColumns({CLUSTER: F.col("_placed")[SEGMENT], DISTANCE: F.col("_placed")[DISTANCE]})
            .withColumn(NAME, F.element_at(names, F.col(CLUSTER) + 1))
            .drop("_placed")
        )


def expect_redemptions(promotions: DataFrame) -> DataFrame:
    """Add to promotions the redemption rate to expect: their own, pulled towards all others' where few were targeted.

    Args:
        promotions: features.promotions.

    Returns:
        The same with ``expected_redemption_rate``; NULL where nobody was targeted or redemptions are unknown.
    """
    redeemed = F.round(F.col("redemption_rate") * F.col("targeted_customer_count"))
    pairs = promotions.select(
        "promotion_id", redeemed.alias("redeemed"), F.col("targeted_customer_count").cast("double").alias("all")
    )
    drawn = pairs.dropna().orderBy(F.xxhash64("promotion_id"), "promotion_id").limit(_MOST_RATES)
    counts = drawn.toPandas().sort_values(["redeemed", "all"])
    a, b = fit_rates(counts["redeemed"].to_numpy(dtype=np.float64), counts["all"].to_numpy(dtype=np.float64))
    expected = (redeemed + F.lit(a)) / (F.col("targeted_customer_count") + F.lit(a + b))
    return promotions.withColumn(EXPECTED_RATE, expected)


def fit_entity_clusters(
    entities: DataFrame, kind: Kind, *, counts: Sequence[int], smallest_rate: float, seed: int
) -> EntityFit:
    """Scale, try numbers of clusters on the entities with the lowest hashes, and name the clusters found.

    Args:
        entities: Features, one row per entity; at least one.
        kind: What they are.
        counts: Numbers of clusters to try.
        smallest_rate: Smallest share of the entities that is a cluster.
        seed: Seed of every draw.

    Returns:
        The model and what is known of it; one cluster where entities are too few or too alike.
    """
    scaler = CustomerScaler(columns=tuple(kind.words)).fit(entities)
    columns = tuple(scaler.getInputCols())
    sample = draw_sample(
        scaler.transform(entities), features=FEATURES, size=SAMPLE_SIZE, seed=seed, beside=(kind.value,), key=kind.key
    )
    points, values = sample.points, sample.beside[:, 0]
    found = find_clusters(points, counts, smallest_rate=smallest_rate, seed=seed)
    centres = found.centres[_by_value(points, values, found.centres)]
    names = name_clusters(centres, columns, kind.words)
    if len(centres) == 1:
        names = [f"All {kind.name}"]
    model = EntityClusterModel(centres.tolist(), names)
    return EntityFit(PipelineModel([scaler, model]), found, columns, len(points))


def place_entities(*, entities: DataFrame, model: PipelineModel, contract: TableContract) -> DataFrame:
    """Put every entity into its cluster.

    Args:
        entities: Features, one row per entity.
        model: What `fit_entity_clusters` made.
        contract: segments.products or segments.promotions.

    Returns:
        Rows as the contract has them.
    """
    return model.transform(entities).select(*contract.column_names)


def _by_value(
    points: npt.NDArray[np.float64], values: npt.NDArray[np.float64], centres: npt.NDArray[np.float64]
) -> list[int]:
    """Clusters by the mean value of the points nearest to each centre, the highest first."""
    nearest = ((points[:, None, :] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    known = ~np.isnan(values)
    sizes = np.bincount(nearest[known], minlength=len(centres))
    sums = np.bincount(nearest[known], values[known], minlength=len(centres))
    means = np.where(sizes > 0, sums / np.maximum(sizes, 1), -np.inf)
    return sorted(range(len(centres)), key=lambda place: (-means[place], *centres[place]))

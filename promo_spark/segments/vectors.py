"""Vectors of customers: scaled, along a few directions where settings say so, and a sample of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.ml import PipelineModel, Transformer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.settings import SegmentSettings
from promo_spark.kernels.reduction import project
from promo_spark.segments.clusters import Sample, draw_sample
from promo_spark.segments.customers import TIERS, tell_tiers
from promo_spark.segments.reduction import REDUCED, SegmentProjection, find_axes
from promo_spark.segments.scaling import FEATURES, CustomerScaler, CustomerScalerModel
from promo_spark.segments.trials import SAMPLE_SIZE

_LABEL = "_tier_number"


@dataclass(frozen=True)
class Vectors:
    """How customers of one date become vectors.

    Attributes:
        scaler: Of the columns that differ between customers.
        projection: Onto a few directions; NULL where nothing is reduced.
        sample: Vectors of a bounded sample.
    """

    scaler: CustomerScalerModel
    projection: SegmentProjection | None
    sample: Sample

    @property
    def stages(self) -> list[Transformer]:
        """From features.customers to the vectors."""
        return [self.scaler] if self.projection is None else [self.scaler, self.projection]

    @property
    def column(self) -> str:
        """Where they are."""
        return FEATURES if self.projection is None else REDUCED

    def transform(self, customers: DataFrame) -> DataFrame:
        """Add the vectors to features.customers."""
        return PipelineModel(stages=self.stages).transform(customers)


def fit_vectors(
    customers: DataFrame,
    *,
    columns: Sequence[str],
    settings: SegmentSettings,
    seed: int,
    beside: Sequence[str] = (),
) -> Vectors:
    """Fit scale and directions on customers of one date.

    Args:
        customers: features.customers of one date, with the columns ``beside``.
        columns: Numbers to describe customers by.
        settings: The reduction.
        seed: Seed of the sample.
        beside: Columns of numbers that the sample brings along.
    """
    scaler = CustomerScaler(columns=columns).fit(customers)
    scaled, labels = scaler.transform(customers), []
    if settings.reduction == "lda":
        number = F.array_position(F.array(*[F.lit(tier) for tier in TIERS]), F.col("value_tier"))
        tiers = tell_tiers(customers).select("customer_id", number.alias(_LABEL))
        scaled, labels = scaled.join(tiers, "customer_id"), [_LABEL]
    drawn = draw_sample(scaled, features=FEATURES, size=SAMPLE_SIZE, seed=seed, beside=(*labels, *beside))
    axes = find_axes(drawn, settings)
    kept = Sample(drawn.points, drawn.beside[:, len(labels) :])
    if axes is None:
        return Vectors(scaler, None, kept)
    return Vectors(scaler, SegmentProjection(axes), Sample(project(kept.points, axes), kept.beside))

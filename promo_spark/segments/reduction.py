"""Vectors of customers along a few directions found on a sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pyspark.ml import Model
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasInputCol, HasOutputCol
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.settings import SegmentSettings
from promo_spark.kernels.reduction import discriminant_axes, principal_axes
from promo_spark.segments.clusters import Sample
from promo_spark.segments.scaling import FEATURES

REDUCED = "components"
Floats = npt.NDArray[np.float64]


def find_axes(sample: Sample, settings: SegmentSettings) -> Floats | None:
    """Find the directions that customers are clustered along.

    Args:
        sample: Vectors, and beside them the label of linear discriminant analysis.
        settings: Which reduction, and how many directions.

    Returns:
        Columns, shape (dimensions, directions); none where nothing is reduced or there is nothing to choose from.
    """
    if settings.reduction == "none":
        return None
    if settings.reduction == "pca":
        axes = principal_axes(sample.points, settings.components)
    else:
        axes = discriminant_axes(sample.points, sample.beside[:, 0].astype(np.int64), settings.components)
    return axes if 0 < axes.shape[1] < sample.points.shape[1] else None


class SegmentProjection(
    Model, HasInputCol, HasOutputCol, DefaultParamsReadable["SegmentProjection"], DefaultParamsWritable
):
    """Turns vectors into their coordinates along given directions."""

    axes = Param(Params._dummy(), "axes", "loadings of each direction", TypeConverters.toListListFloat)

    def __init__(self, axes: Floats | None = None, features: str = FEATURES, output: str = REDUCED) -> None:
        super().__init__()
        self._set(inputCol=features, outputCol=output)
        if axes is not None:
            self._set(axes=axes.T.tolist())

    def _transform(self, dataset: DataFrame) -> DataFrame:
        point = vector_to_array(F.col(self.getInputCol()))
        coordinates = [_inner_product(point, loadings) for loadings in self.getOrDefault(self.axes)]
        return dataset.withColumn(self.getOutputCol(), array_to_vector(F.array(*coordinates)))


def _inner_product(point: Expression, loadings: Sequence[float]) -> Expression:
    terms = F.zip_with(point, F.array(*[F.lit(loading) for loading in loadings]), lambda one, other: one * other)
    return F.aggregate(terms, F.lit(0.0), lambda one, other: one + other)

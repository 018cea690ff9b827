"""Customers as vectors: every column on one scale, its tails pulled in, the unknown put in the middle."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pyspark.ml import Estimator, Model
from pyspark.ml.functions import array_to_vector
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasInputCols, HasOutputCol
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.features import CUSTOMER_FEATURES

FEATURES = "features"
# Beyond four standard deviations a customer is as extreme as can be: further out it would be a cluster of its own.
_LIMIT_SD = 4.0
_CONSTANT_SD = 1e-6
_SKEWED_ENDINGS = ("_amount", "_count", "_days")
# Sums of decimals do not depend on the order of the rows.
# Fourteen places leave less than 1e-6 of a constant.
_EXACT = "decimal(38,14)"


def numeric_columns(wanted: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split wanted columns into those that features.customers has as numbers, and the others."""
    numbers = {
        column.name
        for column in CUSTOMER_FEATURES.columns
        if isinstance(column.dtype, T.NumericType) and not column.sensitive
    }
    return tuple(name for name in wanted if name in numbers), tuple(name for name in wanted if name not in numbers)


def _shaped(name: str) -> Expression:
    """Log of amounts, counts and days, whose right tails are long; what is below zero counts as zero.

    What is not finite is not known: Spark takes NaN for the largest number.
    """
    number = F.col(name).cast("double")
    value = F.when(F.abs(number) < math.inf, number)
    if not name.endswith(_SKEWED_ENDINGS):
        return value
    return F.when(value.isNotNull(), F.log1p(F.greatest(value, F.lit(0.0))))


class CustomerScalerModel(
    Model, HasInputCols, HasOutputCol, DefaultParamsReadable["CustomerScalerModel"], DefaultParamsWritable
):
    """Turns customers into vectors of standardised columns.

    Each column is shaped (log1p of amounts, counts and days), centred, divided by its standard deviation
    and limited to ±4. A value that is not known becomes 0, the mean: it pulls a customer nowhere.
    """

    means = Param(Params._dummy(), "means", "mean of each shaped column", TypeConverters.toListFloat)
    deviations = Param(Params._dummy(), "deviations", "standard deviation of each", TypeConverters.toListFloat)

    def __init__(
        self,
        columns: Sequence[str] = (),
        means: Sequence[float] = (),
        deviations: Sequence[float] = (),
        output: str = FEATURES,
    ) -> None:
        super().__init__()
        self._set(inputCols=list(columns), outputCol=output, means=list(means), deviations=list(deviations))

    def _transform(self, dataset: DataFrame) -> DataFrame:
        columns = self.getInputCols()
        means, deviations = self.getOrDefault(self.means), self.getOrDefault(self.deviations)
        scaled = [
            _scaled(name, mean, deviation) for name, mean, deviation in zip(columns, means, deviations, strict=True)
        ]
        return dataset.withColumn(self.getOutputCol(), array_to_vector(F.array(*scaled).cast("array<double>")))


class CustomerScaler(
    Estimator[CustomerScalerModel],
    HasInputCols,
    HasOutputCol,
    DefaultParamsReadable["CustomerScaler"],
    DefaultParamsWritable,
):
    """Fits the scale of each column; a column that is NULL or the same for everyone is dropped."""

    def __init__(self, columns: Sequence[str] = (), output: str = FEATURES) -> None:
        super().__init__()
        self._set(inputCols=list(columns), outputCol=output)

    def _fit(self, dataset: DataFrame) -> CustomerScalerModel:
        columns = self.getInputCols()
        moments: list[Expression] = [F.count("*").alias("customers")]
        for place, name in enumerate(columns):
            value = _shaped(name)
            moments += [
                F.count(value).alias(f"n{place}"),
                F.sum(value.cast(_EXACT)).cast("double").alias(f"sum{place}"),
                F.sum((value * value).cast(_EXACT)).cast("double").alias(f"squares{place}"),
            ]
        row = dataset.agg(*moments).collect()[0]
        kept: list[tuple[str, float, float]] = []
        for place, name in enumerate(columns):
            count = row[f"n{place}"]
            mean = row[f"sum{place}"] / count if count else 0.0
            variance = max(row[f"squares{place}"] / count - mean * mean, 0.0) if count else 0.0
            if variance**0.5 > _CONSTANT_SD * max(1.0, abs(mean)):
                kept.append((name, mean, variance**0.5))
        return CustomerScalerModel(
            columns=[name for name, _, _ in kept],
            means=[mean for _, mean, _ in kept],
            deviations=[deviation for _, _, deviation in kept],
            output=self.getOutputCol(),
        )


def _scaled(name: str, mean: float, deviation: float) -> Expression:
    value = (_shaped(name) - F.lit(mean)) / F.lit(deviation)
    limited = F.least(F.greatest(value, F.lit(-_LIMIT_SD)), F.lit(_LIMIT_SD))
    return F.when(value.isNotNull(), limited).otherwise(F.lit(0.0))

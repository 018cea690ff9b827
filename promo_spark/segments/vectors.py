"""From customer features to points in a space where distance means difference in behaviour."""

from __future__ import annotations

from typing import Any

from pyspark.ml import Pipeline
from pyspark.ml.feature import PCA, Imputer, SQLTransformer, StandardScaler, VectorAssembler
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.features import CUSTOMER_FEATURES

VECTOR = "vector"
_SKEWED = ("_amount", "_count", "_days")
_CUSTOMERS_PER_PARTITION = 100_000
_NUMBERS = {
    column.name
    for column in CUSTOMER_FEATURES.columns
    if isinstance(column.dtype, T.NumericType) and not column.sensitive
}


def numeric_columns(wanted: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split wanted columns into those that features.customers has as numbers, and the others."""
    return tuple(c for c in wanted if c in _NUMBERS), tuple(c for c in wanted if c not in _NUMBERS)


def informative_columns(customers: DataFrame, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Columns that differ between customers; an action over one aggregate row.

    A column that is NULL everywhere, or the same everywhere, cannot tell customers apart.
    """
    if not columns:
        return ()
    spreads = customers.agg(*(F.count_distinct(name).alias(name) for name in columns)).collect()[0]
    return tuple(name for name in columns if spreads[name] > 1)


def settled_order(customers: DataFrame, count: int) -> DataFrame:
    """Lay customers out the same way whatever layout they come in, so that seeded fits repeat."""
    partitions = 2 + count // _CUSTOMERS_PER_PARTITION
    return customers.repartition(partitions, "customer_id").sortWithinPartitions("customer_id")


def vector_pipeline(columns: tuple[str, ...], components: int | None) -> Pipeline:
    """Log of skewed amounts, counts and days; median for what is unknown; standardised; optionally PCA.

    Args:
        columns: Numeric columns of features.customers.
        components: Dimensions to reduce to; none keeps all.

    Returns:
        Unfitted pipeline that adds the column ``vector``.
    """
    # Column names are the contract's own, so they are safe in SQL text; log keeps the sign of refunds.
    shaped = ", ".join(
        f"SIGNUM({name}) * LN(1 + ABS(CAST({name} AS DOUBLE))) AS _{name}"
        if name.endswith(_SKEWED)
        else f"CAST({name} AS DOUBLE) AS _{name}"
        for name in columns
    )
    inner = [f"_{name}" for name in columns]
    filled = [f"_filled_{name}" for name in columns]
    scaled = VECTOR if components is None else "_scaled"
    stages: list[Any] = [
        SQLTransformer(statement=f"SELECT *, {shaped} FROM __THIS__"),  # noqa: S608  (contract columns only)
        Imputer(inputCols=inner, outputCols=filled, strategy="median", relativeError=0.0),
        VectorAssembler(inputCols=filled, outputCol="_assembled"),
        StandardScaler(inputCol="_assembled", outputCol=scaled, withMean=True, withStd=True),
    ]
    if components is not None:
        stages.append(PCA(k=min(components, len(columns)), inputCol="_scaled", outputCol=VECTOR))
    return Pipeline(stages=stages)

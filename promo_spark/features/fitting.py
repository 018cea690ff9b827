"""Winsorising and imputing with values fitted on the customers themselves, all known before the date.

The fitted values are one row of exact percentiles, means or modes that is broadcast to the customers,
so that a step stays lazy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.features.measures import exact_mean

IMPUTED = "imputed_columns"


def winsorise(*, customers: DataFrame, columns: Sequence[str], quantile: float) -> DataFrame:
    """Pull each column's tails in to its lower and upper quantile.

    Args:
        customers: One row per customer.
        columns: Columns of doubles; NULL stays NULL.
        quantile: Upper quantile; the lower one is its complement.

    Returns:
        The same rows.
    """
    tails = F.array(F.lit(1 - quantile), F.lit(quantile))
    limits = customers.agg(*[F.percentile(name, tails).alias(f"_limits_{name}") for name in columns])
    limited = customers.crossJoin(F.broadcast(limits))
    pulled = {
        name: F.when(
            F.col(name).isNotNull(),
            F.greatest(F.col(f"_limits_{name}")[0], F.least(F.col(name), F.col(f"_limits_{name}")[1])),
        )
        for name in columns
    }
    return limited.withColumns(pulled).drop(*limits.columns)


def impute(*, customers: DataFrame, methods: Mapping[str, str]) -> DataFrame:
    """Fill NULLs by a fitted value and name what was filled.

    A column that is NULL for everyone has no fitted value: it stays NULL and is not named.

    Args:
        customers: One row per customer.
        methods: For each column of doubles, ``mean``, ``median`` or ``mode`` (the smallest, among equals).

    Returns:
        The same rows with ``imputed_columns``, in the order of ``methods``.
    """
    if not methods:
        return customers.withColumn(IMPUTED, F.array().cast("array<string>"))
    fits = customers.agg(*[_fitted(name, method).alias(f"_fit_{name}") for name, method in methods.items()])
    fitted = customers.crossJoin(F.broadcast(fits))
    filled = {name: F.col(name).isNull() & F.col(f"_fit_{name}").isNotNull() for name in methods}
    named = F.array_compact(F.array(*[F.when(is_filled, F.lit(name)) for name, is_filled in filled.items()]))
    values = {name: F.coalesce(F.col(name), F.col(f"_fit_{name}")) for name in methods}
    return fitted.withColumn(IMPUTED, named).withColumns(values).drop(*fits.columns)


def _fitted(name: str, method: str) -> Expression:
    if method == "mean":
        return exact_mean(F.col(name))
    if method == "median":
        return F.percentile(name, 0.5)
    return F.mode(name, deterministic=True)

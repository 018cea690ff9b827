"""A value of its own for each customer's gap, learnt from a bounded number of customers known before the date.

Those are drawn by a hash of their ids and sent to every worker, so that what a worker holds does not grow with the
number of customers. Customers are compared by every number of features.customers that is not sensitive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.core.broadcast import Broadcast
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from threadpoolctl import threadpool_limits

from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.kernels.imputation import (
    Donors,
    Regression,
    fit_regression,
    impute_by_neighbours,
    impute_by_regression,
    make_donors,
)

NEIGHBOURS, REGRESSION = "neighbours", "regression"
DONORS = 5_000
NUMBERS = tuple(
    column.name
    for column in CUSTOMER_FEATURES.columns
    if isinstance(column.dtype, T.NumericType) and not column.sensitive
)
_IS_SKEWED = np.array([name.endswith(("_amount", "_count", "_days")) for name in NUMBERS])
_PACKED = "_numbers"
_Maker = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Imputer:
    """What gaps are filled from, small enough for every worker.

    Attributes:
        methods: For each column ``neighbours`` or ``regression``.
        donors: Customers that others are compared with, their columns those of ``NUMBERS``.
        regressions: For each column of that method, where a donor knows it.
        neighbours: Donors whose mean fills a gap.
    """

    methods: Mapping[str, str]
    donors: Donors
    regressions: Mapping[str, Regression]
    neighbours: int

    def values(self, name: str, customers: Floats) -> Floats:
        """What it says of a column of customers, shape (n_customers, n_numbers); NaN where it can say nothing."""
        if self.methods[name] == NEIGHBOURS:
            return impute_by_neighbours(customers, NUMBERS.index(name), self.donors, self.neighbours)
        if name in self.regressions:
            return impute_by_regression(customers, self.regressions[name], self.donors)
        return np.full(len(customers), np.nan)


def learnt_methods(methods: Mapping[str, str]) -> dict[str, str]:
    """The columns that are filled by neighbours or by regression."""
    return {name: method for name, method in methods.items() if method in (NEIGHBOURS, REGRESSION)}


def fit_imputer(*, customers: DataFrame, settings: FeatureSettings) -> Imputer | None:
    """Draw the donors and fit the regressions.

    Args:
        customers: features.customers as ``build_customer_features`` leaves them, from rows before the date;
            read here, and again when gaps are filled, so best persisted.
        settings: How each column is imputed.

    Returns:
        The imputer, or None where no column is filled by neighbours or by regression.
    """
    methods = learnt_methods(settings.imputation)
    if not methods:
        return None
    drawn = customers.orderBy(F.xxhash64("customer_id"), "customer_id").limit(DONORS)
    donors = make_donors(_unpacked(drawn.select(_packed()).toArrow()), _IS_SKEWED)
    fits = {name: fit_regression(donors, NUMBERS.index(name)) for name in methods if methods[name] == REGRESSION}
    regressions = {name: fit for name, fit in fits.items() if fit is not None}
    return Imputer(methods, donors, regressions, settings.imputation_neighbours)


def add_learnt_values(*, customers: DataFrame, imputer: Imputer) -> DataFrame:
    """Add beside each gap what the imputer says of it.

    Args:
        customers: Rows as ``fit_imputer`` takes them.
        imputer: What it returned.

    Returns:
        The same rows, with a column named by ``learnt_column`` for each that the imputer fills: NULL where the value
        is known, or where nothing can be said of it.
    """
    added = [T.StructField(learnt_column(name), T.DoubleType()) for name in imputer.methods]
    shared = customers.sparkSession.sparkContext.broadcast(imputer)
    schema = T.StructType([*customers.schema.fields, *added])
    return customers.withColumn(_PACKED, _packed()).mapInArrow(_filler(shared), schema)


def learnt_column(name: str) -> str:
    """The column with what the imputer says of another."""
    return f"_learnt_{name}"


def _packed() -> Expression:
    """Every number of a customer; what is not finite is not known."""
    numbers = [F.col(name).cast("double") for name in NUMBERS]
    return F.array(*[F.when(F.abs(n) < math.inf, n).otherwise(math.nan) for n in numbers]).alias(_PACKED)


def _unpacked(rows: pa.Table | pa.RecordBatch) -> Floats:
    """Shape (n_rows, n_numbers)."""
    column = rows.column(_PACKED)
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    numbers: Floats = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, len(NUMBERS))
    return numbers


def _filler(shared: Broadcast[Imputer]) -> _Maker:
    """Make the function that Spark maps over Arrow batches of customers."""

    def fill(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        imputer = shared.value
        # One thread: Spark already runs a task per core.
        with threadpool_limits(limits=1, user_api="blas"):
            for batch in batches:
                numbers = _unpacked(batch)
                added = [_told(imputer, name, numbers) for name in imputer.methods]
                kept = batch.drop_columns([_PACKED])
                names = [*kept.schema.names, *map(learnt_column, imputer.methods)]
                yield pa.RecordBatch.from_arrays([*kept.columns, *added], names=names)

    return fill


def _told(imputer: Imputer, name: str, numbers: Floats) -> pa.Array:
    told = np.full(len(numbers), np.nan)
    gaps = np.flatnonzero(np.isnan(numbers[:, NUMBERS.index(name)]))
    told[gaps] = imputer.values(name, numbers[gaps])
    return pa.array(told, mask=np.isnan(told))

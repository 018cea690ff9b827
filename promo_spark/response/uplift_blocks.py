"""Passes over decisions in packed blocks: each task adds up arrays, the driver adds up tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from threadpoolctl import threadpool_limits

from promo_spark.contracts.arrow_matrices import matrix_of
from promo_spark.kernels.gram_regression import Floats, Standardiser
from promo_spark.kernels.uplift_folds import Block
from promo_spark.response.uplift_rows import ARM, COVARIATES, FOLD, OUTCOMES, PART, PROPENSITY

Gather = Callable[[Block], Sequence[Floats]]
_COLUMNS = ("customer_id", ARM, FOLD, PART, PROPENSITY, COVARIATES, OUTCOMES)
_Maker = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def sum_blocks(*, frame: DataFrame, standardiser: Standardiser, gather: Gather) -> list[Floats]:
    """Sum arrays over all blocks of rows, in one pass.

    Args:
        frame: As ``UpliftRows.frame``: each customer's rows side by side.
        standardiser: Makes the design.
        gather: From a block to arrays whose shapes do not depend on it.

    Returns:
        The sums; the driver holds one set of them per task while it adds them up.

    Raises:
        ValueError: There are no rows.
    """
    told = frame.select(*_COLUMNS).mapInArrow(_adder(standardiser, gather), "place int, shape array<int>, sums binary")
    totals: dict[int, Floats] = {}
    for row in told.withColumn("_task", F.spark_partition_id()).orderBy("_task", "place").collect():
        values = np.frombuffer(row["sums"], dtype=np.float64).reshape(row["shape"])
        totals[row["place"]] = totals[row["place"]] + values if row["place"] in totals else values
    if not totals:
        raise ValueError("there are no rows to learn uplift from")
    return [totals[place] for place in sorted(totals)]


def _adder(standardiser: Standardiser, gather: Gather) -> _Maker:
    """Make the function that Spark maps over Arrow batches of decisions."""

    def add(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        totals: list[Floats] | None = None
        # One thread: Spark already runs a task per core.
        with threadpool_limits(limits=1, user_api="blas"):
            for rows in whole_customers(batches):
                found = gather(to_block(rows, standardiser))
                totals = list(found) if totals is None else [a + b for a, b in zip(totals, found, strict=True)]
        if totals is not None:
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array(range(len(totals)), pa.int32()),
                    pa.array([list(part.shape) for part in totals], pa.list_(pa.int32())),
                    pa.array([np.ascontiguousarray(part).tobytes() for part in totals], pa.binary()),
                ],
                names=["place", "shape", "sums"],
            )

    return add


def whole_customers(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Cut batches anew so that no customer's adjacent rows are parted."""
    held: pa.Table | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        if held is not None:
            table = pa.concat_tables([held, table])
        starts = _starts(table.column("customer_id"))
        last = int(starts[-1]) if len(starts) else 0
        if last:
            yield table.slice(0, last)
        held = table.slice(last)
    if held is not None and held.num_rows:
        yield held


def to_block(rows: pa.Table, standardiser: Standardiser) -> Block:
    """Arrays of some rows."""
    starts = _starts(rows.column("customer_id"))
    is_first = np.zeros(rows.num_rows, dtype=np.int64)
    is_first[starts] = 1
    return Block(
        design=standardiser.design(matrix_of(rows.column(COVARIATES))),
        outcomes=matrix_of(rows.column(OUTCOMES)),
        arms=rows.column(ARM).to_numpy().astype(np.int64),
        folds=rows.column(FOLD).to_numpy().astype(np.int64),
        propensities=rows.column(PROPENSITY).to_numpy().astype(np.float64),
        clusters=is_first.cumsum(),
        parts=rows.column(PART).to_numpy().astype(np.int64),
    )


def _starts(customers: pa.ChunkedArray) -> np.ndarray:
    """Where each run of equal customers starts."""
    if len(customers) == 0:
        return np.zeros(0, dtype=np.int64)
    ids = customers.combine_chunks()
    changes = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.flatnonzero(changes) + 1])

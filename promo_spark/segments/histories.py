"""Each customer's shopping days in one row, and what they say at any cut before the date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.segments import HISTORIES
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE
from promo_spark.kernels.shopping_history import HISTORY_FEATURES, label_histories, measure_histories

CUT, VISITS, SPEND, LAST_SPEND = "cut_date", "visit_count", "spend_amount", "last_spend_amount"
_EPOCH = date(1970, 1, 1)
_Maker = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@produces(HISTORIES, order_lines=ORDER_LINES)
def gather_histories(*, order_lines: DataFrame, as_of_date: date) -> DataFrame:
    """Gather purchase lines into shopping days, and those into one row per customer.

    Args:
        order_lines: silver.order_lines; returns and lines without a customer are left out.
        as_of_date: Lines on or after this date are ignored.

    Returns:
        segments.histories, one row per customer with a purchase before the date.
    """
    bought = (F.col("order_date") < F.lit(as_of_date)) & F.col("customer_id").isNotNull() & ~F.col("is_return")
    days = (
        order_lines.where(bought)
        .groupBy("customer_id", "order_date")
        .agg(F.sum("sales_amount").cast("double").alias("spend"))
    )
    visits = F.array_sort(F.collect_list(F.struct(F.unix_date("order_date").alias("day"), "spend")))
    return (
        days.groupBy("customer_id")
        .agg(visits.alias("visits"))
        .select(
            "customer_id",
            F.lit(as_of_date).alias(AS_OF_DATE),
            F.col("visits.day").alias("shopping_days"),
            F.col("visits.spend").alias("spend_amounts"),
        )
    )


def measure_at_cuts(*, histories: DataFrame, cuts: Sequence[date], as_of_date: date, horizon_days: int) -> DataFrame:
    """Measure every customer at several cuts, with what they did in the horizon after each.

    Args:
        histories: segments.histories.
        cuts: Days up to which is looked back, that day not included.
        as_of_date: No label is given for a horizon that does not end before this date.
        horizon_days: Length of the horizon, and of the window before the cut that ``last_spend_amount`` sums.

    Returns:
        One row per cut and customer with a purchase before it: customer_id, cut_date, a column for each of
        ``HISTORY_FEATURES``, last_spend_amount, visit_count and spend_amount, the last two NULL without a label.
    """
    days = [(cut - _EPOCH).days for cut in cuts]
    last = (as_of_date - timedelta(days=horizon_days) - _EPOCH).days
    id_type = histories.schema["customer_id"].dataType.simpleString()
    names = [*HISTORY_FEATURES, LAST_SPEND, VISITS, SPEND]
    columns = [f"customer_id {id_type}", f"{CUT} date", *(f"{name} double" for name in names)]
    packed = histories.select("customer_id", "shopping_days", "spend_amounts")
    return packed.mapInArrow(_measurer(days, last, horizon_days), ", ".join(columns))


def _measurer(cuts: Sequence[int], last: int, horizon: int) -> _Maker:
    """Make the function that Spark maps over Arrow batches of customers."""

    def measure(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            lists = batch.column(1)
            days = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
            amounts = batch.column(2).flatten().to_numpy(zero_copy_only=False).astype(np.float64)
            lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
            owners = np.repeat(np.arange(batch.num_rows), lengths)
            for cut in cuts:
                yield _measured(batch.column(0), owners, days, amounts, cut=cut, horizon=horizon, known=cut <= last)

    return measure


def _measured(
    customers: pa.Array,
    owners: np.ndarray,
    days: np.ndarray,
    amounts: np.ndarray,
    *,
    cut: int,
    horizon: int,
    known: bool,
) -> pa.RecordBatch:
    count = len(customers)
    measures = measure_histories(owners, days, amounts, count=count, cut=cut)
    last = label_histories(owners, days, amounts, count=count, first=cut - horizon, horizon=horizon)[1]
    visits, spend = label_histories(owners, days, amounts, count=count, first=cut, horizon=horizon)
    seen = np.flatnonzero(~np.isnan(measures[:, 0]))
    labels = [pa.array(values[seen].astype(np.float64)) for values in (visits, spend)]
    unknown = pa.nulls(len(seen), pa.float64())
    columns = [
        customers.take(pa.array(seen)),
        pa.array(np.full(len(seen), cut, dtype=np.int32)).cast(pa.date32()),
        *(pa.array(np.ascontiguousarray(measures[seen, place])) for place in range(measures.shape[1])),
        pa.array(last[seen]),
        *(labels if known else [unknown, unknown]),
    ]
    return pa.RecordBatch.from_arrays(columns, names=["customer_id", CUT, *HISTORY_FEATURES, LAST_SPEND, VISITS, SPEND])

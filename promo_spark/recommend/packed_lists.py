"""Lists between the JVM and Python workers: columns of them unpacked, recommended ones handed over one row per list."""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.kernels.packed_items import NONE
from promo_spark.kernels.topk import TopK

LIST_COLUMNS = ("slot string", "products array<string>", "scores array<float>", "repeats array<boolean>")
"""What follows customer_id in a row."""
_SCORE_DIGITS = 6


def unpack_column(column: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Offsets of each row's list, shape (n_rows + 1,), and all values end to end; NULL is an empty list."""
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return offsets, lists.flatten().to_numpy(zero_copy_only=False)


def pack_lists(
    customer_ids: pa.Array, slot: str, best: TopK, is_repeat: NDArray[np.bool_], product_ids: pa.StringArray
) -> pa.RecordBatch:
    """One row per customer; places that no product fills are left out."""
    found = best.items != NONE
    offsets = pa.array(np.concatenate([[0], np.cumsum(found.sum(axis=1))]), pa.int32())
    columns = {
        "customer_id": customer_ids,
        "slot": pa.array(np.full(len(customer_ids), slot), pa.string()),
        "products": pa.ListArray.from_arrays(offsets, product_ids.take(pa.array(best.items[found]))),
        "scores": pa.ListArray.from_arrays(offsets, pa.array(best.scores[found])),
        "repeats": pa.ListArray.from_arrays(offsets, pa.array(is_repeat[found])),
    }
    return pa.RecordBatch.from_pydict(columns)


def unpack_lists(lists: DataFrame) -> DataFrame:
    """One row per product of a list: customer_id, slot, rank (from 1), product_id, score, is_repeat."""
    # One row per list crosses from Python; the JVM takes it apart at a fraction of the cost.
    # Values are looked up by their place: zipped, an entry would be an object of its own.
    return lists.select("*", F.posexplode("products").alias("place", "product_id")).select(
        "customer_id",
        "slot",
        (F.col("place") + 1).alias("rank"),
        "product_id",
        F.get("scores", F.col("place")).alias("score"),
        F.get("repeats", F.col("place")).alias("is_repeat"),
    )


def attribute_lists(lists: DataFrame, *, model: str, as_of_date: date) -> DataFrame:
    """Say which model made the lists of ``unpack_lists``, for which date; scores rounded to what repeats."""
    score = F.round(F.col("score").cast("double"), _SCORE_DIGITS)
    return lists.withColumns({"score": score, "as_of_date": F.lit(as_of_date), "model": F.lit(model)})

"""Frames of rows that the driver holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from promo_spark.contracts.table import TableContract


def local_frame(spark: SparkSession, rows: Sequence[Sequence[Any]], schema: T.StructType | str) -> DataFrame:
    """Hand rows of the driver to Spark as they are.

    Spark's own `createDataFrame` sends a list through Python workers, and does so again whenever the frame is used.
    What arrives as Arrow is part of the plan: no worker starts, and of no rows Spark knows that there are none.
    What is finer than its column, as 1.5 for a whole number or an instant for a day, is cut as Arrow does.

    Args:
        spark: Session.
        rows: One sequence of values per row, in the order of the schema.
        schema: Names and types, or the same as Spark writes them in SQL; instants without a zone are UTC.

    Raises:
        pyarrow.ArrowInvalid, pyarrow.ArrowTypeError: A value is not of its column's type.
        ValueError: A row has more or fewer values than the schema has columns.
    """
    wanted = cast("T.StructType", T.StructType.fromDDL(schema)) if isinstance(schema, str) else schema
    types = to_arrow_schema(wanted)
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in types]
    if len(columns) != len(types):
        raise ValueError(f"rows of {len(columns)} values cannot fill {len(types)} columns")
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, types, strict=True)]
    frame: DataFrame = spark.createDataFrame(pa.Table.from_arrays(arrays, schema=types), wanted)
    return frame


def contract_frame(spark: SparkSession, contract: TableContract, rows: Sequence[Sequence[Any]] = ()) -> DataFrame:
    """The same in the columns of a table, each of which may be NULL; none unless rows are given."""
    return local_frame(spark, rows, contract.schema(all_nullable=True))

"""Lists for other systems, which carry raw ids: kept under the identity root, whole or not at all."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.runtime.files import replace_by_only_part
from promo_spark.runtime.places import joined

_FORMULA_STARTS = "^[=+\\-@\\t\\r]"


def write_list(spark: SparkSession, place: str, name: str, rows: DataFrame, order: tuple[str, ...]) -> tuple[str, str]:
    """Write a list as one CSV and one Parquet file; a repeat replaces them.

    Text that a spreadsheet would take for a formula gets an apostrophe in the CSV (OWASP, CSV injection).

    Args:
        spark: Session.
        place: Folder.
        name: Of the files, without an ending.
        rows: The rows; sorted into one partition, so a list for one channel, not a table.
        order: Columns to sort by.

    Returns:
        Places of the CSV and of the Parquet file.
    """
    one = rows.coalesce(1).sortWithinPartitions(*order)
    safe = [
        F.regexp_replace(field.name, f"({_FORMULA_STARTS})", "'$1").alias(field.name)
        if isinstance(field.dataType, T.StringType)
        else F.col(field.name)
        for field in rows.schema
    ]
    written = []
    for ending, frame in (("csv", one.select(*safe)), ("parquet", one)):
        folder, final = joined(place, f".{name}.{ending}.new"), joined(place, f"{name}.{ending}")
        writer = frame.write.mode("overwrite")
        (writer.option("header", True).option("escape", '"').csv(folder) if ending == "csv" else writer.parquet(folder))
        replace_by_only_part(spark, folder, final)
        written.append(final)
    return written[0], written[1]

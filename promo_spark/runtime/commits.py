"""Commits to a Delta table that can be told from another run's: counted, made only where they may be, taken back."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from delta.exceptions import ConcurrentTransactionException
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.runtime.delta_log import commit_note, newest_version, rows_written, version_of, wrong_files
from promo_spark.runtime.merges import equal_keys


@dataclass(frozen=True)
class Commit:
    """What a commit did; ``version`` is None where there was nothing to commit."""

    version: int | None
    rows: int


def commit_rows(
    frame: DataFrame, path: str, *, replace_where: str | None = None, expected: int | None = None
) -> Commit:
    """Append rows, or replace those that a condition holds for.

    Args:
        frame: The rows.
        path: Folder of the table, which exists.
        replace_where: Condition on the rows that give way; none appends.
        expected: How many rows must be written. It is committed with them: whoever comes after a crash can tell too.

    Raises:
        Whatever Delta raises where another commit came between.
    """
    spark = frame.sparkSession
    token, before = uuid.uuid4().hex, newest_version(spark, path)
    writer = frame.write.format("delta").option("userMetadata", commit_note(token, expected))
    try:
        if replace_where is None:
            writer.mode("append").save(path)
        else:
            writer.mode("overwrite").option("replaceWhere", replace_where).save(path)
    except ConcurrentTransactionException:
        # Another commit bears the same transaction. It may be this very one, answered too late.
        if version_of(spark, path, token, after=before) is None:
            raise
    version = version_of(spark, path, token, after=before)
    return Commit(version, 0 if version is None else rows_written(spark, path, version))


def unless_held(frame: DataFrame, held: DataFrame) -> DataFrame:
    """The rows where the table holds none of some others, and else none at all.

    The table is looked at in the transaction that writes the rows: what another run commits meanwhile is a conflict.

    Args:
        frame: Rows about to be appended to a table.
        held: Rows of that table, opened and filtered, not cached.
    """
    return frame.join(held.select(F.lit(True).alias("_is_held")).limit(1), F.lit(True), "left_anti")


def take_back_wrong_rows(spark: SparkSession, path: str, key: Sequence[str]) -> bool:
    """Take out what commits brought that wrote another number of rows than they expected; later commits stay.

    Args:
        spark: Session.
        path: Folder of the table.
        key: Columns that identify a row.

    Returns:
        Whether there was something to take out.
    """
    wrong = wrong_files(spark, path)
    if not wrong:
        return False
    held = {name.rpartition("/")[2] for name in spark.read.format("delta").load(path).inputFiles()}
    present = sorted(held & set(wrong))
    if present:
        brought = spark.read.format("delta").load(path).where(F.col("_metadata.file_name").isin(present))
        matches = equal_keys(key)
        target = DeltaTable.forPath(spark, path).alias("t")
        target.merge(brought.select(*key).distinct().alias("s"), matches).whenMatchedDelete().execute()
    return bool(present)

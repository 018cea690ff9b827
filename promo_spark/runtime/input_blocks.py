"""Positions of records in their files that do not depend on how Spark cuts or packs the files.

Spark numbers the rows of a partition; a block of a file lies in one partition as a whole and in order.
So the position is the row's number, less the block's first number, plus the rows of the blocks before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.rows import local_frame

_ROW_BITS = (1 << 33) - 1
_COLUMNS = "path string, block long, offset long, source_file string, source_file_hash string"
Block = tuple[str, int, int, str, str]
KnownFile = tuple[str, str, str]


def positions() -> list[Expression]:
    """Of a row: path of its file, start of its block, and number in its partition."""
    return [
        plain_path(F.col("_metadata.file_path")).alias("path"),
        F.col("_metadata.file_block_start").alias("block"),
        F.monotonically_increasing_id().bitwiseAND(F.lit(_ROW_BITS)).alias("_row"),
    ]


def plain_path(uri: Expression) -> Expression:
    """The path of a percent-encoded URI as ``InputFile.path`` writes it."""
    decoded = F.url_decode(F.replace(uri, F.lit("+"), F.lit("%2B")))
    return F.regexp_replace(decoded, "^file:/+", "/")


def pin_splits(spark: SparkSession) -> None:
    """Let both passes cut files alike, even where executors come and go between them."""
    if spark.conf.get("spark.sql.files.minPartitionNum", None) is None:
        spark.conf.set("spark.sql.files.minPartitionNum", str(spark.sparkContext.defaultParallelism))


def block_offsets(counted: Iterable[Row], known: Sequence[KnownFile]) -> list[Block]:
    """What to add to a row's number, per block.

    Args:
        counted: Rows with ``path``, ``block``, ``lines`` and ``start`` (least row number), in order.
        known: Path, name and hash of each file; blocks of other files are left out.
    """
    names = {path: (name, digest) for path, name, digest in known}
    blocks: list[Block] = []
    for path, group in groupby(counted, key=lambda row: str(row.path)):
        before = 0
        for row in group:
            if path in names:
                blocks.append((path, row.block, before - row.start + 1, *names[path]))
            before += row.lines
    return blocks


def numbered(spark: SparkSession, rows: DataFrame, blocks: list[Block]) -> DataFrame:
    """Add ``source_file``, ``source_file_hash`` and ``source_ordinal`` to rows with ``positions``.

    A file that changed between the passes has rows of no known block: they stay, without an ordinal, and
    stop the load when it is written.
    """
    if len(blocks) == 1:
        _, _, offset, name, digest = blocks[0]
        placed = rows.select(
            "*",
            F.lit(offset).cast("long").alias("offset"),
            F.lit(name).alias("source_file"),
            F.lit(digest).alias("source_file_hash"),
        )
    else:
        offsets = F.broadcast(local_frame(spark, blocks, _COLUMNS))
        placed = rows.join(offsets, ["path", "block"], "left")
    return placed.withColumn("source_ordinal", F.col("offset") + F.col("_row"))

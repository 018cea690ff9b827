"""Read lines of text as records: CSV and JSON, each with its true line number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.records import MALFORMED, ORIGIN, RAW_TEXT, RECORD
from promo_spark.contracts.source_settings import TableMapping
from promo_spark.errors import SourceError
from promo_spark.runtime.input_headers import check_columns, check_same_header, split_header

_ROW_BITS = (1 << 33) - 1
_BROKEN = "_broken_line"
_KEYS_SHOWN = 1000
# What differs from ISO-8859-1, which maps every byte to the character of the same number.
_CP1252 = {byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0xA0)}
_LATIN9 = {byte: bytes([byte]).decode("iso-8859-15") for byte in (0xA4, 0xA6, 0xA8, 0xB4, 0xB8, 0xBC, 0xBD, 0xBE)}
_BLOCKS = "path string, block long, offset long, source_file string, source_file_hash string"


def open_lines(
    spark: SparkSession,
    mapping: TableMapping,
    *,
    paths: Sequence[str],
    known: Sequence[tuple[str, str, str]],
    needed: Sequence[str],
    plain_path: Expression,
) -> tuple[DataFrame, dict[str, int]]:
    """Open text files as records.

    A record is one line; blank lines are none. The line number comes from Spark's row id within a
    block of a file, and the lines counted in the blocks before it, so that it does not depend on
    how files are split or packed into partitions.

    Args:
        spark: Session.
        mapping: Format and its options.
        paths: Paths for Spark's reader.
        known: Path, name and hash of each file.
        needed: The vendor's columns that the mapping uses.
        plain_path: From the column ``_path``, the path as ``known`` writes it.

    Returns:
        A frame of records, and the number of records per file name.
    """
    # Both passes must cut files alike, even where executors come and go between them.
    if spark.conf.get("spark.sql.files.minPartitionNum", None) is None:
        spark.conf.set("spark.sql.files.minPartitionNum", str(spark.sparkContext.defaultParallelism))
    lines = (
        spark.read.text(list(paths))
        .select(
            decoded(F.col("value"), mapping.encoding).alias(RAW_TEXT),
            F.col("_metadata.file_path").alias("_path"),
            F.col("_metadata.file_block_start").alias("block"),
            F.monotonically_increasing_id().bitwiseAND(F.lit(_ROW_BITS)).alias("_row"),
        )
        .withColumn("path", plain_path)
    )
    blocks, firsts, counts = _survey(lines, known)
    placed = _place(spark, lines, blocks)
    if mapping.format == "csv":
        headers = {
            name: split_header(name, line, delimiter=mapping.delimiter, quote=mapping.quote)
            for name, line in firsts.items()
        }
        header = check_same_header(mapping.path, headers, mapping.header)
        check_columns(mapping.path, header, needed)
        counts = {name: count - 1 for name, count in counts.items()}
        records = _split_csv(placed.where(F.col("source_ordinal") > 1), mapping, header)
    else:
        _check_json(mapping, placed, firsts, needed)
        records = _split_json(placed, needed)
    return records.select(RECORD, RAW_TEXT, MALFORMED, *ORIGIN), counts


def decoded(value: Expression, encoding: str) -> Expression:
    """Decode a line that Spark read as raw bytes."""
    differing = {"windows-1252": _CP1252, "ISO-8859-15": _LATIN9, "ISO-8859-1": {}}.get(encoding)
    if differing is None:
        return value
    text = F.decode(value.cast("binary"), "ISO-8859-1")
    if not differing:
        return text
    return F.translate(text, "".join(map(chr, differing)), "".join(differing.values()))


def _survey(
    lines: DataFrame, known: Sequence[tuple[str, str, str]]
) -> tuple[list[tuple[str, int, int, str, str]], dict[str, str], dict[str, int]]:
    """Count the lines of each block of each file, and see each file's first line."""
    names = {path: (name, digest) for path, name, digest in known}
    found = (
        lines.groupBy("path", "block")
        .agg(
            F.count("*").alias("lines"),
            F.count_if(F.trim(RAW_TEXT) != "").alias("records"),
            F.min("_row").alias("start"),
            F.when(F.col("block") == 0, F.min_by(RAW_TEXT, "_row")).alias("first"),
        )
        .orderBy("path", "block")
        .collect()
    )
    blocks: list[tuple[str, int, int, str, str]] = []
    firsts: dict[str, str] = {}
    counts: dict[str, int] = {}
    for path, group in groupby(found, key=lambda row: row.path):
        before = 0
        name, digest = names[path]
        for row in group:
            blocks.append((path, row.block, before - row.start + 1, name, digest))
            before += row.lines
            counts[name] = counts.get(name, 0) + row.records
            if row.block == 0:
                firsts[name] = row.first
    return blocks, firsts, counts


def _place(spark: SparkSession, lines: DataFrame, blocks: list[tuple[str, int, int, str, str]]) -> DataFrame:
    """Give each line its number, and leave out blank ones."""
    if len(blocks) == 1:
        _, _, offset, name, digest = blocks[0]
        placed = lines.select(
            "*",
            F.lit(offset).cast("long").alias("offset"),
            F.lit(name).alias("source_file"),
            F.lit(digest).alias("source_file_hash"),
        )
    else:
        # A file that changed meanwhile has lines of no known block; without an ordinal they stop the load.
        offsets = F.broadcast(spark.createDataFrame(blocks, _BLOCKS))
        placed = lines.join(offsets, ["path", "block"], "left")
    return placed.withColumn("source_ordinal", F.col("offset") + F.col("_row")).where(F.trim(RAW_TEXT) != "")


def _split_csv(lines: DataFrame, mapping: TableMapping, header: tuple[str, ...]) -> DataFrame:
    fields = ", ".join(f"`{name.replace('`', '``')}` string" for name in (*header, _BROKEN))
    options = {
        "sep": mapping.delimiter,
        "quote": mapping.quote,
        "escape": mapping.escape,
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": _BROKEN,
    }
    text = F.col(RAW_TEXT)
    unescaped = text
    if mapping.escape != mapping.quote:
        unescaped = F.regexp_replace(text, "\\Q" + mapping.escape + "\\E.", "")
    quotes = F.length(unescaped) - F.length(F.replace(unescaped, F.lit(mapping.quote), F.lit("")))
    odd = (quotes / len(mapping.quote)) % 2 == 1
    parsed = lines.withColumn(RECORD, F.from_csv(text, fields, options))
    return parsed.withColumn(MALFORMED, F.col(RECORD)[_BROKEN].isNotNull() | odd | ~F.is_valid_utf8(text))


def _check_json(mapping: TableMapping, lines: DataFrame, firsts: dict[str, str], needed: Sequence[str]) -> None:
    for name, first in firsts.items():
        if first.lstrip().startswith("[") or first.strip() == "{":
            raise SourceError(f"{mapping.path}: {name} is one JSON document. Write one object per line (JSON lines).")
    found = lines.select(F.explode(F.json_object_keys(RAW_TEXT)).alias("key")).distinct().limit(_KEYS_SHOWN)
    keys = sorted(row.key for row in found.collect())
    if not keys:
        raise SourceError(f"{mapping.path}: no line is a JSON object. Write one object per line (JSON lines).")
    check_columns(mapping.path, keys, needed)


def _split_json(lines: DataFrame, needed: Sequence[str]) -> DataFrame:
    """Parse each line as an array of one object: what follows an object on its line is then a fault too."""
    names = dict.fromkeys(needed)
    fields = ", ".join(f"`{name.replace('`', '``')}`: string" for name in names)
    schema = f"array<struct<{fields}>>"
    bracketed = F.concat(F.lit("["), F.col(RAW_TEXT), F.lit("]"))
    parsed = lines.withColumn("_objects", F.from_json(bracketed, schema, {"mode": "PERMISSIVE"}))
    sound = F.coalesce(F.size("_objects") == 1, F.lit(False)) & F.is_valid_utf8(RAW_TEXT)
    return parsed.withColumn(RECORD, F.get("_objects", F.lit(0))).withColumn(
        MALFORMED, ~sound | ~F.trim(RAW_TEXT).startswith("{")
    )

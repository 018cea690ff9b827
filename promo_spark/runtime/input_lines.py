"""Read lines of text as records: CSV and JSON, each with its true line number."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.records import MALFORMED, ORIGIN, RAW_TEXT, RECORD
from promo_spark.contracts.source_settings import TableMapping
from promo_spark.errors import SourceError
from promo_spark.runtime.input_blocks import Block, KnownFile, block_offsets, numbered, pin_splits, positions
from promo_spark.runtime.input_headers import check_columns, check_same_header, split_header

_BROKEN = "_broken_line"
_KEYS_SHOWN = 1000
# What differs from ISO-8859-1, which maps every byte to the character of the same number.
_CP1252 = {byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0xA0)}
_LATIN9 = {byte: bytes([byte]).decode("iso-8859-15") for byte in (0xA4, 0xA6, 0xA8, 0xB4, 0xB8, 0xBC, 0xBD, 0xBE)}


def open_lines(
    spark: SparkSession,
    mapping: TableMapping,
    *,
    paths: Sequence[str],
    known: Sequence[KnownFile],
    needed: Sequence[str],
) -> tuple[DataFrame, dict[str, int]]:
    """Open text files as records.

    A record is one line; blank lines are none, but count for the line numbers.

    Args:
        spark: Session.
        mapping: Format and its options.
        paths: Paths for Spark's reader.
        known: Path, name and hash of each file.
        needed: The vendor's columns that the mapping uses.

    Returns:
        A frame of records, and the number of records per file name.
    """
    pin_splits(spark)
    text = decoded(F.col("value"), mapping.encoding).alias(RAW_TEXT)
    lines = spark.read.text(list(paths)).select(text, *positions())
    blocks, firsts, counts = _survey(lines, known)
    placed = numbered(spark, lines, blocks).where(F.trim(RAW_TEXT) != "")
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


def _survey(lines: DataFrame, known: Sequence[KnownFile]) -> tuple[list[Block], dict[str, str], dict[str, int]]:
    """Count the lines of each block of each file, and see each file's first line."""
    names = {path: name for path, name, _ in known}
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
    counts = dict.fromkeys(names.values(), 0)
    for row in found:
        counts[names[row.path]] += row.records
    firsts = {names[row.path]: row.first for row in found if row.block == 0}
    return block_offsets(found, known), firsts, counts


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

"""Read lines of text as records: CSV and JSON, each with its true line number."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.records import MALFORMED, ORIGIN, RAW_TEXT, RECORD
from promo_spark.contracts.source_settings import TableMapping
from promo_spark.contracts.sql_text import quoted
from promo_spark.runtime.input_blocks import Block, KnownFile, block_offsets, numbered, pin_splits, positions
from promo_spark.runtime.input_headers import check_columns, check_same_header, named_file, split_header
from promo_spark.runtime.input_objects import check_objects, split_objects
from promo_spark.runtime.input_quotes import is_whole, mark_lines_within_quotes, opens_quote

_BROKEN = "_broken_line"
_MOST_CELLS = 20_000
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
    blocks, firsts, counts, has_open_quotes = _survey(lines, known, mapping)
    placed = numbered(spark, lines, blocks).where(F.trim(RAW_TEXT) != "")
    if mapping.format == "csv":
        headers = {
            name: split_header(name, line, delimiter=mapping.delimiter, quote=mapping.quote)
            for name, line in firsts.items()
        }
        header = check_same_header(mapping.path, headers, mapping.header)
        check_columns(named_file(mapping.path, min(headers)), header, needed)
        counts = {name: count - 1 for name, count in counts.items()}
        records = _split_csv(placed.where(F.col("source_ordinal") > 1), mapping, header)
        if has_open_quotes:
            records = mark_lines_within_quotes(records, mapping)
    else:
        check_objects(mapping, placed, firsts, needed)
        records = split_objects(placed, needed)
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
    lines: DataFrame, known: Sequence[KnownFile], mapping: TableMapping
) -> tuple[list[Block], dict[str, str], dict[str, int], bool]:
    """Count the lines of each block and file, see each file's first, and whether any line leaves a quote open."""
    names = {path: name for path, name, _ in known}
    is_open = opens_quote(F.col(RAW_TEXT), mapping) if mapping.format == "csv" else F.lit(False)
    found = (
        lines.groupBy("path", "block")
        .agg(
            F.count("*").alias("lines"),
            F.count_if(F.trim(RAW_TEXT) != "").alias("records"),
            F.count_if(is_open).alias("open"),
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
    return block_offsets(found, known), firsts, counts, any(row.open for row in found)


def _split_csv(lines: DataFrame, mapping: TableMapping, header: tuple[str, ...]) -> DataFrame:
    fields = ", ".join(f"{quoted(name)} string" for name in (*header, _BROKEN))
    most = max(_MOST_CELLS, len(header) + 1)
    options = {
        "sep": mapping.delimiter,
        "quote": mapping.quote,
        "escape": mapping.escape,
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": _BROKEN,
        "maxColumns": str(most + 1),
    }
    text = F.col(RAW_TEXT)
    delimiters = F.length(text) - F.length(F.replace(text, F.lit(mapping.delimiter), F.lit("")))
    # Spark stops the whole job at a line of more cells than it is told of.
    splittable = (F.length(text) < most) | (delimiters < most)
    parsed = lines.withColumn(RECORD, F.from_csv(F.when(splittable, text), fields, options))
    # A parser of CSV takes NUL for a sign of its own.
    is_broken = (
        F.col(RECORD).isNull() | F.col(RECORD)[_BROKEN].isNotNull() | text.contains("\0") | ~F.is_valid_utf8(text)
    )
    return parsed.withColumn(MALFORMED, is_broken | ~is_whole(text, mapping))

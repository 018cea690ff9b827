"""Which lines of a CSV are whole records: a cell is quoted from end to end or not at all, on one line.

A record is one line. Where a quoted cell holds line breaks, its first and last lines are plainly broken, but a line
between them may look like a record of its own: it is broken too.
"""

from __future__ import annotations

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.records import MALFORMED, RAW_TEXT
from promo_spark.contracts.source_settings import TableMapping


def is_whole(text: Expression, mapping: TableMapping) -> Expression:
    """Whether each quote that begins a cell ends it as well."""
    cell, delimiter = _cell(mapping), _literal(mapping.delimiter)
    return ~text.contains(mapping.quote) | text.rlike(rf"\A{cell}(?:{delimiter}{cell})*+\z")


def opens_quote(text: Expression, mapping: TableMapping) -> Expression:
    """Whether the last cell of a line begins with a quote that the line does not end."""
    cell, delimiter, quote, inside = _cell(mapping), _literal(mapping.delimiter), _literal(mapping.quote), _in(mapping)
    begin = rf"(?:(?:{cell}{delimiter})*+|{inside}{quote}{delimiter}(?:{cell}{delimiter})*+)"
    return text.contains(mapping.quote) & text.rlike(rf"\A{begin}{quote}{inside}\z") & ~is_whole(text, mapping)


def mark_lines_within_quotes(records: DataFrame, mapping: TableMapping) -> DataFrame:
    """Call the lines malformed that lie between one that opens a quote and the next that closes it.

    Each file is ordered as a whole, so this is for files in which a line opens a quote.
    """
    text, file = F.col(RAW_TEXT), Window.partitionBy("source_file")
    # Within quotes, doubled ones are text, and tell nothing of where the cell ends.
    tells = text.contains(mapping.quote) & ~text.rlike(rf"\A{_in(mapping)}\z")
    closes = text.rlike(rf"\A{_in(mapping)}{_literal(mapping.quote)}(?:{_literal(mapping.delimiter)}|\z)")
    is_open = F.when(tells, F.col(MALFORMED) & opens_quote(text, mapping))
    is_closed = F.when(tells, closes)
    before = file.orderBy("source_ordinal").rowsBetween(Window.unboundedPreceding, -1)
    after = file.orderBy(F.desc("source_ordinal")).rowsBetween(Window.unboundedPreceding, -1)
    was_open = F.coalesce(F.last("_is_open", ignorenulls=True).over(before), F.lit(False))
    will_close = F.coalesce(F.last("_is_closed", ignorenulls=True).over(after), F.lit(False))
    signed = records.withColumns({"_is_open": is_open, "_is_closed": is_closed})
    is_within = was_open & F.coalesce(F.col("_is_closed"), will_close)
    return signed.withColumn(MALFORMED, F.col(MALFORMED) | is_within).drop("_is_open", "_is_closed")


def _cell(mapping: TableMapping) -> str:
    quote, delimiter = _literal(mapping.quote), _literal(mapping.delimiter)
    return rf"(?:{quote}{_in(mapping)}{quote}|[^{quote}{delimiter}][^{delimiter}]*+|)"


def _in(mapping: TableMapping) -> str:
    """The inside of a quoted cell. Possessive: Java repeats it in a loop, not by recursion, however long a line is."""
    quote, escape = _literal(mapping.quote), _literal(mapping.escape)
    if mapping.escape == mapping.quote:
        return rf"[^{quote}]*+(?:{quote}{quote}[^{quote}]*+)*+"
    return rf"[^{quote}{escape}]*+(?:{escape}(?s:.)[^{quote}{escape}]*+)*+"


def _literal(sign: str) -> str:
    """A character as a Java pattern takes it literally, inside a class too."""
    return sign if sign.isalnum() else f"\\{sign}"

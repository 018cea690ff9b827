"""Read lines of text as JSON objects, exactly: what is no single sound object on its line is a malformed record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.records import MALFORMED, RAW_TEXT, RECORD
from promo_spark.contracts.source_settings import TableMapping
from promo_spark.contracts.sql_text import quoted
from promo_spark.errors import SourceError
from promo_spark.runtime.input_headers import check_columns

_KEYS_SHOWN = 1000
_END = "\u241f end of line"
# Spark reads a number of many digits as a double even where text is asked for: such numbers are quoted first. The
# pattern passes over texts; possessive, so that Java repeats it in a loop, not by recursion, however long a line is.
_MANY_DIGITS = r"[0-9][0-9.]{15,}"
_NUMBERS = r'\G((?:[^"0-9-]|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+)(-?[0-9][0-9.eE+-]*+)'
_ONE_HALF_OF_A_PAIR = r"(?i)\\u(?:d[89ab][0-9a-f]{2}(?!\\ud[c-f])|(?<!\\ud[89ab][0-9a-f]{2}\\u)d[c-f][0-9a-f]{2})"


def check_objects(mapping: TableMapping, lines: DataFrame, firsts: Mapping[str, str], needed: Sequence[str]) -> None:
    """Refuse files that hold no objects, or in which no object has a needed key.

    Args:
        mapping: Where they are.
        lines: Lines with ``source_file``.
        firsts: First line by file name.
        needed: The keys that the mapping uses.

    Raises:
        SourceError: Says which file, and what it has.
    """
    for name, first in firsts.items():
        if first.lstrip().startswith("[") or first.strip() == "{":
            raise SourceError(f"{mapping.path}: {name} is one JSON document. Write one object per line (JSON lines).")
    keys = F.json_object_keys(RAW_TEXT)
    seen = [F.max(F.array_contains(keys, name)).alias(f"has_{place}") for place, name in enumerate(needed)]
    found = lines.groupBy("source_file").agg(F.max(keys.isNotNull()).alias("has_objects"), *seen)
    for file in sorted(found.collect(), key=lambda row: str(row.source_file)):
        if not file.has_objects:
            raise SourceError(
                f"{mapping.path}: no line is a JSON object in {file.source_file}. Write one per line (JSON lines)."
            )
        if not all(file[f"has_{place}"] for place in range(len(needed))):
            own = lines.where(F.col("source_file") == file.source_file).select(F.explode(keys).alias("key"))
            shown = sorted(row.key for row in own.distinct().limit(_KEYS_SHOWN).collect())
            check_columns(f"{mapping.path}: {file.source_file}", shown, needed)


def split_objects(lines: DataFrame, needed: Sequence[str]) -> DataFrame:
    """Parse each line as the first of two objects, the second our own.

    What closes the array early, or stands between the two, is then a fault too. So is a key given twice, and one that
    differs from a needed one in capitals alone: both readers would silently pass over a value.
    """
    fields = ", ".join(f"{quoted(name)}: string" for name in dict.fromkeys([*needed, _END]))
    text = F.col(RAW_TEXT)
    exact = F.when(text.rlike(_MANY_DIGITS), F.regexp_replace(text, _NUMBERS, '$1"$2"')).otherwise(text)
    bracketed = F.concat(F.lit("["), exact, F.lit(f',{{"{_END}": ""}}]'))
    options = {"mode": "PERMISSIVE", "allowSingleQuotes": "false"}
    parsed = lines.withColumns(
        {
            "_objects": F.from_json(bracketed, f"array<struct<{fields}>>", options),
            "_keys": F.json_object_keys(text),
        }
    )
    objects = F.col("_objects")
    is_one = F.get(objects, F.lit(1))[_END].isNotNull()
    is_sound = (
        F.coalesce(is_one, F.lit(False))
        & F.trim(text).startswith("{")
        & F.is_valid_utf8(text)
        & ~text.rlike(_ONE_HALF_OF_A_PAIR)
        & ~_is_ambiguous(F.col("_keys"), needed)
    )
    return parsed.withColumn(RECORD, F.get(objects, F.lit(0))).withColumn(MALFORMED, ~is_sound)


def _is_ambiguous(keys: Expression, needed: Sequence[str]) -> Expression:
    lowered = F.transform(keys, F.lower)
    recased = [F.array_contains(lowered, name.lower()) & ~F.array_contains(keys, name) for name in needed]
    doubled = F.size(F.array_distinct(keys)) < F.size(keys)
    return F.coalesce(reduce(lambda left, right: left | right, recased, doubled), F.lit(True))

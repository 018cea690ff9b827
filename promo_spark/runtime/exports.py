"""Lists for other systems, which carry raw ids: kept under the identity root, whole or not at all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.runtime.files import list_names, remove_file, replace_by_only_part
from promo_spark.runtime.places import joined

_NO_FILE_NAME = re.compile(r"[^a-z0-9]+")
_ENDINGS = (".csv", ".parquet")
_HASH_DIGITS = 8
FORMULA_STARTS = "^[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]"


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
        F.regexp_replace(field.name, f"({FORMULA_STARTS})", "'$1").alias(field.name)
        if isinstance(field.dataType, T.StringType)
        else F.col(field.name)
        for field in rows.schema
    ]
    written = []
    for ending, frame in (("csv", one.select(*safe)), ("parquet", one)):
        folder, final = joined(place, f".{name}.{ending}.new"), joined(place, f"{name}.{ending}")
        writer = frame.write.mode("overwrite")
        if ending == "csv":
            # Without quotes, a carriage return within a cell would begin a row.
            writer.options(header=True, escape='"', quoteAll=True).csv(folder)
        else:
            writer.parquet(folder)
        replace_by_only_part(spark, folder, final)
        written.append(final)
    return written[0], written[1]


def list_names_of(labels: Iterable[str]) -> dict[str, str]:
    """A file name for each label, all of them different: its letters and digits, with a hash where they do not tell.

    >>> list_names_of(["Mail", "e-mail", "E mail"])
    {'E mail': 'e_mail_f7a295a6', 'Mail': 'mail', 'e-mail': 'e_mail_39e0749d'}
    """
    plain = {label: _NO_FILE_NAME.sub("_", label.lower()).strip("_") for label in sorted(set(labels))}
    taken = list(plain.values())
    return {label: name if name and taken.count(name) == 1 else _hashed(label, name) for label, name in plain.items()}


def remove_other_lists(spark: SparkSession, place: str, names: Collection[str]) -> list[str]:
    """Remove the lists of earlier runs from a folder.

    Args:
        spark: Session.
        place: Folder.
        names: Lists that stay, without an ending.

    Returns:
        Names of the files that were removed.
    """
    kept = {f"{name}{ending}" for name in names for ending in _ENDINGS}
    others = sorted(name for name in list_names(spark, place) if name.endswith(_ENDINGS) and name not in kept)
    for name in others:
        remove_file(spark, joined(place, name))
    return others


def _hashed(label: str, name: str) -> str:
    return f"{name or 'channel'}_{hashlib.sha256(label.encode()).hexdigest()[:_HASH_DIGITS]}"

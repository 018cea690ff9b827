"""Read a Delta table's log directly, by the public protocol.

Asking Delta for its history starts a Spark job each time, which for small tables costs more than the write.
Source: Delta transaction log protocol, "Delta Log Entries" and "Commit Provenance Information".
"""

from __future__ import annotations

import json
import re
from typing import Any

from pyspark.sql import SparkSession

from promo_spark.errors import StorageError
from promo_spark.runtime.files import list_names, read_text, remove_file
from promo_spark.runtime.places import joined

_COMMIT = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint\..*parquet$")
_ENTRY = re.compile(r"^(\d{20})\.")
_LOG = "_delta_log"
_EXPECTED = "promo_spark.expected_rows"


def newest_version(spark: SparkSession, table: str) -> int:
    """Newest committed version of a table; -1 where there is no table."""
    commits = (_COMMIT.match(name) for name in list_names(spark, joined(table, _LOG)))
    return max((int(commit[1]) for commit in commits if commit), default=-1)


def rows_written(spark: SparkSession, table: str, version: int) -> int:
    """Rows that the commit of a version wrote, by its own account."""
    infos = _commit_infos(spark, table, version)
    return sum(int(info.get("operationMetrics", {}).get("numOutputRows", 0)) for info in infos)


def files_vacuumed(spark: SparkSession, table: str, version: int) -> int:
    """Files that vacuums removed since a version, by their own account."""
    commits = range(version + 1, newest_version(spark, table) + 1)
    infos = [info for commit in commits for info in _commit_infos(spark, table, commit)]
    return sum(int(info.get("operationMetrics", {}).get("numDeletedFiles", 0)) for info in infos)


def drop_history(spark: SparkSession, table: str) -> int:
    """Remove all of a table's log that its newest state does not need: earlier versions can no longer be told of.

    Returns:
        How many files went.

    Raises:
        StorageError: Delta wrote no checkpoint to stand on.
    """
    quoted = f"delta.`{table.replace('`', '``')}`"
    first = newest_version(spark, table)
    spark.sql(f"ALTER TABLE {quoted} SET TBLPROPERTIES ('delta.checkpointInterval' = '1')")
    spark.sql(f"ALTER TABLE {quoted} UNSET TBLPROPERTIES ('delta.checkpointInterval')")
    folder = joined(table, _LOG)
    names = list_names(spark, folder)
    newest = max((int(found[1]) for found in map(_CHECKPOINT.match, names) if found), default=-1)
    if newest <= first:
        raise StorageError(f"{table}: its log could not be cut: Delta wrote no checkpoint after version {first}.")
    entries = [(name, _ENTRY.match(name)) for name in names]
    earlier = [name for name, entry in entries if entry is not None and int(entry[1]) < newest]
    for name in earlier:
        remove_file(spark, joined(folder, name))
    return len(earlier)


def expected_rows_note(expected: int | None) -> str | None:
    """The user metadata of a commit that must write so many rows; none where any number will do."""
    return None if expected is None else json.dumps({_EXPECTED: expected})


def has_wrong_rows(spark: SparkSession, table: str, version: int) -> bool:
    """Whether the commit of a version wrote another number of rows than its own metadata expects."""
    notes = [
        info["userMetadata"]
        for info in _commit_infos(spark, table, version)
        if _EXPECTED in info.get("userMetadata", "")
    ]
    return any(json.loads(note)[_EXPECTED] != rows_written(spark, table, version) for note in notes)


def _commit_infos(spark: SparkSession, table: str, version: int) -> list[dict[str, Any]]:
    text = read_text(spark, joined(table, _LOG, f"{version:020d}.json"))
    return [action["commitInfo"] for action in map(json.loads, text.splitlines()) if "commitInfo" in action]

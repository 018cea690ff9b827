"""Read a Delta table's log directly, by the public protocol.

Asking Delta for its history starts a Spark job each time, which for small tables costs more than the write.
Source: Delta transaction log protocol, "Delta Log Entries" and "Commit Provenance Information".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from pyspark.sql import SparkSession
from pyspark.sql import types as T

from promo_spark.errors import StorageError
from promo_spark.runtime.files import list_names, read_text, remove_file
from promo_spark.runtime.places import joined, sql_name

_COMMIT = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint(\..+)?\.parquet$")
_ENTRY = re.compile(r"^(\d{20})\.")
LOG_FOLDER = "_delta_log"
_EXPECTED = "promo_spark.expected_rows"
_TOKEN = "promo_spark.write"  # noqa: S105  (a name in Delta's log, no secret)
# A load cut short is looked for among so many of the newest commits: every load before it looked, too.
_LOOK_BACK = 20
# Operations after which a table says what it said before.
_UPKEEP = {
    *("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "UPGRADE PROTOCOL"),
    *("ADD COLUMNS", "CHANGE COLUMN", "CHANGE COLUMNS"),
}


def newest_version(spark: SparkSession, table: str) -> int:
    """Newest committed version of a table; -1 where there is no table."""
    return max(_versions(spark, table), default=-1)


def content_version(spark: SparkSession, table: str) -> int:
    """Newest version that changed what a table says; upkeep makes versions that only lay the same rows out anew."""
    versions = _versions(spark, table)
    version = max(versions, default=-1)
    # What is not in the log any more has been cleaned away: it is older than any upkeep that follows it.
    while version > 0 and version in versions and _is_upkeep(_commit_infos(spark, table, version)):
        version -= 1
    return version


def version_of(spark: SparkSession, table: str, token: str, *, after: int) -> int | None:
    """The version a commit made, told by the token in its metadata; None where it is not in the log.

    Args:
        spark: Session.
        table: Folder of the table.
        token: What ``commit_note`` was given.
        after: A version older than the commit.
    """
    for version in range(newest_version(spark, table), after, -1):
        if any(token in info.get("userMetadata", "") for info in _commit_infos(spark, table, version)):
            return version
    return None


def stored_schema(spark: SparkSession, table: str) -> T.StructType:
    """The columns of a table as it was told them, NOT NULL and comments included; a frame may forget the former."""
    for version in sorted(_versions(spark, table), reverse=True):
        for action in _actions(spark, table, version, "metaData"):
            return _schema(action["metaData"]["schemaString"])
    checkpoints = sorted(name for name in list_names(spark, joined(table, LOG_FOLDER)) if _CHECKPOINT.match(name))
    newest = spark.read.parquet(joined(table, LOG_FOLDER, checkpoints[-1]))
    return _schema(newest.where("metaData IS NOT NULL").select("metaData.schemaString").collect()[0][0])


def _schema(text: str) -> T.StructType:
    return T.StructType.fromJson(json.loads(text))


def committed_at(spark: SparkSession, table: str, version: int) -> float | None:
    """When a version was committed, in seconds of the system's clock; None where the log does not hold it."""
    if version not in _versions(spark, table):
        return None
    times = [info["timestamp"] for info in _commit_infos(spark, table, version) if "timestamp" in info]
    return max(times) / 1000 if times else None


def rows_written(spark: SparkSession, table: str, version: int) -> int:
    """Rows that the commit of a version wrote, by its own account."""
    return _metric(_commit_infos(spark, table, version), "numOutputRows")


def bytes_written(spark: SparkSession, table: str, version: int) -> int:
    """Bytes of the files that the commit of a version added; 0 for the version -1 of no table."""
    return 0 if version < 0 else sum(int(action["add"]["size"]) for action in _actions(spark, table, version, "add"))


def committed_files(spark: SparkSession, table: str, since: Iterable[int]) -> set[str]:
    """Files that the commits of some versions added, from the table's folder on."""
    return {unquote(action["add"]["path"]) for version in since for action in _actions(spark, table, version, "add")}


def files_vacuumed(spark: SparkSession, table: str, version: int) -> int:
    """Files that vacuums removed since a version, by their own account."""
    commits = range(version + 1, newest_version(spark, table) + 1)
    infos = [info for commit in commits for info in _commit_infos(spark, table, commit)]
    return _metric(infos, "numDeletedFiles")


def drop_history(spark: SparkSession, table: str) -> int:
    """Remove all of a table's log that its newest state does not need: earlier versions can no longer be told of.

    Returns:
        How many files went.

    Raises:
        StorageError: Delta wrote no checkpoint to stand on.
    """
    quoted = sql_name(table)
    first = newest_version(spark, table)
    spark.sql(f"ALTER TABLE {quoted} SET TBLPROPERTIES ('delta.checkpointInterval' = '1')")
    spark.sql(f"ALTER TABLE {quoted} UNSET TBLPROPERTIES ('delta.checkpointInterval')")
    folder = joined(table, LOG_FOLDER)
    names = list_names(spark, folder)
    newest = max((int(found[1]) for found in map(_CHECKPOINT.match, names) if found), default=-1)
    if newest <= first:
        raise StorageError(f"{table}: its log could not be cut: Delta wrote no checkpoint after version {first}.")
    entries = [(name, _ENTRY.match(name)) for name in names]
    earlier = [name for name, entry in entries if entry is not None and int(entry[1]) < newest]
    for name in earlier:
        remove_file(spark, joined(folder, name))
    return len(earlier)


def commit_note(token: str, expected: int | None) -> str:
    """The user metadata of a commit: what tells it from every other, and how many rows it must write."""
    return json.dumps({_TOKEN: token} | ({} if expected is None else {_EXPECTED: expected}))


def wrong_files(spark: SparkSession, table: str) -> list[str]:
    """Names of files that recent commits added and that do not hold as many rows as their commit expected."""
    recent = sorted(_versions(spark, table))[-_LOOK_BACK:]
    wrong = [version for version in recent if _has_wrong_rows(spark, table, version)]
    added = [action["add"]["path"] for version in wrong for action in _actions(spark, table, version, "add")]
    return [unquote(path).rpartition("/")[2] for path in added]


def _has_wrong_rows(spark: SparkSession, table: str, version: int) -> bool:
    infos = _commit_infos(spark, table, version)
    notes = [info.get("userMetadata", "") for info in infos]
    expected = [json.loads(note)[_EXPECTED] for note in notes if _EXPECTED in note]
    return any(count != _metric(infos, "numOutputRows") for count in expected)


def _metric(infos: list[dict[str, Any]], name: str) -> int:
    """A count that commits give of themselves."""
    return sum(int(info.get("operationMetrics", {}).get(name, 0)) for info in infos)


def _is_upkeep(infos: list[dict[str, Any]]) -> bool:
    return bool(infos) and all(info.get("operation") in _UPKEEP for info in infos)


def _versions(spark: SparkSession, table: str) -> set[int]:
    commits = (_COMMIT.match(name) for name in list_names(spark, joined(table, LOG_FOLDER)))
    return {int(commit[1]) for commit in commits if commit}


def _commit_infos(spark: SparkSession, table: str, version: int) -> list[dict[str, Any]]:
    return [action["commitInfo"] for action in _actions(spark, table, version, "commitInfo")]


def _actions(spark: SparkSession, table: str, version: int, kind: str) -> list[dict[str, Any]]:
    text = read_text(spark, joined(table, LOG_FOLDER, f"{version:020d}.json"))
    return [action for action in map(json.loads, text.splitlines()) if kind in action]

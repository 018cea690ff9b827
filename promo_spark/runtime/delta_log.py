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

from promo_spark.runtime.files import list_names, read_text
from promo_spark.runtime.places import joined

_COMMIT = re.compile(r"^(\d{20})\.json$")
_LOG = "_delta_log"
_EXPECTED = "promo_spark.expected_rows"


def newest_version(spark: SparkSession, table: str) -> int:
    """Newest committed version of a table; -1 where there is no table."""
    commits = (_COMMIT.match(name) for name in list_names(spark, joined(table, _LOG)))
    return max((int(commit[1]) for commit in commits if commit), default=-1)


def rows_written(spark: SparkSession, table: str, version: int) -> int:
    """Rows that the commit of a version wrote, by its own account."""
    infos = _actions(spark, table, version, "commitInfo")
    return sum(int(info.get("operationMetrics", {}).get("numOutputRows", 0)) for info in infos)


def bytes_written(spark: SparkSession, table: str, version: int) -> int:
    """Bytes of the files that the commit of a version added; 0 for the version -1 of no table."""
    return 0 if version < 0 else sum(int(added["size"]) for added in _actions(spark, table, version, "add"))


def committed_files(spark: SparkSession, table: str, since: Iterable[int]) -> set[str]:
    """Files that the commits of some versions added, from the table's folder on."""
    return {unquote(added["path"]) for version in since for added in _actions(spark, table, version, "add")}


def expected_rows_note(expected: int | None) -> str | None:
    """The user metadata of a commit that must write so many rows; none where any number will do."""
    return None if expected is None else json.dumps({_EXPECTED: expected})


def has_wrong_rows(spark: SparkSession, table: str, version: int) -> bool:
    """Whether the commit of a version wrote another number of rows than its own metadata expects."""
    notes = [
        info["userMetadata"]
        for info in _actions(spark, table, version, "commitInfo")
        if _EXPECTED in info.get("userMetadata", "")
    ]
    return any(json.loads(note)[_EXPECTED] != rows_written(spark, table, version) for note in notes)


def _actions(spark: SparkSession, table: str, version: int, kind: str) -> list[dict[str, Any]]:
    text = read_text(spark, joined(table, _LOG, f"{version:020d}.json"))
    return [action[kind] for action in map(json.loads, text.splitlines()) if kind in action]

"""Read a Delta table's log directly, by the public protocol.

Asking Delta for its history starts a Spark job each time, which for small tables costs more than the write.
Source: Delta transaction log protocol, "Delta Log Entries" and "Commit Provenance Information".
"""

from __future__ import annotations

import json
import re

from pyspark.sql import SparkSession

from promo_spark.runtime.files import list_names, read_text
from promo_spark.runtime.places import joined

_COMMIT = re.compile(r"^(\d{20})\.json$")
_LOG = "_delta_log"


def newest_version(spark: SparkSession, table: str) -> int:
    """Newest committed version of a table; -1 where there is no table."""
    commits = (_COMMIT.match(name) for name in list_names(spark, joined(table, _LOG)))
    return max((int(commit[1]) for commit in commits if commit), default=-1)


def rows_written(spark: SparkSession, table: str, version: int) -> int:
    """Rows that the commit of a version wrote, by its own account."""
    text = read_text(spark, joined(table, _LOG, f"{version:020d}.json"))
    infos = (action["commitInfo"] for action in map(json.loads, text.splitlines()) if "commitInfo" in action)
    return sum(int(info.get("operationMetrics", {}).get("numOutputRows", 0)) for info in infos)

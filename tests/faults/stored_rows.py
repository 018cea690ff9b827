"""Read Delta tables by the public protocol, without Spark and without the code under test.

Source: Delta transaction log protocol, "Actions".
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq

Rows = list[str]
AUDIT = "w/audit/stage_runs"


def stored_rows(table: Path) -> Rows:
    """Every row of the newest version of a table, in an order of their own."""
    live: dict[str, dict[str, Any]] = {}
    for commit in sorted(path for path in (table / "_delta_log").glob("*.json") if path.stem.isdigit()):
        for action in map(json.loads, commit.read_text().splitlines()):
            if "add" in action:
                assert "deletionVector" not in action["add"], table
                live[action["add"]["path"]] = action["add"]
            elif "remove" in action:
                live.pop(action["remove"]["path"], None)
    rows: Rows = []
    for path, added in live.items():
        part = pq.ParquetFile(table / unquote(path)).read().to_pylist()
        rows += [repr(sorted({**row, **added["partitionValues"]}.items())) for row in part]
    return sorted(rows)


def all_rows(root: Path, *, without: Collection[str] = (AUDIT,)) -> dict[str, Rows]:
    """The rows of every table below a folder that holds any, by the table's place."""
    found = {str(log.parent.relative_to(root)): log.parent for log in root.rglob("_delta_log")}
    read = {name: stored_rows(table) for name, table in found.items() if name not in without}
    return {name: rows for name, rows in read.items() if rows}

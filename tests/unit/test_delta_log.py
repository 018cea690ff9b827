"""What a table's own log tells, from logs written by hand (Delta transaction log protocol)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import types as T

from promo_spark.runtime.delta_log import (
    commit_note,
    committed_at,
    content_version,
    newest_version,
    stored_schema,
    version_of,
    wrong_files,
)

SPARK: Any = None  # local logs are read without one


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "_delta_log").mkdir()
    return tmp_path


def commit(
    table: Path, version: int, operation: str, *, note: str | None = None, rows: int = 1, file: str = "f"
) -> None:
    info = {"operation": operation, "operationMetrics": {"numOutputRows": str(rows)}, "timestamp": 1000 * version}
    told = {"userMetadata": note} if note else {}
    actions = [{"commitInfo": {**info, **told}}, {"add": {"path": f"{file}-{version}.parquet"}}]
    text = "\n".join(json.dumps(action) for action in actions)
    (table / f"_delta_log/{version:020d}.json").write_text(text, encoding="utf-8")


def test_upkeep_makes_versions_and_no_new_content(table: Path) -> None:
    assert content_version(SPARK, str(table)) == -1
    operations = ["CREATE TABLE", "WRITE", "OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "ADD COLUMNS"]
    for version, operation in enumerate(operations):
        commit(table, version, operation)
    assert newest_version(SPARK, str(table)) == 6
    assert content_version(SPARK, str(table)) == 1
    commit(table, 7, "DELETE")
    assert content_version(SPARK, str(table)) == 7


def test_content_older_than_the_log_is_known_by_what_follows_it(table: Path) -> None:
    for version in (11, 12):
        commit(table, version, "OPTIMIZE")
    assert content_version(SPARK, str(table)) == 10


def test_a_commit_is_told_by_its_token(table: Path) -> None:
    for version, token in enumerate("abc"):
        commit(table, version, "WRITE", note=commit_note(f"token-{token}", None))
    assert version_of(SPARK, str(table), "token-b", after=-1) == 1
    assert version_of(SPARK, str(table), "token-b", after=1) is None
    assert version_of(SPARK, str(table), "token-d", after=-1) is None


def test_wrong_commits_are_found_behind_right_ones(table: Path) -> None:
    commit(table, 0, "CREATE TABLE")
    commit(table, 1, "WRITE", note=commit_note("a", 3), rows=2, file="day%3D1/wrong file")
    commit(table, 2, "WRITE", note=commit_note("b", 3), rows=3)
    commit(table, 3, "WRITE", note=commit_note("c", None), rows=9)
    commit(table, 4, "WRITE", note="somebody else's note", rows=9)
    assert wrong_files(SPARK, str(table)) == ["wrong file-1.parquet"]


def test_a_commit_has_a_time_while_the_log_holds_it(table: Path) -> None:
    commit(table, 5, "WRITE")
    assert committed_at(SPARK, str(table), 5) == 5.0
    assert committed_at(SPARK, str(table), 6) is None


def test_columns_are_told_with_what_a_frame_forgets(table: Path) -> None:
    schema = T.StructType([T.StructField("id", T.LongType(), nullable=False, metadata={"comment": "Who"})])
    text = json.dumps({"metaData": {"schemaString": schema.json()}})
    (table / f"_delta_log/{0:020d}.json").write_text(text, encoding="utf-8")
    commit(table, 1, "WRITE")
    assert stored_schema(SPARK, str(table)) == schema

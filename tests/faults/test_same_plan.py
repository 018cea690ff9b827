"""One retailer's records, in files of any number and order, worked on in any number of partitions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.settings import Settings
from promo_spark.pipelines import assign, features, ingest, plan, response, segments, uplift
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.runner import run_stages
from tests.faults.conftest import Shown
from tests.faults.crash_replay import without_mlflow
from tests.faults.made_retailer import exports, keep_key, settings_of, source, write_files
from tests.faults.stored_rows import Rows, stored_rows

pytestmark = [pytest.mark.promise("same input and seed, same plan"), pytest.mark.slow]
DOOR = (ingest.PIPELINE,)
STAGES = tuple(stage.PIPELINE for stage in (features, segments, response, plan, uplift, assign))
PLANS = ("segments/customers", "plans/segment_plan", "plans/assignment")
SHUFFLE, READ, SPLIT, ADAPTIVE = (
    "spark.sql.shuffle.partitions",
    "spark.sql.leafNodeDefaultParallelism",
    "spark.sql.files.maxPartitionBytes",
    "spark.sql.adaptive.enabled",
)
# Files of each table and how their records are shuffled; for each, two ways of cutting the work.
ARRANGEMENTS: tuple[tuple[int, int | None], ...] = ((1, None), (5, 3), (8, 4))
TUNINGS: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({SHUFFLE: 2}, {SHUFFLE: 1, READ: 1}),
    ({SHUFFLE: 7, READ: 5, SPLIT: "32k"}, {SHUFFLE: 3, READ: 8, SPLIT: "16k"}),
    ({SHUFFLE: 2, READ: 3}, {SHUFFLE: 16, ADAPTIVE: False}),
)


@pytest.fixture
def session(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Iterator[SparkSession]:
    """The common session, whose tuning is put back afterwards."""
    without_mlflow(monkeypatch)
    names = {name for tunings in TUNINGS for tuning in tunings for name in tuning}
    usual = {name: spark.conf.get(name, None) for name in names}
    yield spark
    for name, value in usual.items():
        spark.conf.unset(name) if value is None else spark.conf.set(name, value)


def run(root: Path, made: dict[str, Any], tuning: dict[str, Any], stages: tuple[Pipeline, ...]) -> None:
    run_stages(stages, Settings.model_validate(settings_of(root, made, spark=tuning)))


def test_any_layout_gives_the_same_plan(session: SparkSession, tmp_path: Path, shown: Shown) -> None:
    tables = exports(session, 60)
    plans: list[dict[str, Rows]] = []
    for number, ((parts, seed), tunings) in enumerate(zip(ARRANGEMENTS, TUNINGS, strict=True)):
        files, door = tmp_path / f"files{number}", tmp_path / f"door{number}"
        write_files(tables, files, parts=parts, seed=seed)
        made = source(tables, files)
        keep_key(door)
        run(door, made, tunings[0], DOOR)
        for tuning in tunings:
            root = tmp_path / f"layout{len(plans)}"
            shutil.copytree(door, root)
            run(root, made, tuning, STAGES)
            plans.append({name: stored_rows(root / "w" / name) for name in PLANS})
    assert min(len(rows) for rows in plans[0].values()) > 0
    assert [(n, name) for n, got in enumerate(plans) for name in PLANS if got[name] != plans[0][name]] == []
    shown(len(plans), "layouts")

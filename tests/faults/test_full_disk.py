"""Disks of a few pages, really full: where the tables are, their logs, and what Spark and MLflow keep."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.features import AFFINITY
from promo_spark.contracts.settings import Settings
from promo_spark.errors import StorageError
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.runner import run_stages
from promo_spark.runtime.stage import Stage
from tests.faults.conftest import Shown
from tests.faults.crash_replay import without_mlflow
from tests.faults.made_retailer import settings_of
from tests.faults.stored_rows import stored_rows

pytestmark = [
    pytest.mark.promise("a full disk leaves the old version, and with room again the run ends as if undisturbed")
]
FEW, MANY = 28, 30_000
Mount = Callable[[Path, int], None]


def write(stage: Stage) -> None:
    """As many customers as the settings have days to look back."""
    ids = stage.spark.range(stage.settings.features.lookback_days, numPartitions=4)
    given = {
        "customer_id": F.sha2(F.col("id").cast("string"), 256),
        "category": F.lit("milk"),
        "as_of_date": F.lit(stage.as_of_date),
        "recency_days": F.lit(3),
    }
    columns = [given.get(c.name, F.lit(None)).cast(c.dtype).alias(c.name) for c in AFFINITY.columns]
    # Through Spark's scratch: that disk may be full too.
    stage.write(AFFINITY, ids.repartition(4, "id").select(*columns))


STAGE = Pipeline("features", "", (), (AFFINITY,), write, ("features",), purpose="accounting")


def run(root: Path, rows: int, **places: object) -> None:
    settings = settings_of(root, {"kind": "synthetic"}, features={"lookback_days": rows})
    settings["places"] |= {"least_free_mb": 0, **places}
    settings["tracking"] = {"uri": f"sqlite:///{root}/t/mlflow.db", "artifacts": f"{root}/t/artifacts"}
    run_stages((STAGE,), Settings.model_validate(settings))


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner without MLflow."""
    without_mlflow(monkeypatch)


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Lay a disk of so many kilobytes over a folder, or give one another size."""
    with ExitStack() as stack:

        def do(place: Path, kilobytes: int) -> None:
            place.mkdir(parents=True, exist_ok=True)
            again = ["-o", f"remount,size={kilobytes}k"] if place.is_mount() else ["-o", f"size={kilobytes}k"]
            done = subprocess.run(
                ["mount", "-t", "tmpfs", *again, "tmpfs", place], capture_output=True, text=True, check=False
            )
            if done.returncode:
                pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
            if "remount" not in again[1]:
                stack.callback(subprocess.run, ["umount", "--lazy", place], check=True)

        yield do


def fill(place: Path) -> Path:
    """Leave no byte of a disk free."""
    filler = place / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(1 << 26))
    return filler


def files_without_commit(table: Path) -> set[str]:
    log = table / "_delta_log"
    actions = [json.loads(line) for commit in log.glob("*.json") for line in commit.read_text().splitlines()]
    known = {unquote(action["add"]["path"]) for action in actions if "add" in action}
    return {str(path.relative_to(table)) for path in table.rglob("part-*")} - known


def affinity(root: Path) -> Path:
    return root / "w/features/affinity"


def test_without_room_nothing_is_begun(quiet: None, spark: SparkSession, tmp_path: Path, mount: Mount) -> None:
    mount(tmp_path / "w", 1024)
    with pytest.raises(StorageError, match=r"the warehouse needs 2 MB at .*/w, where 1 MB are free.*least_free_mb"):
        run(tmp_path, FEW, least_free_mb=2)
    assert {path.name for path in (tmp_path / "w").iterdir()} <= {".lock", ".lock.holder"}
    mount(tmp_path / "w", 4096)
    run(tmp_path, FEW, least_free_mb=2)
    assert len(stored_rows(affinity(tmp_path))) == FEW


def test_full_while_files_are_written(
    quiet: None, spark: SparkSession, tmp_path: Path, mount: Mount, shown: Shown
) -> None:
    mount(tmp_path / "w", 512)
    run(tmp_path, FEW)
    before = stored_rows(affinity(tmp_path))
    with pytest.raises(StorageError, match=r"a disk is full: .*Least room has the warehouse, .*/w: 0 MB are free"):
        run(tmp_path, MANY)
    assert stored_rows(affinity(tmp_path)) == before
    assert files_without_commit(affinity(tmp_path)) == set()
    mount(tmp_path / "w", 65536)
    run(tmp_path, MANY)
    assert len(set(stored_rows(affinity(tmp_path)))) == MANY
    shown(1, "points")


@pytest.mark.slow
def test_full_when_the_commit_is_written(
    quiet: None, spark: SparkSession, tmp_path: Path, mount: Mount, shown: Shown
) -> None:
    run(tmp_path, FEW)
    log = affinity(tmp_path) / "_delta_log"
    shutil.copytree(log, tmp_path / "kept")
    mount(log, 256)
    shutil.copytree(tmp_path / "kept", log, dirs_exist_ok=True)
    kept = {path.name for path in log.iterdir()}
    before, filler = stored_rows(affinity(tmp_path)), fill(log)
    with pytest.raises(StorageError, match="a disk is full"):
        run(tmp_path, MANY)
    assert stored_rows(affinity(tmp_path)) == before
    assert files_without_commit(affinity(tmp_path)) == set()
    assert {path.name for path in log.iterdir()} == {*kept, filler.name}
    mount(log, 4096)
    run(tmp_path, MANY)
    assert len(set(stored_rows(affinity(tmp_path)))) == MANY
    shown(1, "points")


@pytest.mark.slow
def test_full_where_spark_keeps_its_scratch(
    quiet: None, spark: SparkSession, tmp_path: Path, mount: Mount, shown: Shown
) -> None:
    run(tmp_path, FEW)
    before = stored_rows(affinity(tmp_path))
    manager = spark.sparkContext._jvm.org.apache.spark.SparkEnv.get().blockManager().diskBlockManager()
    (scratch,) = (Path(folder) for folder in manager.localDirsString())
    for folder in range(64):  # Spark makes them when it needs them, and then believes that they are there
        (scratch / f"{folder:02x}").mkdir(exist_ok=True)
    mount(scratch, 64)
    for folder in range(64):
        (scratch / f"{folder:02x}").mkdir()
    with pytest.raises(StorageError, match="a disk is full"):
        run(tmp_path, MANY)
    assert stored_rows(affinity(tmp_path)) == before
    assert files_without_commit(affinity(tmp_path)) == set()
    mount(scratch, 65536)
    run(tmp_path, MANY)
    assert len(set(stored_rows(affinity(tmp_path)))) == MANY
    shown(1, "points")


@pytest.mark.slow
def test_full_where_mlflow_keeps_its_runs(spark: SparkSession, tmp_path: Path, mount: Mount, shown: Shown) -> None:
    mount(tmp_path / "t", 4096)
    run(tmp_path, FEW)
    before, filler = stored_rows(affinity(tmp_path)), fill(tmp_path / "t")
    with pytest.raises(StorageError, match=r"a disk is full: .*MLflow"):
        run(tmp_path, MANY)
    assert stored_rows(affinity(tmp_path)) == before
    filler.unlink()
    run(tmp_path, MANY)
    assert len(set(stored_rows(affinity(tmp_path)))) == MANY
    shown(1, "points")

"""Room on disks: refused where it is too little, named where it ran out, and nothing left of what failed."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.features import AFFINITY
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.table import TableContract
from promo_spark.errors import StorageError, TrackingError
from promo_spark.runtime import room
from promo_spark.runtime.storage_faults import guarded
from promo_spark.runtime.store import Store

NO_SPARK = cast(SparkSession, None)  # local files are read without it
MEGABYTE = 1024 * 1024


@pytest.fixture
def three_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * MEGABYTE))


def test_too_little_room_names_place_needed_and_free(three_megabytes: None, tmp_path: Path) -> None:
    place = str(tmp_path / "not/there/yet")
    told = f"the warehouse needs 4 MB at {place}, where 3 MB are free."
    with pytest.raises(StorageError, match=re.escape(told)):
        room.require_room(place, 4 * MEGABYTE, "the warehouse")
    room.require_room(place, 3 * MEGABYTE, "the warehouse")
    room.require_room("s3a://bucket/warehouse", 4 * MEGABYTE, "the warehouse")


def because(fault: Exception, cause: Exception) -> Exception:
    fault.__cause__ = cause
    return fault


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "No space left on device", "/w/x"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "/w/x"),
        RuntimeError("Job aborted.\n\tjava.io.IOException: No space left on device\n\tat x"),
        because(TrackingError("MLflow refused"), OSError("(sqlite3.OperationalError) database or disk is full")),
    ],
)
def test_a_full_disk_is_named_whoever_met_it(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"/w": 0, "/s": 5 * MEGABYTE}
    monkeypatch.setattr(room.shutil, "disk_usage", lambda place: SimpleNamespace(free=free[str(place)]))
    monkeypatch.setattr(Path, "is_dir", lambda _: True)
    with (
        pytest.raises(StorageError, match=r"a disk is full: .*Least room has the warehouse, /w: 0 MB are free"),
        room.named_full_disk({"/s": "scratch", "/w": "the warehouse"}),
    ):
        raise fault


def test_other_faults_are_left_alone() -> None:
    with pytest.raises(ValueError, match="no number"), room.named_full_disk({}):
        raise ValueError("no number")


def commit(table: Path, version: int, *names: str) -> None:
    actions: list[dict[str, Any]] = [{"add": {"path": name, "size": 1}} for name in names]
    (table / "_delta_log").mkdir(parents=True, exist_ok=True)
    log = table / f"_delta_log/{version:020d}.json"
    log.write_text("\n".join(json.dumps(action) for action in actions))
    for name in names:
        (table / name).touch()
        (table / f".{name}.crc").touch()


def test_what_a_failed_write_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    table = tmp_path / "table"
    commit(table, 0, "part-0")
    (table / "part-of-somebody-else").touch()

    def fail() -> None:
        with room.without_leftovers(NO_SPARK, [str(table), str(tmp_path / "not there"), "s3a://bucket/table"]):
            commit(table, 1, "part-1")
            for name in ("part-2", ".part-2.crc", "_delta_log/.00000000000000000002.json.x.tmp"):
                (table / name).touch()
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert {path.name for path in table.iterdir()} == {
        "_delta_log",
        *("part-0", ".part-0.crc", "part-1", ".part-1.crc", "part-of-somebody-else"),
    }
    assert len(list((table / "_delta_log").iterdir())) == 2


def test_a_write_that_succeeds_keeps_its_files(tmp_path: Path) -> None:
    with room.without_leftovers(NO_SPARK, [str(tmp_path)]):
        (tmp_path / "part-0").touch()
    assert (tmp_path / "part-0").exists()


@pytest.mark.parametrize(
    ("contract", "is_alone", "stays"),
    [(AFFINITY, True, False), (AFFINITY, False, True), (IDENTITY_CUSTOMERS, True, True)],
)
def test_only_what_nobody_else_writes_is_tidied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contract: TableContract, is_alone: bool, stays: bool
) -> None:
    store = Store(NO_SPARK, warehouse=str(tmp_path / "w"), identity=str(tmp_path / "i"), is_alone=is_alone)
    table = Path(store.path(contract))
    table.mkdir(parents=True)

    def fail(*_: object) -> None:
        (table / "part-0").touch()
        raise OSError("conflict")

    monkeypatch.setattr(Store, "_create", fail)
    with pytest.raises(OSError, match="conflict"):
        store.write(contract, cast(DataFrame, None))
    assert (table / "part-0").exists() == stays


def test_a_write_asks_for_as_much_as_the_last_one_took(three_megabytes: None, tmp_path: Path) -> None:
    commit(tmp_path, 0, *(f"part-{number}" for number in range(2)))

    def write(least_free: int) -> None:
        with guarded(NO_SPARK, AFFINITY, str(tmp_path), least_free=least_free, is_alone=False):
            pass

    write(3 * MEGABYTE - 2)
    with pytest.raises(StorageError, match=r"features\.affinity needs 3 MB"):
        write(3 * MEGABYTE - 1)

"""Room on local disks: asked for before anything is written, named when it runs out, tidied after a failure."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pyspark.sql import SparkSession

from promo_spark.contracts.settings import Settings
from promo_spark.errors import StorageError
from promo_spark.runtime.delta_log import LOG_FOLDER, committed_files
from promo_spark.runtime.places import is_local, local_path

_MEGABYTE = 1024 * 1024
_FULL = ("No space left on device", "Disk quota exceeded", "disk is full", "not enough space")
_SQLITE = "sqlite:///"
_SCRATCH = "spark.local.dir"


def require_room(place: str, needed: int, what: str) -> None:
    """Refuse to begin what a local disk has no room for.

    Args:
        place: Folder to be written, which need not exist; on shared storage nothing is asked.
        needed: Bytes.
        what: What is to be written, in words.

    Raises:
        StorageError: Names the place, what is needed and what is free.
    """
    free = _free(place)
    if free is not None and free < needed:
        raise StorageError(
            f"{what} needs {_told(needed)} at {place}, where {_told(free)} are free. Nothing of it was written. "
            "Make room there and run the same command again, or lower places.least_free_mb."
        )


def places_of(settings: Settings, spark: SparkSession) -> dict[str, str]:
    """The places on local disks that a run fills, and what each is for, in words."""
    scratch = os.environ.get("SPARK_LOCAL_DIRS") or spark.conf.get(_SCRATCH, None) or tempfile.gettempdir()
    found = {settings.places.warehouse: "the warehouse", settings.places.identity: "the identity root"}
    found |= dict.fromkeys(scratch.split(","), f"Spark's scratch ({_SCRATCH})")
    if settings.tracking.uri.startswith(_SQLITE):
        found[settings.tracking.uri.removeprefix(_SQLITE)] = "MLflow's database (tracking.uri)"
    if settings.tracking.artifacts:
        found[settings.tracking.artifacts] = "what MLflow keeps (tracking.artifacts)"
    return {place: what for place, what in found.items() if is_local(place)}


@contextmanager
def named_full_disk(places: Mapping[str, str]) -> Iterator[None]:
    """Turn whatever a full disk does to a run into one message that says which disk it is.

    Args:
        places: What ``places_of`` returned.

    Raises:
        StorageError: A disk was full.
    """
    try:
        yield
    except Exception as fault:
        if not is_full(fault) or isinstance(fault, StorageError):
            raise
        least = min(places, key=lambda place: _free(place) or 0)
        lines = [line.strip() for cause in _causes(fault) for line in str(cause).splitlines()]
        told = next((line for line in lines if any(sign in line for sign in _FULL)), str(fault))
        raise StorageError(
            f"a disk is full: {told[:200]}. Least room has {places[least]}, {least}: "
            f"{_told(_free(least) or 0)} are free. Tables keep the version they had; make room and run the "
            "same command again."
        ) from fault


@contextmanager
def without_leftovers(spark: SparkSession, tables: Iterable[str]) -> Iterator[None]:
    """Remove, where a write to local tables fails, the files it wrote and did not commit.

    They would fill the disk until the next VACUUM, which itself fails on a full one. What is new and in no commit
    counts as this write's: name only tables that nobody else writes meanwhile.
    """
    local = [local_path(table) for table in tables if is_local(table)]
    before = {table: _files(table) for table in local}
    try:
        yield
    except Exception:
        with suppress(OSError, ValueError):  # the fault itself is what must be told
            for table in local:
                _remove_new(spark, table, before[table])
        raise


def _remove_new(spark: SparkSession, table: Path, before: set[Path]) -> None:
    new = _files(table) - before
    kept = {table / name for name in committed_files(spark, str(table), since=_names_of_commits(new))}
    for path in new:
        whose = path.with_name(path.name.removeprefix(".").removesuffix(".crc"))
        is_log = path.parent.name == LOG_FOLDER
        if (is_log and ".tmp" in path.name) or (not is_log and path not in kept and whose not in kept):
            path.unlink(missing_ok=True)


def _names_of_commits(files: Iterable[Path]) -> list[int]:
    return [
        int(path.stem)
        for path in files
        if path.parent.name == LOG_FOLDER and path.suffix == ".json" and path.stem.isdigit()
    ]


def _files(table: Path) -> set[Path]:
    return {Path(folder, name) for folder, _, names in os.walk(table) for name in names}


def _free(place: str) -> int | None:
    """Bytes free on the disk of a place; none where that cannot be known."""
    if not is_local(place):
        return None
    folder = local_path(place)
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def is_full(fault: BaseException) -> bool:
    """Whether a fault, or what caused it, says that a disk has no room, in any of the ways they say it."""
    return any(
        (isinstance(cause, OSError) and cause.errno in {errno.ENOSPC, errno.EDQUOT})
        or any(sign in str(cause) for sign in _FULL)
        for cause in _causes(fault)
    )


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__ or fault.__context__


def _told(size: int) -> str:
    return f"{size / _MEGABYTE:,.0f} MB"

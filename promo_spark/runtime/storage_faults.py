"""Say in one message what is wrong with a table where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from promo_spark.contracts.table import TableContract
from promo_spark.errors import StorageError
from promo_spark.runtime.delta_log import bytes_written, newest_version
from promo_spark.runtime.places import is_local
from promo_spark.runtime.room import is_full, require_room, without_leftovers

_SIGNS = ("Permission denied", "Mkdirs failed", "Read-only file system")


def other_contract(contract: TableContract, path: str) -> StorageError:
    """The fault of a table whose stored form is another than its contract's."""
    return StorageError(
        f"{contract.name} at {path} was made under another version of its contract. "
        "Bring the warehouse up to date with ./spark-submit.sh jobs/migrate.py and the same settings; --dry-run "
        "only says what that would do, and what it cannot."
    )


@contextmanager
def guarded(
    spark: SparkSession, contract: TableContract, path: str, *, least_free: int, is_alone: bool
) -> Iterator[None]:
    """Write a table only where there is room, tidy up where it fails, and say what is wrong.

    Args:
        spark: Session.
        contract: The table.
        path: Its folder.
        least_free: Bytes that must be free beside as many as the table's last commit added.
        is_alone: Nobody else writes the table meanwhile: what a failed write left is removed.

    Raises:
        StorageError: There is no room, or the folder cannot be written; names both.
    """
    last = bytes_written(spark, path, newest_version(spark, path)) if is_local(path) else 0
    require_room(path, least_free + last, contract.name)
    own = (path, f"{path}_rejected") if is_alone else ()
    with _named_faults(contract, path), without_leftovers(spark, own):
        yield


@contextmanager
def _named_faults(contract: TableContract, path: str) -> Iterator[None]:
    try:
        yield
    except Exception as fault:
        told = next((line.strip() for line in str(fault).splitlines() if any(sign in line for sign in _SIGNS)), None)
        if told is None or isinstance(fault, StorageError) or is_full(fault):  # which disk is full, the run tells
            raise
        raise StorageError(
            f"{contract.name} cannot be written at {path}: {told}. "
            "Check that the folder exists and is writable (setting places.warehouse)."
        ) from fault

"""Lay a table's rows out anew in few files, and remove the files that no version needs any more."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from promo_spark.contracts.table import TableContract
from promo_spark.runtime.conflicts import recomputed
from promo_spark.runtime.delta_log import committed_at
from promo_spark.runtime.files import folder_size
from promo_spark.runtime.sweep import vacuum

_HOURS_PER_DAY = 24.0
_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Extent:
    """How much a table takes: files its newest version is made of; files and bytes in its folder, log included."""

    files_in_use: int
    files: int
    size_bytes: int


@dataclass(frozen=True)
class Upkeep:
    """What upkeep did to a table."""

    table: str
    kept_days: float
    before: Extent
    after: Extent


def keep_up(
    spark: SparkSession, contract: TableContract, path: str, *, days: float, named_versions: Iterable[int] = ()
) -> Upkeep:
    """Compact a table's small files, then remove files that only old versions need.

    Args:
        spark: Session.
        contract: The table.
        path: Its folder.
        days: Versions of these last days stay readable.
        named_versions: Versions that stay readable however old they are.

    Raises:
        ConflictError: Another run wrote the table again and again.
    """
    before = extent(spark, path)
    table = DeltaTable.forPath(spark, path)
    recomputed(lambda: table.optimize().executeCompaction(), table=contract.name, path=path)
    hours = max([days * _HOURS_PER_DAY, *(_hours_since_replaced(spark, path, v) for v in named_versions)])
    # The settings ask before less than a week is kept.
    recomputed(lambda: vacuum(spark, path, hours=hours), table=contract.name, path=path)
    return Upkeep(contract.name, hours / _HOURS_PER_DAY, before, extent(spark, path))


def extent(spark: SparkSession, path: str) -> Extent:
    """Measure a table."""
    in_use = DeltaTable.forPath(spark, path).detail().select("numFiles").collect()[0][0]
    files, size = folder_size(spark, path)
    return Extent(int(in_use), files, size)


def _hours_since_replaced(spark: SparkSession, path: str, version: int) -> float:
    """How long ago the version's files began to give way to the next one's; nothing where it is the newest."""
    replaced = committed_at(spark, path, version + 1)
    return 0.0 if replaced is None else (time.time() - replaced) / _SECONDS_PER_HOUR + 1.0

"""Bring a warehouse of an earlier version up to date: new columns, wider types; or say what stands in the way.

For instance, after an update:
  ./spark-submit.sh jobs/migrate.py --config conf/local.yaml --dry-run
  ./spark-submit.sh jobs/migrate.py --config conf/local.yaml
"""

from __future__ import annotations

import argparse

from promo_spark.contracts import TABLES
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.table import TableContract, rejected_of
from promo_spark.errors import StorageError
from promo_spark.pipelines.catalogue import ALL
from promo_spark.runtime.migration import Migration, migrate, plan_migration
from promo_spark.runtime.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare whether anything is done."""
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")


def answer(options: argparse.Namespace, settings: Settings, store: Store) -> str:
    """Migrate every table that needs it, or none.

    Raises:
        StorageError: Tables cannot be migrated; names each difference and what to do. Nothing has been changed then.
    """
    quarantines = [rejected_of(table) for table in TABLES.values() if table.mode != "appended"]
    stored = [table for table in (*TABLES.values(), *quarantines) if store.exists(table)]
    planned = [plan_migration(store.spark, table, store.path(table)) for table in stored]
    needed = [migration for migration in planned if migration.is_needed]
    refused = [migration for migration in needed if migration.obstacles]
    if refused:
        told = "\n".join(_refusal(migration) for migration in refused)
        raise StorageError(
            f"{len(refused)} of {len(stored)} tables cannot be brought up to date; nothing was changed.\n{told}"
        )
    if not needed:
        return f"{settings.places.warehouse}: all {len(stored)} tables are as their contracts say."
    lines = [f"{m.contract.name}: {change.words}" for m in needed for change in m.changes]
    if options.dry_run:
        return "\n".join([*lines, f"{len(needed)} of {len(stored)} tables would be changed; run without --dry-run."])
    for migration in needed:
        migrate(store.spark, migration)
    return "\n".join([*lines, f"{len(needed)} of {len(stored)} tables were changed."])


def _refusal(migration: Migration) -> str:
    obstacles = "; ".join(migration.obstacles)
    return (
        f"  - {migration.contract.name} at {migration.path}: {obstacles}. {_advice(migration.contract, migration.path)}"
    )


def _advice(contract: TableContract, path: str) -> str:
    """How to get on with a table whose rows cannot stay."""
    if contract.layer == "bronze":
        return (
            "Bronze holds what was received: take the source's files in again, in a new warehouse (places.warehouse, "
            "places.identity), or go on with the version that made this one."
        )
    if contract.layer == "identity":
        return "Raw ids cannot be made again: go on with the version that made the table, and report this."
    if contract.layer == "silver" and contract.mode == "merged":
        base = path.removesuffix("_rejected")
        return f"Move {base} and {base}_rejected away and run jobs/ingest.py: it makes them again from bronze."
    maker = next((stage.name for stage in ALL for table in stage.writes if table.name == _base(contract)), None)
    if contract.mode == "dated" and maker:
        return f"Move {path} away and run jobs/pipeline.py --force: stage {maker} makes it again."
    return f"Move {path} away: it begins anew with the next run, and what it held stays readable where you moved it."


def _base(contract: TableContract) -> str:
    return contract.name.removesuffix("_rejected")

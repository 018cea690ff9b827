"""Keep the warehouse up: few large files instead of many small ones, and none that no version needs any more.

For instance, once a week:
  ./spark-submit.sh jobs/maintain.py --config conf/local.yaml
  ./spark-submit.sh jobs/maintain.py --table silver.order_lines --set maintenance.retention_days=30
"""

from __future__ import annotations

import argparse
from collections import defaultdict

from pyspark.sql import functions as F

from promo_spark.contracts import TABLES
from promo_spark.contracts.audit import STAGE_RUNS
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.table import TableContract, rejected_of
from promo_spark.errors import SettingsError
from promo_spark.runtime.maintenance import Upkeep, keep_up
from promo_spark.runtime.store import Store

_MEGABYTE = 1e6
_HEAD = f"{'table':<40}{'files in use':>18}{'files':>18}{'megabytes':>22}{'days kept':>12}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which tables are looked after."""
    parser.add_argument("--table", action="append", metavar="NAME", help="only this table; may be given more than once")
    parser.add_argument("--dry-run", action="store_true", help="say which tables there are, and how long each is kept")


def answer(options: argparse.Namespace, settings: Settings, store: Store) -> str:
    """Look after the tables and tell what each took before and takes now.

    Raises:
        SettingsError: A table is named that does not exist.
    """
    rules = settings.maintenance
    unknown = sorted({*(options.table or ()), *rules.table_retention_days} - set(TABLES))
    if unknown:
        raise SettingsError(f"no such table: {', '.join(unknown)}; docs/tables.md names them all.")
    chosen = [TABLES[name] for name in options.table or TABLES]
    tables = [table for contract in chosen for table in _with_refusals(contract) if store.exists(table)]
    if not tables:
        return f"{settings.places.warehouse}: no tables to look after."
    if options.dry_run:
        return "\n".join(f"{table.name}: {rules.days_of(table.name):g} days kept" for table in tables)
    named = _named_versions(store)
    lines = [_HEAD]
    for table in tables:
        if table.mode == "appended":  # compaction would hide which rows a load cut short had brought
            store.undo_wrong_append(table)
        days = rules.days_of(table.name)
        done = keep_up(store.spark, table, store.path(table), days=days, named_versions=named[table.name])
        lines.append(_line(done))
    return "\n".join(lines)


def _with_refusals(contract: TableContract) -> tuple[TableContract, ...]:
    return (contract,) if contract.mode == "appended" else (contract, rejected_of(contract))


def _named_versions(store: Store) -> dict[str, set[int]]:
    """The versions of each table that the newest finished run of each stage read or wrote."""
    finished = store.read(STAGE_RUNS).where(F.col("finished_at").isNotNull())
    newest = finished.groupBy("stage").agg(F.max_by("table_versions", "sequence").alias("versions"))
    named: dict[str, set[int]] = defaultdict(set)
    for row in newest.collect():
        for table, version in (row.versions or {}).items():
            named[table].update([version] if version >= 0 else [])
    return named


def _line(done: Upkeep) -> str:
    before, after = done.before, done.after
    in_use = f"{before.files_in_use:,} -> {after.files_in_use:,}"
    files = f"{before.files:,} -> {after.files:,}"
    size = f"{before.size_bytes / _MEGABYTE:,.2f} -> {after.size_bytes / _MEGABYTE:,.2f}"
    return f"{done.table:<40}{in_use:>18}{files:>18}{size:>22}{done.kept_days:>12.1f}"

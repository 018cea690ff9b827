"""Upkeep: fewer files, the same rows, and no version lost that somebody may still read."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.audit import STAGE_RUNS
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.operation_settings import MaintenanceSettings
from promo_spark.contracts.settings import Settings
from promo_spark.errors import SettingsError
from promo_spark.pipelines import maintain as job
from promo_spark.runtime.commits import commit_rows
from promo_spark.runtime.store import Store
from tests.conftest import MakeRows

OFFER = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}
DAY_SECONDS = 86_400.0


@pytest.fixture
def store(spark: SparkSession, tmp_path: Path) -> Store:
    return Store(spark, warehouse=str(tmp_path / "w"), identity=str(tmp_path / "i"))


def settings_of(store: Store, **maintenance: object) -> Settings:
    root = Path(store.path(IDENTITY_CUSTOMERS)).parents[2]
    given = {
        "as_of_date": date(2017, 10, 30),
        "source": {"kind": "synthetic"},
        "places": {"warehouse": f"{root}/w", "identity": f"{root}/i"},
        "promotions": {"offers": [OFFER]},
        "maintenance": maintenance,
    }
    return Settings.model_validate(given)


def options(*tables: str, dry_run: bool = False) -> Namespace:
    return Namespace(table=list(tables) or None, dry_run=dry_run)


def people(make_rows: MakeRows, *names: str) -> object:
    return make_rows(IDENTITY_CUSTOMERS, [{"raw_customer_id": n, "customer_id": n, "key_version": 1} for n in names])


def age(store: Store, days: float) -> None:
    """Make everything in a table look older: commits by their own clock, files by that of the disk."""
    then = time.time() - days * DAY_SECONDS
    for file in Path(store.path(IDENTITY_CUSTOMERS)).rglob("*"):
        if file.is_file():
            os.utime(file, (then, then))


def held(store: Store, version: int | None = None) -> set[str]:
    reader = store.spark.read.format("delta")
    opened = reader if version is None else reader.option("versionAsOf", version)
    return {row.raw_customer_id for row in opened.load(store.path(IDENTITY_CUSTOMERS)).collect()}


def test_small_files_become_few_and_the_rows_stay(store: Store, make_rows: MakeRows) -> None:
    for name in "abcd":
        store.write(IDENTITY_CUSTOMERS, people(make_rows, name))
    content = store.content_version(IDENTITY_CUSTOMERS)
    told = job.answer(options(), settings_of(store), store)
    assert "identity.customers" in told
    assert "4 -> 1" in told
    assert held(store) == set("abcd")
    assert store.version(IDENTITY_CUSTOMERS) > content
    assert store.content_version(IDENTITY_CUSTOMERS) == content, "upkeep is no new input"


def test_what_no_version_needs_is_removed_and_what_a_run_names_is_kept(store: Store, make_rows: MakeRows) -> None:
    for name in "ab":
        store.write(IDENTITY_CUSTOMERS, people(make_rows, name))
    named = store.version(IDENTITY_CUSTOMERS)
    store.write(IDENTITY_CUSTOMERS, people(make_rows, "c"))
    account = {
        "sequence": 1,
        "run_id": "r",
        "stage": "ingest",
        "source": "s",
        "started_at": datetime.now(UTC),
        "finished_at": datetime.now(UTC),
        "tables": [],
        "basis": {},
        "table_versions": {IDENTITY_CUSTOMERS.name: named, "silver.products": -1},
    }
    store.write_row(STAGE_RUNS, account)
    short = {"retention_days": 0, "allow_short_retention": True}
    job.answer(options("identity.customers"), settings_of(store, **short), store)
    assert held(store) == set("abc")
    assert held(store, named) == set("ab"), "the newest run names this version"
    store.write_row(STAGE_RUNS, {**account, "sequence": 2, "table_versions": {}})
    before = len(list(Path(store.path(IDENTITY_CUSTOMERS)).glob("*.parquet")))
    job.answer(options("identity.customers"), settings_of(store, **short), store)
    assert len(list(Path(store.path(IDENTITY_CUSTOMERS)).glob("*.parquet"))) == 1 < before
    assert held(store) == set("abc")


def test_versions_of_the_last_days_stay(store: Store, make_rows: MakeRows) -> None:
    for name in "ab":
        store.write(IDENTITY_CUSTOMERS, people(make_rows, name))
    job.answer(options(), settings_of(store), store)
    age(store, 6)
    job.answer(options(), settings_of(store), store)
    assert held(store, 1) == {"a"}


def test_a_load_cut_short_is_taken_out_before_its_files_are_compacted(store: Store, make_rows: MakeRows) -> None:
    store.write(IDENTITY_CUSTOMERS, people(make_rows, "a"))
    commit_rows(people(make_rows, "dead"), store.path(IDENTITY_CUSTOMERS), expected=2)  # type: ignore[arg-type]
    store.write(IDENTITY_CUSTOMERS, people(make_rows, "b"))
    job.answer(options(), settings_of(store), store)
    assert held(store) == {"a", "b"}


def test_tables_are_named_and_nothing_is_done_in_a_dry_run(store: Store, make_rows: MakeRows) -> None:
    assert "no tables" in job.answer(options(), settings_of(store), store)
    store.write(IDENTITY_CUSTOMERS, people(make_rows, "a"))
    before = store.version(IDENTITY_CUSTOMERS)
    rules = settings_of(store, table_retention_days={"identity.customers": 30})
    assert job.answer(options(dry_run=True), rules, store) == "identity.customers: 30 days kept"
    assert store.version(IDENTITY_CUSTOMERS) == before
    with pytest.raises(SettingsError, match=r"no such table: silver\.milk"):
        job.answer(options("silver.milk"), settings_of(store), store)


@pytest.mark.parametrize("short", [{"retention_days": 6.9}, {"table_retention_days": {"silver.prices": 1}}])
def test_less_than_a_week_needs_a_word(short: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"less than 7 days are kept .*allow_short_retention: true"):
        MaintenanceSettings.model_validate(short)
    allowed = MaintenanceSettings.model_validate({**short, "allow_short_retention": True})
    assert allowed.days_of("silver.prices_rejected") < 7

"""Tables of an earlier contract: brought up to date where their rows allow it, refused with what differs where not."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from promo_spark.contracts.features import AFFINITY
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.silver import PRODUCTS
from promo_spark.contracts.table import Column, TableContract, rejected_of
from promo_spark.errors import StorageError
from promo_spark.pipelines import migrate as job
from promo_spark.runtime.migration import plan_migration
from promo_spark.runtime.store import Store
from promo_spark.runtime.table_forms import FORM_PROPERTY
from tests.conftest import MakeRows

DAY = date(2017, 10, 30)
OFFER = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}
DRY, REAL = Namespace(dry_run=True), Namespace(dry_run=False)


@pytest.fixture
def store(spark: SparkSession, tmp_path: Path) -> Store:
    return Store(spark, warehouse=str(tmp_path / "w"), identity=str(tmp_path / "i"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    given = {
        "as_of_date": DAY,
        "source": {"kind": "synthetic"},
        "places": {"warehouse": f"{tmp_path}/w", "identity": f"{tmp_path}/i"},
        "promotions": {"offers": [OFFER]},
    }
    return Settings.model_validate(given)


def earlier(contract: TableContract, change: Callable[[Column], Column | None], **fields: object) -> TableContract:
    """A contract as it may have been before."""
    columns = tuple(was for column in contract.columns if (was := change(column)) is not None)
    return replace(contract, columns=columns, **fields)  # type: ignore[arg-type]


def before_affinity(column: Column) -> Column | None:
    """One column fewer in the middle, a narrower count, another comment."""
    if column.name == "recency_days":
        return None
    if column.name == AFFINITY.columns[-1].name:
        return replace(column, comment="said otherwise")
    return column


def forget_form(store: Store, contract: TableContract) -> None:
    """As tables were before they kept key and mode."""
    store.spark.sql(f"ALTER TABLE delta.`{store.path(contract)}` UNSET TBLPROPERTIES ('{FORM_PROPERTY}')")


@pytest.mark.parametrize(
    "keeps_form", [pytest.param(True, id="form kept"), pytest.param(False, id="form found", marks=pytest.mark.slow)]
)
def test_a_new_column_is_added_and_the_rows_stay(
    store: Store, settings: Settings, make_rows: MakeRows, *, keeps_form: bool
) -> None:
    former = earlier(AFFINITY, before_affinity, checks=())
    key = {"customer_id": "a", "category": "milk", "as_of_date": DAY}
    store.write(former, make_rows(former, [key]), as_of_date=DAY)
    if not keeps_form:
        forget_form(store, former)
    with pytest.raises(StorageError, match=r"features\.affinity .* jobs/migrate\.py"):
        store.read(AFFINITY)
    told = job.answer(DRY, settings, store)
    assert "features.affinity: add column recency_days (bigint), NULL in every row it has" in told
    assert plan_migration(store.spark, AFFINITY, store.path(AFFINITY)).is_needed, "a dry run changes nothing"
    assert "1 of 1 tables were changed" in job.answer(REAL, settings, store)
    assert "all 1 tables are as their contracts say" in job.answer(REAL, settings, store)
    (row,) = store.read(AFFINITY).collect()
    assert (row.customer_id, row.recency_days) == ("a", None)
    stored = store.spark.read.format("delta").load(store.path(AFFINITY)).schema
    assert [(f.name, f.metadata["comment"]) for f in stored] == [(c.name, c.comment) for c in AFFINITY.columns]
    fresh = Store(store.spark, warehouse=settings.places.warehouse, identity=settings.places.identity)
    fresh.write(AFFINITY, make_rows(AFFINITY, [{**key, "recency_days": 3}]), as_of_date=DAY)
    assert [row.recency_days for row in fresh.read(AFFINITY).collect()] == [3]


def test_a_type_is_widened(store: Store, settings: Settings, make_rows: MakeRows) -> None:
    def narrow(column: Column) -> Column:
        return replace(column, dtype=T.IntegerType()) if column.name == "source_ordinal" else column

    former = earlier(PRODUCTS, narrow)
    row = {"product_id": "p", "source_file": "f", "source_ordinal": 1, "ingest_sequence": 1}
    store.write(former, make_rows(former, [row]))
    forget_form(store, former)
    with pytest.raises(StorageError, match=r"another version of its contract"):
        store.read(PRODUCTS)
    assert "widen column source_ordinal from int to bigint" in job.answer(REAL, settings, store)
    fresh = Store(store.spark, warehouse=settings.places.warehouse, identity=settings.places.identity)
    fresh.write(PRODUCTS, make_rows(PRODUCTS, [{**row, "product_id": "q", "source_ordinal": 2**40}]))
    assert {row.source_ordinal for row in fresh.read(PRODUCTS).collect()} == {1, 2**40}


def test_what_cannot_be_migrated_is_named_and_nothing_is_changed(
    store: Store, settings: Settings, make_rows: MakeRows
) -> None:
    former = earlier(
        PRODUCTS,
        lambda column: replace(column, dtype=T.LongType()) if column.name == "brand" else column,
        key=("product_id", "source_file"),
        mode="appended",
    )
    former = replace(former, columns=(*former.columns, Column("colour", T.StringType(), "Gone by now")))
    row = {"product_id": "p", "source_file": "f", "source_ordinal": 1, "ingest_sequence": 1, "brand": 7}
    store.write(former, make_rows(former, [row]))
    forget_form(store, former)
    addable = earlier(AFFINITY, before_affinity, checks=())
    store.write(addable, make_rows(addable, []), as_of_date=DAY)
    with pytest.raises(StorageError) as told:
        job.answer(REAL, settings, store)
    message = str(told.value)
    for part in (
        "1 of 2 tables cannot be brought up to date; nothing was changed",
        "its key is product_id, source_file, the contract says product_id",
        "it is appended, the contract says merged",
        "column brand is bigint, the contract says string",
        "column colour is stored, and no longer in the contract",
        f"Move {store.path(PRODUCTS)} and {store.path(PRODUCTS)}_rejected away and run jobs/ingest.py",
    ):
        assert part in message
    assert "recency_days" not in store.spark.read.format("delta").load(store.path(AFFINITY)).columns


def test_a_new_required_column_and_other_partitions_are_refused(
    store: Store, settings: Settings, make_rows: MakeRows
) -> None:
    former = earlier(
        AFFINITY, lambda c: None if c.name == "category" else c, key=("customer_id", "as_of_date"), checks=()
    )
    former = replace(former, partition_by=() if AFFINITY.partition_by else ("as_of_date",))
    store.write(former, make_rows(former, [{"customer_id": "a", "as_of_date": DAY}]), as_of_date=DAY)
    with pytest.raises(StorageError) as told:
        job.answer(REAL, settings, store)
    assert "column category is new and required" in str(told.value)
    assert "it is partitioned by " in str(told.value)
    assert "run jobs/pipeline.py --force: stage features makes it again" in str(told.value)


def test_a_column_that_may_be_null_by_now_may_be(store: Store, settings: Settings, make_rows: MakeRows) -> None:
    former = earlier(AFFINITY, lambda c: replace(c, required=True) if c.name == "recency_days" else c)
    row = {"customer_id": "a", "category": "milk", "as_of_date": DAY, "recency_days": 1}
    store.write(former, make_rows(former, [row]), as_of_date=DAY)
    assert "let column recency_days be NULL" in job.answer(REAL, settings, store)
    store.write(AFFINITY, make_rows(AFFINITY, [{**row, "recency_days": None}]), as_of_date=DAY)
    assert [row.recency_days for row in store.read(AFFINITY).collect()] == [None]


def test_refused_rows_are_migrated_too(store: Store, settings: Settings, make_rows: MakeRows) -> None:
    quarantine = rejected_of(AFFINITY)
    former = earlier(quarantine, lambda c: None if c.name == "row_json" else c)
    row = {"as_of_date": DAY, "row_hash": "h", "reasons": []}
    store.write(former, make_rows(former, [row]), as_of_date=DAY)
    assert f"{quarantine.name}: add column row_json" in job.answer(REAL, settings, store)


def test_a_table_that_is_not_ours_is_left_alone(store: Store, settings: Settings, make_rows: MakeRows) -> None:
    DeltaTable.createIfNotExists(store.spark).location(store.path(AFFINITY)).addColumns(AFFINITY.schema()).execute()
    with pytest.raises(StorageError, match="its key and mode are not known"):
        job.answer(REAL, settings, store)

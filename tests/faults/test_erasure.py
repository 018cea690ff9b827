"""Who asks to be forgotten is forgotten: in tables, old versions, rejects, lists and models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.audit import ERASURES
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS, REJECTED_RAW
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.contracts.table import TableContract, rejected_of
from promo_spark.errors import ErasureError, SettingsError, SourceError
from promo_spark.pipelines import erase, features, rotate_key
from promo_spark.pipelines import ingest as ingest_stage
from tests.faults.canary_files import canary, sell, source_of
from tests.faults.conftest import Shown
from tests.faults.needles import files_of, found_needles
from tests.faults.personal_tables import DAY, FEW, LINES, Shop, personal_tables

pytestmark = [pytest.mark.promise("erased is gone")]
_SWITCHES = ("enableDeletionVectors", "enableChangeDataFeed")


@pytest.fixture
def plain(spark: SparkSession) -> Iterator[SparkSession]:
    """Files whose bytes can be searched."""
    spark.conf.set("spark.sql.parquet.compression.codec", "uncompressed")
    yield spark
    spark.conf.unset("spark.sql.parquet.compression.codec")


@pytest.fixture
def shop(plain: SparkSession, tmp_path: Path) -> Shop:
    return Shop(plain, tmp_path, 5, f"sqlite:///{tmp_path}/mlflow.db")


def ids_of(shop: Shop, customers: Iterable[int]) -> list[str]:
    return [text for customer in customers for text in (shop.raw(customer), shop.pseudonym(customer))]


def test_a_table_forgets(shop: Shop, shown: Shown) -> None:
    shop.fill([IDENTITY_CUSTOMERS, ORDER_LINES])
    gone, kept = range(3), range(3, 5)
    needles = ids_of(shop, gone)
    assert set(found_needles(shop.roots, needles)) == set(needles)
    assert shop.run(erase.PIPELINE, erase={"requests": shop.requests(gone)}) == ("erase",)
    assert found_needles(shop.roots, needles) == {}
    assert set(found_needles(shop.roots, ids_of(shop, kept))) == set(ids_of(shop, kept))
    assert {row.customer_id for row in shop.rows(ORDER_LINES)} == set(map(shop.pseudonym, kept))
    shown(len(needles), "needles")


def test_ids_that_nobody_knows_are_told(shop: Shop) -> None:
    shop.fill([IDENTITY_CUSTOMERS, ORDER_LINES])
    path = shop.requests(range(1))
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("a-slip\n")
    shop.run(erase.PIPELINE, erase={"requests": path})
    (account,) = shop.store.read(ERASURES).where("finished_at IS NOT NULL").collect()
    assert account.remaining[0].startswith("1 of 2 listed ids, which no file ever brought")


@pytest.mark.slow
def test_a_few_tables_lists_and_models_forget(shop: Shop, shown: Shown) -> None:
    shop.fill(FEW)
    shop.fill_refusals()
    shop.fill_beside()
    shop.leave_models(["product_als", "customer_churn"])
    gone, kept = range(3), range(3, 5)
    needles = ids_of(shop, gone)
    assert set(found_needles(shop.roots, needles)) == set(needles)
    assert shop.run(erase.PIPELINE, erase={"requests": shop.requests(gone)}) == ("erase",)
    assert found_needles(shop.roots, needles) == {}
    assert set(found_needles(shop.roots, ids_of(shop, kept))) == set(ids_of(shop, kept))
    assert len(shop.rows(ORDER_LINES)) == len(kept)
    assert {row.source_ordinal for row in shop.rows(LINES)} == {3, 4, 1000}
    assert {row.row_hash for row in shop.rows(rejected_of(ORDER_LINES))} == {"hash-003", "hash-004", "hash-nobody"}
    assert {row.raw_customer_id for row in shop.rows(IDENTITY_CUSTOMERS)} == set(map(shop.raw, kept))
    texts = {row.source_ordinal: row.raw_text for row in shop.rows(REJECTED_RAW)}
    assert {ordinal for ordinal, text in texts.items() if text is None} == {1000, 1001, 1002}
    assert set(texts) == {3, 4, 1000, 1001, 1002, 1003, 1004}
    models = {str(path) for path in files_of(shop.roots) if "userFactors" in str(path)}
    assert len(models) == 1
    assert "customer_churn" in models.pop()
    assert shop.run(erase.PIPELINE, erase={"requests": shop.requests(gone)}) == ()
    account = shop.store.read(ERASURES).orderBy("sequence").collect()
    assert [row.finished_at is None for row in account] == [True, False]
    assert account[1].rows_changed["silver.order_lines"] == len(gone)
    shown(len(needles), "needles")


def test_who_is_unknown_or_not_named_is_told(shop: Shop) -> None:
    with pytest.raises(SourceError, match="knows no customers"):
        shop.run(erase.PIPELINE)
    shop.fill([IDENTITY_CUSTOMERS])
    with pytest.raises(SettingsError, match=r"erase\.requests"):
        shop.run(erase.PIPELINE)
    path = shop.requests(range(1))
    Path(path).write_text("customer_id,name\nKD-1,a\n,b\n")
    with pytest.raises(SourceError, match="1 lines hold no id"):
        shop.run(erase.PIPELINE, erase={"requests": path})
    assert not shop.store.exists(ERASURES)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_every_personal_table_forgets(shop: Shop, shown: Shown, part: int) -> None:
    """Deletion vectors and change feed are on and off in turn."""
    tables = [*FEW, *(table for table in personal_tables() if table not in FEW)][part::3]
    tables += [table for table in FEW if table not in tables]
    shop.customers = 14
    for number, table in enumerate(tables):
        switched = [f"'delta.{name}' = '{str(bool(number >> bit & 1)).lower()}'" for bit, name in enumerate(_SWITCHES)]
        shop.fill([table], properties=", ".join(switched))
    shop.fill_refusals()
    shop.fill_beside()
    gone, kept = range(12), range(12, 14)
    secrets = sorted({column.name for table in tables for column in table.columns if column.personal})
    held = {
        who: found_needles(shop.roots, [shop.secret(customer, name) for customer in who for name in secrets])
        for who in (gone, kept)
    }
    needles = [*ids_of(shop, gone), *held[gone]]
    assert set(found_needles(shop.roots, needles)) == set(needles)
    assert len(needles) >= 25
    assert shop.run(erase.PIPELINE, erase={"requests": shop.requests(gone)}) == ("erase",)
    assert found_needles(shop.roots, needles) == {}
    assert set(found_needles(shop.roots, held[kept])) == set(held[kept])
    for table in tables:
        nobodys = 1 if table == LINES else shop.customers if table == REJECTED_RAW else 0
        assert shop.store.read(table).count() == len(kept) + nobodys, table.name
        with pytest.raises(Exception, match=r"FAILED_READ_FILE|CANNOT_READ|does not exist|DELTA_"):
            old_rows(shop, table)
    shown(len(needles), "needles")
    shown(len(tables), "tables")


def old_rows(shop: Shop, table: TableContract) -> int:
    """Every row of the version that was written first."""
    old = shop.spark.read.format("delta").option("versionAsOf", 2).load(shop.store.path(table))
    return len(old.collect())


@pytest.mark.slow
@pytest.mark.parametrize("commits", [1, 3, 4])
def test_a_killed_erasure_is_ended_by_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, shown: Shown, commits: int
) -> None:
    shop.fill(FEW)
    gone = range(3)
    needles = ids_of(shop, gone)
    with monkeypatch.context() as patched:
        interrupt_after(patched, erase, "purge", commits)
        with pytest.raises(KeyboardInterrupt):
            shop.run(erase.PIPELINE, erase={"requests": shop.requests(gone)})
    with pytest.raises(ErasureError, match=r"has not finished.*jobs/erase\.py"):
        shop.run(features.PIPELINE)
    # Who they are was noted: the file is not needed again.
    assert shop.run(erase.PIPELINE) == ("erase",)
    assert found_needles(shop.roots, needles) == {}
    assert {row.customer_id for row in shop.rows(ORDER_LINES)} == {shop.pseudonym(3), shop.pseudonym(4)}
    shown(1, "killed erasures")


@pytest.mark.slow
def test_a_file_that_comes_again_does_not_bring_them_back(shop: Shop, shown: Shown) -> None:
    source = source_of(shop.folder)
    sell(shop.folder, "first", customers=range(6), first=DAY, weeks=3)
    assert shop.run(ingest_stage.PIPELINE, source=source) == ("ingest",)
    before = shop.store.read(ORDER_LINES).count()
    requests = shop.folder / "gone.csv"
    requests.write_text(f"customer_id\n{canary(0)}\n{canary(1)}\n")
    gone = [row.customer_id for row in shop.rows(IDENTITY_CUSTOMERS) if row.raw_customer_id in {canary(0), canary(1)}]
    needles = [canary(0), canary(1), *gone]
    assert set(found_needles(shop.roots, needles)) == set(needles)
    assert shop.run(erase.PIPELINE, source=source, erase={"requests": str(requests)}) == ("erase",)
    kept = shop.store.read(ORDER_LINES).count()
    assert 0 < kept < before
    source["tables"]["order_lines"]["columns"]["store_id"] = {"constant": "s"}  # read anew under another mapping
    sell(shop.folder, "second", customers=range(3), first=DAY, weeks=3)
    assert shop.run(ingest_stage.PIPELINE, source=source) == ("ingest",)
    assert found_needles(shop.roots, needles) == {}
    assert shop.store.read(ORDER_LINES).count() > kept
    returned = {"readmit": str(requests)}
    shop.run(erase.PIPELINE, source=source, erase=returned)
    sell(shop.folder, "third", customers=range(1), first=DAY, weeks=3)
    assert shop.run(ingest_stage.PIPELINE, source=source) == ("ingest",)
    assert canary(0) in {row.raw_customer_id for row in shop.rows(IDENTITY_CUSTOMERS)}
    shown(len(needles), "needles kept out at the door")


def interrupt_after(patched: pytest.MonkeyPatch, module: object, name: str, calls: int) -> None:
    """Let a function of a module be called so often, then end the run as Ctrl-C does."""
    original = getattr(module, name)
    seen: list[int] = []

    def counted(*given: object) -> object:
        seen.append(1)
        if len(seen) >= calls:
            raise KeyboardInterrupt
        return original(*given)

    patched.setattr(module, name, counted)


@pytest.mark.slow
def test_a_new_key_keeps_each_customer_one(shop: Shop, monkeypatch: pytest.MonkeyPatch, shown: Shown) -> None:
    shop.fill([IDENTITY_CUSTOMERS, ORDER_LINES])
    old = [shop.pseudonym(customer) for customer in range(5)]
    new = {"places": shop.places(version=2)}
    with pytest.raises(SettingsError, match=r"of version 1: .*jobs/rotate_key\.py"):
        shop.run(ingest_stage.PIPELINE, **new)
    with monkeypatch.context() as patched:
        interrupt_after(patched, rotate_key, "purge", 1)
        with pytest.raises(KeyboardInterrupt):
            shop.run(rotate_key.PIPELINE, **new)
    with pytest.raises(ErasureError, match=r"change of the pseudonym key .*jobs/rotate_key\.py"):
        shop.run(features.PIPELINE, **new)
    assert shop.run(rotate_key.PIPELINE, **new) == ("rotate_key",)
    assert found_needles(shop.roots, old) == {}
    made = {shop.raw(customer): shop.pseudonym(customer, version=2) for customer in range(5)}
    known = {row.raw_customer_id: (row.customer_id, row.key_version) for row in shop.rows(IDENTITY_CUSTOMERS)}
    assert known == {raw: (pseudonym, 2) for raw, pseudonym in made.items()}
    assert sorted(row.customer_id for row in shop.rows(ORDER_LINES)) == sorted(made.values())
    assert shop.run(rotate_key.PIPELINE, **new) == ()
    shown(len(old), "pseudonyms changed")

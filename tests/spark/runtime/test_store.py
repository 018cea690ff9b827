"""The one door: what it accepts, refuses, replaces and merges."""

from datetime import date, datetime
from pathlib import Path
from threading import Timer

import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.features import AFFINITY
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.silver import EXPOSURES, PRODUCTS
from promo_spark.contracts.table import rejected_of
from promo_spark.errors import ContractError, StorageError
from promo_spark.runtime import table_forms
from promo_spark.runtime.merges import merge_condition
from promo_spark.runtime.store import Store
from promo_spark.runtime.table_forms import create_table
from tests.conftest import MakeRows

DAY = date(2017, 10, 30)
NEXT_DAY = date(2017, 10, 31)


@pytest.fixture
def store(spark: SparkSession, tmp_path: Path) -> Store:
    return Store(spark, warehouse=str(tmp_path / "warehouse"), identity=str(tmp_path / "identity"))


def affinity(make_rows: MakeRows, *customers: str, day: date = DAY, recency: int = 3) -> DataFrame:
    return make_rows(
        AFFINITY,
        [{"customer_id": c, "category": "milk", "as_of_date": day, "recency_days": recency} for c in customers],
    )


def product(identity: str, sequence: int = 1, ordinal: int = 1, **columns: object) -> dict[str, object]:
    lineage = {"source_file": f"f{sequence}", "source_ordinal": ordinal, "ingest_sequence": sequence}
    return {"product_id": identity, **lineage, **columns}


def test_a_date_is_replaced_and_others_stay(store: Store, make_rows: MakeRows) -> None:
    store.write(AFFINITY, affinity(make_rows, "a", "b"), as_of_date=DAY)
    store.write(AFFINITY, affinity(make_rows, "c", day=NEXT_DAY), as_of_date=NEXT_DAY)
    written = store.write(AFFINITY, affinity(make_rows, "d"), as_of_date=DAY)
    assert (written.accepted, written.rejected) == (1, 0)
    assert {row.customer_id for row in store.read(AFFINITY).collect()} == {"c", "d"}
    assert [row.customer_id for row in store.read(AFFINITY, NEXT_DAY).collect()] == ["c"]


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_table_whose_creation_was_cut_short_is_created(
    spark: SparkSession, make_rows: MakeRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_alone: bool
) -> None:
    monkeypatch.setattr(table_forms, "_PATIENCE_SECONDS", 0.5)
    store = Store(spark, warehouse=str(tmp_path / "warehouse"), identity=str(tmp_path / "identity"), is_alone=is_alone)
    unfinished = uncommitted(store)
    store.write(AFFINITY, affinity(make_rows, "a"), as_of_date=DAY)
    assert store.read(AFFINITY).count() == 1
    assert not unfinished.exists()


def uncommitted(store: Store) -> Path:
    """The table as it is while it is being created; its first commit, under the name that it has until it is whole."""
    create_table(store.spark, AFFINITY, store.path(AFFINITY), is_alone=True)
    log = Path(store.path(AFFINITY)) / "_delta_log"
    for path in log.iterdir():
        if path.is_file() and path.suffix != ".json":
            path.unlink()
    return (log / f"{0:020d}.json").rename(log / f".{0:020d}.json.a1b2.tmp")


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_table_that_another_run_is_creating_is_waited_for(
    store: Store, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch, is_seen: bool
) -> None:
    """Its first commit has another name until it is whole; taken away, the other run would fail."""
    unfinished = uncommitted(store)
    clear, looks = table_forms._clear_unfinished, []

    def look(spark: SparkSession, path: str, *, patience: float) -> None:
        looks.append(path)
        if is_seen or len(looks) > 1:  # else the other run began only after it
            clear(spark, path, patience=patience)

    monkeypatch.setattr(table_forms, "_clear_unfinished", look)
    other = Timer(1.0, unfinished.replace, (unfinished.with_name(f"{0:020d}.json"),))
    other.start()
    store.write(AFFINITY, affinity(make_rows, "b"), as_of_date=DAY)
    other.join()
    assert [row.customer_id for row in store.read(AFFINITY).collect()] == ["b"]
    assert not unfinished.exists()


@pytest.mark.slow
def test_the_newest_date_before_is_found(store: Store, make_rows: MakeRows) -> None:
    assert store.read_before(AFFINITY, NEXT_DAY).isEmpty()
    for day in (date(2017, 9, 4), DAY, NEXT_DAY):
        store.write(AFFINITY, affinity(make_rows, f"on {day}", day=day), as_of_date=day)
    assert [row.customer_id for row in store.read_before(AFFINITY, NEXT_DAY).collect()] == [f"on {DAY}"]
    assert store.read_before(AFFINITY, date(2017, 9, 4)).isEmpty()
    apart = (NEXT_DAY - DAY).days
    for days, found in ((apart, DAY), (apart + 1, date(2017, 9, 4))):
        (row,) = store.read_before(AFFINITY, NEXT_DAY, days=days).collect()
        assert row.customer_id == f"on {found}"


def test_rows_that_break_a_check_are_kept_with_the_reason(store: Store, make_rows: MakeRows) -> None:
    good, bad = affinity(make_rows, "a"), affinity(make_rows, "b", recency=0)
    written = store.write(AFFINITY, good.unionByName(bad), as_of_date=DAY)
    rejected = store.read(rejected_of(AFFINITY), DAY).collect()
    assert (written.accepted, written.rejected) == (1, 1)
    assert rejected[0].reasons == ["not (recency_days > 0)"]
    assert "milk" in rejected[0].row_json
    assert "customer_id" not in rejected[0].row_json


def test_a_corrected_date_leaves_no_old_rejects(store: Store, make_rows: MakeRows) -> None:
    store.write(AFFINITY, affinity(make_rows, "a", recency=0), as_of_date=DAY)
    store.write(AFFINITY, affinity(make_rows, "a"), as_of_date=DAY)
    assert store.read(rejected_of(AFFINITY), DAY).isEmpty()


def test_two_rows_with_one_key_are_a_fault_of_the_stage(store: Store, make_rows: MakeRows) -> None:
    with pytest.raises(ContractError, match=r"features\.affinity: 1 keys"):
        store.write(AFFINITY, affinity(make_rows, "a", "a"), as_of_date=DAY)
    assert store.read(AFFINITY).isEmpty()


def test_rows_of_another_date_are_a_fault_of_the_stage(store: Store, make_rows: MakeRows) -> None:
    with pytest.raises(ContractError, match="1 rows belong to another date"):
        store.write(AFFINITY, affinity(make_rows, "a", day=NEXT_DAY), as_of_date=DAY)


def test_a_record_twice_in_a_file_counts_once(store: Store, make_rows: MakeRows) -> None:
    rows = [
        product("p", ordinal=1, brand="first"),
        product("p", ordinal=2, brand="second"),
        product("q", ordinal=3),
    ]
    written = store.write(PRODUCTS, make_rows(PRODUCTS, rows))
    assert (written.accepted, written.rejected) == (2, 1)
    assert {(r.product_id, r.brand) for r in store.read(PRODUCTS).collect()} == {("p", "first"), ("q", None)}
    assert store.read(rejected_of(PRODUCTS)).first().reasons == ["duplicate key (product_id)"]


def test_a_faulty_row_is_refused_where_no_key_is_repeated(store: Store, make_rows: MakeRows) -> None:
    rows = [product("p", category="c"), {**product("q", ordinal=2, category="c"), "product_id": None}]
    written = store.write(PRODUCTS, make_rows(PRODUCTS, rows))
    assert (written.accepted, written.rejected) == (1, 1)
    assert store.read(rejected_of(PRODUCTS)).first().reasons == ["product_id is missing"]


def test_a_later_load_corrects_and_an_earlier_one_does_not(store: Store, make_rows: MakeRows) -> None:
    store.write(PRODUCTS, make_rows(PRODUCTS, [product("p", 2, brand="new")]))
    store.write(PRODUCTS, make_rows(PRODUCTS, [product("p", 1, brand="old"), product("q", 1)]))
    assert {(r.product_id, r.brand) for r in store.read(PRODUCTS).collect()} == {("p", "new"), ("q", None)}
    store.write(PRODUCTS, make_rows(PRODUCTS, [product("p", 3, brand="newest")]))
    assert {(r.product_id, r.brand) for r in store.read(PRODUCTS).collect()} == {("p", "newest"), ("q", None)}


def test_rows_with_days_in_their_key_meet_their_equals_on_those_days_alone(store: Store, make_rows: MakeRows) -> None:
    def seen(*instants: str, sequence: int) -> DataFrame:
        lineage = {"source_file": "f", "ingest_sequence": sequence, "promotion_id": "p", "customer_id": "c"}
        rows = [
            {**lineage, "source_ordinal": n, "exposed_at": datetime.fromisoformat(f"{instant}+00:00")}
            for n, instant in enumerate(instants)
        ]
        return make_rows(EXPOSURES, rows)

    last = "2024-01-05 23:59:59.999999"
    store.write(EXPOSURES, seen("2024-01-05 00:00:00", last, "2024-01-09 12:00:00", sequence=1))
    assert store.write(EXPOSURES, seen("2024-01-05 00:00:00", last, "2024-01-05 12:00:00", sequence=2)).accepted == 3
    found = store.read(EXPOSURES).groupBy("ingest_sequence").count().orderBy("ingest_sequence").collect()
    assert [tuple(row) for row in found] == [(1, 1), (2, 3)]
    told = merge_condition(EXPOSURES, seen(last, "2024-01-07 00:00:00", sequence=3))
    assert told.endswith("t.exposed_at BETWEEN TIMESTAMP'2024-01-05' AND TIMESTAMP'2024-01-07 23:59:59.999999'")
    assert merge_condition(PRODUCTS, make_rows(PRODUCTS, [product("p")])) == "s.product_id = t.product_id"


def test_writing_twice_changes_nothing(store: Store, make_rows: MakeRows) -> None:
    rows = make_rows(PRODUCTS, [product("p"), product("p", ordinal=2), product(None, ordinal=3)])
    first = store.write(PRODUCTS, rows)
    second = store.write(PRODUCTS, rows)
    assert (first.accepted, first.rejected) == (second.accepted, second.rejected) == (1, 2)
    assert store.read(PRODUCTS).count() == 1
    assert store.read(rejected_of(PRODUCTS)).count() == 2


def test_known_identities_are_not_appended_again(store: Store, make_rows: MakeRows) -> None:
    rows = make_rows(IDENTITY_CUSTOMERS, [{"raw_customer_id": "1", "customer_id": "x", "key_version": 1}])
    assert store.append_missing(IDENTITY_CUSTOMERS, rows).accepted == 1
    assert store.append_missing(IDENTITY_CUSTOMERS, rows).accepted == 0
    assert store.path(IDENTITY_CUSTOMERS).endswith("identity/identity/customers")


def test_no_statistics_of_personal_columns(store: Store, make_rows: MakeRows, tmp_path: Path) -> None:
    store.write(AFFINITY, affinity(make_rows, "customer-canary"), as_of_date=DAY)
    log = "".join(f.read_text() for f in (tmp_path / "warehouse/features/affinity/_delta_log").glob("*.json"))
    assert "recency_days" in log
    assert "customer-canary" not in log


def test_a_table_of_another_contract_is_refused(store: Store, make_rows: MakeRows) -> None:
    store.write(PRODUCTS, make_rows(PRODUCTS, [product("p")]))
    changed = PRODUCTS.extended("silver.products", key=("product_id", "brand"))
    with pytest.raises(StorageError, match=r"silver\.products .* another version of its contract"):
        store.write(changed, make_rows(changed, [product("p")]))


def test_a_table_that_does_not_exist_reads_as_empty(store: Store) -> None:
    assert store.read(PRODUCTS).isEmpty()
    assert store.version(PRODUCTS) == -1


def test_an_append_of_another_number_of_rows_is_undone(store: Store, make_rows: MakeRows) -> None:
    def rows(*raw: str) -> DataFrame:
        return make_rows(IDENTITY_CUSTOMERS, [{"raw_customer_id": r, "customer_id": r, "key_version": 1} for r in raw])

    with pytest.raises(ContractError, match="3 records were counted in the files and 2 arrived"):
        store.write(IDENTITY_CUSTOMERS, rows("1", "2"), expected=3)
    assert store.read(IDENTITY_CUSTOMERS).isEmpty()
    assert store.write(IDENTITY_CUSTOMERS, rows("1", "2"), expected=2).accepted == 2
    assert not store.undo_wrong_append(IDENTITY_CUSTOMERS)
    with pytest.raises(ContractError, match="1 records were counted in the files and 2 arrived"):
        store.write(IDENTITY_CUSTOMERS, rows("3", "4"), expected=1)
    assert {row.raw_customer_id for row in store.read(IDENTITY_CUSTOMERS).collect()} == {"1", "2"}

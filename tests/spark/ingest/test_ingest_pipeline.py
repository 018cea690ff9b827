"""From a retailer's files to the ledger: nothing lost, nothing doubled, whatever happens in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.identity import IDENTITY_CUSTOMERS, REJECTED_RAW
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.silver import CONSENTS, ORDER_LINES, PRODUCTS
from promo_spark.contracts.table import TableContract, bronze_of, rejected_of
from promo_spark.contracts.truth import TRUE_EFFECTS
from promo_spark.errors import ContractError, SourceError
from promo_spark.pipelines import ingest
from promo_spark.pipelines.ingest_loads import Load, new_loads
from promo_spark.runtime.stage import Stage
from promo_spark.runtime.store import Store

pytestmark = pytest.mark.slow  # each test takes in files two or three times
HEADER = "Receipt;Line;When;CustomerNo;Article;Qty;Amount;Void\n"
FIRST = (
    "1001;1;03/01/2024 17:45;88412;A-17;2;5,98;N\n"
    "1001;2;03/01/2024 17:45;88412;A-20;1;1,19;N\n"
    "1002;1;03/01/2024 17:52;;A-17;1;2,99;N\n"
    "1003;1;04/01/2024 09:10;88412;A-17;-1;-2,99;N\n"
    "1004;1;04/01/2024 09:30;-;A-20;3;3,57;Y\n"
    "1005;1;31/02/2024 09:30;7;A-20;3;3,57;N\n"
    "1006;1;04/01/2024 09:30;7;A-20;3\n"
)
COLUMNS: dict[str, Any] = {
    "basket_id": "Receipt",
    "line_id": "Line",
    "customer_id": {"from": "CustomerNo", "null_values": ["", "-"]},
    "product_id": "Article",
    "ordered_at": {"from": "When", "format": "dd/MM/yyyy HH:mm"},
    "quantity": {"from": "Qty", "decimal_separator": ","},
    "sales_amount": {"from": "Amount", "decimal_separator": ","},
}


@dataclass
class Figures:
    """Stands in for a run of MLflow."""

    seen: dict[str, float] = field(default_factory=dict)

    def metrics(self, values: Mapping[str, float]) -> None:
        self.seen.update(values)


@dataclass
class Shop:
    """A warehouse and the folder its exports arrive in."""

    spark: SparkSession
    folder: Path

    def export(self, name: str, lines: str) -> None:
        (self.folder / "in").mkdir(exist_ok=True)
        (self.folder / "in" / name).write_text(HEADER + lines)

    def source(self, **columns: object) -> dict[str, Any]:
        """A column given as None is left out of the mapping."""
        table = {
            "format": "csv",
            "path": str(self.folder / "in"),
            "delimiter": ";",
            "columns": {name: how for name, how in {**COLUMNS, **columns}.items() if how is not None},
            "where": [{"column": "Void", "op": "=", "value": "N"}],
        }
        return {"kind": "files", "time_zone": "Europe/London", "tables": {"order_lines": table}}

    def stage(self, source: Mapping[str, Any] | None = None) -> Stage:
        places = {"warehouse": f"{self.folder}/w", "identity": f"{self.folder}/i", "key_file": f"{self.folder}/i/key"}
        offer = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}
        settings = Settings.model_validate(
            {
                "as_of_date": date(2024, 2, 26),
                "source": source or self.source(),
                "places": places,
                "promotions": {"offers": [offer]},
            }
        )
        store = Store(self.spark, warehouse=settings.places.warehouse, identity=settings.places.identity)
        return Stage(ingest.PIPELINE, settings, self.spark, store, Figures(), "run")  # type: ignore[arg-type]

    def run(self, source: Mapping[str, Any] | None = None) -> Stage:
        stage = self.stage(source)
        ingest.run(stage)
        return stage

    def rows(self, contract: TableContract, order: str) -> list[Any]:
        return self.stage().store.read(contract).orderBy(order).collect()


@pytest.fixture
def shop(spark: SparkSession, tmp_path: Path) -> Shop:
    return Shop(spark, tmp_path)


def test_where_nobody_describes_products_each_is_its_own_category(shop: Shop) -> None:
    shop.export("a.csv", FIRST)
    shop.run()
    first = shop.rows(PRODUCTS, "product_id")
    assert [(row.product_id, row.category, row.ingest_sequence) for row in first] == [
        ("A-17", "A-17", 0),
        ("A-20", "A-20", 0),
    ]
    version = shop.stage().store.version(PRODUCTS)
    shop.run()
    assert shop.stage().store.version(PRODUCTS) == version
    shop.export("b.csv", "1007;1;05/01/2024 10:00;88412;A-99;1;1,00;N\n")
    shop.run()
    assert [row.product_id for row in shop.rows(PRODUCTS, "product_id")] == ["A-17", "A-20", "A-99"]


def test_the_example_of_the_how_to(shop: Shop) -> None:
    shop.export("a.csv", FIRST)
    stage = shop.run()
    accepted = shop.rows(ORDER_LINES, "source_ordinal")
    assert [(row.basket_id, row.line_id, row.source_ordinal) for row in accepted] == [
        ("1001", "1", 2),
        ("1001", "2", 3),
        ("1002", "1", 4),
        ("1003", "1", 5),
    ]
    assert [row.is_return for row in accepted] == [False, False, False, True]
    assert accepted[2].customer_id is None
    assert accepted[0].customer_id == accepted[3].customer_id is not None
    refused = {row.source_ordinal: row for row in shop.rows(rejected_of(ORDER_LINES), "source_ordinal")}
    assert refused[6].reasons == ["excluded by the source's filter: Void = N"]
    assert refused[7].reasons[0] == "ordered_at: cannot read 'timestamp' from its text"
    assert refused[8].reasons[0] == "malformed record"
    assert "88412" not in str(accepted) + str(refused)
    assert "customer_id" not in refused[7].row_json
    raw = shop.rows(REJECTED_RAW, "source_ordinal")
    assert [row.raw_text.split(";")[0] for row in raw] == ["1004", "1005", "1006"]
    known = shop.rows(IDENTITY_CUSTOMERS, "raw_customer_id")
    assert [row.raw_customer_id for row in known] == ["7", "88412"]
    assert known[1].customer_id == accepted[0].customer_id
    # 5.98 + 1.19 + 2.99 - 2.99 accepted; 3.57 twice rejected, the broken line's amount is not trusted.
    assert stage.tracker.seen["sales_accepted_amount"] == pytest.approx(7.17)  # type: ignore[attr-defined]
    assert stage.tracker.seen["sales_rejected_amount"] == pytest.approx(7.14)  # type: ignore[attr-defined]
    assert stage.tracker.seen["order_lines_records"] == 7  # type: ignore[attr-defined]
    assert any(text.startswith("no products: ") for text in stage.limitations)


def test_a_second_run_changes_nothing(shop: Shop) -> None:
    shop.export("a.csv", FIRST)
    before = shop.run()
    again = shop.run()
    assert again.written == {}
    tables = (ORDER_LINES, bronze_of(ORDER_LINES), rejected_of(ORDER_LINES), IDENTITY_CUSTOMERS, REJECTED_RAW)
    (shop.folder / "in" / "a.csv").rename(shop.folder / "in" / "renamed.csv")
    versions = [before.store.version(table) for table in tables]
    assert shop.run().written == {}
    assert [before.store.version(table) for table in tables] == versions


def test_a_later_corrected_file_replaces_by_key_and_keeps_the_rest(shop: Shop) -> None:
    shop.export("a.csv", FIRST)
    shop.run()
    shop.export(
        "b.csv",
        "1001;2;03/01/2024 17:45;88412;A-20;1;9,99;N\n"
        "1007;1;02/01/2024 08:00;88412;A-17;1;2,99;N\n"
        "1007;1;02/01/2024 08:00;88412;A-17;1;2,50;N\n",
    )
    shop.run()
    found = {(row.basket_id, row.line_id): row for row in shop.rows(ORDER_LINES, "basket_id")}
    assert len(found) == 5
    assert found["1001", "2"].sales_amount == Decimal("9.99")
    assert (found["1001", "2"].ingest_sequence, found["1001", "1"].ingest_sequence) == (2, 1)
    assert found["1007", "1"].sales_amount == Decimal("2.99")
    doubled = [row for row in shop.rows(rejected_of(ORDER_LINES), "source_ordinal") if row.source_file == "b.csv"]
    assert [(row.source_ordinal, row.reasons) for row in doubled] == [(4, ["duplicate key (basket_id, line_id)"])]
    assert len(shop.rows(bronze_of(ORDER_LINES), "source_ordinal")) == 10


def test_a_corrected_mapping_reads_the_files_again(shop: Shop) -> None:
    shop.export("a.csv", FIRST)
    shop.run()
    shop.run(shop.source(store_id={"constant": "1"}))
    assert {row.store_id for row in shop.rows(ORDER_LINES, "basket_id")} == {"1"}
    assert len(shop.rows(ORDER_LINES, "basket_id")) == 4


TILL = "1;{line};{day}/01/2024 09:00;88412;A-17;1;{amount};N\n"


def test_files_that_use_a_receipt_number_again_lose_no_line(shop: Shop) -> None:
    unnumbered = shop.source(line_id=None)
    shop.export("a.csv", TILL.format(line=1, day="03", amount="1,00") * 2)
    shop.run(unnumbered)
    shop.export("b.csv", TILL.format(line=1, day="04", amount="2,00"))
    shop.export("c.csv", TILL.format(line=1, day="05", amount="4,00"))
    stage = shop.run(unnumbered)
    found = shop.rows(ORDER_LINES, "line_id")
    assert [(row.line_id, row.sales_amount) for row in found] == [
        ("a.csv#2", Decimal("1.00")),
        ("a.csv#3", Decimal("1.00")),
        ("b.csv#2", Decimal("2.00")),
        ("c.csv#2", Decimal("4.00")),
    ]
    assert not any("equal lines" in text for text in stage.limitations)
    assert shop.run(unnumbered).written == {}


def test_a_corrected_mapping_replaces_lines_without_numbers(shop: Shop) -> None:
    shop.export("a.csv", FIRST)
    shop.run(shop.source(line_id=None))
    stage = shop.run(shop.source(line_id=None, store_id={"constant": "1"}))
    assert [(row.source_ordinal, row.store_id) for row in shop.rows(ORDER_LINES, "source_ordinal")] == [
        (place, "1") for place in (2, 3, 4, 5)
    ]
    assert not any("equal lines" in text for text in stage.limitations)


def test_a_corrected_file_of_the_same_name_replaces_line_by_line(shop: Shop) -> None:
    unnumbered = shop.source(line_id=None)
    shop.export("a.csv", FIRST)
    shop.run(unnumbered)
    shop.export("a.csv", FIRST.replace("1,19", "1,29"))
    shop.run(unnumbered)
    found = shop.rows(ORDER_LINES, "source_ordinal")
    assert [row.sales_amount for row in found] == [Decimal(text) for text in ("5.98", "1.29", "2.99", "-2.99")]


def test_a_file_that_comes_again_under_another_name_is_told(shop: Shop) -> None:
    unnumbered = shop.source(line_id=None)
    shop.export("a.csv", FIRST)
    shop.run(unnumbered)
    shop.export("b.csv", FIRST + "1008;1;05/01/2024 10:00;88412;A-17;1;1,00;N\n")
    stage = shop.run(unnumbered)
    assert len(shop.rows(ORDER_LINES, "line_id")) == 4 + 5
    assert any(text.startswith("4 of 5 new order lines without a line_id equal") for text in stage.limitations)


def test_a_rewritten_delta_source_enters_once(shop: Shop) -> None:
    place = str(shop.folder / "delta")
    columns = "basket_id string, line_id string, product_id string, ordered_at string, quantity int, sales_amount int"
    rows = [("1", str(line), "A", "2024-01-03 09:00:00", 1, 2) for line in range(4)]
    frame = shop.spark.createDataFrame(rows, columns)
    for part in (0, 1):
        frame.where(F.col("line_id") % 2 == part).coalesce(1).write.format("delta").mode("append").save(place)
    table = {"format": "delta", "path": place, "columns": {name: name for name in frame.columns}}
    source = {"kind": "files", "time_zone": "UTC", "tables": {"order_lines": table}}
    shop.run(source)
    before = set(shop.spark.read.format("delta").load(place).inputFiles())
    DeltaTable.forPath(shop.spark, place).optimize().executeCompaction()
    assert not before & set(shop.spark.read.format("delta").load(place).inputFiles())
    shop.run(source)
    assert [row.line_id for row in shop.rows(ORDER_LINES, "line_id")] == ["0", "1", "2", "3"]


def test_products_without_a_category_or_a_description_stand_for_themselves(shop: Shop) -> None:
    shop.export("a.csv", FIRST)
    (shop.folder / "products.csv").write_text("id,kind\nA-17,\nA-18,TEA\n")
    table = {
        "format": "csv",
        "path": f"{shop.folder}/products.csv",
        "columns": {"product_id": "id", "category": "kind"},
    }
    source = shop.source()
    source["tables"]["products"] = table
    shop.run(source)
    found = {row.product_id: (row.category, row.ingest_sequence) for row in shop.rows(PRODUCTS, "product_id")}
    assert found == {"A-17": ("A-17", 1), "A-18": ("TEA", 1), "A-20": ("A-20", 0)}


@pytest.mark.parametrize("moment", ["after identity", "after bronze", "after refusals"])
def test_a_crash_anywhere_then_a_run_is_as_if_nothing_happened(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    shop.export("a.csv", FIRST)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "after identity":
            patch.setattr(ingest, "_append_to_bronze", crash)
        elif moment == "after bronze":
            patch.setattr(ingest, "_bring_to_silver", crash)
        else:
            patch.setattr("promo_spark.runtime.store.accepted_rows", crash)
        with pytest.raises(KeyboardInterrupt):
            shop.run()
    shop.run()
    assert [row.source_ordinal for row in shop.rows(ORDER_LINES, "source_ordinal")] == [2, 3, 4, 5]
    assert [row.source_ordinal for row in shop.rows(bronze_of(ORDER_LINES), "source_ordinal")] == [*range(2, 9)]
    assert [row.source_ordinal for row in shop.rows(rejected_of(ORDER_LINES), "source_ordinal")] == [6, 7, 8]
    assert len(shop.rows(REJECTED_RAW, "source_ordinal")) == 3
    assert len(shop.rows(IDENTITY_CUSTOMERS, "raw_customer_id")) == 2
    assert shop.run().written == {}


@pytest.mark.parametrize("is_killed", [False, True], ids=["told", "killed after the commit"])
def test_records_that_did_not_arrive_are_read_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, *, is_killed: bool
) -> None:
    shop.export("a.csv", FIRST)
    shop.run()
    shop.export("b.csv", "1007;1;05/01/2024 10:00;88412;A-17;1;1,00;N\n1008;1;05/01/2024 10:00;7;A-17;1;1,00;N\n")

    def one_short(*given: Any) -> list[Load]:
        return [replace(load, expected=3) for load in new_loads(*given)]

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "new_loads", one_short)
        if is_killed:
            patch.setattr(DeltaTable, "restoreToVersion", crash)
        with pytest.raises(KeyboardInterrupt if is_killed else ContractError):
            shop.run()
    assert len(shop.rows(ORDER_LINES, "source_ordinal")) == 4
    assert len(shop.rows(bronze_of(ORDER_LINES), "source_ordinal")) == (9 if is_killed else 7)
    assert shop.run().written[bronze_of(ORDER_LINES).name].accepted == 2
    assert len(shop.rows(bronze_of(ORDER_LINES), "source_ordinal")) == 9
    assert len(shop.rows(ORDER_LINES, "source_ordinal")) == 6
    assert shop.run().written == {}


def test_no_usable_order_line_is_a_fault_that_names_the_reasons(shop: Shop) -> None:
    shop.export("a.csv", FIRST)
    with pytest.raises(SourceError, match="ordered_at: cannot read 'timestamp' from its text"):
        shop.run(shop.source(ordered_at={"from": "When", "format": "MM-dd-yyyy"}))
    shop.run()
    assert len(shop.rows(ORDER_LINES, "basket_id")) == 4


def test_a_bad_file_leaves_nothing_behind(shop: Shop) -> None:
    shop.export("a.csv", FIRST)
    (shop.folder / "in" / "b.csv").write_text("Receipt;Line\n1;2\n")
    with pytest.raises(SourceError, match=r"columns of b\.csv"):
        shop.run()
    assert not (shop.folder / "w").exists()


def test_copies_of_a_file_are_loaded_once(shop: Shop) -> None:
    shop.export("a.csv", FIRST)
    shop.export("b.csv", FIRST)
    stage = shop.run()
    assert any("b.csv is a copy of a.csv" in text for text in stage.limitations)
    assert len(shop.rows(bronze_of(ORDER_LINES), "source_ordinal")) == 7


def test_a_simulated_retailer_goes_all_the_way(shop: Shop) -> None:
    source = {
        "kind": "synthetic",
        "customers": 40,
        "products": 20,
        "categories": 4,
        "stores": 2,
        "weeks": 8,
        "campaign_week": 3,
    }
    stage = shop.run(source)
    assert all(written.rejected == 0 for written in stage.written.values())
    assert stage.written[ORDER_LINES.name].accepted > 100
    assert stage.written[PRODUCTS.name].accepted == 20
    truth = shop.rows(TRUE_EFFECTS, "customer_id")
    known = {row.customer_id for row in shop.rows(IDENTITY_CUSTOMERS, "raw_customer_id")}
    assert {row.customer_id for row in truth} == known
    assert len(truth) == 40
    assert shop.run(source).written == {}
    with pytest.raises(SourceError, match="another simulated"):
        shop.run({**source, "seed": 8})


def test_answers_about_consent_are_taken_in_and_what_is_no_answer_is_told(shop: Shop) -> None:
    shop.export("a.csv", FIRST)
    given = [
        "Kunde;Zweck;Ab;Ja",
        "88412;MAIL;01/02/2024;Y",
        "88412;profile;01/02/2024;N",
        "88412;personalisation;31/02/2024;N",
        ";contact;01/02/2024;Y",
    ]
    (shop.folder / "consents.csv").write_text("\n".join(given))
    columns = {
        "customer_id": {"from": "Kunde"},
        "purpose": {"from": "Zweck", "values": {"MAIL": "contact:Email"}},
        "from_date": {"from": "Ab", "format": "dd/MM/yyyy"},
        "is_granted": {"from": "Ja", "values": {"Y": "true", "N": "false"}},
    }
    source = shop.source()
    mapping = {"format": "csv", "path": str(shop.folder / "consents.csv"), "delimiter": ";", "columns": columns}
    source["tables"]["consents"] = mapping
    stage = shop.run(source)
    kept = shop.rows(CONSENTS, "purpose")
    assert [(row.purpose, row.from_date, row.is_granted) for row in kept] == [
        ("contact:email", date(2024, 2, 1), True),
    ]
    assert any(told.startswith("3 answers about consent could not be read") for told in stage.limitations)
    assert len(shop.rows(rejected_of(CONSENTS), "source_ordinal")) == 3

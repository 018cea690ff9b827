"""Tables of a real PostgreSQL: every row once, only new ones read again, no secret told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.identity import REJECTED_RAW
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.silver import CUSTOMERS, ORDER_LINES
from promo_spark.contracts.table import bronze_of, rejected_of
from promo_spark.errors import SettingsError, SourceError
from promo_spark.pipelines import ingest
from promo_spark.runtime.stage import Stage
from promo_spark.runtime.store import Store
from tests.faults.conftest import Shown
from tests.faults.databases import PASSWORD, USER, Database, running_database
from tests.faults.test_streamed_feedback import Figures

pytestmark = [pytest.mark.promise("a database's rows arrive exactly once"), pytest.mark.slow]
TABLES = """
CREATE SCHEMA sales;
CREATE TABLE sales.lines (change_no bigint PRIMARY KEY, receipt int, line int, customer varchar(20), article char(8),
  rung_at timestamp, quantity numeric, amount numeric(12, 4), is_void boolean NOT NULL DEFAULT false);
CREATE TABLE sales.customers (no int PRIMARY KEY, gender text, since date, consent boolean);
CREATE VIEW sales.days AS SELECT *, rung_at::date AS day FROM sales.lines;
INSERT INTO sales.customers VALUES (1, 'f', '2020-02-01', true), (2, NULL, NULL, false);
INSERT INTO sales.lines SELECT n, n / 3, n % 3, n % 50, 'A-' || n % 20,
  timestamp '2024-03-30 23:30' + n * interval '1 minute', 1, 2.5 FROM generate_series(1, 1000) AS n;
UPDATE sales.lines SET amount = 1.2345 WHERE change_no = 7;
UPDATE sales.lines SET is_void = true WHERE change_no = 8;
"""


@pytest.fixture(scope="module")
def database(spark: SparkSession) -> Iterator[Database]:
    if "postgresql" not in spark.sparkContext.getConf().get("spark.jars", ""):
        pytest.skip("no driver for PostgreSQL: 'make faults' fetches it")
    with running_database() as running:
        running.execute(TABLES)
        yield running


class Shop:
    """A warehouse whose source is the database."""

    def __init__(self, spark: SparkSession, folder: Path, database: Database) -> None:
        self.spark, self.folder, self.database = spark, folder, database

    def source(self, **changes: Any) -> dict[str, Any]:
        known = {"url": self.database.url, "user_variable": "SHOP_USER", "password_variable": "SHOP_PASSWORD"}
        lines = {**known, "table": "sales.lines", "key": ["change_no"], "watermark": "change_no", **changes}
        named = {"basket_id": "receipt", "line_id": "line", "customer_id": "customer", "product_id": "article"}
        named |= {"ordered_at": "rung_at", "quantity": "quantity", "sales_amount": "amount"}
        people = {"customer_id": "no", "gender": "gender", "registered_date": "since"}
        tables = {
            "order_lines": {
                **{"format": "jdbc", "database": lines, "columns": named},
                "where": [{"column": "is_void", "op": "=", "value": False}],
            },
            "customers": {
                **{"format": "jdbc", "database": {**known, "table": "sales.customers", "key": ["no"]}},
                "columns": {**people, "has_marketing_consent": "consent"},
            },
        }
        return {"kind": "files", "name": "shop", "time_zone": "Europe/Berlin", "tables": tables}

    def run(self, **changes: Any) -> Stage:
        places = {"warehouse": f"{self.folder}/w", "identity": f"{self.folder}/i", "key_file": f"{self.folder}/i/key"}
        offer = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}
        raw = {"as_of_date": date(2024, 5, 1), "source": self.source(**changes), "places": places}
        settings = Settings.model_validate({**raw, "promotions": {"offers": [offer]}})
        store = Store(self.spark, warehouse=places["warehouse"], identity=places["identity"])
        stage = Stage(ingest.PIPELINE, settings, self.spark, store, Figures(), "run")  # type: ignore[arg-type]
        ingest.run(stage)
        return stage


@pytest.fixture
def shop(spark: SparkSession, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("SHOP_USER", USER)
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    return Shop(spark, tmp_path, database)


def test_only_new_rows_are_read_again(shop: Shop, database: Database, shown: Shown, capfd: Any) -> None:
    store = shop.run().store
    lines, bronze = store.read(ORDER_LINES), store.read(bronze_of(ORDER_LINES))
    assert (bronze.count(), lines.count()) == (1000, 998)
    first = lines.where("source_ordinal = 1").withColumn("ordered_at", F.col("ordered_at").cast("string")).collect()[0]
    assert (first.product_id, first.sales_amount, first.source_file) == (
        "A-1",
        Decimal("2.50"),
        "sales.lines (start, 1000]",
    )
    assert first.ordered_at == "2024-03-30 22:31:00"  # Berlin is an hour ahead of UTC until that night
    refused = {row.source_ordinal: row.reasons for row in store.read(rejected_of(ORDER_LINES)).collect()}
    assert refused[7][0] == "sales_amount: more than 2 decimals"
    assert refused[8] == ["excluded by the source's filter: is_void = False"]
    assert store.read(REJECTED_RAW).count() == 2
    version = store.version(ORDER_LINES)
    assert not shop.run().written
    database.execute(
        "INSERT INTO sales.lines SELECT n, n / 3, n % 3, n % 50, 'A-1', '2024-05-01', 1, 2.5 "
        "FROM generate_series(1001, 1010) AS n; UPDATE sales.customers SET gender = 'm' WHERE no = 2;"
    )
    again = shop.run(parallel={"column": "change_no", "lower": 1000, "upper": 1010, "reads": 3})
    assert again.written["bronze.order_lines"].accepted == 10
    assert (store.version(ORDER_LINES) > version, store.read(ORDER_LINES).count()) == (True, 1008)
    people = {row.gender: row.has_marketing_consent for row in store.read(CUSTOMERS).collect()}
    assert people == {"f": True, "m": False}
    assert not shop.run().written
    told = "".join(capfd.readouterr())
    told += store.read(bronze_of(ORDER_LINES))._jdf.queryExecution().toString()
    assert PASSWORD not in told
    shown(1014, "rows read once")


def test_times_are_watermarks_and_an_overlap_finds_what_was_committed_late(shop: Shop, database: Database) -> None:
    how = {"watermark": "rung_at", "overlap": 600, "key": ["receipt", "line"]}
    store = shop.run(**how).store
    count = store.read(ORDER_LINES).count()
    newest = "(SELECT max(rung_at) FROM sales.lines)"
    database.execute(
        f"INSERT INTO sales.lines SELECT 5001, 9001, 1, 7, 'A-1', {newest} - interval '5 minutes', 1, 2.5;"
        f"INSERT INTO sales.lines SELECT 5002, 9001, 2, 7, 'A-1', {newest} + interval '5 minutes', 1, 2.5;"
    )
    shop.run(**how)
    assert store.read(ORDER_LINES).count() == count + 2
    assert store.read(ORDER_LINES).where("basket_id = '9001'").count() == 2
    assert not shop.run(**how).written
    database.execute("DELETE FROM sales.lines WHERE change_no > 5000")


def test_what_cannot_be_read_is_said_without_the_secret(
    shop: Shop, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceError, match="did you mean change_no"):
        shop.run(watermark="change_nr")
    with pytest.raises(SourceError, match="cannot tell which rows are new"):
        shop.run(watermark="customer")
    with pytest.raises(SourceError, match="Set overlap to at least 1"):
        shop.run(table="sales.days", key=["day"], watermark="day")
    with pytest.raises(SourceError, match=r"cannot be read .*does not exist"):
        shop.run(table="sales.nothing")
    database.execute("INSERT INTO sales.lines (change_no) VALUES (6001)")
    with pytest.raises(SourceError, match="rows without rung_at would never be read"):
        shop.run(watermark="rung_at")
    database.execute("DELETE FROM sales.lines WHERE change_no = 6001")
    with pytest.raises(SourceError, match="refused"):
        shop.run(url="jdbc:postgresql://127.0.0.1:1/postgres")
    monkeypatch.setenv("SHOP_PASSWORD", "canary-wrong")
    with pytest.raises(SourceError, match="cannot be read") as caught:
        shop.run()
    assert "canary" not in str(caught.value)
    assert USER not in str(caught.value)
    monkeypatch.delenv("SHOP_PASSWORD")
    with pytest.raises(SettingsError, match="SHOP_PASSWORD is not set"):
        shop.run()

"""Running again is a no-op; late and corrected rows arrive once, in every table that files can fill."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.records import RAW_CUSTOMER_ID
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.silver import ORDER_LINES, OVERRIDES, SILVER
from promo_spark.contracts.source_settings import received_columns
from promo_spark.contracts.table import TableContract, bronze_of, rejected_of
from promo_spark.errors import SourceError
from promo_spark.pipelines import ingest
from promo_spark.runtime.stage import Stage
from promo_spark.runtime.store import Store
from tests.faults.conftest import Shown

pytestmark = [pytest.mark.promise("running again is a no-op; late and corrected rows arrive once"), pytest.mark.slow]
START = date(2024, 1, 1)
FIXED = {
    "event_type": "view",
    "action": "exclude",
    "depth_rate": "0.1",
    "propensity": "0.5",
    "rating": "4.0",
    "purpose": "contact",
}
CASES = (
    "repeated",
    "under another name",
    "out of order",
    "late",
    "backfilled",
    "corrected",
    "in conflict",
    "overlapping",
)
Row = dict[str, str]


@dataclass
class Figures:
    """Stands in for a run of MLflow."""

    seen: dict[str, float] = field(default_factory=dict)

    def metrics(self, values: Mapping[str, float]) -> None:
        self.seen.update(values)


def row(table: TableContract, number: int, version: int = 1, *, week: int | None = None) -> Row:
    """A row by its number: keys and days from it (days from the week where one is given), the rest from the version."""
    day = START + timedelta(weeks=number if week is None else week)
    cells: Row = {}
    for column in received_columns(table):
        if isinstance(column.dtype, T.DateType):
            cells[column.name] = str(day + timedelta(days=column.name in {"end_date", "last_date"}))
        elif isinstance(column.dtype, T.TimestampType):
            cells[column.name] = f"{day} 12:00:00"
        elif isinstance(column.dtype, T.BooleanType):
            cells[column.name] = "true"
        elif isinstance(column.dtype, T.DecimalType):
            cells[column.name] = f"{version}.50"
        else:
            is_name = column.name in table.key or column.name.endswith("_id")
            cells[column.name] = f"{column.name} {number if is_name else version}"
    return cells | {name: cell for name, cell in FIXED.items() if name in cells}


@dataclass
class Shop:
    """A warehouse, and a folder per table in which files arrive."""

    spark: SparkSession
    folder: Path
    tables: tuple[TableContract, ...] = SILVER

    def deliver(self, name: str, *rows: tuple[int, int, int | None]) -> None:
        """A file of every table, of rows by number, version and week."""
        for table in self.tables:
            place = self.folder / "in" / table.entity
            place.mkdir(parents=True, exist_ok=True)
            written = [row(table, number, version, week=week) for number, version, week in rows]
            with (place / name).open("w", newline="") as file:
                writer = csv.DictWriter(file, list(written[0]))
                writer.writeheader()
                writer.writerows(written)

    def copy(self, name: str, other: str) -> None:
        for table in self.tables:
            shutil.copy(self.folder / "in" / table.entity / name, self.folder / "in" / table.entity / other)

    def stage(self) -> Stage:
        tables = {
            table.entity: {
                "format": "csv",
                "path": str(self.folder / "in" / table.entity),
                "columns": {column.name: column.name for column in received_columns(table)},
            }
            for table in self.tables
        }
        offer = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}
        settings = Settings.model_validate(
            {
                "as_of_date": date(2026, 1, 1),
                "source": {"kind": "files", "time_zone": "UTC", "tables": tables},
                "places": {name: f"{self.folder}/{name[0]}" for name in ("warehouse", "identity")}
                | {"key_file": f"{self.folder}/i/key"},
                "promotions": {"offers": [offer]},
            }
        )
        store = Store(self.spark, warehouse=settings.places.warehouse, identity=settings.places.identity)
        return Stage(ingest.PIPELINE, settings, self.spark, store, Figures(), "run")  # type: ignore[arg-type]

    def run(self) -> Stage:
        stage = self.stage()
        ingest.run(stage)
        return stage

    def versions(self) -> dict[str, int]:
        store = self.stage().store
        tables = [table for silver in SILVER for table in (silver, bronze_of(silver), rejected_of(silver))]
        return {table.name: store.version(table) for table in (*tables, IDENTITY_CUSTOMERS)}

    def held(self, table: TableContract) -> dict[tuple[object, ...], Row]:
        """Rows of a table as text by key, under the customers' own ids; a key comes up once."""
        store = self.stage().store
        names = {one.customer_id: one[RAW_CUSTOMER_ID] for one in store.read(IDENTITY_CUSTOMERS).collect()}
        shown = []
        for found in as_text(store.read(table)).collect():
            cells = {column.name: _shown(found[column.name]) for column in received_columns(table)}
            shown.append({name: names.get(cell, cell) for name, cell in cells.items()})
        by_key = {tuple(found[name] for name in table.key): found for found in shown}
        assert len(by_key) == len(shown)
        return by_key


def as_text(rows: DataFrame) -> DataFrame:
    """Rows that were loaded, instants as text: Python would move them to the zone of its machine."""
    instants = [field.name for field in rows.schema if isinstance(field.dataType, T.TimestampType)]
    loaded = rows.where("ingest_sequence > 0")
    return loaded.withColumns({name: F.col(name).cast("string") for name in instants}) if instants else loaded


def _shown(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def rows_of(table: TableContract, rows: Iterable[tuple[int, int, int | None]]) -> dict[tuple[object, ...], Row]:
    made = [row(table, number, version, week=week) for number, version, week in rows]
    return {tuple(one[name] for name in table.key): one for one in made}


def test_every_case_in_every_table(spark: SparkSession, tmp_path: Path, shown: Shown) -> None:
    shop = Shop(spark, tmp_path)
    truth: dict[int, tuple[int, int, int | None]] = {}

    def expect() -> None:
        for table in SILVER:
            assert shop.held(table) == rows_of(table, truth.values()), table.name

    def arrive(name: str, *rows: tuple[int, int, int | None]) -> Stage:
        shop.deliver(name, *rows)
        for number, version, week in rows:
            truth[number] = (number, version, week)
        return shop.run()

    arrive("b1.csv", *((number, 1, None) for number in (20, 21, 22, 23)))
    expect()
    before = shop.versions()
    shop.run()  # repeated
    shop.copy("b1.csv", "b1 again.csv")  # the same content under another name
    shop.run()
    assert shop.versions() == before

    arrive("b3.csv", (30, 1, None), (31, 1, None))
    shop.deliver("b2.csv", (25, 1, None), (26, 1, None))  # out of order: after b3
    shop.deliver("a0.csv", (2, 1, None), (3, 1, None))  # late: older than all
    arrive("b4.csv", (40, 1, 20), (41, 1, 21))  # backfilled: other keys, on days that were loaded
    truth.update({number: (number, 1, None) for number in (25, 26, 2, 3)})
    expect()

    arrive("b5.csv", (20, 2, None), (21, 2, None))  # corrected
    shop.deliver("b6.csv", (50, 1, None), (50, 2, None))  # in conflict within one file: the first stands
    stage = arrive("b7.csv", (22, 1, None), (60, 1, None))  # half of it overlaps
    truth[50] = (50, 1, None)
    expect()
    for table in SILVER:
        refused = stage.store.read(rejected_of(table)).collect()
        assert [list(one.reasons) for one in refused] == [[f"duplicate key ({', '.join(table.key)})"]], table.name
        assert {one.source_file for one in refused} == {"b6.csv"}
    before = shop.versions()
    shop.run()
    assert shop.versions() == before
    shown(len(CASES) * len(SILVER), "cases")


def test_a_refused_delivery_writes_nothing(spark: SparkSession, tmp_path: Path) -> None:
    shop = Shop(spark, tmp_path, (ORDER_LINES, OVERRIDES))
    shop.deliver("a.csv", (1, 1, None))
    shop.run()
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if "/in/" not in str(file)}
    shop.deliver("b.csv", (2, 1, None))
    last = tmp_path / "in" / OVERRIDES.entity / "b.csv"
    last.write_text(last.read_text().replace("reason", "why"))
    with pytest.raises(SourceError, match="no column reason"):
        shop.run()
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if "/in/" not in str(file)} == before


def test_basket_ids_that_are_used_again_are_told(spark: SparkSession, tmp_path: Path) -> None:
    shop = Shop(spark, tmp_path, (ORDER_LINES, OVERRIDES))
    shop.deliver("a.csv", (1, 1, None), (2, 1, None))
    shop.run()
    shop.deliver("b.csv", (1, 2, 9), (2, 2, None))
    told = [note for note in shop.run().limitations if "another day" in note]
    assert len(told) == 1
    assert told[0].startswith("1 new order lines replace")

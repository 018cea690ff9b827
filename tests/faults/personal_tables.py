"""A warehouse in which every table with personal columns holds rows of made-up customers, unlike anybody's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import mlflow
from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts import TABLES
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS, REJECTED_RAW
from promo_spark.contracts.rows import contract_frame, local_frame
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.contracts.table import Column, TableContract, bronze_of, rejected_of
from promo_spark.runtime.exports import write_list
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.runner import run_stages
from promo_spark.runtime.store import Store
from promo_spark.runtime.tracking import connect
from promo_spark.sources.pseudonym import ensure_key, pseudonym_of, read_key

DAY = date(2024, 2, 26)
OFFER = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}
LINES = bronze_of(ORDER_LINES)
NOBODYS = 1_000
"""Position of the first record that names nobody."""
_TYPICAL: dict[type[T.DataType], Any] = {
    T.StringType: "some",
    T.IntegerType: 1,
    T.LongType: 1,
    T.DoubleType: 0.5,
    T.DecimalType: Decimal(1),
    T.BooleanType: True,
    T.DateType: DAY,
    T.TimestampType: datetime(2024, 2, 26, tzinfo=UTC),
}


@dataclass
class Shop:
    """Roots of its own, customers by number, and a row of each customer in each table."""

    spark: SparkSession
    folder: Path
    customers: int
    tracking: str

    def settings(self, **sections: object) -> Settings:
        given: dict[str, Any] = {
            "as_of_date": DAY,
            "source": {"kind": "synthetic"},
            "places": self.places(),
            "tracking": {"uri": self.tracking, "artifacts": f"{self.folder}/artifacts"},
            "promotions": {"offers": [OFFER]},
        }
        return Settings.model_validate({**given, **sections})

    def places(self, *, version: int = 1) -> dict[str, Any]:
        key = f"{self.folder}/keys/{version}.key"
        return {
            "warehouse": f"{self.folder}/w",
            "identity": f"{self.folder}/i",
            "key_file": key,
            "key_version": version,
        }

    @property
    def roots(self) -> list[Path]:
        return [self.folder / "w", self.folder / "i", self.folder / "artifacts", self.folder / "mlflow.db"]

    @property
    def store(self) -> Store:
        return Store(self.spark, warehouse=f"{self.folder}/w", identity=f"{self.folder}/i")

    def raw(self, customer: int) -> str:
        return f"KD-{customer:03d}-ZQ{customer * 7919 % 997:03d}"

    def pseudonym(self, customer: int, *, version: int = 1) -> str:
        key = read_key(ensure_key(self.settings(places=self.places(version=version)).places))
        return pseudonym_of(self.raw(customer), key) or ""

    def secret(self, customer: int, column: str) -> str:
        return f"secret-{column}-of-{customer:03d}"

    def value(self, column: Column, customer: int) -> object:  # noqa: PLR0911  (a rule per kind of column)
        if column.name == "raw_customer_id":
            return self.raw(customer)
        if column.name == "raw_text":
            return f"9;{self.raw(customer)};broken"
        if column.name == "entity":
            return ORDER_LINES.entity
        if column.name == "source_ordinal":
            return customer
        if column.personal and isinstance(column.dtype, T.StringType):
            is_id = column.name.endswith("_id") and column.name != "product_id"
            return self.pseudonym(customer) if is_id else self.secret(customer, column.name)
        if isinstance(column.dtype, T.ArrayType):
            is_text = isinstance(column.dtype.elementType, T.StringType)
            return [self.secret(customer, column.name)] if is_text else [0.5]
        if isinstance(column.dtype, T.MapType):
            return {"some": _TYPICAL[type(column.dtype.valueType)]}
        return _TYPICAL[type(column.dtype)]

    def fill(self, tables: Iterable[TableContract], *, properties: str = "") -> None:
        """Write each table, and once more, so that an old version holds the same customers."""
        for table in tables:
            self.store._create(table)
            path = self.store.path(table)
            if properties:
                self.spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ({properties})")
            values = [
                tuple(self.value(column, customer) for column in table.columns) for customer in range(self.customers)
            ]
            if table == LINES:
                values.append(self._nobodys(table))
            if table == REJECTED_RAW:
                values += [self._mentioning(table, customer) for customer in range(self.customers)]
            rows = contract_frame(self.spark, table, values)
            rows.write.format("delta").mode("append").save(path)
            DeltaTable.forPath(self.spark, path).update(set={table.key[0]: F.col(table.key[0])})

    def _nobodys(self, table: TableContract) -> tuple[Any, ...]:
        values = {column.name: self.value(column, 0) for column in table.columns}
        return tuple({**values, "customer_id": None, "source_ordinal": NOBODYS}.values())

    def _mentioning(self, table: TableContract, customer: int) -> tuple[Any, ...]:
        """A record that could not be split: it names nobody, and its text holds an id."""
        values = {column.name: self.value(column, customer) for column in table.columns}
        return tuple({**values, "source_ordinal": NOBODYS + customer}.values())

    def fill_refusals(self) -> None:
        quarantine = rejected_of(ORDER_LINES)
        self.store._create(quarantine)
        rows = [("in.csv", customer, 1, f"hash-{customer:03d}", ["why"], "{}") for customer in range(self.customers)]
        for part in (rows, [("in.csv", NOBODYS, 1, "hash-nobody", ["why"], "{}")]):
            frame = contract_frame(self.spark, quarantine, part).replace("in.csv", "some", ["source_file"])
            frame.write.format("delta").mode("append").save(self.store.path(quarantine))

    def fill_beside(self) -> None:
        """What is no table of a contract: a list, a model, and a table that contracts have forgotten."""
        who = range(self.customers)
        sends = local_frame(
            self.spark, [(self.raw(c), f"code-{c:03d}") for c in who], "customer_id string, code string"
        )
        write_list(self.spark, f"{self.folder}/i/sends/2024-02-26", "mail", sends, ("customer_id", "code"))
        old = local_frame(self.spark, [(self.pseudonym(c), "gold") for c in who], "holder string, card string")
        old.write.format("delta").save(f"{self.folder}/w/silver/old_loyalty")
        factors = self.folder / "w/models/2024-02-26/product_als/stages/0_ALS/userFactors"
        factors.mkdir(parents=True)
        (factors / "part-0").write_bytes(b"factors")

    def requests(self, customers: Iterable[int]) -> str:
        path = self.folder / "requests.csv"
        path.write_text("customer_id\n" + "".join(f"{self.raw(customer)}\n" for customer in customers))
        return str(path)

    def leave_models(self, names: Iterable[str]) -> None:
        """Files of models in an MLflow run, as a recommend stage leaves them."""
        connect(self.settings().tracking)
        with mlflow.start_run():
            for name in names:
                mlflow.log_text("a vector per customer", f"{name}/sparkml/stages/0_ALS/userFactors/part-0")

    def run(self, pipeline: Pipeline, **sections: object) -> tuple[str, ...]:
        return run_stages((pipeline,), self.settings(**sections)).finished

    def rows(self, table: TableContract) -> list[Any]:
        return self.store.read(table).collect()


def personal_tables() -> list[TableContract]:
    """Every stored table that says of a column that it is personal, but the list of the erased itself."""
    stored = [table for table in TABLES.values() if table.mode != "passed" and table.name != "identity.erased"]
    return [table for table in stored if any(column.personal for column in table.columns)]


FEW = (IDENTITY_CUSTOMERS, REJECTED_RAW, LINES, ORDER_LINES)

"""Drift follows the contract: what a second delivery changes goes on, is rejected by line, or is one named error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.contracts.source_settings import TableMapping
from promo_spark.errors import SourceError
from promo_spark.runtime.inputs import list_files, open_records
from promo_spark.sources.mapping import map_records, needed_columns
from tests.faults.conftest import Shown

pytestmark = [pytest.mark.promise("drift follows the contract")]
Kind = Literal["csv", "json", "parquet", "delta"]
KINDS: tuple[Kind, ...] = ("csv", "json", "parquet", "delta")
Read = tuple[str, int | None, list[str]]
NAMES = ("basket_id", "line_id", "product_id", "ordered_at", "quantity", "sales_amount")
FIRST = pa.table(
    {
        "basket_id": ["1", "1"],
        "line_id": ["1", "2"],
        "product_id": ["a", "b"],
        "ordered_at": ["2024-01-01 10:00", "2024-01-01 10:00"],
        "quantity": pa.array([2, 3], pa.int32()),
        "sales_amount": pa.array([Decimal("5.98"), Decimal("1.00")], pa.decimal128(9, 2)),
    }
)
UNREAD = ["quantity: cannot read 'decimal(18,3)' from its text"]


@dataclass(frozen=True)
class Drift:
    """What a second delivery changes, and what comes of it.

    Attributes:
        table: The second delivery.
        quantities: Read from it.
        faults: Of each of its records.
        error: What the one error says; empty where the delivery is taken in.
    """

    table: pa.Table
    quantities: tuple[int | None, ...] = (2, 3)
    faults: Sequence[str] = ()
    error: str = ""


def with_quantity(*values: object, dtype: pa.DataType) -> pa.Table:
    return FIRST.set_column(NAMES.index("quantity"), "quantity", pa.array(values, dtype))


def renamed(name: str) -> pa.Table:
    return FIRST.rename_columns([name if column == "quantity" else column for column in NAMES])


DRIFTS = {
    "added": Drift(FIRST.append_column("colour", pa.array(["red", "blue"]))),
    "dropped": Drift(FIRST.drop_columns(["quantity"]), error="no column quantity"),
    "renamed": Drift(renamed("units"), error="no column quantity"),
    "retyped": Drift(with_quantity("two", "three", dtype=pa.string()), (None, None), UNREAD),
    "widened": Drift(with_quantity(4, 5, dtype=pa.int64()), (4, 5)),
    "reordered": Drift(FIRST.select(NAMES[::-1])),
    # No fault of the record: the table's contract refuses a line whose quantity is missing.
    "null-ified": Drift(with_quantity(None, None, dtype=pa.int32()), (None, None)),
    "re-cased": Drift(renamed("Quantity"), error="did you mean Quantity"),
}


def deliver(spark: SparkSession, folder: Path, kind: Kind, table: pa.Table, number: int) -> None:
    """Put a delivery beside the earlier ones; a Delta table is written anew in its new form."""
    file = folder / f"{number}.{kind}"
    if kind == "delta":
        rows = spark.createDataFrame(table)
        rows.coalesce(1).write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(str(folder))
    elif kind == "parquet":
        pq.write_table(table, file)
    elif kind == "json":
        file.write_text("".join(f"{json.dumps(row, default=float)}\n" for row in table.to_pylist()))
    else:
        rows = [["" if cell is None else str(cell) for cell in row.values()] for row in table.to_pylist()]
        file.write_text("".join(",".join(row) + "\n" for row in [table.column_names, *rows]))


def read_new(spark: SparkSession, folder: Path, kind: Kind, known: set[str]) -> list[Read]:
    """What the system reads of the files it does not know: line, quantity and faults, by line."""
    columns = {name: name for name in NAMES}
    mapping = TableMapping.model_validate({"format": kind, "path": str(folder), "columns": columns})
    files = [file for file in list_files(spark, mapping) if file.sha256 not in known]
    opened = open_records(spark, mapping, files, needed_columns(mapping))
    mapped = map_records(records=opened.records, mapping=mapping, silver=ORDER_LINES, time_zone="UTC")
    rows = mapped.select("line_id", "quantity", "faults").collect()
    assert sum(opened.counts.values()) == len(rows)
    known |= {file.sha256 for file in files}
    return in_order((row.line_id, None if row.quantity is None else int(row.quantity), row.faults) for row in rows)


def in_order(rows: Iterable[Read]) -> list[Read]:
    """By line; quantities may be NULL."""
    return sorted(rows, key=repr)


def expected(drift: Drift) -> list[Read]:
    return [(line, quantity, list(drift.faults)) for line, quantity in zip("12", drift.quantities, strict=True)]


@pytest.mark.parametrize("change", DRIFTS)
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind != "csv")) for kind in KINDS])
def test_a_second_delivery(spark: SparkSession, tmp_path: Path, kind: Kind, change: str, shown: Shown) -> None:
    drift, known = DRIFTS[change], set[str]()
    deliver(spark, tmp_path, kind, FIRST, 1)
    assert read_new(spark, tmp_path, kind, known) == expected(Drift(FIRST))
    deliver(spark, tmp_path, kind, drift.table, 2)
    if drift.error:
        with pytest.raises(SourceError, match=drift.error):
            read_new(spark, tmp_path, kind, known)
    else:
        assert read_new(spark, tmp_path, kind, known) == expected(drift)
    shown(1, "cells")


@pytest.mark.slow
@pytest.mark.parametrize("change", DRIFTS)
@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_both_deliveries_at_once(spark: SparkSession, tmp_path: Path, kind: Kind, change: str) -> None:
    """A new warehouse reads both together: the same outcome, or an error that names the files that differ."""
    drift = DRIFTS[change]
    deliver(spark, tmp_path, kind, FIRST, 1)
    deliver(spark, tmp_path, kind, drift.table, 2)
    try:
        found = read_new(spark, tmp_path, kind, set())
    except SourceError as fault:
        refused = str(fault)
    else:
        refused = ""
        assert found == in_order(expected(Drift(FIRST)) + expected(drift))
    assert not (drift.error and not refused)
    assert not refused or f"2.{kind}" in refused
    assert "null-ified widened".count(change) == 0 or not refused


def test_what_is_missing_is_refused_by_the_contract() -> None:
    assert {"quantity", *NAMES} <= set(ORDER_LINES.required_columns) | {"line_id"}

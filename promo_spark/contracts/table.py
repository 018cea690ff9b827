"""The form in which a table is declared once and used everywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pyspark.sql import types as T

WriteMode = Literal["dated", "merged", "appended", "passed"]

MONEY = T.DecimalType(18, 2)
QUANTITY = T.DecimalType(18, 3)
AS_OF_DATE = "as_of_date"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: Ends in what it is: ``_id _at _date _amount _count _prob _rate _days``, ``is_ has_``.
        dtype: Spark type.
        comment: What it means, for the data dictionary.
        unit: Unit of measure, where there is one.
        required: NULL is refused. Key columns are always required.
        personal: Identifies or describes a person: no file statistics, masked by role, erased on request.
        sensitive: A demographic attribute; serves audits, enters a model only where settings say so.
        derived: Computed by ingest, so a source need not and cannot supply it.
    """

    name: str
    dtype: T.DataType
    comment: str
    unit: str | None = None
    required: bool = False
    personal: bool = False
    sensitive: bool = False
    derived: bool = False


@dataclass(frozen=True)
class TableContract:
    """A table: what a row is, what identifies it, what its columns mean and what must hold.

    Args:
        name: ``layer.entity``; stored at ``<warehouse>/<layer>/<entity>``.
        grain: What one row is, in words.
        key: Columns that identify a row.
        columns: In storage order.
        checks: SQL conditions over the row's own columns; a row where one is false is rejected
            with the condition as its reason. NULL passes: a column that must not be NULL is ``required``.
        mode: ``dated`` tables replace one as_of_date at a time, ``merged`` tables keep the newest
            row per key, ``appended`` tables only grow, ``passed`` ones go from step to step and are not stored.
        partition_by: Physical partitioning; never a personal column.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    checks: tuple[str, ...] = ()
    mode: WriteMode = "dated"
    partition_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        faults = [f"column {name} is declared twice" for name in set(names) if names.count(name) > 1]
        faults += [f"key column {name} is not declared" for name in self.key if name not in names]
        faults += [f"partition column {name} is not declared" for name in self.partition_by if name not in names]
        faults += [
            f"{column.name} is personal and cannot partition the table"
            for column in self.columns
            if column.personal and column.name in self.partition_by
        ]
        if self.mode == "dated" and AS_OF_DATE not in names:
            faults.append("a dated table needs an as_of_date column")
        if faults:
            raise ValueError(f"{self.name}: " + "; ".join(faults))

    @property
    def layer(self) -> str:
        """First part of the name."""
        return self.name.split(".", 1)[0]

    @property
    def entity(self) -> str:
        """Second part of the name."""
        return self.name.split(".", 1)[1]

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in storage order."""
        return tuple(column.name for column in self.columns)

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Columns in which NULL is refused: the key and all marked required."""
        return tuple(column.name for column in self.columns if column.required or column.name in self.key)

    def schema(self, *, all_nullable: bool = False) -> T.StructType:
        """Spark schema with comments; ``all_nullable`` for frames on their way to the gate."""
        required = set() if all_nullable else set(self.required_columns)
        return T.StructType(
            [
                T.StructField(column.name, column.dtype, column.name not in required, {"comment": column.comment})
                for column in self.columns
            ]
        )

    def extended(self, name: str, **changes: object) -> TableContract:
        """A copy under another name with some fields changed."""
        return replace(self, name=name, **changes)  # type: ignore[arg-type]  # dataclasses.replace is untyped here


LINEAGE = (
    Column("source_file", T.StringType(), "File the row came from, relative to the source", required=True),
    Column("source_ordinal", T.LongType(), "Position of the record in its file, from 1", required=True),
    Column(
        "ingest_sequence",
        T.IntegerType(),
        "Number of the load that brought the row, from 1; 0 where nothing was loaded",
        required=True,
    ),
)


def bronze_of(silver: TableContract) -> TableContract:
    """Derive the bronze table of a silver one: rows as received, in canonical columns.

    A value that could not be read is NULL here and named in ``faults``; nothing is dropped.
    """
    received = tuple(
        replace(column, required=False) for column in silver.columns if not column.derived and column not in LINEAGE
    )
    return TableContract(
        name=f"bronze.{silver.entity}",
        grain=f"one record received for {silver.name}",
        key=("source_file_hash", "source_ordinal"),
        columns=(
            *received,
            *LINEAGE,
            Column(
                "source_file_hash",
                T.StringType(),
                "SHA-256 of the file: a file is loaded once",
                required=True,
            ),
            Column(
                "faults",
                T.ArrayType(T.StringType()),
                "Why parts of the record could not be read",
                required=True,
            ),
        ),
        mode="appended",
    )


def rejected_of(contract: TableContract) -> TableContract:
    """Derive the quarantine of a table: every row it refused, with the reasons."""
    dated = tuple(column for column in contract.columns if column.name == AS_OF_DATE)
    lineage = LINEAGE if contract.mode == "merged" else ()
    return TableContract(
        name=f"{contract.name}_rejected",
        grain=f"one row refused by {contract.name}",
        key=(*(column.name for column in dated), *(column.name for column in lineage), "row_hash"),
        columns=(
            *dated,
            *lineage,
            Column("row_hash", T.StringType(), "SHA-256 of the refused row", required=True),
            Column("reasons", T.ArrayType(T.StringType()), "Every condition that the row breaks", required=True),
            Column("row_json", T.StringType(), "The row without its personal columns"),
        ),
        mode="dated" if dated else "merged" if lineage else "appended",
    )

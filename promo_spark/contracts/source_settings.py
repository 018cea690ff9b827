"""How a source's own files map onto the canonical tables: a closed grammar, never SQL."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pyspark.sql import types as T

from promo_spark.contracts.database_settings import DatabaseTable
from promo_spark.contracts.datetime_patterns import pattern_fault
from promo_spark.contracts.silver import SILVER
from promo_spark.contracts.table import LINEAGE, Column, TableContract

Scalar = bool | int | float | str
TRUTHS = ("true", "1", "yes")
FALSEHOODS = ("false", "0", "no")
FILLED_BY_INGEST = {
    "order_lines": ("line_id",),
    "promotion_products": ("coupon_id",),
    "redemptions": ("coupon_id",),
}
_UNNUMBERED = {
    "delta": "a Delta table: OPTIMIZE writes its rows into other files, so that their place in a file does not "
    "number them",
    "jdbc": "a database's table: its rows have no place in a file that would number them",
}


def _known_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{zone!r} is no time zone: give an IANA name, such as America/New_York") from None
    return zone


def _known_pattern(pattern: str) -> str:
    fault = pattern_fault(pattern)
    if fault is not None:
        raise ValueError(
            f"{pattern!r} is no date pattern ({fault}): write yyyy for the "
            "year, MM month, dd day, HH hour, mm minute, ss second, or epoch_seconds / epoch_milliseconds"
        )
    return pattern


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


# YAML reads a code such as 7 as a number; where text is meant, it is text.
Text = Annotated[str, BeforeValidator(_as_text)]
Zone = Annotated[str, AfterValidator(_known_zone)]
Pattern = Annotated[str, AfterValidator(_known_pattern)]
# A line break ends the record, NUL and line feed are the parser's own signs.
Sign = Annotated[str, Field(min_length=1, max_length=1, pattern=r"[^\x00\r\n]")]


class Frozen(BaseModel):
    """Settings cannot be changed after loading, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, populate_by_name=True)


class ColumnMapping(Frozen):
    """How one canonical column is made from a vendor's column or a constant.

    ``format`` is Spark's datetime pattern (``dd/MM/yyyy HH:mm``) or ``epoch_seconds`` /
    ``epoch_milliseconds``; ``zone`` the time zone the vendor's clock shows, the source's own unless
    said; ``multiply`` scales a number (0.01 turns cents into units); ``values`` translates codes,
    and what is not among them stays; ``round`` allows more decimals than the column keeps.
    """

    source: str | None = Field(default=None, alias="from")
    constant: Scalar | None = None
    format: Pattern | None = None
    zone: Zone | None = None
    multiply: float | None = None
    round: bool = False
    values: dict[Text, Text] | None = None
    null_values: tuple[Text, ...] = ("",)
    decimal_separator: Literal[".", ","] = "."

    @model_validator(mode="after")
    def _one_origin(self) -> ColumnMapping:
        if (self.source is None) == (self.constant is None):
            raise ValueError("give either 'from' (a column of the source) or 'constant'")
        return self


class Filter(Frozen):
    """Keep the records for which this holds; the others are rejected as excluded, not lost."""

    column: str
    op: Literal["=", "!=", "<", "<=", ">", ">=", "in", "not_in", "is_null", "is_not_null"]
    value: Scalar | tuple[Scalar, ...] | None = None

    @model_validator(mode="after")
    def _value_fits_operator(self) -> Filter:
        needs_list = self.op in {"in", "not_in"}
        needs_none = self.op in {"is_null", "is_not_null"}
        if needs_none != (self.value is None) or needs_list != isinstance(self.value, tuple):
            wanted = "no value" if needs_none else "a list of values" if needs_list else "one value"
            raise ValueError(f"operator {self.op} takes {wanted}")
        return self


def _with_tuples(raw: object) -> object:
    """Settings are read strictly, and what a validator has touched is no longer JSON: a list is then no tuple."""
    if isinstance(raw, dict):
        return {key: _with_tuples(value) for key, value in raw.items()}
    return tuple(_with_tuples(value) for value in raw) if isinstance(raw, list) else raw


class TableMapping(Frozen):
    """Where one canonical table comes from and how its columns are made.

    ``path`` is a file, a folder or a glob, local or any URI that Spark's file systems know; of a table that is read
    through JDBC, ``database`` says where it is.
    ``header`` pins the order of a CSV's columns: a file whose header differs is refused.
    ``equal_lines_are_copies`` says that records equal in every mapped column are copies of one.
    """

    format: Literal["csv", "json", "parquet", "delta", "jdbc"]
    path: str = ""
    database: DatabaseTable | None = None
    delimiter: Sign = ","
    quote: Sign = '"'
    escape: Sign = '"'
    encoding: Literal["UTF-8", "US-ASCII", "ISO-8859-1", "ISO-8859-15", "windows-1252"] = "UTF-8"
    header: tuple[str, ...] | None = None
    columns: dict[str, ColumnMapping]
    where: tuple[Filter, ...] = ()
    equal_lines_are_copies: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, raw: object) -> object:
        """``customer_id: CUST_NO`` is short for ``customer_id: {from: CUST_NO}``."""
        if isinstance(raw, dict) and isinstance(raw.get("columns"), dict):
            columns = {
                name: {"from": mapping} if isinstance(mapping, str) else mapping
                for name, mapping in raw["columns"].items()
            }
            raw = {**raw, "columns": columns}
        return _with_tuples(raw)

    @model_validator(mode="after")
    def _signs_differ(self) -> TableMapping:
        if self.delimiter in {self.quote, self.escape}:
            raise ValueError(f"delimiter {self.delimiter!r} is also the quote or escape: they must differ")
        return self

    @model_validator(mode="after")
    def _has_one_place(self) -> TableMapping:
        is_jdbc = self.format == "jdbc"
        if is_jdbc != (self.database is not None) or is_jdbc == bool(self.path):
            raise ValueError("format jdbc takes 'database' and no 'path'; the other formats take 'path' alone")
        return self

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return self.path if self.database is None else self.database.place


class CompleteJourneySource(Frozen):
    """The embedded real data; ``path`` overrides the folder of the installed package."""

    kind: Literal["complete_journey"]
    path: str | None = None
    time_zone: Zone = "America/New_York"
    household_limit: int | None = Field(default=None, gt=0, description="Only the first households by hash")


class FilesSource(Frozen):
    """A retailer's own files. Only ``order_lines`` is required."""

    kind: Literal["files"]
    name: str = Field(
        default="files",
        pattern=r"^\S(.*\S)?$",
        description="Which retailer; unless said, the name of the settings file that sets source.kind",
    )
    time_zone: Zone
    tables: dict[str, TableMapping]

    @model_validator(mode="after")
    def _tables_fit_contracts(self) -> FilesSource:
        faults = [fault for item in self.tables.items() for fault in mapping_faults(*item)]
        if "order_lines" not in self.tables:
            faults.insert(0, "tables.order_lines is required: it is the one table nothing works without")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class SyntheticSource(Frozen):
    """A simulated retailer whose true promotion effects are known. Figures from it are synthetic."""

    kind: Literal["synthetic"]
    time_zone: Zone = "UTC"
    customers: int = Field(default=2000, gt=0)
    products: int = Field(default=2000, ge=20)
    categories: int = Field(default=40, ge=2)
    stores: int = Field(default=20, ge=1)
    weeks: int = Field(default=30, ge=8, le=1000)
    first_date: date = date(2017, 1, 2)
    baskets_per_week: float = Field(default=1.2, gt=0, le=20)
    lines_per_basket: float = Field(default=8.0, gt=0, le=100)
    campaign_week: int = Field(default=24, ge=1, description="From 0: the randomised campaign starts in it")
    treated_rate: float = Field(default=0.5, gt=0, lt=1)
    seed: int = 7

    @model_validator(mode="after")
    def _calendar_holds_together(self) -> SyntheticSource:
        if self.first_date.weekday() != 0:
            raise ValueError(f"first_date {self.first_date} is no Monday: weeks start on Mondays")
        if self.campaign_week >= self.weeks:
            raise ValueError(f"campaign_week {self.campaign_week} must lie within the {self.weeks} weeks (from 0)")
        if self.products < self.categories:
            raise ValueError(f"{self.products} products cannot fill {self.categories} categories")
        return self


SourceSettings = Annotated[CompleteJourneySource | FilesSource | SyntheticSource, Field(discriminator="kind")]


def source_name(source: CompleteJourneySource | FilesSource | SyntheticSource) -> str:
    """What makes a source that source, whatever else is corrected or added: a warehouse holds only one."""
    return f"{source.kind} {source.name}" if isinstance(source, FilesSource) else source.kind


def mapping_faults(entity: str, mapping: TableMapping) -> list[str]:
    """Say in what a mapping does not fit the table it is for.

    Args:
        entity: Name under ``tables``.
        mapping: Its mapping.

    Returns:
        One sentence per fault, each naming the table and the column; empty when the mapping fits.
    """
    contracts = {contract.entity: contract for contract in SILVER}
    if entity not in contracts:
        return [f"tables.{entity}: there is no such table; there are {', '.join(sorted(contracts))}"]
    contract = contracts[entity]
    received = {column.name: column.dtype for column in received_columns(contract)}
    where = f"tables.{entity}.columns"
    faults = []
    for name, column in mapping.columns.items():
        if name in received:
            if column.constant is not None and not _constant_fits(column, received[name]):
                kind = received[name].simpleString()
                faults.append(f"{where}.{name}: the constant {column.constant!r} is no {kind}")
        elif name in contract.column_names:
            faults.append(f"{where}.{name}: ingest computes this column; leave it out")
        else:
            faults.append(f"{where}.{name}: {contract.name} has no such column")
    given = {*mapping.columns, *FILLED_BY_INGEST.get(entity, ())}
    missing = [name for name in received if name in contract.required_columns and name not in given]
    if mapping.format in _UNNUMBERED and entity == "order_lines" and "line_id" not in mapping.columns:
        faults.append(f"{where}.line_id is required of {_UNNUMBERED[mapping.format]}")
    return faults + [f"{where}.{name} is required and not mapped" for name in missing]


def received_columns(silver: TableContract) -> tuple[Column, ...]:
    """Columns of a silver table that a source supplies: neither computed by ingest nor lineage."""
    return tuple(column for column in silver.columns if not column.derived and column not in LINEAGE)


def _constant_fits(column: ColumnMapping, dtype: T.DataType) -> bool:
    text = str(column.constant).strip()
    try:
        if isinstance(dtype, T.NumericType):
            return Decimal(text).is_finite()
        if isinstance(dtype, (T.DateType, T.TimestampType)) and column.format is None:
            return bool(re.fullmatch(r"\d{4}-\d{2}-\d{2}([T ].*)?", text) and date.fromisoformat(text[:10]))
    except (InvalidOperation, ValueError):
        return False
    return not isinstance(dtype, T.BooleanType) or text.lower() in TRUTHS + FALSEHOODS

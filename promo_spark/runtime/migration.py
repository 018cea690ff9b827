"""Bring a table that was made under an earlier version of its contract up to date, where its rows allow it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations

from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from promo_spark.contracts.sql_text import literal, quoted
from promo_spark.contracts.table import Column, TableContract
from promo_spark.runtime.conflicts import recomputed
from promo_spark.runtime.delta_log import stored_schema
from promo_spark.runtime.places import sql_name
from promo_spark.runtime.table_forms import (
    CONTRACT_PROPERTY,
    FORM_PROPERTY,
    form_fingerprint,
    own_properties,
)

_WHOLE = {"tinyint": 3, "smallint": 5, "int": 10}
_WIDER = {
    "tinyint": {"smallint", "int", "bigint", "double"},
    "smallint": {"int", "bigint", "double"},
    "int": {"bigint", "double"},
    "float": {"double"},
    "date": {"timestamp_ntz"},
}
_MODES = ("dated", "merged", "appended")
_KEY_COLUMNS = 5
_CANDIDATES = 10


@dataclass(frozen=True)
class Change:
    """One step of a migration, in words and as statements that take ``{table}``."""

    words: str
    statements: tuple[str, ...]


@dataclass(frozen=True)
class Migration:
    """What a stored table lacks of its contract, and what stands in the way."""

    contract: TableContract
    path: str
    changes: tuple[Change, ...]
    obstacles: tuple[str, ...]

    @property
    def is_needed(self) -> bool:
        """Whether the table is another than its contract says."""
        return bool(self.changes or self.obstacles)


def plan_migration(spark: SparkSession, contract: TableContract, path: str) -> Migration:
    """Compare a stored table with its contract; nothing is changed."""
    detail = DeltaTable.forPath(spark, path).detail().select("properties", "partitionColumns").collect()[0]
    stored = {field.name: field for field in stored_schema(spark, path)}
    obstacles = list(_other_form(contract, stored, detail.properties, detail.partitionColumns))
    changes: list[Change] = []
    for before, column in zip([None, *contract.columns], contract.columns, strict=False):
        field = stored.get(column.name)
        if field is None:
            obstacles += _not_addable(contract, column)
            changes.append(_addition(column, before))
            continue
        changes += _alterations(contract, column, field)
        if not _is_same_or_wider(field.dataType.simpleString(), column.dtype.simpleString()):
            is_now = f"the contract says {column.dtype.simpleString()}"
            obstacles.append(f"column {column.name} is {field.dataType.simpleString()}, {is_now}")
    gone = [name for name in stored if name not in contract.column_names]
    obstacles += [f"column {name} is stored, and no longer in the contract" for name in gone]
    wanted = own_properties(contract)
    if any(detail.properties.get(name) != value for name, value in wanted.items()):
        pairs = ", ".join(f"'{name}' = {literal(value)}" for name, value in wanted.items())
        words = f"record the contract {wanted[CONTRACT_PROPERTY]}"
        changes.append(Change(words, (f"ALTER TABLE {{table}} SET TBLPROPERTIES ({pairs})",)))
    return Migration(contract, path, tuple(changes), tuple(obstacles))


def migrate(spark: SparkSession, migration: Migration) -> None:
    """Carry out a migration without obstacles. The contract is recorded last: after a crash it is done again.

    Raises:
        ConflictError: Another run wrote the table again and again.
    """
    table = sql_name(migration.path)
    for change in migration.changes:
        for statement in change.statements:
            text = statement.replace("{table}", table)
            recomputed(partial(spark.sql, text), table=migration.contract.name, path=migration.path)


def _addition(column: Column, before: Column | None) -> Change:
    place = "FIRST" if before is None else f"AFTER {quoted(before.name)}"
    declared = f"{quoted(column.name)} {column.dtype.simpleString()} COMMENT {literal(column.comment)} {place}"
    return Change(
        f"add column {column.name} ({column.dtype.simpleString()}), NULL in every row it has",
        (f"ALTER TABLE {{table}} ADD COLUMNS ({declared})",),
    )


def _not_addable(contract: TableContract, column: Column) -> list[str]:
    if column.name in contract.required_columns:
        return [f"column {column.name} is new and required, and the rows that are there have no value for it"]
    return []


def _alterations(contract: TableContract, column: Column, field: T.StructField) -> Iterator[Change]:
    name, was, now = quoted(column.name), field.dataType.simpleString(), column.dtype.simpleString()
    if was != now and _is_same_or_wider(was, now):
        yield Change(
            f"widen column {column.name} from {was} to {now}",
            (
                "ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')",
                f"ALTER TABLE {{table}} ALTER COLUMN {name} TYPE {now}",
            ),
        )
    if not field.nullable and column.name not in contract.required_columns:
        yield Change(f"let column {column.name} be NULL", (f"ALTER TABLE {{table}} ALTER COLUMN {name} DROP NOT NULL",))
    if field.metadata.get("comment") != column.comment:
        comment = f"ALTER TABLE {{table}} ALTER COLUMN {name} COMMENT {literal(column.comment)}"
        yield Change(f"describe column {column.name} anew", (comment,))


def _other_form(
    contract: TableContract,
    stored: Mapping[str, T.StructField],
    properties: Mapping[str, str],
    partitions: Sequence[str],
) -> Iterator[str]:
    """What decides how rows are written, and no statement can change afterwards."""
    form = _form_of(contract, stored, properties, partitions)
    if form is None:
        yield f"its key and mode are not known (property {CONTRACT_PROPERTY}): it was made otherwise"
        return
    key, mode = form
    if list(key) != list(contract.key):
        yield f"its key is {', '.join(key)}, the contract says {', '.join(contract.key)}"
    if mode != contract.mode:
        yield f"it is {mode}, the contract says {contract.mode}"
    if list(partitions) != list(contract.partition_by):
        said = ", ".join(contract.partition_by) or "nothing"
        yield f"it is partitioned by {', '.join(partitions) or 'nothing'}, the contract says {said}"


def _form_of(
    contract: TableContract,
    stored: Mapping[str, T.StructField],
    properties: Mapping[str, str],
    partitions: Sequence[str],
) -> tuple[tuple[str, ...], str] | None:
    """Key and mode the table was made with: recorded, or found by trying what gives the fingerprint it bears."""
    if FORM_PROPERTY in properties:
        form = json.loads(properties[FORM_PROPERTY])
        return tuple(form["key"]), form["mode"]
    columns = [(field.name, field.dataType.simpleString()) for field in stored.values()]
    required = [field.name for field in stored.values() if not field.nullable][:_CANDIDATES]
    lengths = range(1, min(_KEY_COLUMNS, len(required)) + 1)
    keys = [contract.key, *(key for length in lengths for key in permutations(required, length))]
    for key in keys:
        for mode in (contract.mode, *_MODES):
            made = form_fingerprint(contract.name, key, mode, partitions, columns)
            if made == properties.get(CONTRACT_PROPERTY):
                return tuple(key), mode
    return None


def _is_same_or_wider(was: str, now: str) -> bool:
    """Whether Delta can widen a type to another in place (Delta Lake, "Type widening")."""
    if was == now or now in _WIDER.get(was, ()):
        return True
    old, new = _decimal_digits(was), _decimal_digits(now)
    return old is not None and new is not None and now.startswith("decimal") and old[0] <= new[0] and old[1] <= new[1]


def _decimal_digits(dtype: str) -> tuple[int, int] | None:
    """Digits before and after the point of a decimal, or of a whole number."""
    if dtype in _WHOLE:
        return _WHOLE[dtype], 0
    if not dtype.startswith("decimal("):
        return None
    precision, scale = (int(part) for part in dtype.removeprefix("decimal(").removesuffix(")").split(","))
    return precision - scale, scale

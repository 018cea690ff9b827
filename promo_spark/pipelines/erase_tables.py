"""How each kind of table is led back to the customers it holds."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.identity import ERASED, IDENTITY_CUSTOMERS, REJECTED_RAW
from promo_spark.contracts.records import RAW_CUSTOMER_ID
from promo_spark.privacy.requests import mentions
from promo_spark.runtime.sweep import StoredTable, change_values, empty_table, erase_rows, rows_of

_CUSTOMER = "customer_id"
_LINEAGE = ("source_file", "source_ordinal", "ingest_sequence")
_RECORD = ("entity", "source_file_hash", "source_ordinal")
_BRONZE = "bronze."


def in_safe_order(tables: Iterable[StoredTable]) -> list[StoredTable]:
    """What others are found by comes after them: refusals, then all else, bronze, and identities last."""

    def place(table: StoredTable) -> int:
        if table.is_quarantine or table.name == REJECTED_RAW.name:
            return 0
        if table.name == IDENTITY_CUSTOMERS.name:
            return 3
        return 2 if table.name.startswith(_BRONZE) else 1

    return sorted(tables, key=lambda table: (place(table), table.name))


def is_found(spark: SparkSession, tables: Iterable[StoredTable], subjects: DataFrame) -> bool:
    """Whether any table still names one of the customers."""
    for table in tables:
        if table.name == ERASED.name or not table.is_personal or table.is_quarantine:
            continue
        rows = rows_of(spark, table.path)
        named = dict.fromkeys(table.pseudonym_columns, _CUSTOMER)
        if table.name == IDENTITY_CUSTOMERS.name:
            named = {RAW_CUSTOMER_ID: RAW_CUSTOMER_ID}
        for column, key in named.items():
            keys = subjects.select(F.col(key).alias(column)).distinct()
            if not rows.join(keys, column, "left_semi").isEmpty():
                return True
    return False


def erase_table(spark: SparkSession, table: StoredTable, tables: list[StoredTable], subjects: DataFrame) -> int:
    """Erase the customers' rows from one table.

    Args:
        spark: Session.
        table: The table.
        tables: All there are.
        subjects: Raw ids with their pseudonyms.

    Returns:
        How many rows went.
    """
    bronze = [other for other in tables if other.name.startswith(_BRONZE) and _CUSTOMER in other.columns]
    if table.is_quarantine:
        return _erase_refusals(spark, table, bronze, subjects)
    if table.name == REJECTED_RAW.name:
        return _erase_raw_texts(spark, table, bronze, subjects)
    tokens = subjects.select(_CUSTOMER).distinct()
    return sum(erase_rows(spark, table.path, tokens, {column: _CUSTOMER}) for column in table.pseudonym_columns)


def _erase_refusals(spark: SparkSession, table: StoredTable, bronze: list[StoredTable], subjects: DataFrame) -> int:
    """Refusals name nobody: those of ingest are known by the record they were, those of other stages go as a whole."""
    entity = table.name.partition(".")[2].removesuffix("_rejected")
    received = next((other for other in bronze if other.name == f"{_BRONZE}{entity}"), None)
    if received is None or not set(_LINEAGE) <= set(table.columns):
        return empty_table(spark, table.path)
    return erase_rows(spark, table.path, _own(spark, received, subjects, _LINEAGE), {name: name for name in _LINEAGE})


def _erase_raw_texts(spark: SparkSession, table: StoredTable, bronze: list[StoredTable], subjects: DataFrame) -> int:
    """Texts of records that are theirs, and of records that are nobody's but hold an id of theirs as a word."""
    if not bronze:
        return 0
    on = {name: name for name in _RECORD}
    own = [_of_entity(_own(spark, other, subjects, _RECORD[1:]), other) for other in bronze]
    count = erase_rows(spark, table.path, reduce(DataFrame.union, own), on)
    named = [
        _of_entity(rows_of(spark, other.path).where(F.col(_CUSTOMER).isNotNull()).select(*_RECORD[1:]), other)
        for other in bronze
    ]
    ids = subjects.select(RAW_CUSTOMER_ID).distinct()
    telling = mentions(texts=rows_of(spark, table.path), ids=ids).select(*_RECORD)
    nobodys = telling.join(reduce(DataFrame.union, named), list(_RECORD), "left_anti").distinct().localCheckpoint()
    return count + change_values(spark, table.path, nobodys, on, {"raw_text": "CAST(NULL AS STRING)"})


def _own(spark: SparkSession, received: StoredTable, subjects: DataFrame, columns: tuple[str, ...]) -> DataFrame:
    tokens = subjects.select(_CUSTOMER).distinct()
    return rows_of(spark, received.path).join(tokens, _CUSTOMER, "left_semi").select(*columns)


def _of_entity(records: DataFrame, table: StoredTable) -> DataFrame:
    entity = F.lit(table.name.removeprefix(_BRONZE)).alias(_RECORD[0])
    return records.select(entity, *_RECORD[1:])

"""Read a database's table as records: whole, or the rows that are beyond what was read before.

What a file is to other sources, one read is here. A read beyond a watermark is named for the values between which
it lies, ``sales.lines (17, 4211]``; its rows come in once, for the next read begins where the newest that bronze
holds ends. A read of a whole table is known by what it holds. A record's place in its read is the value of its
key, where that is one whole number, and else a hash of the key: either stays the same wherever the row comes from.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.database_settings import DRIVERS, DatabaseTable
from promo_spark.contracts.records import MALFORMED, ORIGIN, RAW_TEXT, RECORD
from promo_spark.contracts.sql_text import quoted
from promo_spark.errors import SettingsError, SourceError
from promo_spark.runtime.input_headers import check_columns

_READ = re.compile(r"^(?P<table>.+) \((?P<low>[^,\]]*), (?P<high>[^\]]+)\]$")
_START = "start"
_POSITIVE = 0x7FFF_FFFF_FFFF_FFFF
_WATERMARKS = (T.IntegralType, T.DateType, T.TimestampType, T.TimestampNTZType)
_SHOWN = 300
_IDENTIFIERS = {"postgresql": '"{}"', "mysql": "`{}`", "mariadb": "`{}`"}
_IN_UTC = {
    "postgresql": "SET TIME ZONE 'UTC'",
    "mysql": "SET time_zone = '+00:00'",
    "mariadb": "SET time_zone = '+00:00'",
}


@dataclass(frozen=True)
class DatabaseRead:
    """New rows of a table.

    Attributes:
        records: A frame of records, as ``promo_spark.contracts.records`` describes it; kept, so that the database
            is asked once and every step sees the same rows.
        name: Of the read, in place of a file's.
        count: Its rows.
    """

    records: DataFrame
    name: str
    count: int


def read_new_rows(
    spark: SparkSession, table: DatabaseTable, *, needed: Collection[str], how: str, held: Collection[tuple[str, str]]
) -> DatabaseRead | None:
    """Read the rows that are new; None where there are none.

    Args:
        spark: Session.
        table: The table.
        needed: Its columns that the mapping uses.
        how: Hash of how its rows are read: another mapping reads all of them again.
        held: Name and hash of each read that was taken in.

    Raises:
        SettingsError: A variable with the user's name or password is not set.
        SourceError: The database cannot be reached, the table cannot be read or lacks a column, the watermark
            cannot order its rows, or some rows have none.
    """
    with _database_faults(table):
        rows = _open(spark, table)
        check_columns(table.place, rows.columns, [*needed, *table.columns])
        low = _newest_read(table, how, held)
        wanted = list(dict.fromkeys([*needed, *table.columns]))
        if table.watermark is not None:
            _check_watermark(rows, table, table.watermark)
            rows = rows if low is None else _open(spark, table, _start(rows, low, table))
        new = rows.select(*(F.col(quoted(name)) for name in wanted))
        # The database may change between two reads: what was read once is what every step gets.
        kept = new.persist(StorageLevel.MEMORY_AND_DISK)
        count, high, is_newer, content = kept.agg(*_facts(kept, table, low)).collect()[0]
        if table.watermark is None:
            name, digest = table.table, _hash(table.table, str(content), str(count), how)
        else:
            name = f"{table.table} ({low or _START}, {high}]"
            digest = _hash(name, how)
        if not count or not is_newer or (name, digest) in held:
            kept.unpersist()
            return None
        return DatabaseRead(_as_records(kept, table, list(needed), name, digest), name, int(count))


def _open(spark: SparkSession, table: DatabaseTable, beyond: str | None = None) -> DataFrame:
    """The table, or its rows whose watermark is beyond a value, told as SQL tells it."""
    mark = _IDENTIFIERS[table.kind].format(table.watermark)
    # Spark itself would write a time without quotes, or for the clock of another zone.
    asked = table.table if beyond is None else f"(SELECT * FROM {table.table} WHERE {mark} > {beyond}) new_rows"  # noqa: S608  (a checked name, and a value that the database gave)
    reader = spark.read.format("jdbc").option("url", table.url).option("dbtable", asked)
    reader = reader.option("sessionInitStatement", _IN_UTC[table.kind])
    # Named, because a driver that came with --jars is not found by the address alone.
    reader = reader.option("driver", DRIVERS[table.kind])
    # A clock without a zone stays one: the mapping says whose clock it is.
    reader = reader.option("preferTimestampNTZ", True).option("fetchsize", table.fetch_rows)
    for option, value in _credentials(table).items():
        reader = reader.option(option, value)
    if table.parallel is not None:
        reader = reader.option("partitionColumn", table.parallel.column).option("numPartitions", table.parallel.reads)
        reader = reader.option("lowerBound", table.parallel.lower).option("upperBound", table.parallel.upper)
    return reader.load()


def _credentials(table: DatabaseTable) -> dict[str, str]:
    """User and password from the environment: no settings, log, plan or tracked run ever holds them."""
    names = {"user": table.user_variable, "password": table.password_variable}
    missing = [name for name in names.values() if name is not None and name not in os.environ]
    if missing:
        raise SettingsError(
            f"{table.place}: the environment variable {' and '.join(missing)} is not set. Set it to what the database "
            "asks for, or name others (user_variable, password_variable; null where it asks for none)."
        )
    return {option: os.environ[name] for option, name in names.items() if name is not None}


def _newest_read(table: DatabaseTable, how: str, held: Collection[tuple[str, str]]) -> str | None:
    """Where the newest read of the table ends; only reads of the same mapping count."""
    if table.watermark is None:
        return None
    own = [(name, _READ.match(name)) for name, digest in held if _hash(name, how) == digest]
    reads = {match["low"]: match["high"] for _, match in own if match is not None and match["table"] == table.table}
    end: str | None = None
    while (end or _START) in reads:  # each begins where the one before ends
        end = reads[end or _START]
    return end


def _check_watermark(rows: DataFrame, table: DatabaseTable, name: str) -> None:
    mark, dtype = F.col(quoted(name)), rows.schema[name].dataType
    is_whole = isinstance(dtype, T.DecimalType) and dtype.scale == 0
    if '"' in name or "`" in name or not (is_whole or isinstance(dtype, _WATERMARKS)):
        raise SourceError(
            f"{table.place}: {name} is {dtype.simpleString()} and cannot tell which rows are new. "
            "Set watermark to a whole number, a date or a time that later rows have more of, or leave it out."
        )
    if isinstance(dtype, T.DateType) and not table.overlap:
        raise SourceError(
            f"{table.place}: {name} is a date, and rows of a day go on coming after the first of them was read. "
            "Set overlap to at least 1."
        )
    if not rows.where(mark.isNull()).select(mark).isEmpty():
        raise SourceError(
            f"{table.place}: rows without {name} would never be read. Fill it in every row, read a view "
            "that does, or leave the watermark out."
        )


def _start(rows: DataFrame, low: str, table: DatabaseTable) -> str:
    """The value beyond which rows are read, as SQL writes it: the watermark less the overlap."""
    dtype = rows.schema[str(table.watermark)].dataType
    value = F.lit(low).cast(dtype)
    is_number = isinstance(dtype, T.IntegralType | T.DecimalType)
    if is_number:
        below = value - F.lit(table.overlap)
    elif isinstance(dtype, T.DateType):
        below = F.date_sub(value, table.overlap)
    else:
        below = value - F.make_interval(secs=F.lit(table.overlap))
    text = str(rows.sparkSession.range(1).select(below.cast("string")).collect()[0][0])
    return text if is_number else f"'{text}'"


def _facts(rows: DataFrame, table: DatabaseTable, low: str | None) -> list[Expression]:
    """Rows, their highest watermark as text, whether it is beyond the last, and a hash of what whole tables hold."""
    if table.watermark is not None:
        high = F.max(quoted(table.watermark))
        last = F.lit(low).cast(rows.schema[table.watermark].dataType)
        return [F.count("*"), high.cast("string"), F.coalesce(high > last, F.lit(True)), F.lit(None)]
    row = F.struct(*(F.col(quoted(name)) for name in rows.columns))
    content = F.xxhash64(F.to_json(row, {"ignoreNullFields": "false"}))
    return [F.count("*"), F.lit(None), F.lit(True), F.sum(content.cast("decimal(38,0)"))]


def _as_records(rows: DataFrame, table: DatabaseTable, needed: list[str], name: str, digest: str) -> DataFrame:
    row = F.struct(*(F.col(quoted(column)) for column in needed))
    origin = F.lit(name), F.lit(digest), _ordinal(rows, table)
    named = [value.alias(column) for value, column in zip(origin, ORIGIN, strict=True)]
    return rows.select(row.alias(RECORD), F.to_json(row).alias(RAW_TEXT), F.lit(False).alias(MALFORMED), *named)


def _ordinal(rows: DataFrame, table: DatabaseTable) -> Expression:
    key = [F.col(quoted(column)) for column in table.key]
    hashed = F.xxhash64(*(column.cast("string") for column in key)).bitwiseAND(F.lit(_POSITIVE))
    if len(key) == 1 and isinstance(rows.schema[table.key[0]].dataType, T.IntegralType):
        return F.coalesce(key[0].cast("bigint"), hashed)
    return hashed


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@contextmanager
def _database_faults(table: DatabaseTable) -> Iterator[None]:
    """Turn what a database's driver says into one message, without the user's name and password."""
    try:
        yield
    except (Py4JJavaError, PySparkException) as fault:
        text = str(fault.java_exception) if isinstance(fault, Py4JJavaError) else str(fault)
        if DRIVERS[table.kind] in text and "PSQLException" not in text:
            raise SourceError(
                f"{table.place}: there is no driver ({DRIVERS[table.kind]}). Give spark-submit.sh its jar, "
                "for PostgreSQL with --packages org.postgresql:postgresql:42.7.4, or with --jars."
            ) from None
        causes = re.findall(r"(?:SQL\w*Exception|PSQLException): ([^\n]+)", text)
        said = (causes[-1] if causes else text.strip().splitlines()[0])[:_SHOWN]
        for secret in _credentials(table).values():
            said = said.replace(secret, "***") if secret else said
        raise SourceError(f"{table.place}: cannot be read ({said}). Check address, table and rights.") from None

"""Reading values: every type, every fault, nothing silently NULL, nothing that raises."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.silver import ASSIGNMENTS, CUSTOMERS, ORDER_LINES, PROMOTIONS
from promo_spark.contracts.source_settings import TableMapping
from promo_spark.contracts.table import TableContract
from promo_spark.sources.mapping import map_records

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"


def records(spark: SparkSession, values: list[Any], dtype: str = "string") -> DataFrame:
    """Records of one column, ``v``."""
    rows = [(place, value) for place, value in enumerate(values, 1)]
    return spark.createDataFrame(rows, f"source_ordinal long, v {dtype}").select(
        F.struct("v").alias("record"),
        F.lit("raw").alias("raw_text"),
        F.lit(False).alias("is_malformed"),
        F.lit("a.csv").alias("source_file"),
        F.lit("0" * 64).alias("source_file_hash"),
        "source_ordinal",
    )


def mapped(
    frame: DataFrame, silver: TableContract, column: str, how: dict[str, Any], zone: str = "UTC", **table: object
) -> DataFrame:
    mapping = TableMapping.model_validate(
        {"format": "csv", "path": "a.csv", "columns": {column: {"from": "v", **how}}, **table}
    )
    return map_records(records=frame, mapping=mapping, silver=silver, time_zone=zone).orderBy("source_ordinal")


def read(
    spark: SparkSession,
    silver: TableContract,
    column: str,
    how: dict[str, Any],
    values: list[Any],
    *,
    dtype: str = "string",
    zone: str = "UTC",
) -> list[tuple[Any, tuple[str, ...]]]:
    frame = mapped(records(spark, values, dtype), silver, column, how, zone)
    if dict(frame.dtypes)[column] == "timestamp":
        # The Python side would show it in the machine's own zone.
        frame = frame.withColumn(column, F.date_format(column, "yyyy-MM-dd HH:mm:ss"))
    return [(row[column], tuple(row["faults"])) for row in frame.select(column, "faults").collect()]


UNREAD = "{}: cannot read '{}' from its text"
AMOUNT_UNREAD = (UNREAD.format("sales_amount", "decimal(18,2)"),)
TOO_FINE = ("sales_amount: more than 2 decimals",)


@pytest.mark.parametrize(
    ("how", "given", "amount", "faults"),
    [
        ({}, " 12.50 ", "12.50", ()),
        ({}, "-3", "-3.00", ()),
        ({}, "1e3", "1000.00", ()),
        ({}, "", None, ()),
        ({}, None, None, ()),
        ({}, "n/a", None, AMOUNT_UNREAD),
        ({}, "1,234.50", None, AMOUNT_UNREAD),
        ({}, "12.345", None, TOO_FINE),
        ({}, "12.3400", "12.34", ()),
        ({}, "99999999999999999.99", None, AMOUNT_UNREAD),
        ({}, "9" * 60, None, AMOUNT_UNREAD),
        ({}, "NaN", None, AMOUNT_UNREAD),
        ({"round": True}, "12.345", "12.35", ()),
        ({"round": True}, "-12.345", "-12.35", ()),
        ({"decimal_separator": ","}, "12,50", "12.50", ()),
        ({"decimal_separator": ","}, "1.234,50", None, AMOUNT_UNREAD),
        ({"multiply": 0.01}, "1999", "19.99", ()),
        ({"multiply": -1}, "5.00", "-5.00", ()),
        ({"multiply": 1e30}, "1e17", None, AMOUNT_UNREAD),
        ({"null_values": ["-", "NULL"]}, " - ", None, ()),
        ({"null_values": ["-"]}, "", None, AMOUNT_UNREAD),
        ({"values": {"free": "0"}}, "free", "0.00", ()),
        ({"values": {"free": "0"}}, "1.10", "1.10", ()),
    ],
)
def test_amounts_from_text(
    spark: SparkSession, how: dict[str, Any], given: str | None, amount: str | None, faults: tuple[str, ...]
) -> None:
    expected = None if amount is None else Decimal(amount)
    assert read(spark, ORDER_LINES, "sales_amount", how, [given]) == [(expected, faults)]


@pytest.mark.parametrize(
    ("dtype", "given", "amount", "faults"),
    [
        ("double", 3.14, "3.14", ()),
        ("double", 0.1 + 0.2, "0.30", ()),
        ("double", 3.141, None, TOO_FINE),
        ("double", float("nan"), None, AMOUNT_UNREAD),
        ("double", float("inf"), None, AMOUNT_UNREAD),
        ("double", 1e17, None, AMOUNT_UNREAD),
        ("float", 2.5, "2.50", ()),
        ("int", 7, "7.00", ()),
        ("bigint", 2**62, None, AMOUNT_UNREAD),
        ("decimal(10,4)", Decimal("1.2300"), "1.23", ()),
        ("decimal(10,4)", Decimal("1.2345"), None, TOO_FINE),
        ("boolean", True, None, AMOUNT_UNREAD),
    ],
)
def test_amounts_from_numbers(
    spark: SparkSession, dtype: str, given: object, amount: str | None, faults: tuple[str, ...]
) -> None:
    expected = None if amount is None else Decimal(amount)
    assert read(spark, ORDER_LINES, "sales_amount", {}, [given], dtype=dtype) == [(expected, faults)]


@pytest.mark.parametrize(
    ("how", "zone", "given", "instant"),
    [
        ({}, "UTC", "2024-01-31 17:45:00", "2024-01-31 17:45:00"),
        ({}, BERLIN, "2024-01-31 17:45:00", "2024-01-31 16:45:00"),
        ({}, BERLIN, "2024-07-31T17:45:00", "2024-07-31 15:45:00"),
        ({}, BERLIN, "2024-07-31T17:45:00Z", "2024-07-31 17:45:00"),
        ({}, BERLIN, "2024-07-31T17:45:00+05:30", "2024-07-31 12:15:00"),
        ({}, BERLIN, "2024-07-31", "2024-07-30 22:00:00"),
        ({"zone": NEW_YORK}, BERLIN, "2024-01-31 17:45:00", "2024-01-31 22:45:00"),
        ({"format": "dd/MM/yyyy HH:mm"}, "UTC", "03/02/2024 17:45", "2024-02-03 17:45:00"),
        ({"format": "MM/dd/yyyy hh:mm a"}, "UTC", "02/03/2024 05:45 PM", "2024-02-03 17:45:00"),
        ({"format": "yyyy-MM-dd'T'HH:mmXXX"}, BERLIN, "2024-02-03T17:45+02:00", "2024-02-03 15:45:00"),
        ({"format": "epoch_seconds"}, BERLIN, "1700000000", "2023-11-14 22:13:20"),
        ({"format": "epoch_milliseconds"}, BERLIN, "1700000000123", "2023-11-14 22:13:20"),
        # Summer time began in New York at 02:00 on 12 March 2017: 02:30 did not exist and moves on to 03:30.
        ({}, NEW_YORK, "2017-03-12 02:30:00", "2017-03-12 07:30:00"),
        # It ended at 02:00 on 5 November 2017: 01:30 came twice, the first one is meant.
        ({}, NEW_YORK, "2017-11-05 01:30:00", "2017-11-05 05:30:00"),
    ],
)
def test_instants(spark: SparkSession, how: dict[str, Any], zone: str, given: str, instant: str) -> None:
    assert read(spark, ORDER_LINES, "ordered_at", how, [given], zone=zone) == [(instant, ())]


@pytest.mark.parametrize(
    ("how", "given"),
    [
        ({}, "17:45"),
        ({}, "2024"),
        ({}, "31/01/2024"),
        ({}, "2024-02-30 10:00:00"),
        ({"format": "dd/MM/yyyy HH:mm"}, "31/02/2024 10:00"),
        ({"format": "dd/MM/yyyy HH:mm"}, "3/2/2024 10:00"),
        ({"format": "dd/MM/yyyy HH:mm"}, "2024-02-03 10:00"),
        ({"format": "epoch_seconds"}, "yesterday"),
        ({"format": "epoch_seconds"}, "9" * 18),
    ],
)
def test_unreadable_instants(spark: SparkSession, how: dict[str, Any], given: str) -> None:
    assert read(spark, ORDER_LINES, "ordered_at", how, [given]) == [(None, (UNREAD.format("ordered_at", "timestamp"),))]


def test_instants_of_parquet_stay_unless_a_zone_says_they_are_clocks(spark: SparkSession) -> None:
    given = [datetime(2017, 3, 3, 0, 0, tzinfo=UTC)]
    assert read(spark, ASSIGNMENTS, "decided_at", {}, given, dtype="timestamp", zone=NEW_YORK) == [
        ("2017-03-03 00:00:00", ())
    ]
    clock = read(spark, ASSIGNMENTS, "decided_at", {"zone": NEW_YORK}, given, dtype="timestamp", zone=NEW_YORK)
    assert clock == [("2017-03-03 05:00:00", ())]
    naive = read(
        spark,
        ASSIGNMENTS,
        "decided_at",
        {},
        [datetime.fromisoformat("2017-03-03")],
        dtype="timestamp_ntz",
        zone=NEW_YORK,
    )
    assert naive == [("2017-03-03 05:00:00", ())]


@pytest.mark.parametrize(
    ("how", "dtype", "given", "day"),
    [
        ({}, "string", "2024-01-31", date(2024, 1, 31)),
        ({}, "date", date(2024, 1, 31), date(2024, 1, 31)),
        ({"format": "dd.MM.yyyy"}, "string", "31.01.2024", date(2024, 1, 31)),
        ({"format": "yyyyMMdd"}, "int", 20240131, date(2024, 1, 31)),
        # 03:00 UTC on 1 February is still 31 January in New York.
        ({}, "timestamp", datetime(2024, 2, 1, 3, 0, tzinfo=UTC), date(2024, 1, 31)),
        ({}, "string", "2024-02-01T03:00:00Z", date(2024, 1, 31)),
        ({"format": "yyyy-MM-dd HH:mm", "zone": "UTC"}, "string", "2024-02-01 03:00", date(2024, 1, 31)),
        ({"format": "yyyy-MM-dd HH:mm"}, "string", "2024-02-01 03:00", date(2024, 2, 1)),
        ({"zone": NEW_YORK}, "timestamp", datetime(2024, 2, 1, 0, 0, tzinfo=UTC), date(2024, 2, 1)),
    ],
)
def test_days_are_the_retailers_own(
    spark: SparkSession, how: dict[str, Any], dtype: str, given: object, day: date
) -> None:
    assert read(spark, PROMOTIONS, "start_date", how, [given], dtype=dtype, zone=NEW_YORK) == [(day, ())]


@pytest.mark.parametrize(("how", "given"), [({"format": "dd/MM/yyyy"}, "31/02/2024"), ({}, "2024-13-01"), ({}, "x")])
def test_unreadable_days(spark: SparkSession, how: dict[str, Any], given: str) -> None:
    assert read(spark, PROMOTIONS, "start_date", how, [given]) == [(None, (UNREAD.format("start_date", "date"),))]


def test_yes_and_no(spark: SparkSession) -> None:
    given = ["true", "No", "1", "0", "YES", "false", "", "maybe"]
    found = read(spark, CUSTOMERS, "has_marketing_consent", {}, given)
    unread = (UNREAD.format("has_marketing_consent", "boolean"),)
    assert [value for value, _ in found] == [True, False, True, False, True, False, None, None]
    assert [faults for _, faults in found] == [()] * 7 + [unread]


def test_doubles(spark: SparkSession) -> None:
    found = read(spark, PROMOTIONS, "depth_rate", {"multiply": 0.01}, ["25", "abc", "Infinity", "", "0"])
    unread = (UNREAD.format("depth_rate", "double"),)
    assert found == [(0.25, ()), (None, unread), (None, unread), (None, ()), (0.0, ())]


def test_ids_that_became_floating_are_ids_again(spark: SparkSession) -> None:
    assert read(spark, ORDER_LINES, "store_id", {}, [17.0, None, 17.5], dtype="double") == [
        ("17", ()),
        (None, ()),
        ("17.5", ()),
    ]
    assert read(spark, ORDER_LINES, "store_id", {"null_values": ["0"]}, [0, 31582], dtype="int") == [
        (None, ()),
        ("31582", ()),
    ]


def test_a_fault_never_shows_the_value(spark: SparkSession) -> None:
    frame = mapped(records(spark, ["anna@example.org"]), ORDER_LINES, "quantity", {})
    assert "anna" not in str(frame.select("faults").collect())


def test_constants(spark: SparkSession) -> None:
    mapping = TableMapping.model_validate(
        {
            "format": "csv",
            "path": "a",
            "columns": {"quantity": {"constant": 1}, "channel": {"constant": "web"}, "sales_amount": "v"},
        }
    )
    (row,) = map_records(records=records(spark, ["2"]), mapping=mapping, silver=ORDER_LINES, time_zone="UTC").collect()
    assert (row["quantity"], row["channel"], row["sales_amount"]) == (Decimal("1.000"), "web", Decimal("2.00"))
    assert row["store_id"] is None


@pytest.mark.parametrize(
    ("condition", "dtype", "given", "kept"),
    [
        ({"op": "=", "value": "N"}, "string", ["N", " N ", "Y", None], [1, 1, 0, 0]),
        ({"op": "!=", "value": "N"}, "string", ["N", "Y", None], [0, 1, 1]),
        ({"op": "in", "value": ["a", "b"]}, "string", ["a", "b", "c", None], [1, 1, 0, 0]),
        ({"op": "not_in", "value": ["a", "b"]}, "string", ["a", "c", None], [0, 1, 1]),
        ({"op": ">", "value": 9}, "string", ["10", "9", "x", None], [1, 0, 0, 0]),
        ({"op": "<=", "value": 2.5}, "double", [2.5, 2.6, None], [1, 0, 0]),
        ({"op": ">=", "value": "2024-01-02"}, "date", [date(2024, 1, 1), date(2024, 1, 2)], [0, 1]),
        ({"op": "is_null"}, "string", ["", None, "x"], [1, 1, 0]),
        ({"op": "is_not_null"}, "string", ["", None, "x"], [0, 0, 1]),
        ({"op": "=", "value": True}, "boolean", [True, False, None], [1, 0, 0]),
    ],
)
def test_filters_reject_and_say_so(
    spark: SparkSession, condition: dict[str, Any], dtype: str, given: list[Any], kept: list[int]
) -> None:
    where = [{"column": "v", **condition}]
    frame = mapped(records(spark, given, dtype), ORDER_LINES, "store_id", {}, where=where)
    faults = [row["faults"] for row in frame.collect()]
    assert [int(not fault) for fault in faults] == kept
    said = {fault for several in faults for fault in several}
    assert all(fault.startswith(f"excluded by the source's filter: v {condition['op']}") for fault in said)


def test_equal_lines_are_copies_only_where_the_settings_say_so(spark: SparkSession) -> None:
    frame = records(spark, ["a", "b", "a", "a"])
    legitimate = mapped(frame, ORDER_LINES, "store_id", {}).collect()
    assert all(row["faults"] == [] for row in legitimate)
    copies = mapped(frame, ORDER_LINES, "store_id", {}, equal_lines_are_copies=True).collect()
    assert [row["faults"] for row in copies] == [[], [], ["copy of an earlier record"], ["copy of an earlier record"]]


def test_no_value_of_a_malformed_record_is_trusted(spark: SparkSession) -> None:
    frame = records(spark, ["a", "b"]).withColumn("is_malformed", F.col("source_ordinal") == 2)
    good, bad = mapped(frame, ORDER_LINES, "store_id", {}, equal_lines_are_copies=True).collect()
    assert (good["store_id"], good["faults"]) == ("a", [])
    assert (bad["store_id"], bad["faults"], bad["raw_text"]) == (None, ["malformed record"], "raw")

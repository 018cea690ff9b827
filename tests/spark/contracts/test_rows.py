"""Rows of the driver as frames."""

from datetime import date, datetime
from decimal import Decimal

import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.rows import local_frame

SCHEMA = (
    "id string, amount decimal(6,2), day date, at timestamp, tags array<string>, means map<string,double>, "
    "pair struct<a:int,b:string>"
)
ROW = (
    "x",
    Decimal("1.50"),
    date(2024, 2, 29),
    datetime.fromisoformat("2024-02-29T23:30"),
    ["a", None],
    {"m": 0.5},
    {"a": 1},
)


def test_values_of_every_kind_arrive(spark: SparkSession) -> None:
    first, nothing = local_frame(spark, [ROW, (None,) * 7], SCHEMA).collect()
    assert first.asDict(recursive=True) == {
        **dict(zip(first.asDict(), ROW, strict=True)),
        "pair": {"a": 1, "b": None},
    }
    assert set(nothing) == {None}


def test_instants_are_utc_whatever_zone_they_are_told_in(spark: SparkSession) -> None:
    told = ("2024-01-01T12:00+00:00", "2024-01-01T12:00", "2024-01-01T13:00+01:00")
    frame = local_frame(spark, [(datetime.fromisoformat(text),) for text in told], "at timestamp")
    assert [str(row[0]) for row in frame.selectExpr("date_format(at, 'HH:mm')").collect()] == ["12:00"] * 3


def test_no_worker_is_asked_for_them(spark: SparkSession) -> None:
    plan = local_frame(spark, [("x",)], "id string")._jdf.queryExecution().optimizedPlan().toString()
    assert plan.startswith("LocalRelation")
    nothing = local_frame(spark, [], "id string")._jdf.queryExecution().optimizedPlan().toString()
    assert nothing.startswith("LocalRelation <empty>")


ONE = Decimal(1)


@pytest.mark.parametrize("rows", [[(ONE, ONE)], [(ONE,), (ONE, ONE)], [(Decimal("1.234"),)], [("no number",)]])
def test_what_does_not_fit_is_refused(spark: SparkSession, rows: list[tuple[object, ...]]) -> None:
    with pytest.raises((TypeError, ValueError)):
        local_frame(spark, rows, "amount decimal(6,2)")

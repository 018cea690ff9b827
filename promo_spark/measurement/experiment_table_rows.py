"""Rows of an experiment from any table that settings describe."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.experiment_settings import ExperimentTable
from promo_spark.contracts.experiments import ALL_SEGMENTS, EXPERIMENT_ROWS
from promo_spark.contracts.records import MALFORMED, RECORD
from promo_spark.contracts.step import produces

_VALUES = ("stratum", "segment", "cluster_id", "is_early", "is_missing", "covariates", "outcomes")


@produces(EXPERIMENT_ROWS)
def read_experiment_table(*, records: DataFrame, table: ExperimentTable, as_of_date: date) -> DataFrame:
    """Lay out a given table: one row per customer, whatever it was drawn into.

    Of several records of one customer the first by arm and values counts, and how many there are is told. What cannot
    be read as a number is missing. Records without customer or arm count as missing customers of their own.

    Args:
        records: The table's records (``promo_spark.contracts.records``).
        table: Which column is what.
        as_of_date: Of the analysis.

    Returns:
        measurement.experiment_rows; outcomes and covariates in the order in which settings name them.
    """
    outcomes = [_number(name) for name in table.outcomes.values()]
    covariates = [_number(name) for name in table.covariates]
    is_early = F.lit(False)
    if table.assigned_date and table.outcome_date:
        is_early = F.coalesce(_day(table.outcome_date) < _day(table.assigned_date), F.lit(False))
    is_missing = F.col(MALFORMED)
    for value in (*outcomes, *covariates):
        is_missing = is_missing | value.isNull() | F.isnan(value) | (F.abs(value) == float("inf"))
    named = records.select(
        F.coalesce(_text(table.customer), F.monotonically_increasing_id().cast("string")).alias("customer_id"),
        F.coalesce(_text(table.arm), F.lit("(unknown)")).alias("arm"),
        _label(table.stratum).alias("stratum"),
        _label(table.segment).alias("segment"),
        (_text(table.cluster) if table.cluster else F.lit(None).cast("string")).alias("cluster_id"),
        is_early.alias("is_early"),
        is_missing.alias("is_missing"),
        F.array(*(F.coalesce(value, F.lit(0.0)) for value in covariates)).cast("array<double>").alias("covariates"),
        F.array(*(F.coalesce(value, F.lit(0.0)) for value in outcomes)).alias("outcomes"),
    )
    first = F.min(F.struct("arm", *_VALUES)).alias("first")
    single = named.groupBy("customer_id").agg(
        first, F.count("*").alias("record_count"), F.count_distinct("arm").alias("arm_count")
    )
    return single.select(
        F.lit(table.name).alias("experiment"),
        "customer_id",
        F.lit(as_of_date).alias("as_of_date"),
        "first.arm",
        F.lit(None).cast("double").alias("propensity"),
        *(f"first.{name}" for name in _VALUES),
        "record_count",
        "arm_count",
    )


def _text(name: str) -> Expression:
    value = F.trim(F.col(RECORD).getField(name).cast("string"))
    return F.when(value != "", value)


def _number(name: str) -> Expression:
    return F.col(RECORD).getField(name).cast("string").try_cast("double")


def _day(name: str) -> Expression:
    return F.col(RECORD).getField(name).cast("string").try_cast("date")


def _label(name: str | None) -> Expression:
    return F.lit(ALL_SEGMENTS) if name is None else F.coalesce(_text(name), F.lit("(unknown)"))

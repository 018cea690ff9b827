"""The gate every row passes before it is stored: what breaks its contract is refused with the reasons."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.table import AS_OF_DATE, LINEAGE, TableContract, rejected_of

REASONS = "_reasons"
_KEY_HASH = "_key_hash"
_LINEAGE_NAMES = tuple(column.name for column in LINEAGE)


def judge_rows(frame: DataFrame, contract: TableContract) -> DataFrame:
    """Add the reasons for which each row breaks its contract; an empty array means none.

    Args:
        frame: Rows with at least the contract's columns; an array column ``faults`` joins the reasons.
        contract: What must hold.

    Returns:
        The contract's columns and ``_reasons`` (array of text), lazily.
    """
    broken = [(F.col(name).isNull(), f"{name} is missing") for name in contract.required_columns]
    broken += [(~F.coalesce(F.expr(check), F.lit(True)), f"not ({check})") for check in contract.checks]
    none = F.array().cast(T.ArrayType(T.StringType()))
    parts = [F.when(is_broken, F.array(F.lit(reason))).otherwise(none) for is_broken, reason in broken]
    conditions = [is_broken for is_broken, _ in broken]
    if "faults" in frame.columns and "faults" not in contract.column_names:
        parts.insert(0, F.col("faults"))
        conditions.append(F.size("faults") > 0)
    # Arrays are put together only for the few rows that need them: it costs more than all the checks.
    is_faulty = reduce(lambda one, other: one | other, conditions, F.lit(False))
    reasons = F.when(is_faulty, F.concat(none, *parts)).otherwise(none)
    return frame.select(*contract.column_names, reasons.alias(REASONS))


def repeated_keys(judged: DataFrame, contract: TableContract) -> DataFrame:
    """Find the 64-bit hashes of keys that sound rows share; a superset by hash collisions only.

    Grouping by one long keeps the aggregation hash-based and its shuffle small, however wide the key.
    """
    return (
        judged.where(F.size(REASONS) == 0)
        .groupBy(F.xxhash64(*contract.key).alias(_KEY_HASH))
        .count()
        .where("count > 1")
        .select(_KEY_HASH)
    )


def superseded_rows(judged: DataFrame, contract: TableContract, repeats: DataFrame) -> DataFrame:
    """Of the sound rows that share a key, those that give way to the newest load, or the first in its file.

    Args:
        judged: Rows of ``judge_rows`` with the lineage columns.
        contract: Contract of the table.
        repeats: Hashes of ``repeated_keys``, few.

    Returns:
        The rows that give way, with the reason ``duplicate key``.
    """
    hashed = judged.where(F.size(REASONS) == 0).withColumn(_KEY_HASH, F.xxhash64(*contract.key))
    contested = hashed.join(F.broadcast(repeats), _KEY_HASH, "left_semi").drop(_KEY_HASH)
    order = Window.partitionBy(*contract.key).orderBy(
        F.col("ingest_sequence").desc(), F.col("source_file").desc(), F.col("source_ordinal")
    )
    reason = F.array(F.lit(f"duplicate key ({', '.join(contract.key)})"))
    ranked = contested.withColumn("_place", F.row_number().over(order))
    return ranked.where("_place > 1").drop("_place").withColumn(REASONS, reason)


def without_rows(judged: DataFrame, refused: DataFrame) -> DataFrame:
    """The sound rows but for those refused, told apart by where they came from."""
    places = F.broadcast(refused.select(*_LINEAGE_NAMES))
    return judged.where(F.size(REASONS) == 0).join(places, list(_LINEAGE_NAMES), "left_anti")


def accepted_rows(judged: DataFrame, contract: TableContract) -> DataFrame:
    """Rows without a reason against them, in the contract's columns."""
    return judged.where(F.size(REASONS) == 0).select(*contract.column_names)


def rejected_rows(judged: DataFrame, contract: TableContract) -> DataFrame:
    """Rows refused, shaped for ``<table>_rejected``: reasons, and the row without its personal columns."""
    quarantine = rejected_of(contract)
    shown = [column.name for column in contract.columns if not column.personal and column.name not in _LINEAGE_NAMES]
    kept = [
        F.col(name)
        for name in quarantine.column_names
        if name == AS_OF_DATE or (name in _LINEAGE_NAMES and name in judged.columns)
    ]
    return judged.where(F.size(REASONS) > 0).select(
        *kept,
        F.sha2(F.to_json(F.struct(*contract.column_names)), 256).alias("row_hash"),
        F.col(REASONS).alias("reasons"),
        F.to_json(F.struct(*shown)).alias("row_json"),
    )

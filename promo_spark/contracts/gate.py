"""The gate every row passes before it is stored: what breaks its contract is refused with the reasons."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import numpy as np
import pyarrow as pa
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

    Each partition sorts its hashes as one block of numbers: a third of the CPU time that grouping takes,
    where nearly every key is its own group.

    Returns:
        One row per such hash, and one that is NULL if any row is faulty: of no rows at all, every row is clear.
    """
    hashes = judged.select(F.when(F.size(REASONS) == 0, F.xxhash64(*contract.key)).alias(_KEY_HASH))
    return hashes.repartition(_KEY_HASH).mapInArrow(_repeated_hashes, f"{_KEY_HASH} long")


def _repeated_hashes(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    columns = [batch.column(0) for batch in batches]
    if columns:
        hashes = np.sort(np.concatenate([column.drop_null().to_numpy() for column in columns]))
        repeated = pa.array(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]))
        faulty = pa.nulls(int(any(column.null_count for column in columns)), repeated.type)
        yield pa.RecordBatch.from_arrays([pa.concat_arrays([repeated, faulty])], names=[_KEY_HASH])


def suspect_rows(judged: DataFrame, contract: TableContract, repeats: DataFrame) -> DataFrame:
    """The rows to look at again, few: faulty ones, and sound ones whose key hash is among ``repeats``."""
    is_repeated = repeats.withColumn("_is_repeated", F.lit(True))
    hashed = judged.withColumn(_KEY_HASH, F.xxhash64(*contract.key)).join(is_repeated, _KEY_HASH, "left")
    return hashed.where((F.size(REASONS) > 0) | F.col("_is_repeated")).drop(_KEY_HASH, "_is_repeated")


def clear_rows(judged: DataFrame, contract: TableContract, repeats: DataFrame) -> DataFrame:
    """All rows but those of ``suspect_rows``."""
    sound = judged.where(F.size(REASONS) == 0).withColumn(_KEY_HASH, F.xxhash64(*contract.key))
    return sound.join(repeats, _KEY_HASH, "left_anti").drop(_KEY_HASH)


def settle_repeats(suspects: DataFrame, contract: TableContract) -> DataFrame:
    """Of sound rows that share a key, keep the one of the newest load, or the first in its file.

    Args:
        suspects: Rows of ``suspect_rows`` with the lineage columns.
        contract: Contract of the table.

    Returns:
        The same rows; those that give way have the reason ``duplicate key``.
    """
    is_sound = F.size(REASONS) == 0
    order = Window.partitionBy(*contract.key).orderBy(
        F.col("ingest_sequence").desc(), F.col("source_file").desc(), F.col("source_ordinal")
    )
    reason = F.array(F.lit(f"duplicate key ({', '.join(contract.key)})"))
    ranked = suspects.where(is_sound).withColumn("_place", F.row_number().over(order))
    settled = ranked.withColumn(REASONS, F.when(F.col("_place") > 1, reason).otherwise(F.col(REASONS)))
    return suspects.where(~is_sound).unionByName(settled.drop("_place"))


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

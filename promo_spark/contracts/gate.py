"""The gate every row passes before it is stored: what breaks its contract is refused with the reasons."""

from __future__ import annotations

from pyspark.sql import Column as Expression
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
    faults = F.col("faults") if "faults" in frame.columns and "faults" not in contract.column_names else None
    columns = [F.col(name) for name in contract.column_names]
    conformed = frame.select(*columns, *([faults.alias("_faults")] if faults is not None else []))
    reasons: list[Expression] = [
        F.when(F.col(name).isNull(), F.lit(f"{name} is missing")) for name in contract.required_columns
    ]
    reasons += [F.when(~F.coalesce(F.expr(check), F.lit(True)), F.lit(f"not ({check})")) for check in contract.checks]
    own = F.array_compact(F.array(*reasons)) if reasons else F.array().cast(T.ArrayType(T.StringType()))
    combined = F.concat(F.col("_faults"), own) if faults is not None else own
    return conformed.withColumn(REASONS, combined).select(*contract.column_names, REASONS)


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


def settle_repeats(judged: DataFrame, contract: TableContract, repeats: DataFrame) -> DataFrame:
    """Keep one row per key among the repeated ones: the newest load, then the first in its file.

    Args:
        judged: Rows of ``judge_rows`` with the lineage columns.
        contract: Contract of the table.
        repeats: Hashes of ``repeated_keys``.

    Returns:
        The same rows; those that give way carry the reason ``duplicate key``.
    """
    hashed = judged.withColumn(_KEY_HASH, F.xxhash64(*contract.key))
    sound_repeats = F.broadcast(repeats.withColumn("_repeated", F.lit(True)))
    marked = hashed.join(sound_repeats, _KEY_HASH, "left")
    contested = marked.where(F.col("_repeated") & (F.size(REASONS) == 0))
    order = Window.partitionBy(*contract.key).orderBy(
        F.col("ingest_sequence").desc(), F.col("source_file").desc(), F.col("source_ordinal")
    )
    settled = contested.withColumn("_place", F.row_number().over(order)).withColumn(
        REASONS,
        F.when(F.col("_place") > 1, F.array(F.lit(f"duplicate key ({', '.join(contract.key)})"))).otherwise(
            F.col(REASONS)
        ),
    )
    untouched = marked.where(F.col("_repeated").isNull() | (F.size(REASONS) > 0))
    names = (*contract.column_names, REASONS)
    return untouched.select(*names).unionByName(settled.select(*names))


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

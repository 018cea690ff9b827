"""Walk every table there is, take rows out by joins, and free what old versions hold.

No predicate carries a value: a condition with an id in it would be written to the table's log. Files go for good by
DELETE, ``REORG … APPLY (PURGE)``, which rewrites what deletion vectors only hide, and ``VACUUM`` of all that the
newest version does not use. Source: Delta Lake documentation, "Purge metadata-only deletes" and "VACUUM".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts import TABLES
from promo_spark.contracts.sql_text import quoted
from promo_spark.contracts.table import TableContract
from promo_spark.runtime.delta_log import drop_history, files_vacuumed, newest_version
from promo_spark.runtime.files import list_names
from promo_spark.runtime.places import joined, sql_name
from promo_spark.runtime.table_forms import STATISTICS_PROPERTY, stored_properties

_REJECTED = "_rejected"
_RETENTION_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
_VACUUM_ACCOUNT = "spark.databricks.delta.vacuum.logging.enabled"
# A vacuum lists folders in this many tasks; Spark's 10,000 take a minute for a table of two files.
_LISTING_TASKS = "spark.sql.sources.parallelPartitionDiscovery.parallelism"


@dataclass(frozen=True)
class StoredTable:
    """A Delta table that lies under a root, whether or not the contracts still know it.

    Attributes:
        name: ``layer.entity``.
        path: Its folder.
        contract: What it is by the contracts; of a quarantine, the table it belongs to; None where they have none.
        is_quarantine: It holds what the table refused.
        texts: Its text columns, as stored.
        columns: All of them.
    """

    name: str
    path: str
    contract: TableContract | None
    is_quarantine: bool
    texts: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def is_personal(self) -> bool:
        """Whether it can hold anything of a customer."""
        return self.contract is None or any(column.personal for column in self.contract.columns)

    @property
    def pseudonym_columns(self) -> tuple[str, ...]:
        """Columns that may hold a customer's pseudonym.

        By declaration: personal ids. What the contract does not know, any text column, may hold one as well.
        """
        if self.contract is None or self.is_quarantine:
            return () if self.is_quarantine else self.texts
        declared = {column.name: column.personal for column in self.contract.columns}
        return tuple(
            name for name in self.texts if (declared[name] and name.endswith("_id") if name in declared else True)
        )


def stored_tables(spark: SparkSession, roots: tuple[str, ...]) -> list[StoredTable]:
    """Every Delta table two folders below the roots, by name."""
    found = []
    for root in roots:
        for layer in list_names(spark, root):
            for entity in list_names(spark, joined(root, layer)):
                path = joined(root, layer, entity)
                if not entity.startswith((".", "_")) and newest_version(spark, path) >= 0:
                    found.append(_stored(spark, f"{layer}.{entity}", path))
    return sorted(found, key=lambda table: table.name)


def _stored(spark: SparkSession, name: str, path: str) -> StoredTable:
    schema = rows_of(spark, path).schema
    is_quarantine = name not in TABLES and name.removesuffix(_REJECTED) in TABLES
    contract = TABLES.get(name.removesuffix(_REJECTED) if is_quarantine else name)
    texts = tuple(field.name for field in schema if isinstance(field.dataType, T.StringType))
    return StoredTable(name, path, contract, is_quarantine, texts, tuple(schema.names))


def rows_of(spark: SparkSession, path: str) -> DataFrame:
    """The rows of a table as it is stored, whatever its contract says by now."""
    return spark.read.format("delta").load(path)


def erase_rows(spark: SparkSession, path: str, keys: DataFrame, on: Mapping[str, str]) -> int:
    """Delete the rows that match a key; nothing is committed where none does.

    Args:
        spark: Session.
        path: Folder of the table.
        keys: Frame with the keys.
        on: The key's column for each column of the table that must equal it.

    Returns:
        How many rows there were.
    """
    count = _matching(spark, path, keys, on)
    if count:
        _target(spark, path).merge(keys.alias("s"), _condition(on)).whenMatchedDelete().execute()
    return count


def change_values(
    spark: SparkSession, path: str, keys: DataFrame, on: Mapping[str, str], new: Mapping[str, str]
) -> int:
    """Give the rows that match a key other values, in one commit; arguments and result as of ``erase_rows``.

    Args:
        spark: Session.
        path: Folder of the table.
        keys: Frame with the keys, each once, and the values.
        on: The key's column for each column of the table that must equal it.
        new: SQL over a row ``s`` of the keys, for each column that changes.
    """
    count = _matching(spark, path, keys, on)
    if count:
        changed: dict[str, str | object] = {f"`{name}`": value for name, value in new.items()}
        merge = _target(spark, path).merge(keys.alias("s"), _condition(on))
        merge.whenMatchedUpdate(set=changed).execute()  # type: ignore[arg-type]  # Delta's stubs want one kind of value
    return count


def _matching(spark: SparkSession, path: str, keys: DataFrame, on: Mapping[str, str]) -> int:
    target = rows_of(spark, path).alias("t")
    return target.join(keys.alias("s"), F.expr(_condition(on)), "left_semi").count()


def _target(spark: SparkSession, path: str) -> DeltaTable:
    return DeltaTable.forPath(spark, path).alias("t")


def _condition(on: Mapping[str, str]) -> str:
    return " AND ".join(f"t.{quoted(column)} = s.{quoted(key)}" for column, key in on.items())


def empty_table(spark: SparkSession, path: str) -> int:
    """Delete all rows; how many there were."""
    count = rows_of(spark, path).count()
    if count:
        DeltaTable.forPath(spark, path).delete()
    return count


def purge(spark: SparkSession, path: str) -> int:
    """Remove all bytes that the newest version of a table does not need: no other run may use the table meanwhile.

    Returns:
        How many files went.
    """
    before = newest_version(spark, path)
    spark.sql(f"REORG TABLE {sql_name(path)} APPLY (PURGE)")
    with settings_held(spark, {_VACUUM_ACCOUNT: "true"}):
        vacuum(spark, path, hours=0)
    count = files_vacuumed(spark, path, before)
    if _keeps_text_statistics(spark, path):
        count += drop_history(spark, path)
    return count


def vacuum(spark: SparkSession, path: str, *, hours: float) -> None:
    """Remove files that no version of these last hours needs; Delta's own check of less than a week is the caller's."""
    tasks = str(spark.sparkContext.defaultParallelism)
    with settings_held(spark, {_RETENTION_CHECK: "false", _LISTING_TASKS: tasks}):
        DeltaTable.forPath(spark, path).vacuum(hours)


def _keeps_text_statistics(spark: SparkSession, path: str) -> bool:
    """Whether smallest and largest texts of files may stand in the log: those of our own tables never do."""
    named = stored_properties(spark, path).get(STATISTICS_PROPERTY)
    texts = {field.name for field in rows_of(spark, path).schema if isinstance(field.dataType, T.StringType)}
    return bool(texts) and (named is None or bool(texts & set(named.split(","))))


@contextmanager
def settings_held(spark: SparkSession, values: Mapping[str, str]) -> Iterator[None]:
    """Set what holds for one statement only."""
    earlier = {name: spark.conf.get(name, None) for name in values}
    for name, value in values.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, was in earlier.items():
            if was is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, was)


def unknown_entries(spark: SparkSession, warehouse: str, identity: str, key_file: str) -> list[str]:
    """What lies in the roots and was not made by this system, so that somebody looks at it."""
    layers = {name.partition(".")[0] for name in TABLES}
    known = {
        warehouse: {*layers, "models", "reports", "views", "checkpoints"},
        identity: {"identity", "sends", key_file.rpartition("/")[2]},
    }
    return [
        joined(root, name)
        for root, names in known.items()
        for name in sorted(list_names(spark, root))
        if name not in names and not name.startswith(".lock")
    ]

"""How a contract becomes a stored table, and what the table keeps of it to be recognised by."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping

from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from promo_spark.contracts.table import TableContract
from promo_spark.runtime.conflicts import Overtaken
from promo_spark.runtime.delta_log import LOG_FOLDER, newest_version
from promo_spark.runtime.files import list_names, remove_empty_folder, remove_file
from promo_spark.runtime.places import joined

CONTRACT_PROPERTY = "promo_spark.contract"
FORM_PROPERTY = "promo_spark.form"
STATISTICS_PROPERTY = "delta.dataSkippingStatsColumns"
# Statistics let reads skip files. Only what is ordered by time or load does, and gathering them for text and
# decimals costs as much as writing the file.
_SKIPPING = (T.DateType, T.TimestampType, T.IntegralType)
# A first commit takes a fraction of it, also on a machine with too much to do.
_PATIENCE_SECONDS = 10.0
# What Delta says of a folder that another run began to fill before, and after, Delta itself looked into it.
_BEING_CREATED = {"DELTA_TABLE_NOT_FOUND", "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION"}


def contract_fingerprint(contract: TableContract) -> str:
    """Hash of what decides a table's stored form: names, types, key and mode."""
    columns = [(column.name, column.dtype.simpleString()) for column in contract.columns]
    return form_fingerprint(contract.name, contract.key, contract.mode, contract.partition_by, columns)


def form_fingerprint(
    name: str, key: Iterable[str], mode: str, partition_by: Iterable[str], columns: Iterable[tuple[str, str]]
) -> str:
    """The same from its parts; columns as names and types."""
    form = [name, list(key), mode, list(partition_by)]
    return hashlib.sha256(json.dumps([form, list(columns)]).encode()).hexdigest()[:16]


def own_properties(contract: TableContract) -> dict[str, str]:
    """What a table keeps of its contract, beside its columns."""
    form = {"key": contract.key, "mode": contract.mode, "partition_by": contract.partition_by}
    return {CONTRACT_PROPERTY: contract_fingerprint(contract), FORM_PROPERTY: json.dumps(form)}


def create_table(spark: SparkSession, contract: TableContract, path: str, *, is_alone: bool) -> None:
    """Create a table from its contract, where there is none.

    Args:
        spark: Session.
        contract: The table.
        path: Its folder.
        is_alone: Nobody else may be creating it meanwhile.

    Raises:
        Overtaken: Another run began to create it after this one had looked.
    """
    _clear_unfinished(spark, path, patience=0.0 if is_alone else _PATIENCE_SECONDS)
    stats = [
        column.name
        for column in contract.columns
        # Delta knows the values of partition columns anyhow, and refuses to be asked for them.
        if not column.personal and isinstance(column.dtype, _SKIPPING) and column.name not in contract.partition_by
    ]
    builder = DeltaTable.createIfNotExists(spark).location(path).addColumns(contract.schema()).comment(contract.grain)
    for name, value in {**own_properties(contract), STATISTICS_PROPERTY: ",".join(stats)}.items():
        builder = builder.property(name, value)
    if contract.partition_by:
        builder = builder.partitionedBy(*contract.partition_by)
    try:
        builder.execute()
    except AnalysisException as fault:
        if fault.getCondition() not in _BEING_CREATED:
            raise
        raise Overtaken(contract.name) from fault


def _clear_unfinished(spark: SparkSession, path: str, *, patience: float) -> None:
    """Remove what a creation left that was killed before its commit, and that Delta would take for the table.

    Args:
        spark: Session.
        path: Folder of the table.
        patience: Seconds after which the creation counts as dead; it may be another run's, and under way.
    """
    log = joined(path, LOG_FOLDER)
    if LOG_FOLDER not in list_names(spark, path):
        return
    deadline = time.monotonic() + patience
    while newest_version(spark, path) < 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    if newest_version(spark, path) < 0:
        for name in list_names(spark, log):  # but commits, which may come at any moment
            if name.startswith("."):
                remove_file(spark, joined(log, name))
            elif name.startswith("_"):  # Delta makes one for staged commits
                remove_empty_folder(spark, joined(log, name))
        remove_empty_folder(spark, log)


def stored_properties(spark: SparkSession, path: str) -> Mapping[str, str]:
    """The properties of a stored table."""
    properties: Mapping[str, str] = DeltaTable.forPath(spark, path).detail().select("properties").collect()[0][0]
    return properties

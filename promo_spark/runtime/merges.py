"""How rows find their equals in a table: by key, and only in files that can hold them."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.table import TableContract

_END_OF_DAY = " 23:59:59.999999"


def equal_keys(key: Iterable[str]) -> str:
    """The condition under which a row ``s`` has the key of a row ``t``."""
    return " AND ".join(f"s.{name} = t.{name}" for name in key)


def merge_condition(contract: TableContract, rows: DataFrame) -> str:
    """The condition under which a row ``s`` replaces a row ``t``.

    Rows with equal keys have equal days. Days have file statistics, so that a merge reads the files of the days that
    come and not the whole table, which grows. Only days are told, for a condition is kept in the table's history.

    Args:
        contract: The table.
        rows: What comes; it is looked at, so it should be kept.
    """
    equal = [equal_keys(contract.key)]
    kinds = {column.name: column.dtype for column in contract.columns if not column.personal}
    days = [name for name in contract.key if isinstance(kinds.get(name), (T.DateType, T.TimestampType))]
    if not days:
        return " AND ".join(equal)
    ends = [end(F.col(name).cast("date")) for name in days for end in (F.min, F.max)]
    found = iter(rows.agg(*ends).collect()[0])
    for name, first, last in zip(days, found, found, strict=False):
        if first is not None and last is not None:
            kind, end_of_day = ("DATE", "") if isinstance(kinds[name], T.DateType) else ("TIMESTAMP", _END_OF_DAY)
            equal.append(f"t.{name} BETWEEN {kind}'{first.isoformat()}' AND {kind}'{last.isoformat()}{end_of_day}'")
    return " AND ".join(equal)

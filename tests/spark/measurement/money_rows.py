"""Hand-written rows with amounts as plain numbers."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from pyspark.sql.types import DecimalType

from promo_spark.contracts.table import TableContract

Rows = Sequence[Mapping[str, Any]]


def with_money(contract: TableContract, rows: Rows) -> Rows:
    """Rows whose amounts are decimals where the table's are."""
    money = {column.name for column in contract.columns if isinstance(column.dtype, DecimalType)}
    return [
        {name: Decimal(str(value)) if name in money and value is not None else value for name, value in row.items()}
        for row in rows
    ]

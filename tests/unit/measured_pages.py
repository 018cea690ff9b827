"""Aggregates of measurement, made by hand."""

import pandas as pd

from promo_spark.pipelines.report import MEASURED
from promo_spark.report.measured import Measured


def measured(**rows: list[dict[str, object]]) -> Measured:
    """Tables with these rows; what is not written out is unknown."""
    frames = {}
    for name, table in MEASURED.items():
        given = [{column: row.get(column) for column in table.column_names} for row in rows.get(name, [])]
        frames[name] = pd.DataFrame(given, columns=list(table.column_names))
    return Measured(**frames)


def measured_of_nothing() -> Measured:
    """Where nothing was measured."""
    return measured()

"""What a source offers: for each canonical table, where its records are and how they are mapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame

from promo_spark.contracts.source_settings import FilesSource, TableMapping

Preparation = Callable[[DataFrame, Mapping[str, DataFrame]], DataFrame]


@dataclass(frozen=True)
class SourceTable:
    """One canonical table of a source.

    Attributes:
        mapping: Where its files are and how their columns are mapped.
        prepare: Declared step before the mapping: from the records, and those of the companions.
        companions: Other files the step needs, by name.
        is_sampled: The step leaves records out on purpose.
    """

    mapping: TableMapping
    prepare: Preparation | None = None
    companions: Mapping[str, TableMapping] | None = None
    is_sampled: bool = False


def files_tables(source: FilesSource) -> dict[str, SourceTable]:
    """The tables of a retailer's own files."""
    return {entity: SourceTable(mapping) for entity, mapping in source.tables.items()}

"""Find what a source has that bronze does not hold yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.database_settings import DatabaseTable
from promo_spark.contracts.identity import ERASED
from promo_spark.contracts.records import RAW_CUSTOMER_ID
from promo_spark.contracts.silver import SILVER
from promo_spark.contracts.source_settings import (
    CompleteJourneySource,
    FilesSource,
    SyntheticSource,
)
from promo_spark.contracts.table import TableContract, bronze_of
from promo_spark.errors import SourceError
from promo_spark.privacy.requests import of_admitted, refused_count
from promo_spark.runtime.input_databases import read_new_rows
from promo_spark.runtime.inputs import InputFile, list_files, open_records
from promo_spark.runtime.stage import Stage
from promo_spark.sources.complete_journey import complete_journey_tables
from promo_spark.sources.mapping import map_records, needed_columns
from promo_spark.sources.pseudonym import pseudonym
from promo_spark.sources.synthetic import SYNTHETIC_ENTITIES, SYNTHETIC_FILE, synthetic_tables
from promo_spark.sources.tables import SourceTable, files_tables


@dataclass(frozen=True)
class Load:
    """New records of one table.

    Attributes:
        silver: The table they are for.
        received: One row per record: the columns of bronze but ``ingest_sequence``, and beside them the
            raw text and the raw customer id.
        expected: Records that must arrive, where files were counted; filtered samples are not.
        number: Its ``ingest_sequence``: one more than bronze held when the files were compared with it.
    """

    silver: TableContract
    received: DataFrame
    expected: int | None
    number: int


def new_loads(stage: Stage, key_file: str) -> list[Load]:
    """Open the files that bronze does not hold yet under the present mapping.

    Args:
        stage: The running stage.
        key_file: Where executors find the pseudonym key.

    Raises:
        SourceError: An input is absent or unreadable; nothing has been written then.
    """
    source = stage.settings.source
    if isinstance(source, SyntheticSource):
        return _synthetic_loads(stage, source, key_file)
    tables = source_tables(source)
    loads = []
    for silver in SILVER:
        if silver.entity in tables:
            load = file_load(stage, silver, tables[silver.entity], key_file)
            if load is not None:
                loads.append(load)
    return loads


def newest_load(stage: Stage, contract: TableContract) -> int:
    """Number of the newest load a table holds; 0 where there is none."""
    if not stage.store.exists(contract):
        return 0
    return int(stage.store.read(contract).agg(F.max("ingest_sequence")).collect()[0][0] or 0)


def source_tables(source: CompleteJourneySource | FilesSource) -> dict[str, SourceTable]:
    """The tables a source of files offers."""
    if isinstance(source, CompleteJourneySource):
        return complete_journey_tables(source)
    return files_tables(source)


def offered_entities(stage: Stage) -> set[str]:
    """Names of the tables the source offers."""
    source = stage.settings.source
    if isinstance(source, SyntheticSource):
        return set(SYNTHETIC_ENTITIES)
    return set(source_tables(source))


def file_load(
    stage: Stage, silver: TableContract, table: SourceTable, key_file: str, only: Collection[str] | None = None
) -> Load | None:
    """Open the files of one table that bronze does not hold yet; None where it holds all.

    Args:
        stage: The running stage.
        silver: The table.
        table: Where its files are and how they are read.
        key_file: Where executors find the pseudonym key.
        only: Paths of the files to look at, where others need not be.

    Raises:
        SourceError: A file is absent or unreadable.
    """
    source = stage.settings.source
    how = reading_fingerprint(stage, table)
    held = _look_at_bronze(stage, silver)
    if table.mapping.database is not None:
        return _database_load(stage, silver, table, table.mapping.database, key_file, how=how, held=held)
    listed = [replace(file, sha256=_combined(file, how)) for file in list_files(stage.spark, table.mapping, only)]
    files = _not_loaded(stage, silver, listed, held)
    if not files:
        return None
    opened = open_records(stage.spark, table.mapping, files, _own_columns(table))
    records = opened.records
    if table.prepare is not None:
        companions = {
            name: open_records(stage.spark, mapping, list_files(stage.spark, mapping), ()).records
            for name, mapping in (table.companions or {}).items()
        }
        records = table.prepare(records, companions)
    mapped = map_records(records=records, mapping=table.mapping, silver=silver, time_zone=source.time_zone)
    stage.progress(f"{silver.entity}: {len(files)} new files, {sum(opened.counts.values()):,} records")
    counts = None if table.is_sampled else opened.counts
    expected = None if counts is None else sum(counts.values())
    return _admitted(stage, Load(silver, mapped, expected, held.newest + 1), key_file)


def _admitted(stage: Stage, load: Load, key_file: str) -> Load | None:
    """Refuse the records of erased customers, and give the others their pseudonyms; None where none is left."""
    received, expected = load.received, load.expected
    erased = stage.store.read(ERASED)
    if RAW_CUSTOMER_ID in received.columns and not erased.isEmpty():
        refused = refused_count(received=received, erased=erased)
        received = of_admitted(received=received, erased=erased)
        if refused:
            stage.progress(f"{load.silver.entity}: {refused:,} records of erased customers are refused at the door")
            if received.isEmpty():
                return None
        expected = None if expected is None else expected - refused
    return replace(load, received=_pseudonymised(received, key_file), expected=expected)


def _database_load(
    stage: Stage,
    silver: TableContract,
    table: SourceTable,
    database: DatabaseTable,
    key_file: str,
    *,
    how: str,
    held: _Held,
) -> Load | None:
    mapping = table.mapping
    read = read_new_rows(stage.spark, database, needed=needed_columns(mapping), how=how, held=held.files)
    if read is None:
        return None
    zone = stage.settings.source.time_zone
    mapped = map_records(records=read.records, mapping=mapping, silver=silver, time_zone=zone)
    stage.progress(f"{silver.entity}: {read.count:,} new records of {read.name}")
    return _admitted(stage, Load(silver, mapped, read.count, held.newest + 1), key_file)


@dataclass(frozen=True)
class _Held:
    """What bronze holds of a table, from one look: a load that another run brings after it has the next number, too.

    Attributes:
        files: Name and hash of each file, or read of a database.
        newest: Number of the newest load; 0 where there is none.
    """

    files: set[tuple[str, str]]
    newest: int

    @property
    def hashes(self) -> set[str]:
        """Hashes of the files."""
        return {digest for _, digest in self.files}


def _look_at_bronze(stage: Stage, silver: TableContract) -> _Held:
    bronze = bronze_of(silver)
    if not stage.store.exists(bronze):
        return _Held(set(), 0)
    files = stage.store.read(bronze).groupBy("source_file", "source_file_hash")
    rows = files.agg(F.max("ingest_sequence").alias("newest")).collect()
    return _Held({(row[0], row[1]) for row in rows}, max((int(row.newest) for row in rows), default=0))


def _own_columns(table: SourceTable) -> tuple[str, ...]:
    """Columns the files must have; those that a declared step adds are not among them."""
    return () if table.prepare is not None else needed_columns(table.mapping)


def reading_fingerprint(stage: Stage, table: SourceTable) -> str:
    """Hash of how the records of a table are read: its mapping, and what holds for all tables of the source."""
    source = stage.settings.source.model_dump(mode="json", exclude={"tables", "path", "name"})
    mapping = table.mapping.model_dump(mode="json", exclude={"path", "database"})
    if table.mapping.database is not None:  # a database that moves is the same one
        mapping["database"] = table.mapping.database.model_dump(mode="json", include={"table", "key", "watermark"})
    content = json.dumps([mapping, source], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _combined(file: InputFile, how: str) -> str:
    """A file is loaded once per way of reading it: whoever corrects a mapping gets the file read again."""
    return hashlib.sha256(f"{file.sha256}\0{how}".encode()).hexdigest()


def _not_loaded(stage: Stage, silver: TableContract, files: Sequence[InputFile], held: _Held) -> list[InputFile]:
    known = held.hashes
    new: list[InputFile] = []
    for file in files:
        twin = next((other for other in new if other.sha256 == file.sha256), None)
        if twin is not None:
            stage.limitation(f"{silver.entity}: {file.name} is a copy of {twin.name}; it is loaded once.")
        elif file.sha256 not in known:
            new.append(file)
    return new


def _pseudonymised(mapped: DataFrame, key_file: str) -> DataFrame:
    if RAW_CUSTOMER_ID not in mapped.columns:
        return mapped
    return mapped.withColumn("customer_id", pseudonym(F.col(RAW_CUSTOMER_ID), key_file))


def _synthetic_loads(stage: Stage, source: SyntheticSource, key_file: str) -> list[Load]:
    settings = json.dumps(source.model_dump(mode="json"), sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()
    tables = synthetic_tables(stage.spark, source)
    loads = []
    for silver in (silver for silver in SILVER if silver.entity in tables):
        held = _look_at_bronze(stage, silver).hashes
        if held - {digest}:
            raise SourceError(
                f"{stage.settings.places.warehouse} holds {silver.entity} of another source or another simulated "
                "retailer. Set places.warehouse and places.identity to new folders."
            )
        if not held:
            received = tables[silver.entity].withColumns(
                {
                    "source_file": F.lit(SYNTHETIC_FILE),
                    "source_file_hash": F.lit(digest),
                    "faults": F.array().cast("array<string>"),
                    "raw_text": F.lit(None).cast("string"),
                }
            )
            load = _admitted(stage, Load(silver, received, None, number=1), key_file)
            loads.extend([] if load is None else [load])
    return loads

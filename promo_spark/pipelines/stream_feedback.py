"""Take feedback in while it arrives: what was delivered, redeemed, rated and looked at, file by file.

It is ingest, of the files that a stream has not handed on yet, in micro-batches. Why each event arrives once,
whenever the job is killed:

- The stream remembers a micro-batch's files before it hands them on, and that they are done after they were
  taken in. A crash in between brings the same files again.
- Taking in knows by its content what bronze holds, and by load what silver holds: what comes again finds itself
  there, and what was left half way is brought to its end. So does jobs/ingest.py, over the same folders.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from promo_spark.contracts.silver import EVENTS, EXPOSURES, RATINGS, REDEMPTIONS
from promo_spark.contracts.source_settings import FilesSource
from promo_spark.contracts.table import TableContract
from promo_spark.errors import SourceError
from promo_spark.pipelines import ingest
from promo_spark.pipelines.ingest import keep_identities, open_door, take_in
from promo_spark.pipelines.ingest_loads import file_load, reading_fingerprint, source_tables
from promo_spark.runtime import Stage
from promo_spark.runtime.inputs import reading
from promo_spark.sources.tables import SourceTable

FEEDBACK = (EXPOSURES, REDEMPTIONS, RATINGS, EVENTS)
_FOLLOWED = {"csv", "json", "parquet"}
_HASH_DIGITS = 12


def run(stage: Stage) -> None:
    """Take in the feedback files that came since the last time."""
    source = stage.settings.source
    if not isinstance(source, FilesSource):
        raise SourceError(f"a source of kind {source.kind} receives no feedback files: set source.kind to files.")
    tables = source_tables(source)
    followed = [s for s in FEEDBACK if s.entity in tables and tables[s.entity].mapping.format in _FOLLOWED]
    if not followed:
        names = ", ".join(silver.entity for silver in FEEDBACK)
        raise SourceError(f"source.tables names no folder in which feedback arrives: give at least one of {names}.")
    key_file = open_door(stage)
    figures: Counter[str] = Counter()
    for silver in followed:
        figures.update(_follow(stage, silver, tables[silver.entity], key_file))
    if figures:
        stage.metrics(figures)


def _follow(stage: Stage, silver: TableContract, table: SourceTable, key_file: str) -> Counter[str]:
    """Take in one table's files, micro-batch by micro-batch; figures of all of them."""
    figures: Counter[str] = Counter()

    def take(paths: frozenset[str]) -> None:
        with reading(table.mapping.path):
            load = file_load(stage, silver, table, key_file, only=paths)
            keep_identities(stage, [] if load is None else [load], key_file)
            figures.update(take_in(stage, silver, load))

    # Another mapping reads every file anew, as ingest does.
    name = f"{silver.entity}-{reading_fingerprint(stage, table)[:_HASH_DIGITS]}"
    stage.follow_files(table.mapping, name, take)
    return figures


# Under the name of ingest: whichever of the two runs next finishes, and accounts for, what the other left.
PIPELINE = replace(
    ingest.PIPELINE, summary="Take in feedback files that came since the last time, each event once.", run=run
)

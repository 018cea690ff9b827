"""The account that stages give of themselves: who made which table last, from what, and whether they finished."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from pyspark.sql import functions as F

from promo_spark.contracts.audit import STAGE_RUNS
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.source_settings import source_name
from promo_spark.errors import SourceError
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage
from promo_spark.runtime.store import Store
from promo_spark.runtime.upstream import Account, stage_basis


class Accounts:
    """``audit.stage_runs`` as one run sees it: read once, and kept up to date by what the run does.

    Args:
        store: The tables.
        settings: Resolved settings of the run.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._source = source_name(settings.source)
        self._newest = self._read()
        self._door = Lock()

    def require_same_source(self) -> None:
        """Refuse a warehouse that holds the tables of somebody else.

        Raises:
            SourceError: Names both.
        """
        held = self._store.read(STAGE_RUNS).select("source").limit(1).collect()
        if held and held[0].source != self._source:
            named = held[0].source.partition(" ")[2]
            same = f" If it is the same retailer under a new name, set source.name: {named}." if named else ""
            raise SourceError(
                f"{self._settings.places.warehouse} holds the tables of another source ({held[0].source}); these "
                f"settings are for {self._source}. Two sources in one warehouse would become one ledger: set "
                f"places.warehouse, places.identity and places.key_file to places of their own.{same}"
            )

    def basis_of(self, pipeline: Pipeline, present: Mapping[str, str]) -> dict[str, str]:
        """What decides the tables of a dated stage (``upstream.stage_basis``).

        Raises:
            SourceError: The stage would stand on another run, an interrupted one or on none.
        """
        where = f"for {self._settings.as_of_date} in {self._settings.places.warehouse}"
        return stage_basis(pipeline, self._newest.values(), present, where=where)

    def is_done(self, stage: str, basis: Mapping[str, str]) -> bool:
        """Whether the stage's tables are what this basis decides."""
        newest = self._newest.get(stage)
        return newest is not None and newest.is_finished and newest.basis == basis

    def is_told(self, stage: str, limitations: list[str]) -> bool:
        """Whether the stage finished last, and told these limitations then."""
        newest = self._newest.get(stage)
        return newest is not None and newest.is_finished and newest.limitations >= set(limitations)

    def entry(self, pipeline: Pipeline, run_id: str, basis: Mapping[str, str]) -> Entry:
        """Begin the account of a stage; nothing is written yet."""
        return Entry(self, pipeline, run_id, dict(basis))

    def keep(self, row: Mapping[str, Any]) -> None:
        """Append a row; columns not given are NULL. Stages that run at once wait for each other here."""
        with self._door:
            sequence = self._store.version(STAGE_RUNS) + 1
            whole = {**row, "sequence": sequence, "source": self._source}
            self._store.write_row(STAGE_RUNS, whole)
            self._newest[row["stage"]] = _account(whole)

    def date_of(self, pipeline: Pipeline) -> object:
        """The date an account belongs to; none where the stage serves every date."""
        return self._settings.as_of_date if pipeline.is_dated else None

    def _read(self) -> dict[str, Account]:
        date = F.col("as_of_date")
        runs = self._store.read(STAGE_RUNS).where(date.isNull() | (date == F.lit(self._settings.as_of_date)))
        newest = runs.groupBy("stage").agg(F.max_by(F.struct(*STAGE_RUNS.column_names), "sequence").alias("row"))
        return {found.stage: _account(found.row.asDict()) for found in newest.collect()}


class Entry:
    """One stage's account while it runs: begun before its first write, so that an interruption shows."""

    def __init__(self, accounts: Accounts, pipeline: Pipeline, run_id: str, basis: dict[str, str]) -> None:
        self._accounts = accounts
        self._common = {
            "stage": pipeline.name,
            "as_of_date": accounts.date_of(pipeline),
            "started_at": datetime.now(UTC),
            "tables": [table.name for table in pipeline.writes],
            "basis": basis,
        }
        self._run_id = run_id
        self._is_begun = False
        self._door = Lock()

    def begin(self) -> None:
        """Say, once, that tables are about to be written; a stage may write from several threads."""
        with self._door:
            if not self._is_begun:
                self._accounts.keep({**self._common, "run_id": self._run_id})
                self._is_begun = True

    def finish(self, stage: Stage, run_id: str, seconds: float) -> None:
        """Say that all is written.

        Args:
            stage: What ran.
            run_id: Identity of the run, after what ingest took in.
            seconds: Wall time.
        """
        self._accounts.keep(
            {
                **self._common,
                "run_id": run_id,
                "finished_at": datetime.now(UTC),
                "duration_seconds": seconds,
                "rows_written": {name: written.accepted for name, written in stage.written.items()},
                "rows_rejected": {name: written.rejected for name, written in stage.written.items()},
                "table_versions": dict(stage.versions),
                "limitations": list(stage.limitations),
                "metrics": {name: float(value) for name, value in stage.figures.items()},
            }
        )


def _account(row: Mapping[str, Any]) -> Account:
    return Account(
        stage=row["stage"],
        sequence=row["sequence"],
        is_finished=row.get("finished_at") is not None,
        tables=frozenset(row["tables"]),
        basis=row["basis"],
        limitations=frozenset(row.get("limitations") or ()),
    )

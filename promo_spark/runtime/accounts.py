"""The account that stages give of themselves: who made which table last, from what, and whether they finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from pyspark.sql import functions as F

from promo_spark.contracts.audit import STAGE_RUNS
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.source_settings import source_name
from promo_spark.contracts.table import TableContract
from promo_spark.errors import SourceError
from promo_spark.runtime.identity import CODE, own_part
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage
from promo_spark.runtime.store import Store

_SHOWN = 5
_LONG = 40


@dataclass(frozen=True)
class Account:
    """The newest that is known of one stage, for the date or for every date.

    Attributes:
        stage: Name of the stage.
        sequence: Orders the accounts.
        is_finished: False where it began to write and was not heard of again.
        tables: Tables it may write.
        basis: What decided its tables (``promo_spark.runtime.identity.present_basis``), by name.
        limitations: What it did without.
    """

    stage: str
    sequence: int
    is_finished: bool
    tables: frozenset[str]
    basis: Mapping[str, str]
    limitations: frozenset[str]


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
        """What decides the tables of a dated stage: its own part, and that of every stage before it.

        Args:
            pipeline: The stage.
            present: What ``present_basis`` returned.

        Raises:
            SourceError: A stage that made one of its inputs has not run for the date, was
                interrupted, or ran with other code, settings or source files.
        """
        makers = self._makers(pipeline)
        basis = own_part(present, pipeline.settings)
        for maker in makers:
            basis |= {name: present.get(name, "") for name in maker.basis}
        unfinished = next((maker.stage for maker in makers if not maker.is_finished), None)
        if unfinished:
            raise SourceError(
                f"stage {pipeline.name} stands on {unfinished}, which was interrupted before its end. "
                f"Run jobs/{unfinished}.py again, or jobs/pipeline.py, which goes on there."
            )
        others = [maker for maker in makers if any(basis[name] != value for name, value in maker.basis.items())]
        if others:
            raise SourceError(self._of_another_run(pipeline, others, present))
        return basis

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
        """Append a row; columns not given are NULL."""
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

    def _makers(self, pipeline: Pipeline) -> list[Account]:
        """Who wrote each input last."""
        inputs = [table for table in pipeline.reads if table not in pipeline.writes]
        dated = [table for table in inputs if table.mode == "dated"]
        found = {table.name: self._maker(table) for table in inputs}
        missing = [table.name for table in dated or inputs if found[table.name] is None]
        if missing and (dated or not any(found.values())):
            raise SourceError(
                f"stage {pipeline.name} does not find its inputs ({', '.join(missing)}) "
                f"for {self._settings.as_of_date} in {self._settings.places.warehouse}. "
                "Run jobs/pipeline.py, or the stages before it, first."
            )
        makers = {maker.stage: maker for maker in found.values() if maker is not None}
        return sorted(makers.values(), key=lambda maker: maker.sequence)

    def _maker(self, table: TableContract) -> Account | None:
        makers = [account for account in self._newest.values() if table.name in account.tables]
        return max(makers, key=lambda account: account.sequence, default=None)

    def _of_another_run(self, pipeline: Pipeline, others: list[Account], present: Mapping[str, str]) -> str:
        differences = dict.fromkeys(
            _told(name, was, present.get(name))
            for account in others
            for name, was in sorted(account.basis.items())
            if present.get(name) != was
        )
        shown = [*list(differences)[:_SHOWN], *(["and more"] if len(differences) > _SHOWN else [])]
        names = ", ".join(account.stage for account in others)
        alone = f"jobs/{others[0].stage}.py with the present settings, or " if len(others) == 1 else ""
        return (
            f"stage {pipeline.name} stands on {names}, made for {self._settings.as_of_date} by another run: "
            f"{'; '.join(shown)}. Run {alone}jobs/pipeline.py, which redoes what differs and no more."
        )


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


def _told(name: str, was: str, now: str | None) -> str:
    """A difference in words."""
    if name == CODE:
        return "by other code"
    if name.startswith("bronze."):
        return f"before ingest took in new files ({name})"
    if now is None or max(len(was), len(now)) > _LONG:
        return f"with another {name}"
    return f"with {name} {was}, now {now}"

"""A stage while it runs: the only hands a pipeline module has on tables, models and MLflow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pyspark.ml.util import MLReadable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.base import ClassifierMixin

from promo_spark.contracts.consent import Silence, names_customers
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.source_settings import TableMapping
from promo_spark.contracts.table import AS_OF_DATE, TableContract
from promo_spark.errors import ConflictError, ContractError, StorageError
from promo_spark.runtime.consent import Consent
from promo_spark.runtime.exports import write_list
from promo_spark.runtime.files import list_below, write_text
from promo_spark.runtime.inputs import list_files, open_records
from promo_spark.runtime.model_files import check_model, seal_model
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.places import absolute, joined
from promo_spark.runtime.store import Store, Written
from promo_spark.runtime.streams import follow_files
from promo_spark.runtime.tracking import CHALLENGER, Tracker, stage_run

_LOG = logging.getLogger(__name__)


@dataclass
class Stage:
    """One stage of one run.

    Attributes:
        pipeline: What runs.
        settings: Resolved settings of the run; a dated stage sees those its pipeline declares.
        spark: Session.
        store: The door to the tables; pipelines use ``read`` and ``write`` below.
        tracker: The stage's MLflow run.
        run_id: Identity of the run.
        limitations: What the data did not support, in words.
        written: What was written, per table.
        versions: Delta versions of the tables read or written.
        figures: Aggregate figures logged.
        before_write: Called before whatever the stage leaves behind; more often than once does no harm.
    """

    pipeline: Pipeline
    settings: Settings
    spark: SparkSession
    store: Store
    tracker: Tracker
    run_id: str
    limitations: list[str] = field(default_factory=list)
    written: dict[str, Written] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    before_write: Callable[[], None] = lambda: None

    @property
    def as_of_date(self) -> date:
        """The day the run decides for: features use what came strictly before it."""
        return self.settings.as_of_date

    def read(self, contract: TableContract) -> DataFrame:
        """Open a declared table; dated ones at the stage's as_of_date, absent ones as empty.

        Here as in the next two, customers whose consent does not cover the pipeline's purpose are left out.
        """
        self._declared(contract, self.pipeline.reads + self.pipeline.writes, "read")
        self.versions[contract.name] = self.store.version(contract)
        rows = self.store.read(contract, self.as_of_date if contract.mode == "dated" else None)
        return self._consenting(contract, rows)

    def read_before(self, contract: TableContract, *, days: int = 1) -> DataFrame:
        """Open a declared dated table at the newest date at least so many days before; empty where there is none."""
        self._declared(contract, self.pipeline.reads + self.pipeline.writes, "read")
        return self._consenting(contract, self.store.read_before(contract, self.as_of_date, days=days))

    def read_until(self, contract: TableContract) -> DataFrame:
        """Open a declared dated table at every date up to the stage's own."""
        self._declared(contract, self.pipeline.reads + self.pipeline.writes, "read")
        rows = self.store.read(contract).where(F.col(AS_OF_DATE) <= F.lit(self.as_of_date))
        return self._consenting(contract, rows)

    def open_records(self, mapping: TableMapping, columns: Sequence[str]) -> DataFrame:
        """Open a table that settings name, as records (``promo_spark.contracts.records``).

        Args:
            mapping: Where it is, and in which format.
            columns: Those it must have.

        Raises:
            SourceError: It is absent, cannot be read or lacks one of them.
        """
        return open_records(self.spark, mapping, list_files(self.spark, mapping), columns).records

    def follow_files(self, mapping: TableMapping, name: str, take: Callable[[frozenset[str]], None]) -> None:
        """Hand on the files of a table that came since the last time, until there are no more.

        Args:
            mapping: Where they arrive.
            name: Of the checkpoint that remembers them, below ``<warehouse>/checkpoints``.
            take: Gets the paths of a micro-batch; those of one that was cut short come again.

        Raises:
            SourceError: The path is absent.
        """
        follow_files(
            self.spark,
            mapping.path,
            checkpoint=joined(self.settings.places.warehouse, "checkpoints", name),
            files_per_batch=self.settings.stream.files_per_batch,
            take=take,
        )

    def has(self, contract: TableContract) -> bool:
        """Whether a declared table holds any rows (at the as_of_date)."""
        return not self.read(contract).isEmpty()

    def write(
        self, contract: TableContract, frame: DataFrame, *, expected: int | None = None, unless: Column | None = None
    ) -> Written:
        """Write a declared table through the gate and count what was accepted and refused.

        Args:
            contract: The table.
            frame: Its rows.
            expected: How many must arrive in an appended table, where that is known.
            unless: What no row of an appended table may fulfil before: another run then has done the same.
        """
        self._declared(contract, self.pipeline.writes, "write")
        dated = self.as_of_date if contract.mode == "dated" else None
        self.before_write()
        return self._record(
            contract, self.store.write(contract, frame, as_of_date=dated, expected=expected, unless=unless)
        )

    def append_missing(self, contract: TableContract, rows: DataFrame) -> Written:
        """Append to a declared table the rows whose key it does not hold yet, and count them."""
        self._declared(contract, self.pipeline.writes, "write")
        self.before_write()
        return self._record(contract, self.store.append_missing(contract, rows))

    def _record(self, contract: TableContract, written: Written) -> Written:
        before = self.written.get(contract.name, Written(0, 0, -1))
        self.written[contract.name] = Written(
            before.accepted + written.accepted,
            before.rejected + written.rejected,
            max(before.version, written.version),
        )
        self.versions[contract.name] = written.version
        rejected = f", {written.rejected:,} rejected" if written.rejected else ""
        self.progress(f"{contract.name}: {written.accepted:,} rows{rejected}")
        return written

    def require_own_tables(self) -> None:
        """See that what the stage wrote for its date is what its tables hold.

        Raises:
            ConflictError: Another run wrote one of them after it.
        """
        dated = [table for table in self.pipeline.writes if table.mode == "dated" and table.name in self.written]
        others = [t.name for t in dated if self.store.content_version(t) > self.written[t.name].version]
        if others:
            raise ConflictError(
                f"stage {self.pipeline.name}: another run wrote {', '.join(others)} while this one went on "
                f"(in {self.settings.places.warehouse}). Wait for it to end, then run the same command again."
            )

    def progress(self, message: str) -> None:
        """Say what is being done."""
        _LOG.info("%s: %s", self.pipeline.name, message)

    def limitation(self, message: str) -> None:
        """Say what the data does not support and is done without; kept for the report, once."""
        if message in self.limitations:
            return
        _LOG.warning("%s: %s", self.pipeline.name, message)
        self.limitations.append(message)

    def metrics(self, values: Mapping[str, float]) -> None:
        """Log aggregate figures."""
        self.figures.update(values)
        self.tracker.metrics(values)

    def figure(self, name: str, figure: Figure) -> None:
        """Log a plot; ``name`` without an ending."""
        self.tracker.figure(name, figure)

    def table(self, name: str, rows: pd.DataFrame) -> None:
        """Log an aggregate table: never customer rows."""
        self.tracker.table(name, rows)

    def save_model(self, name: str, model: Any, sample: DataFrame, output: DataFrame) -> None:  # noqa: ANN401  (any Spark model)
        """Keep a fitted Spark model beside the tables and in the MLflow registry.

        Args:
            name: Name of the model.
            model: A fitted ``pyspark.ml`` model.
            sample: Rows of its input columns, for the signature.
            output: The columns it adds, for the signature.
        """
        self.before_write()
        path = self._model_path(name)
        model.write().overwrite().save(path)
        seal_model(self.spark, path)
        self.tracker.model(name, model, sample, output)

    def register_classifier(self, name: str, model: ClassifierMixin, sample: pd.DataFrame) -> None:
        """Keep a fitted scikit-learn classifier in the MLflow registry only.

        Args:
            name: Name of the model.
            model: Of columns without names.
            sample: Rows of its input, the columns named, for the signature.
        """
        self.tracker.classifier(name, model, sample)

    def register_challenger(self, name: str, model: Any, sample: DataFrame, output: DataFrame) -> None:  # noqa: ANN401  (any Spark model)
        """Keep a model in the MLflow registry only, beside the one in force; arguments as of ``save_model``."""
        self.tracker.model(name, model, sample, output, alias=CHALLENGER)

    def trial(self, name: str) -> AbstractContextManager[Tracker]:
        """Open a run of its own in MLflow, below the stage's, for one of several things tried."""
        return stage_run(self.pipeline.name, self.run_id, self.settings.tracking.experiment, name=name)

    def load_model(self, name: str, kind: type[MLReadable[Any]]) -> Any:  # noqa: ANN401  (the model that kind reads)
        """Load the model an earlier stage kept for this as_of_date.

        Raises:
            StorageError: There is none, for the stage that fits it has not run for this date; or it is not what was
                saved, and nothing of it was loaded.
        """
        path = self._model_path(name)
        told = f"no model {name} at {path}: run the stage that fits it for {self.as_of_date}."
        if not list_below(self.spark, path):
            raise StorageError(told)
        check_model(self.spark, path, kind)
        try:
            return kind.load(path)
        except Exception as fault:
            raise StorageError(told) from fault

    def write_report(self, pages: Mapping[str, str]) -> str:
        """Keep pages at ``<warehouse>/reports/<as_of_date>/`` and in MLflow; return the place of the first."""
        folder = joined(self.settings.places.warehouse, "reports", self.as_of_date.isoformat())
        self.before_write()
        for name, html in pages.items():
            write_text(self.spark, joined(folder, name), html)
            self.tracker.page(f"report/{name}", html)
        return joined(folder, next(iter(pages)))

    def write_list(self, name: str, rows: DataFrame, order: tuple[str, ...]) -> tuple[str, str]:
        """Keep a list that carries raw ids at ``<identity>/sends/<as_of_date>/<name>``, as CSV and Parquet."""
        place = joined(self.settings.places.identity, "sends", self.as_of_date.isoformat())
        self.before_write()
        return write_list(self.spark, place, name, rows, order)

    def write_overlay(self, place: str, yaml: str) -> str:
        """Keep settings that a user may take over, at a place of theirs and in MLflow; return the place."""
        place = absolute(place)
        self.before_write()
        write_text(self.spark, place, yaml)
        self.tracker.page(place.rpartition("/")[2], yaml)
        return place

    def _consenting(self, contract: TableContract, rows: DataFrame) -> DataFrame:
        kept = self._consent.keep(contract, rows)
        if names_customers(contract) and self._consent.is_unasked:
            self.limitation(
                f"consent to {self.pipeline.purpose} is recorded for nobody by {self.as_of_date}: nobody is left out "
                f"for want of it, though consent.missing.{self.pipeline.purpose} is withheld."
            )
        return kept

    @cached_property
    def _consent(self) -> Consent:
        purpose = self.pipeline.purpose
        if purpose is None or purpose == "accounting":
            return Consent(self.store, purpose, self.as_of_date, "granted")
        silence: Silence = getattr(self.settings.consent.missing, purpose)
        return Consent(self.store, purpose, self.as_of_date, silence)

    def _model_path(self, name: str) -> str:
        return joined(self.settings.places.warehouse, "models", self.as_of_date.isoformat(), name)

    def _declared(self, contract: TableContract, declared: tuple[TableContract, ...], verb: str) -> None:
        if contract not in declared:
            raise ContractError(f"stage {self.pipeline.name} may not {verb} {contract.name}: it is not declared.")

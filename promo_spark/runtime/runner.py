"""Run stages: in order, once, resumably, each accounted for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from mlflow.entities import Run
from pyspark.sql import SparkSession

from promo_spark.contracts.settings import Settings
from promo_spark.runtime import tracking
from promo_spark.runtime.accounts import Accounts
from promo_spark.runtime.identity import narrowed, present_basis, run_identity
from promo_spark.runtime.lock import warehouse_lock
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.places import absolute, is_local
from promo_spark.runtime.room import named_full_disk, places_of, require_room
from promo_spark.runtime.session import start_session
from promo_spark.runtime.settings import settings_fingerprint
from promo_spark.runtime.stage import Stage
from promo_spark.runtime.store import Store

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a run left behind, for the closing words of a job."""

    settings: Settings
    store: Store
    run_id: str
    finished: tuple[str, ...]
    skipped: tuple[str, ...]


def run_stages(
    pipelines: tuple[Pipeline, ...],
    settings: Settings,
    *,
    force: bool = False,
    closing: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Run the stages under one lock, one session and one parent run in MLflow.

    Undated stages (ingest) know what they took in and are always entered. A dated stage is skipped when its
    tables were written last, to the end, from the same code, source files and settings (its own and those of
    the stages before it), and nothing it reads was written anew. So an interrupted run goes on after its last
    finished stage and a completed one does nothing. A stage is refused where what it reads came from others.

    Args:
        pipelines: In order.
        settings: Resolved settings.
        force: Run dated stages even when they finished before.
        closing: Called before the session ends, to tell the user where things are.
    """
    places = settings.places.model_copy(
        update={
            "warehouse": absolute(settings.places.warehouse),
            "identity": absolute(settings.places.identity),
        }
    )
    settings = settings.model_copy(update={"places": places})
    with ExitStack() as stack:
        stack.enter_context(warehouse_lock(places))
        tracking.connect(settings.tracking)
        spark = start_session("promo_spark", settings.spark)
        least_free = int(places.least_free_mb * 1024 * 1024)
        store = Store(
            spark,
            warehouse=places.warehouse,
            identity=places.identity,
            least_free=least_free,
            is_alone=is_local(places.warehouse),  # it is locked then
        )
        filled = places_of(settings, spark)
        for place, what in filled.items():
            require_room(place, least_free, what)
        stack.enter_context(named_full_disk(filled))
        outcome = _run_all(pipelines, settings, spark, store, force=force)
        if closing is not None:
            closing(outcome)
        return outcome


def _run_all(
    pipelines: tuple[Pipeline, ...], settings: Settings, spark: SparkSession, store: Store, *, force: bool
) -> Outcome:
    accounts = Accounts(store, settings)
    accounts.require_same_source()
    finished: list[str] = []
    skipped: list[str] = []
    run_id, present = run_identity(settings, store), present_basis(settings, store)
    rewritten: set[str] = set()
    with tracking.parent_run(settings, settings_fingerprint(settings)) as parent:
        for pipeline in pipelines:
            basis = accounts.basis_of(pipeline, present) if pipeline.is_dated else {}
            is_stale = force or any(table.name in rewritten for table in pipeline.reads)
            done = pipeline.is_dated and not is_stale and accounts.is_done(pipeline.name, basis)
            stage = _Work(pipeline, settings, spark, store, accounts, run_id, basis)
            worked = not done and stage.run(parent)
            (finished if worked else skipped).append(pipeline.name)
            if worked and pipeline.is_dated:
                rewritten.update(table.name for table in pipeline.writes)
            elif worked:  # what was taken in decides the stages after it
                run_id, present = run_identity(settings, store), present_basis(settings, store)
            if not worked:
                _LOG.info("%s: nothing to do, finished before with the same inputs and settings", pipeline.name)
        tracking.tag_run_id(run_id)
    if not finished:
        tracking.discard(parent)
    return Outcome(settings, store, run_id, tuple(finished), tuple(skipped))


@dataclass(frozen=True)
class _Work:
    """One stage about to run, and what it needs."""

    pipeline: Pipeline
    settings: Settings
    spark: SparkSession
    store: Store
    accounts: Accounts
    run_id: str
    basis: dict[str, str]

    def run(self, parent: Run) -> bool:
        """Run the stage below its parent in MLflow; False where an undated stage found nothing new."""
        pipeline, store = self.pipeline, self.store
        started = time.monotonic()
        _LOG.info("%s: %s", pipeline.name, pipeline.summary)
        self.spark.sparkContext.setJobDescription(pipeline.name)
        with tracking.stage_run(pipeline.name, self.run_id, self.settings.tracking.experiment) as tracker:
            entry = self.accounts.entry(pipeline, self.run_id, self.basis)
            seen = narrowed(self.settings, pipeline.settings) if pipeline.is_dated else self.settings
            stage = Stage(pipeline, seen, self.spark, store, tracker, self.run_id, before_write=entry.begin)
            pipeline.run(stage)
            seconds = time.monotonic() - started
            is_told = self.accounts.is_told(pipeline.name, stage.limitations)
            if not pipeline.is_dated and not stage.written and is_told:
                tracker.abandon()
                return False
            tracker.tables(stage.versions, stage.limitations)
            stage.metrics({"duration_seconds": seconds})
            own_id = self.run_id if pipeline.is_dated else run_identity(self.settings, store)
            tracking.tag_run_id(own_id)
            entry.finish(stage, own_id, seconds)
        told = {name: stage.figures[name] for name in pipeline.headlines if name in stage.figures}
        tracking.headlines(parent, {f"{pipeline.name}_seconds": seconds, **told})
        self.spark.catalog.clearCache()
        _LOG.info("%s: finished in %.1f s", pipeline.name, seconds)
        return True

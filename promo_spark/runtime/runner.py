"""Run stages: in order, once, resumably, each accounted for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass

from mlflow.entities import Run
from pyspark.sql import SparkSession

from promo_spark.contracts.settings import Settings
from promo_spark.runtime import tracking
from promo_spark.runtime.accounts import Accounts
from promo_spark.runtime.erasures import refuse_while_open
from promo_spark.runtime.identity import narrowed, present_basis, run_identity
from promo_spark.runtime.lock import warehouse_lock
from promo_spark.runtime.pipeline import Pipeline, in_order, leading_to, startable
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
        pipelines: In any order: each starts when those it reads from are through.
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
    refuse_while_open(store, (pipeline.name for pipeline in pipelines))
    with tracking.parent_run(settings, settings_fingerprint(settings)) as parent:
        run = _Run(settings, spark, store, accounts, parent, force=force)
        run.all(pipelines)
        tracking.tag_run_id(run.run_id)
    if not run.finished:
        tracking.discard(parent)
    told = tuple(tuple(p.name for p in pipelines if p.name in names) for names in (run.finished, run.skipped))
    return Outcome(settings, store, run.run_id, *told)


class _Run:
    """One run: which stages are through, and which may start.

    A stage spends much of its time planning queries, which keeps one core busy: several side by side use the others.
    """

    def __init__(
        self, settings: Settings, spark: SparkSession, store: Store, accounts: Accounts, parent: Run, *, force: bool
    ) -> None:
        self._settings, self._spark, self._store = settings, spark, store
        self._accounts, self._parent, self._force = accounts, parent, force
        self._rewritten: set[str] = set()
        self._running: dict[Future[bool], Pipeline] = {}
        self.finished: set[str] = set()
        self.skipped: set[str] = set()
        self._look_at_inputs()

    def all(self, pipelines: tuple[Pipeline, ...]) -> None:
        """Run the stages; the first fault is raised once those that run beside it have ended."""
        waiting = _most_awaited_first(pipelines)
        with ThreadPoolExecutor(self._settings.stages_at_once, thread_name_prefix="stage") as pool:
            try:
                while waiting or self._running:
                    for pipeline in self._startable(waiting):
                        waiting.remove(pipeline)
                        self._start(pipeline, pool)
                    self._wait()
            except KeyboardInterrupt:
                self._spark.sparkContext.cancelAllJobs()
                raise
            except Exception:
                if self._running:
                    names = ", ".join(pipeline.name for pipeline in self._running.values())
                    _LOG.error("a stage failed; what %s writes is kept, so it is waited for", names)
                raise

    def _startable(self, waiting: list[Pipeline]) -> list[Pipeline]:
        """Stages that may start now; an undated one decides what the others stand on, so it runs alone."""
        beside = list(self._running.values())
        if any(not pipeline.is_dated for pipeline in beside):
            return []
        ready = startable(waiting, unfinished=[*waiting, *beside])
        for pipeline in ready:
            if not pipeline.is_dated:
                return [] if beside else [pipeline]
        return ready[: self._settings.stages_at_once - len(beside)]

    def _start(self, pipeline: Pipeline, pool: ThreadPoolExecutor) -> None:
        basis = self._accounts.basis_of(pipeline, self._present) if pipeline.is_dated else {}
        is_stale = self._force or any(table.name in self._rewritten for table in pipeline.reads)
        if pipeline.is_dated and not is_stale and self._accounts.is_done(pipeline.name, basis):
            self._settle(pipeline, worked=False)
            return
        work = _Work(pipeline, self._settings, self._spark, self._store, self._accounts, self.run_id, basis)
        self._running[pool.submit(work.run, self._parent)] = pipeline

    def _wait(self) -> None:
        for future in wait(self._running, return_when=FIRST_COMPLETED).done:
            self._settle(self._running.pop(future), worked=future.result())

    def _settle(self, pipeline: Pipeline, *, worked: bool) -> None:
        (self.finished if worked else self.skipped).add(pipeline.name)
        if not worked:
            _LOG.info("%s: nothing to do, finished before with the same inputs and settings", pipeline.name)
        elif pipeline.is_dated:
            self._rewritten.update(table.name for table in pipeline.writes)
        else:
            self._look_at_inputs()
        if not self._running:  # what a stage beside it keeps in memory is still needed
            self._spark.catalog.clearCache()

    def _look_at_inputs(self) -> None:
        """What was taken in decides the stages after it."""
        self._present = present_basis(self._settings, self._store)
        self.run_id = run_identity(self._settings, self._present)


def _most_awaited_first(pipelines: tuple[Pipeline, ...]) -> list[Pipeline]:
    """Stages that many others wait for come first: the run is as long as its longest chain."""
    chains = [leading_to(last, pipelines) for last in pipelines]
    return sorted(in_order(pipelines), key=lambda pipeline: -sum(pipeline in chain for chain in chains))


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
        with tracking.stage_run(
            pipeline.name, self.run_id, self.settings.tracking.experiment, parent=parent
        ) as tracker:
            entry = self.accounts.entry(pipeline, self.run_id, self.basis)
            seen = narrowed(self.settings, pipeline.deciding_settings) if pipeline.is_dated else self.settings
            stage = Stage(pipeline, seen, self.spark, store, tracker, self.run_id, before_write=entry.begin)
            pipeline.run(stage)
            stage.require_own_tables()
            seconds = time.monotonic() - started
            is_told = self.accounts.is_told(pipeline.name, stage.limitations)
            if not pipeline.is_dated and not stage.written and is_told:
                tracker.abandon()
                return False
            tracker.tables(stage.versions, stage.limitations)
            stage.metrics({"duration_seconds": seconds})
            own_id = (
                self.run_id if pipeline.is_dated else run_identity(self.settings, present_basis(self.settings, store))
            )
            tracking.tag_run_id(own_id)
            entry.finish(stage, own_id, seconds)
        told = {name: stage.figures[name] for name in pipeline.headlines if name in stage.figures}
        tracking.headlines(parent, {f"{pipeline.name}_seconds": seconds, **told})
        _LOG.info("%s: finished in %.1f s", pipeline.name, seconds)
        return True

"""Run stages: in order, once, resumably, each accounted for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.audit import STAGE_RUNS
from promo_spark.contracts.settings import Settings
from promo_spark.errors import SourceError
from promo_spark.runtime import tracking
from promo_spark.runtime.identity import run_identity
from promo_spark.runtime.lock import warehouse_lock
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.places import absolute
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

    Undated stages (ingest) keep their own account of what they took in and are always entered. A
    dated stage is skipped when the last to write its tables was the same ``run_id`` and nothing it reads was
    written anew, so an interrupted run goes on after its last finished stage and a completed one does nothing.

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
        store = Store(spark, warehouse=places.warehouse, identity=places.identity)
        outcome = _run_all(pipelines, settings, spark, store, force=force)
        if closing is not None:
            closing(outcome)
        return outcome


def _run_all(
    pipelines: tuple[Pipeline, ...], settings: Settings, spark: SparkSession, store: Store, *, force: bool
) -> Outcome:
    finished: list[str] = []
    skipped: list[str] = []
    run_id = ""
    before = _newest_runs(store, settings.as_of_date)
    made: set[str] = set()
    rewritten: set[str] = set()
    with tracking.parent_run(settings, settings_fingerprint(settings)) as parent:
        for pipeline in pipelines:
            run_id = run_identity(settings, store)
            if pipeline.is_dated:
                _require_inputs(pipeline, settings, store, made)
            is_stale = force or any(table.name in rewritten for table in pipeline.reads)
            done = pipeline.is_dated and not is_stale and before.get(pipeline.name) == run_id
            worked = not done and _run_stage(pipeline, settings, spark, store, run_id)
            (finished if worked else skipped).append(pipeline.name)
            made.update(table.name for table in pipeline.writes)
            rewritten.update(table.name for table in pipeline.writes if worked and pipeline.is_dated)
            if not worked:
                _LOG.info("%s: nothing to do, finished before with the same inputs and settings", pipeline.name)
        tracking.tag_run_id(run_id)
    if not finished:
        tracking.discard(parent)
    return Outcome(settings, store, run_id, tuple(finished), tuple(skipped))


def _run_stage(pipeline: Pipeline, settings: Settings, spark: SparkSession, store: Store, run_id: str) -> bool:
    """Run one stage; False where an undated stage found nothing new."""
    started = time.monotonic()
    _LOG.info("%s: %s", pipeline.name, pipeline.summary)
    spark.sparkContext.setJobDescription(pipeline.name)
    with tracking.stage_run(pipeline.name, run_id, settings.tracking.experiment) as tracker:
        stage = Stage(pipeline, settings, spark, store, tracker, run_id)
        pipeline.run(stage)
        seconds = time.monotonic() - started
        if not pipeline.is_dated and not stage.written:
            tracker.abandon()
            return False
        tracker.tables(stage.versions, stage.limitations)
        stage.metrics({"duration_seconds": seconds})
        account = run_identity(settings, store) if not pipeline.is_dated else run_id
        _record(stage, store, account, seconds)
    spark.catalog.clearCache()
    _LOG.info("%s: finished in %.1f s", pipeline.name, seconds)
    return True


def _record(stage: Stage, store: Store, run_id: str, seconds: float) -> None:
    row = {
        "run_id": run_id,
        "stage": stage.pipeline.name,
        "as_of_date": stage.as_of_date,
        "finished_at": datetime.now(UTC),
        "duration_seconds": seconds,
        "rows_written": {name: written.accepted for name, written in stage.written.items()},
        "rows_rejected": {name: written.rejected for name, written in stage.written.items()},
        "table_versions": dict(stage.versions),
        "limitations": list(stage.limitations),
        "metrics": {name: float(value) for name, value in stage.figures.items()},
    }
    frame = stage.spark.createDataFrame(
        [tuple(row[name] for name in STAGE_RUNS.column_names)], STAGE_RUNS.schema(all_nullable=True)
    )
    store.write(STAGE_RUNS, frame)


def _newest_runs(store: Store, as_of_date: date) -> dict[str, str]:
    """Per stage, the run that wrote the date's tables last: an older run's are no longer there."""
    runs = store.read(STAGE_RUNS).where(F.col("as_of_date") == F.lit(as_of_date))
    newest = runs.groupBy("stage").agg(F.max_by("run_id", "finished_at").alias("run_id"))
    return {row.stage: row.run_id for row in newest.collect()}


def _require_inputs(pipeline: Pipeline, settings: Settings, store: Store, made: set[str]) -> None:
    """Refuse a stage that was called before those it stands on ran for the date; ``made`` needs no look."""
    inputs = [table for table in pipeline.reads if table not in pipeline.writes]
    dated = [table for table in inputs if table.mode == "dated"]
    if any(table.name in made for table in dated or inputs):
        return
    found = any(not store.read(table, settings.as_of_date).isEmpty() for table in dated) if dated else None
    if found is False or not any(store.exists(table) for table in inputs):
        raise SourceError(
            f"stage {pipeline.name} finds none of its inputs ({', '.join(t.name for t in dated or inputs)}) "
            f"for {settings.as_of_date} in {settings.places.warehouse}. "
            "Run jobs/pipeline.py, or the stages before it, first."
        )

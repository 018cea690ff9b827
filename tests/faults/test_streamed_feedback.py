"""Exposures, redemptions and ratings that arrive as files: each event once, wherever the stream is killed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

from promo_spark.contracts.identity import IDENTITY_CUSTOMERS, REJECTED_RAW
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.silver import EXPOSURES, RATINGS, REDEMPTIONS
from promo_spark.contracts.table import TableContract, bronze_of, rejected_of
from promo_spark.errors import SourceError
from promo_spark.pipelines import ingest, stream_feedback
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage
from promo_spark.runtime.store import Store
from promo_spark.runtime.streams import follow_files
from tests.end_to_end.conftest import FAST_START, ROOT, environment
from tests.faults.conftest import Shown
from tests.faults.stream_points import POINTS, Killed, stop_by_exception, stopped_at

pytestmark = [pytest.mark.promise("feedback arrives exactly once"), pytest.mark.spark]
MAPPINGS: dict[str, dict[str, Any]] = {
    "redemptions": {"promotion_id": "Promo", "customer_id": "Customer", "redeemed_date": "When"},
    "exposures": {"promotion_id": "Promo", "customer_id": "Customer", "exposed_at": "When", "channel": "How"},
    "ratings": {"customer_id": "Customer", "product_id": "Promo", "rated_date": "When", "rating": "How"},
}
KILLS = (("before", "bronze"), ("after", "bronze"), ("after", "silver"), ("before", "stream"))
CONTRACTS = {"redemptions": REDEMPTIONS, "exposures": EXPOSURES, "ratings": RATINGS}


class Figures:
    """Stands in for a run of MLflow."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}

    def metrics(self, values: Mapping[str, float]) -> None:
        self.seen.update(values)


@dataclass
class Landing:
    """Folders in which feedback arrives, and the warehouse it goes to.

    Each file holds two events that are kept, one a day off the calendar, one without a customer: the first
    cannot be read, the second the table refuses.
    """

    folder: Path
    files: int = 0

    def arrive(self, entity: str, count: int = 1) -> None:
        place = self.folder / "in" / entity
        place.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            self.files += 1
            n = self.files
            lines = ["Promo,Customer,When,How", f"p{n},{n},2024-01-05,3", f"q{n},regular,2024-01-06,4"]
            lines += [f"p{n},{n},2024-02-31,3", f"r{n},,2024-01-05,3"]
            (place / f"{n:03}.csv").write_text("\n".join(lines) + "\n")

    def settings(self) -> dict[str, Any]:
        (self.folder / "in/order_lines").mkdir(parents=True, exist_ok=True)
        (self.folder / "in/order_lines/a.csv").write_text("b,c,p,t,q,s\n1,1,x,2024-01-02 10:00:00,1,2.00\n")
        named = {"basket_id": "b", "customer_id": "c", "product_id": "p", "ordered_at": "t"}
        lines = {**named, "quantity": "q", "sales_amount": "s"}
        tables = {
            entity: {"format": "csv", "path": str(self.folder / "in" / entity), "columns": columns}
            for entity, columns in {"order_lines": lines, **MAPPINGS}.items()
            if (self.folder / "in" / entity).is_dir()
        }
        own = {name: f"{self.folder}/{name}" for name in ("warehouse", "identity")}
        offer = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}
        return {
            "as_of_date": date(2024, 2, 26),
            "source": {"kind": "files", "name": "landing", "time_zone": "UTC", "tables": tables},
            "places": {**own, "key_file": f"{self.folder}/identity/key", "lock_wait_seconds": 60.0},
            "stream": {"files_per_batch": 1},
            "promotions": {"offers": [offer]},
        }

    def stage(self, spark: SparkSession, pipeline: Pipeline) -> Stage:
        settings = Settings.model_validate(self.settings())
        store = Store(spark, warehouse=settings.places.warehouse, identity=settings.places.identity)
        return Stage(pipeline, settings, spark, store, Figures(), "run")  # type: ignore[arg-type]

    def run(self, spark: SparkSession, pipeline: Pipeline = stream_feedback.PIPELINE) -> Stage:
        stage = self.stage(spark, pipeline)
        pipeline.run(stage)
        return stage

    def check(self, spark: SparkSession) -> int:
        """Every event once in bronze and in silver, every refusal once; the number of events."""
        store = self.stage(spark, ingest.PIPELINE).store

        def rows(table: TableContract, *columns: str) -> list[tuple[Any, ...]]:
            return sorted(tuple(row) for row in store.read(table).select(*columns).collect())

        events = 0
        for entity, silver in CONTRACTS.items():
            place = self.folder / "in" / entity
            names = sorted(path.name for path in place.glob("*.csv")) if place.is_dir() else []
            records = [(name, ordinal) for name in names for ordinal in (2, 3, 4, 5)]
            origin = ("source_file", "source_ordinal")
            assert rows(bronze_of(silver), *origin) == records
            assert rows(silver, *origin) == [record for record in records if record[1] in (2, 3)]
            assert rows(rejected_of(silver), *origin) == [record for record in records if record[1] in (4, 5)]
            unreadable = store.read(REJECTED_RAW).where(f"entity = '{entity}'").count()
            assert unreadable == len(names)
            events += 2 * len(names)
        assert len(rows(IDENTITY_CUSTOMERS, "raw_customer_id")) == self.files + 1
        return events


def test_a_stream_stopped_around_its_commits_brings_each_event_once(
    spark: SparkSession, tmp_path: Path, shown: Shown
) -> None:
    landing = Landing(tmp_path)
    landing.arrive("redemptions")
    points = (("after", "bronze"), ("before", "stream"))
    for side, step in points:
        with stopped_at(side, step, stop_by_exception), pytest.raises(Killed):
            landing.run(spark)
    landing.run(spark)
    assert landing.check(spark) == 2
    shown(len(points), "points in this process")


@pytest.mark.slow
def test_a_stream_stopped_on_either_side_of_every_commit_brings_each_event_once(
    spark: SparkSession, tmp_path: Path, shown: Shown
) -> None:
    landing = Landing(tmp_path)
    landing.arrive("redemptions", 2)
    landing.arrive("exposures")
    for side, step in POINTS:
        with stopped_at(side, step, stop_by_exception), pytest.raises(Killed):
            landing.run(spark)
    landing.run(spark)
    assert landing.check(spark) == 6
    stage = landing.run(spark, ingest.PIPELINE)
    assert not {name for name in stage.written if "order_lines" not in name and "identity" not in name} - {
        "silver.products"
    }
    assert landing.check(spark) == 6
    shown(len(POINTS), "points in this process")


def test_a_stream_alone_hands_a_file_on_again_and_plain_appending_would_double_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    landing, appended = Landing(tmp_path), []
    landing.arrive("redemptions")

    def append(paths: frozenset[str]) -> None:
        appended.extend(sorted(paths))
        if len(appended) == 1:
            raise Killed

    place = str(tmp_path / "in/redemptions")
    with pytest.raises(Killed):
        follow_files(spark, place, checkpoint=f"{tmp_path}/c", files_per_batch=1, take=append)
    follow_files(spark, place, checkpoint=f"{tmp_path}/c", files_per_batch=1, take=append)
    assert appended == [f"{place}/001.csv"] * 2


@pytest.mark.slow
def test_a_bad_file_stops_the_stream_until_it_is_mended(spark: SparkSession, tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    landing.arrive("ratings")
    bad = tmp_path / "in/ratings/001.csv"
    text = bad.read_text()
    bad.write_text(text.replace("Customer", "Costumer"))
    for _ in range(2):
        with pytest.raises(SourceError, match="did you mean Costumer"):
            landing.run(spark)
    bad.write_text(text)
    landing.run(spark)
    assert landing.check(spark) == 2


@pytest.mark.slow
def test_a_killed_stream_brings_each_event_once(spark: SparkSession, tmp_path: Path, shown: Shown) -> None:
    landing = Landing(tmp_path)
    for entity in CONTRACTS:
        landing.arrive(entity, 2)
    settings = tmp_path / "settings.yaml"
    tracking = {"uri": f"sqlite:///{tmp_path}/mlflow.db", "artifacts": f"{tmp_path}/artifacts"}
    settings.write_text(yaml.safe_dump({**landing.settings(), "tracking": tracking}))
    launcher = [str(ROOT / "spark-submit.sh"), *FAST_START]
    for side, step in KILLS:
        killed = [*launcher, str(ROOT / "tests/faults/killed_stream.py"), side, step, "--config", str(settings)]
        done = subprocess.run(
            killed, capture_output=True, text=True, env=environment(), check=False, start_new_session=True, timeout=300
        )
        assert done.returncode == -9, f"{side} {step}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
    for job, is_new in (("stream_feedback", True), ("ingest", False)):
        whole = [*launcher, str(ROOT / f"jobs/{job}.py"), "--config", str(settings)]
        done = subprocess.run(whole, capture_output=True, text=True, env=environment(), check=False, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        assert ("silver.ratings: " in done.stderr) is is_new
        assert landing.check(spark) == 12
    shown(len(KILLS), "kill -9")

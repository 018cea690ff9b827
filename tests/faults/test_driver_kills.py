"""The driver is killed with ``kill -9``, stage by stage, and the same command is given again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pyspark.sql import SparkSession

from tests.end_to_end.conftest import Place, environment, kill_when, make_place
from tests.faults.conftest import Shown
from tests.faults.made_retailer import DAY, QUICK, exports, source, write_files
from tests.faults.stored_rows import AUDIT, all_rows

pytestmark = [
    pytest.mark.promise("killed anywhere and run again: the tables of a run that nobody disturbed"),
    pytest.mark.end_to_end,
    pytest.mark.slow,
]
JOB = "../tests/faults/short_pipeline"
# What the log says just before the kill, and how long after it: while the next table is worked on or written.
KILLS = (
    ("ingest: order_lines: 1 new files", 1.0),
    ("ingest: bronze.order_lines: ", 0.0),
    ("ingest: Take in", 3.0),
    ("ingest: silver.order_lines: ", 0.1),
    ("features: Describe", 2.0),
    ("features: features.products: ", 0.0),
    ("features: features.customers: |features: features.affinity: ", 0.2),
    ("segments: segments.customers: ", 0.5),
    ("segments: segments.profiles: ", 2.0),
    ("response: response.panel: ", 0.0),
    ("response: response.effects: ", 0.1),
    ("plan: plans.segment_plan: ", 0.0),
)


def arguments(place: Place) -> tuple[str, ...]:
    return (JOB, "--config", str(place.folder / "made.yaml"), "--set", "places.lock_wait_seconds=60")


def finish(place: Place) -> None:
    run = place.run(*arguments(place))
    assert run.returncode == 0, run.stdout[-3000:]


@pytest.fixture
def places(spark: SparkSession, tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    """Two places with one key and one retailer's files."""
    tables = {name: rows for name, rows in exports(spark, 40).items() if name in {"order_lines", "products"}}
    write_files(tables, tmp_path / "in")
    undisturbed = make_place(tmp_path / "undisturbed")
    key = undisturbed.folder / "identity/pseudonym.key"
    key.touch(mode=0o600)
    key.write_text("1" * 64)
    disturbed = make_place(tmp_path / "disturbed", like=undisturbed)
    own = {"as_of_date": DAY.isoformat(), "source": source(tables, tmp_path / "in"), **QUICK}
    for place in (undisturbed, disturbed):
        (place.folder / "made.yaml").write_text(yaml.safe_dump(own))
    yield undisturbed, disturbed
    shutil.rmtree(tmp_path)


def test_a_run_killed_in_every_stage(places: tuple[Place, Place], shown: Shown) -> None:
    undisturbed, disturbed = places
    finish(undisturbed)
    for signs, seconds in KILLS:
        log = kill_when(
            disturbed.command(*arguments(disturbed)),
            *signs.split("|"),
            folder=disturbed.folder,
            variables=environment(),
            seconds=seconds,
        )
        assert f"{signs.partition(':')[0]}: finished in" not in log, signs
    finish(disturbed)
    expected, got = (all_rows(place.folder, without=(AUDIT.replace("w/", "warehouse/"),)) for place in places)
    assert got.keys() == expected.keys()
    assert [name for name in expected if got[name] != expected[name]] == []
    shown(len(KILLS), "kills of the driver")

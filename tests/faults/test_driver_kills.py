"""The driver is killed with ``kill -9``, stage by stage, and the same command is given again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pyspark.sql import SparkSession

from tests.end_to_end.conftest import Place, environment, make_place
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


def started(place: Place) -> subprocess.Popen[str]:
    made = place.folder / "made.yaml"
    return subprocess.Popen(
        place.command(JOB, "--config", str(made), "--set", "places.lock_wait_seconds=60"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        start_new_session=True,
        cwd=place.folder,
    )


def killed(place: Place, signs: tuple[str, ...], seconds: float) -> str:
    """Run until the log shows one of the signs, wait, and kill; the log so far."""
    process = started(place)
    log: list[str] = []
    for line in process.stdout or ():
        log.append(line)
        if any(sign in line for sign in signs):
            time.sleep(seconds)
            break
    assert process.poll() is None, f"ended before {signs}:\n{''.join(log)[-3000:]}"
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return "".join(log)


def finished(place: Place) -> str:
    process = started(place)
    log, _ = process.communicate(timeout=900)
    assert process.returncode == 0, log[-3000:]
    return log


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
    finished(undisturbed)
    for signs, seconds in KILLS:
        killed(disturbed, tuple(signs.split("|")), seconds)
    finished(disturbed)
    expected, got = (all_rows(place.folder, without=(AUDIT.replace("w/", "warehouse/"),)) for place in places)
    assert got.keys() == expected.keys()
    assert [name for name in expected if got[name] != expected[name]] == []
    shown(len(KILLS), "kills of the driver")

"""On a cluster of two workers, one is killed while a job runs; what the job leaves is the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.conftest import FAST_JVM, ROOT, delta_jars
from tests.end_to_end.conftest import environment
from tests.end_to_end.standalone_cluster import Cluster, standalone_cluster
from tests.faults.conftest import Shown
from tests.faults.made_retailer import exports, keep_key, source, write_files
from tests.faults.stored_rows import all_rows

pytestmark = [
    pytest.mark.promise("losing a worker changes nothing"),
    pytest.mark.end_to_end,
    pytest.mark.slow,
]
SHARES = (0.25, 0.5, 0.75)


@dataclass
class Driver:
    """A driver that keeps its session while it runs one job after the other."""

    process: subprocess.Popen[str]
    source: dict[str, Any]

    def begin(self, stage: str, root: Path) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"stage": stage, "root": str(root), "source": self.source}) + "\n")
        self.process.stdin.flush()

    def end(self) -> str:
        """The answer; what else the driver says is passed over."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith('{"answer"'):
                return str(json.loads(line)["answer"])
        return f"the driver ended with {self.process.wait()}"

    def run(self, stage: str, root: Path) -> None:
        self.begin(stage, root)
        assert self.end() == "done"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with standalone_cluster(tmp_path) as running:
        yield running


@pytest.fixture
def driver(spark: SparkSession, cluster: Cluster, tmp_path: Path) -> Iterator[Driver]:
    tables = {name: rows for name, rows in exports(spark, 40).items() if name in {"order_lines", "products"}}
    write_files(tables, tmp_path / "in", parts=4)
    submit = {
        "--master": cluster.url,
        "--jars": delta_jars(),
        "--driver-memory": "1g",
        "--executor-memory": "700m",
        "--driver-java-options": FAST_JVM,
    }
    confs = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.cores.max": "2",
        "spark.executor.cores": "1",
        "spark.executorEnv.PYTHONPATH": str(ROOT),
        "spark.ui.enabled": "false",
    }
    options = [word for pair in submit.items() for word in pair]
    options += [word for key, value in confs.items() for word in ("--conf", f"{key}={value}")]
    quoted = " ".join(f"'{word}'" for word in options)
    own = {**environment(), "PYTHONPATH": str(ROOT), "PYSPARK_SUBMIT_ARGS": f"{quoted} pyspark-shell"}
    with (tmp_path / "driver.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.cluster_runs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**own, "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable},
            start_new_session=True,
            cwd=ROOT,
        )
    try:
        yield Driver(process, source(tables, tmp_path / "in"))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def data_files(root: Path) -> int:
    return sum(1 for _ in (root / "w").rglob("part-*.parquet"))


def kill_at(cluster: Cluster, root: Path, files: int, which: int, killed: list[int]) -> None:
    """Kill an executor once so many files are there."""
    deadline = time.monotonic() + 300
    while data_files(root) < files or not (executors := cluster.executors()):
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)
    os.kill(executors[which % len(executors)], signal.SIGKILL)
    killed.append(data_files(root))


def test_a_worker_lost_while_a_job_runs(cluster: Cluster, driver: Driver, tmp_path: Path, shown: Shown) -> None:
    keep_key(tmp_path / "nothing")
    before = tmp_path / "nothing"
    for stage in ("ingest", "features"):
        undisturbed = tmp_path / f"{stage} undisturbed"
        shutil.copytree(before, undisturbed)
        old = data_files(undisturbed)
        driver.run(stage, undisturbed)
        expected, files = all_rows(undisturbed), data_files(undisturbed) - old
        for number, share in enumerate(SHARES):
            root = tmp_path / f"{stage} {share}"
            shutil.copytree(before, root)
            killed: list[int] = []
            watch = Thread(target=kill_at, args=(cluster, root, old + round(share * files), number, killed))
            watch.start()
            driver.run(stage, root)
            watch.join()
            assert killed, "there was an executor to kill"
            assert killed[0] < old + files, "the job was not over"
            got = all_rows(root)
            assert [name for name in expected.keys() | got if got.get(name) != expected.get(name)] == [], (stage, share)
        before = undisturbed
    shown(2 * len(SHARES), "runs")

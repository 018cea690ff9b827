"""The same jobs on a real standalone cluster: a master and two workers on the loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pyspark
import pytest

from tests.end_to_end.conftest import environment, make_place

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]
SPARK_CLASS = Path(pyspark.__file__).parent / "bin/spark-class"
DEPLOY = "org.apache.spark.deploy"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive_workers(web_port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{web_port}/json/", timeout=2) as answer:
            return int(json.load(answer)["aliveworkers"])
    except OSError:
        return 0


@dataclass
class Cluster:
    """A standalone cluster on the loopback."""

    url: str
    web_port: int


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """URL of a master with two workers of one core each."""
    with standalone_cluster(tmp_path) as started:
        yield started.url


def launched(tmp_path: Path, log: TextIO, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a daemon of Spark's."""
    own = {
        **environment(),
        "SPARK_NO_DAEMONIZE": "1",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_HOME": str(SPARK_CLASS.parents[1]),
        # Executors import what the project's environment holds, and nothing from this test.
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_DIRS": str(tmp_path / "scratch"),
    }
    return subprocess.Popen(
        [str(SPARK_CLASS), f"{DEPLOY}.{name.lower()}.{name}", *arguments],
        env=own,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def worker_arguments(tmp_path: Path, number: int, url: str) -> list[str]:
    resources = ["--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0"]
    return [*resources, "--work-dir", str(tmp_path / f"work{number}"), url]


@contextmanager
def standalone_cluster(tmp_path: Path, *properties: str) -> Iterator[Cluster]:
    """A master with two workers of one core each; ``properties`` are given to all three."""
    port, web = free_port(), free_port()
    url = f"spark://127.0.0.1:{port}"
    log = (tmp_path / "cluster.log").open("w")
    place = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(web)]
    running = [launched(tmp_path, log, "Master", *properties, *place)]
    running += [
        launched(tmp_path, log, "Worker", *properties, *worker_arguments(tmp_path, number, url)) for number in (1, 2)
    ]
    try:
        deadline = time.monotonic() + 90
        while alive_workers(web) < 2:
            assert time.monotonic() < deadline, (tmp_path / "cluster.log").read_text()[-3000:]
            time.sleep(0.5)
        yield Cluster(url, web)
    finally:
        for process in running:
            os.killpg(process.pid, 9)
            process.wait()
        log.close()


def test_the_pipeline_runs_on_two_workers(cluster: str, tmp_path: Path) -> None:
    place = make_place(tmp_path / "place")
    options = (
        "--master",
        cluster,
        "--driver-memory",
        "1g",
        "--executor-memory",
        "900m",
        "--conf",
        "spark.driver.host=127.0.0.1",
        "--conf",
        "spark.driver.bindAddress=127.0.0.1",
        "--conf",
        "spark.cores.max=2",
        "--conf",
        "spark.executor.cores=1",
    )
    source = "source={kind: synthetic, customers: 120, products: 150, categories: 8, stores: 3, weeks: 30}"
    run = place.run("pipeline", "--set", source, "--set", "as_of_date=2017-06-19", options=options)
    assert run.returncode == 0, run.stdout[-3000:]
    assert "from SYNTHETIC data" in run.stdout
    assert (place.warehouse / "plans/segment_plan/_delta_log").is_dir()
    executors = list(tmp_path.glob("work*/app-*/*/stderr"))
    assert len({path.parts[-4] for path in executors}) == 2, "both workers ran tasks"

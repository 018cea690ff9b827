"""A real standalone cluster on the loopback: a master and two workers of one core each."""

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

from tests.end_to_end.conftest import environment

SPARK_CLASS = Path(pyspark.__file__).parent / "bin/spark-class"
DEPLOY = "org.apache.spark.deploy"


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        url: Of the master.
        web_port: Of the master's page.
        workers: Processes of the two workers; each leads a group that its executors belong to.
    """

    url: str
    web_port: int
    workers: tuple[subprocess.Popen[bytes], ...]

    def executors(self) -> list[int]:
        """Processes that run tasks, those of the first worker first."""
        found = []
        for worker in self.workers:
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                    command = (folder / "cmdline").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if int(parent) == worker.pid and "CoarseGrainedExecutorBackend" in command:
                    found.append(int(folder.name))
        return found


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


def launched(folder: Path, log: TextIO, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a daemon of Spark's, leader of a group of processes."""
    own = {
        **environment(),
        "SPARK_NO_DAEMONIZE": "1",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_HOME": str(SPARK_CLASS.parents[1]),
        # Executors import what the project's environment holds, and nothing from this test.
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_DIRS": str(folder / "scratch"),
    }
    return subprocess.Popen(
        [str(SPARK_CLASS), f"{DEPLOY}.{name.lower()}.{name}", *arguments],
        env=own,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def worker_arguments(folder: Path, number: int, url: str) -> list[str]:
    resources = ["--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0"]
    return [*resources, "--work-dir", str(folder / f"work{number}"), url]


@contextmanager
def standalone_cluster(folder: Path, *properties: str) -> Iterator[Cluster]:
    """Start a cluster that works in a folder, and end it.

    Args:
        folder: For its log and the folders of its workers, ``work1`` and ``work2``.
        *properties: Arguments of master and workers alike.
    """
    port, web = free_port(), free_port()
    url = f"spark://127.0.0.1:{port}"
    log = (folder / "cluster.log").open("w")
    place = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(web)]
    running = [launched(folder, log, "Master", *properties, *place)]
    running += [
        launched(folder, log, "Worker", *properties, *worker_arguments(folder, number, url)) for number in (1, 2)
    ]
    try:
        deadline = time.monotonic() + 90
        while alive_workers(web) < 2:
            assert time.monotonic() < deadline, (folder / "cluster.log").read_text()[-3000:]
            time.sleep(0.5)
        yield Cluster(url, web, tuple(running[1:]))
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait()
        log.close()

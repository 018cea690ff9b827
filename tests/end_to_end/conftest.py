"""Real jobs through the real launcher, each in a place of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from tests.conftest import FAST_JVM

ROOT = Path(__file__).parents[2]
FAST_START = ("--driver-java-options", FAST_JVM, "--driver-memory", "2g")
SAMPLE = ROOT / "tests/end_to_end/sample.yaml"


@dataclass
class Place:
    """A warehouse, an identity root and an MLflow database under one folder."""

    folder: Path

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse"

    def settings(self) -> list[str]:
        own = {
            "places.warehouse": self.warehouse,
            "places.identity": self.folder / "identity",
            "places.key_file": self.folder / "identity/pseudonym.key",
            "tracking.uri": f"sqlite:///{self.folder}/mlflow.db",
            "tracking.artifacts": self.folder / "artifacts",
        }
        return [word for key, value in own.items() for word in ("--set", f"{key}={value}")]

    def command(self, job: str, *arguments: str, options: Sequence[str] = FAST_START) -> list[str]:
        config = ["--config", str(ROOT / "conf/local.yaml"), "--config", str(SAMPLE)]
        return [
            str(ROOT / "spark-submit.sh"),
            *options,
            str(ROOT / f"jobs/{job}.py"),
            *config,
            *self.settings(),
            *arguments,
        ]

    def run(self, job: str, *arguments: str, options: Sequence[str] = FAST_START) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(job, *arguments, options=options),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            timeout=900,
            check=False,
            cwd=self.folder,
        )


def environment() -> dict[str, str]:
    """The environment of a user: the launcher finds everything itself."""
    dropped = {"PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "PYTHONPATH"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PROMO_SPARK_VENV": sys.prefix}


def kill_when(
    command: Sequence[str], *signs: str, folder: Path, variables: Mapping[str, str], seconds: float = 0.0
) -> str:
    """Start a command, and ``kill -9`` its whole process group some time after its log shows one of the signs.

    Returns:
        The log so far.
    """
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=variables,
        start_new_session=True,
        cwd=folder,
    )
    log: list[str] = []
    for line in process.stdout or ():
        log.append(line)
        if any(sign in line for sign in signs):
            time.sleep(seconds)
            break
    assert process.poll() is None, f"ended before {signs}:\n{''.join(log)[-3000:]}"
    os.killpg(process.pid, signal.SIGKILL)
    log += process.stdout or ()
    assert process.wait() == -signal.SIGKILL, f"ended by itself at {signs}:\n{''.join(log)[-3000:]}"
    return "".join(log)


def make_place(folder: Path, *, like: Place | None = None) -> Place:
    """A new place; with the pseudonym key of another, so that their tables can be compared."""
    place = Place(folder)
    (folder / "identity").mkdir(parents=True)
    if like is not None:
        key = folder / "identity/pseudonym.key"
        key.write_bytes((like.folder / "identity/pseudonym.key").read_bytes())
        key.chmod(0o600)
    return place


def rows_and_hashes(rows: DataFrame) -> tuple[Any, ...]:
    """The number of rows and the sum of their hashes, whatever their order: eight million prices are not collected."""
    total = F.sum(F.xxhash64(F.to_json(F.struct("*"))).cast("decimal(38,0)"))
    return tuple(rows.agg(F.count("*"), total).first() or ())


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, subprocess.CompletedProcess[str]]:
    """One undisturbed run of the whole pipeline on the sample."""
    place = make_place(tmp_path_factory.mktemp("undisturbed") / "place")
    return place, place.run("pipeline")

"""conf/encrypted.yaml on a standalone cluster: who does not know the secret stays out, scratch files tell nothing."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import ROOT, SAMPLE, environment
from tests.end_to_end.standalone_cluster import (
    Cluster,
    alive_workers,
    launched,
    standalone_cluster,
    worker_arguments,
)

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]
SECRET = "canary-secret-4711"  # noqa: S105  (of this test alone)
CANARY = b"canary-customer-"
# Compressed blocks would hide the canary where nothing is encrypted.
PLAIN = [
    word
    for key, value in {
        "spark.shuffle.compress": "false",
        "spark.shuffle.spill.compress": "false",
        "spark.sql.inMemoryColumnarStorage.compressed": "false",
        "spark.shuffle.spill.numElementsForceSpillThreshold": "1000",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.cores.max": "2",
        "spark.executor.memory": "700m",
    }.items()
    for word in ("--conf", f"{key}={value}")
]


def private(file: Path, text: str) -> Path:
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
    return file


def properties(folder: Path) -> tuple[str, str]:
    text = f"spark.authenticate true\nspark.authenticate.secret {SECRET}\nspark.network.crypto.enabled true\n"
    text += "spark.network.crypto.authEngineVersion 2\nspark.network.crypto.cipher AES/GCM/NoPadding\n"
    return ("--properties-file", str(private(folder / "daemons.properties", text)))


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Cluster]:
    with standalone_cluster(tmp_path, *properties(tmp_path)) as cluster:
        yield cluster


def submitted(cluster: Cluster, folder: Path, configs: list[Path], **variables: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    job = [str(ROOT / "tests/end_to_end/shuffled_names.py"), str(folder), *(str(config) for config in configs)]
    own = {**environment(), "SPARK_LOCAL_DIRS": str(folder.parent / "scratch"), **variables}
    return subprocess.Popen(
        [str(ROOT / "spark-submit.sh"), "--master", cluster.url, *PLAIN, "--driver-memory", "1g", *job],
        env=own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ready(process: subprocess.Popen[str], folder: Path) -> bool:
    deadline = time.monotonic() + 120
    while not (folder / "ready").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return (folder / "ready").exists()


def scratch_files_with(words: bytes, folder: Path) -> tuple[int, int]:
    """Files of blocks under a folder, and those that hold the words."""
    files = [file for file in (folder / "scratch").rglob("*") if file.is_file() and "blockmgr" in str(file)]
    return len(files), sum(words in file.read_bytes() for file in files)


def command_lines() -> bytes:
    return b"\n".join(file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if _is_readable(file))


def _is_readable(file: Path) -> bool:
    try:
        return bool(file.read_bytes())
    except OSError:
        return False


CONFIGS = [ROOT / "conf/local.yaml", SAMPLE]
ENCRYPTED = [*CONFIGS, ROOT / "conf/encrypted.yaml"]


def test_scratch_files_tell_nothing_and_strangers_stay_out(guarded: Cluster, tmp_path: Path) -> None:
    secret = private(tmp_path / "rpc.secret", SECRET + "\n")
    folder = tmp_path / "run"
    process = submitted(guarded, folder, ENCRYPTED, PROMO_SPARK_RPC_SECRET_FILE=str(secret))
    assert ready(process, folder), process.communicate()[0][-3000:]
    files, telling = scratch_files_with(CANARY, tmp_path)
    lines = command_lines()
    (folder / "looked").touch()
    log, _ = process.communicate(timeout=120)
    assert process.returncode == 0, log[-3000:]
    assert files > 4
    assert telling == 0
    assert SECRET.encode() not in lines, "the secret is on no command line"
    logs = [log, *(file.read_text(errors="replace") for file in tmp_path.glob("work*/*/*/stderr"))]
    assert SECRET not in "".join([*logs, (tmp_path / "cluster.log").read_text()])

    for number, variables in enumerate([{}, {"PROMO_SPARK_RPC_SECRET": "another"}]):
        stranger = submitted(guarded, tmp_path / f"stranger{number}", ENCRYPTED, **variables)
        told, _ = stranger.communicate(timeout=200)
        assert stranger.returncode != 0, told[-2000:]
        assert not (tmp_path / f"stranger{number}/ready").exists()

    with (tmp_path / "stranger.log").open("w") as stranger_log:
        worker = launched(tmp_path, stranger_log, "Worker", *worker_arguments(tmp_path, 3, guarded.url))
        try:
            time.sleep(15)
            assert alive_workers(guarded.web_port) == 2, "a worker without the secret has joined"
        finally:
            os.killpg(worker.pid, 9)
            worker.wait()
    assert "Successfully registered" not in (tmp_path / "stranger.log").read_text()


def test_the_search_finds_names_where_nothing_is_encrypted(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with standalone_cluster(tmp_path) as cluster:
        process = submitted(cluster, folder, CONFIGS)
        assert ready(process, folder), process.communicate()[0][-3000:]
        _, telling = scratch_files_with(CANARY, tmp_path)
        (folder / "looked").touch()
        process.communicate(timeout=120)
    assert telling > 0

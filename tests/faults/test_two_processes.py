"""Two processes on one warehouse: a lock on a local disk, and without one nothing lost and nothing doubled."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from multiprocessing.context import ForkProcess
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.settings import Places
from promo_spark.errors import LockedError
from promo_spark.runtime.lock import warehouse_lock
from promo_spark.runtime.store import Store
from tests.conftest import FAST_JVM, ROOT, delta_jars
from tests.faults.conftest import Shown

pytestmark = [pytest.mark.promise("two runs at once: a serial result or a named error")]
APPENDS = 100
FORK = multiprocessing.get_context("fork")


def hold(folder: Path, seconds: float) -> None:
    with warehouse_lock(Places(warehouse=str(folder / "w"))):
        (folder / "held").touch()
        time.sleep(seconds)


def holding(folder: Path, seconds: float) -> ForkProcess:
    """Another process that holds the warehouse for so long."""
    process = FORK.Process(target=hold, args=(folder, seconds))
    process.start()
    deadline = time.monotonic() + 60
    while not (folder / "held").exists():
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_a_second_process_is_told_who_holds_the_warehouse(tmp_path: Path, shown: Shown) -> None:
    process = holding(tmp_path, 60)
    told = rf"another run holds the warehouse .*process {process.pid}"
    try:
        impatient = Places(warehouse=str(tmp_path / "w"), lock_wait_seconds=0.2)
        with pytest.raises(LockedError, match=told), warehouse_lock(impatient):
            pass
    finally:
        process.kill()
        process.join()
    with warehouse_lock(impatient):  # a killed process leaves nothing to clean up
        pass
    shown(1, "refusals")


def test_a_second_process_waits_as_long_as_it_was_told(tmp_path: Path) -> None:
    process = holding(tmp_path, 1.0)
    with warehouse_lock(Places(warehouse=str(tmp_path / "w"), lock_wait_seconds=30)):
        process.join(10)
        assert process.exitcode == 0


@pytest.fixture
def shared_storage(tmp_path: Path) -> dict[str, str]:
    """Settings under which commits behave between processes as on shared storage (log_store/LinkedLogStore.java)."""
    compiler = shutil.which("javac")
    if compiler is None:
        pytest.skip("no javac: a log store that is safe between processes is compiled for this test")
    libraries = [
        *delta_jars().split(","),
        *map(str, (Path(pyspark.__file__).parent / "jars").glob("hadoop-client-api*")),
    ]
    source = Path(__file__).parent / "log_store/LinkedLogStore.java"
    command = [compiler, "-cp", ":".join(libraries), "-d", str(tmp_path / "classes"), str(source)]
    subprocess.run(command, check=True, timeout=120)
    jar = tmp_path / "log_store.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        for file in (tmp_path / "classes").rglob("*.class"):
            archive.write(file, file.relative_to(tmp_path / "classes"))
    return {
        "spark.jars": f"{delta_jars()},{jar}",
        "spark.delta.logStore.file.impl": "promo_spark.LinkedLogStore",
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": FAST_JVM,
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
    }


@pytest.mark.slow
def test_appends_of_two_processes_all_arrive_once(
    spark: SparkSession, shared_storage: dict[str, str], tmp_path: Path, shown: Shown
) -> None:
    script = str(Path(__file__).parent / "appending.py")
    conf = [f"{key}={value}" for key, value in shared_storage.items()]
    running = [
        subprocess.Popen(
            [sys.executable, script, str(tmp_path), name, str(APPENDS), *conf],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable},
            cwd=tmp_path,
        )
        for name in ("one", "other")
    ]
    assert [process.wait(timeout=500) for process in running] == [0, 0]
    store = Store(spark, warehouse=str(tmp_path / "w"), identity=str(tmp_path / "i"))
    found = Counter(row.raw_customer_id for row in store.read(IDENTITY_CUSTOMERS).collect())
    own = {f"{name} {number}" for name in ("one", "other") for number in range(APPENDS)}
    shared = {f"shared {number}" for number in range(APPENDS - 9)}
    assert set(found) == own | shared, "lost"
    assert set(found.values()) == {1}, "doubled"
    shown(2 * APPENDS, "appends")

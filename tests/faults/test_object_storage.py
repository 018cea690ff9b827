"""The whole pipeline with its tables and identities in S3, killed and run again: the same rows as on a local disk."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts import TABLES
from tests.end_to_end.conftest import FAST_START, ROOT, SAMPLE, environment, kill_when, rows_and_hashes
from tests.faults.conftest import Shown
from tests.faults.object_storage import ObjectStorage, running_object_storage

pytestmark = [pytest.mark.promise("object storage equals local"), pytest.mark.slow]
SOURCE = "{kind: synthetic, customers: 80, products: 60, categories: 6, stores: 2, weeks: 26}"
# What the log says just before a run is killed; the next one is killed later.
KILLS = ("ingest: bronze.order_lines: ", "features: features.customers: ", "response: response.panel: ")


@pytest.fixture(scope="module")
def storage() -> Iterator[ObjectStorage]:
    with running_object_storage() as running:
        yield running


class Place:
    """A warehouse and an identity root somewhere, and an MLflow database on this disk."""

    def __init__(self, folder: Path, root: str, options: list[str]) -> None:
        self.folder, self.root, self.options = folder, root, options
        folder.mkdir()
        key = folder / "pseudonym.key"
        key.write_text("00112233445566778899aabbccddeeff" * 2)
        key.chmod(0o600)

    def command(self, *arguments: str) -> list[str]:
        settings = {
            "source": SOURCE,
            "as_of_date": "2017-05-29",
            "places.warehouse": f"{self.root}/warehouse",
            "places.identity": f"{self.root}/identity",
            "places.key_file": f"{self.folder}/pseudonym.key",
            "tracking.uri": f"sqlite:///{self.folder}/mlflow.db",
            "tracking.artifacts": f"{self.folder}/artifacts",
        }
        named = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        config = ["--config", str(ROOT / "conf/local.yaml"), "--config", str(SAMPLE)]
        job = str(ROOT / "jobs/pipeline.py")
        return [str(ROOT / "spark-submit.sh"), *FAST_START, *self.options, job, *config, *named, *arguments]

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=credentials(),
            check=False,
            cwd=self.folder,
            timeout=900,
        )
        (self.folder / "log").write_text(done.stdout)
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout

    def kill_at(self, sign: str) -> None:
        """Start the job and kill its process group once the log shows a sign."""
        kill_when(self.command(), sign, folder=self.folder, variables=credentials())


def credentials() -> dict[str, str]:
    return {**environment(), "AWS_ACCESS_KEY_ID": "shop", "AWS_SECRET_ACCESS_KEY": "canary-7d1f"}


def contents(spark: SparkSession, root: Path) -> dict[str, tuple[Any, ...]]:
    """Of every table but the audit its rows and hashes."""
    found = {}
    for table in TABLES.values():
        folder = root / ("identity" if table.layer == "identity" else "warehouse") / table.layer / table.entity
        if table.layer != "audit" and folder.is_dir():
            found[table.name] = rows_and_hashes(spark.read.format("delta").load(str(folder)))
    return found


def versions(storage: ObjectStorage) -> list[str]:
    return [name for name in storage.names() if "/_delta_log/" in name and "/audit/" not in name]


def test_tables_in_object_storage_are_those_of_a_local_disk(
    spark: SparkSession, tmp_path: Path, storage: ObjectStorage, shown: Shown
) -> None:
    local = Place(tmp_path / "local", str(tmp_path / "local"), [])
    local.run()
    remote = Place(tmp_path / "remote", "s3a://shop", storage.options())
    for sign in KILLS:
        remote.kill_at(sign)
    told = remote.run()
    assert "canary-7d1f" not in told
    before = versions(storage)
    remote.run()
    assert versions(storage) == before
    storage.copy_to(tmp_path / "copied")
    expected, got = contents(spark, local.folder), contents(spark, tmp_path / "copied")
    assert got.keys() == expected.keys()
    assert {"identity.customers", "recommend.served", "plans.segment_plan", "plans.assignment"} <= expected.keys()
    assert [name for name in expected if got[name] != expected[name]] == []
    shown(len(expected), "tables equal")
    shown(1, "run")
    shown(len(KILLS) + 1, "re-runs")

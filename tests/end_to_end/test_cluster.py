"""The same jobs on a real standalone cluster: a master and two workers on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import make_place
from tests.end_to_end.standalone_cluster import standalone_cluster

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """URL of a master with two workers of one core each."""
    with standalone_cluster(tmp_path) as started:
        yield started.url


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

"""Bad settings, input and environment: one clear message, a non-zero exit, nothing half-written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import ROOT, Place, environment, make_place

pytestmark = [pytest.mark.end_to_end]

HEADER = "ticket,client,article,jour,qte,montant\n"
LINES = "1,a,p1,01/02/2026 10:00,1,2.50\n2,b,p2,02/02/2026 11:00,2,5.00\n"
SHOP = """
as_of_date: {as_of_date}
source:
  kind: files
  time_zone: Europe/Paris
  tables:
    order_lines:
      format: {form}
      path: {path}
      columns:
        basket_id: ticket
        customer_id: client
        product_id: {product}
        ordered_at: {{from: jour, format: "dd/MM/yyyy HH:mm"}}
        quantity: qte
        sales_amount: montant
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path / "place")


def shop(place: Place, content: str | bytes, name: str = "lines.csv", **changes: str) -> str:
    data = place.folder / "data" / name
    data.parent.mkdir(exist_ok=True)
    data.write_bytes(content.encode() if isinstance(content, str) else content)
    given = {"as_of_date": "2026-03-02", "form": "csv", "path": str(data), "product": "article", **changes}
    config = place.folder / "shop.yaml"
    config.write_text(SHOP.format(**given))
    return str(config)


def assert_refused(run: subprocess.CompletedProcess[str], *told: str) -> None:
    errors = [line for line in run.stdout.splitlines() if line.startswith("error: ")]
    assert run.returncode not in {0, 70}, run.stdout[-2000:]
    assert len(errors) == 1, run.stdout[-2000:]
    message = run.stdout[run.stdout.index("error: ") :]
    for text in told:
        assert text in message, message
    assert "Traceback" not in run.stdout


@pytest.mark.parametrize(
    ("content", "changes", "told"),
    [
        pytest.param(HEADER + LINES, {"path": "/nowhere/*.csv"}, ["/nowhere"], marks=pytest.mark.slow),
        pytest.param("", {}, ["lines.csv", "empty"], marks=pytest.mark.slow),
        pytest.param(HEADER + LINES, {"product": "artikel"}, ["artikel", "article"], marks=pytest.mark.slow),
        pytest.param(LINES, {}, ["lines.csv: the header"], marks=pytest.mark.slow),
        pytest.param(HEADER + LINES, {"as_of_date": "2020-01-01"}, ["2020-01-01", "2026-02"], marks=pytest.mark.slow),
    ],
    ids=["absent", "empty", "missing column", "missing header", "no history"],
)
def test_bad_sources_are_named(place: Place, content: str, changes: dict[str, str], told: list[str]) -> None:
    assert_refused(place.run("pipeline", "--config", shop(place, content, **changes)), *told)


@pytest.mark.slow
def test_an_unwritable_warehouse_is_named(place: Place) -> None:
    (place.folder / "file").write_text("")
    assert_refused(
        place.run("pipeline", "--set", f"places.warehouse={place.folder}/file/w"), "cannot be written", "file/w"
    )


@pytest.mark.slow
def test_an_unreachable_mlflow_is_named(place: Place) -> None:
    assert_refused(
        place.run("pipeline", "--set", "tracking.uri=http://127.0.0.1:9"), "http://127.0.0.1:9", "tracking.uri"
    )


def test_wrong_settings_are_told_together(place: Place) -> None:
    run = place.run("plan", "--set", "plan.budget_amount=-5", "--set", "plan.weeeks=2", "--set", "seed=x")
    assert_refused(run, "plan.budget_amount", "plan.weeeks", "did you mean weeks?", "seed")
    assert run.returncode == 2


@pytest.mark.slow
def test_a_stage_called_too_early_says_so(place: Place) -> None:
    assert_refused(place.run("plan"), "stage plan does not find its inputs", "jobs/pipeline.py")


def test_help_and_dry_run_teach(place: Place) -> None:
    told = place.run("plan", "--help")
    assert told.returncode == 0
    assert "plans.segment_plan" in told.stdout
    assert "--set KEY=VALUE" in told.stdout
    dry = place.run("pipeline", "--dry-run")
    assert dry.returncode == 0
    assert dry.stdout.index("1. ingest") < dry.stdout.index("plans.segment_plan")
    assert not place.warehouse.exists()


def test_a_wrong_java_is_named(place: Place, tmp_path: Path) -> None:
    java = tmp_path / "java8/bin/java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho '    java.specification.version = 1.8' >&2\necho '    java.home = /java8' >&2\n")
    java.chmod(0o755)
    script = (
        f"source {ROOT}/scripts/environment.sh; java_candidates() {{ echo {java}; }}; "
        "id() { echo 1000; }; ensure_java"
    )
    run = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env={**environment(), "PATH": os.environ["PATH"]},
        check=False,
    )
    assert run.returncode == 2
    assert "Java 17 or 21 was not found" in run.stderr
    assert "version 1.8" in run.stderr
    assert "apt-get install" in run.stderr

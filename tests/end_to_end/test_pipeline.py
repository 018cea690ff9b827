"""From the source to the plan and its report, through ``spark-submit.sh``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts import TABLES
from promo_spark.contracts.table import TableContract
from tests.end_to_end.conftest import Place, environment, kill_when, make_place, rows_and_hashes

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]
Finished = tuple[Place, subprocess.CompletedProcess[str]]
_OWN_STORY = {"audit", "identity"}


def table_rows(spark: SparkSession, place: Place, contract: TableContract) -> DataFrame:
    root = place.folder / "identity" if contract.layer == "identity" else place.warehouse
    return spark.read.format("delta").load(str(root / contract.layer / contract.entity))


def contents(spark: SparkSession, place: Place) -> dict[str, tuple[int, int]]:
    """Of every table but the audit its rows and hashes."""
    stored = [table for table in TABLES.values() if (place.warehouse / table.layer / table.entity).is_dir()]
    return {
        table.name: rows_and_hashes(table_rows(spark, place, table))
        for table in stored
        if table.layer not in _OWN_STORY
    }


def versions(place: Place) -> dict[str, int]:
    logs = [path for path in place.folder.rglob("_delta_log") if "audit" not in path.parts]
    return {str(log.parent.relative_to(place.folder)): len(list(log.glob("*.json"))) for log in logs}


def test_the_pipeline_ends_by_saying_where_things_are(finished: Finished) -> None:
    place, run = finished
    assert run.returncode == 0, run.stdout[-3000:]
    report = place.warehouse / "reports/2017-10-30/index.html"
    for told in ("Plan for 2017-10-30", "to spend", "expected margin", "promotions", str(report), "mlflow.db"):
        assert told in run.stdout
    page = report.read_text(encoding="utf-8")
    assert page.count("<svg") >= 6
    assert "observational" in page.lower() or "not randomised" in page


def test_every_stage_says_how_many_rows_it_wrote(finished: Finished) -> None:
    _, run = finished
    for stage in ("ingest", "features", "segments", "recommend", "response", "plan", "backtest", "report"):
        assert f"{stage}: finished in" in run.stdout
    assert "silver.order_lines: " in run.stdout


def test_tables_are_not_empty_and_speak_of_one_date(finished: Finished, spark: SparkSession) -> None:
    place, _ = finished
    expected = {
        "silver.order_lines",
        "features.customers",
        "segments.customers",
        "segments.profiles",
        "recommend.products",
        "response.effects",
        "plans.segment_plan",
        "measurement.backtests",
    }
    for name in expected:
        rows = table_rows(spark, place, TABLES[name])
        assert rows.count() > 0, name
        if "as_of_date" in rows.columns:
            assert [str(row[0]) for row in rows.select("as_of_date").distinct().collect()] == ["2017-10-30"], name
    assert table_rows(spark, place, TABLES["features.customers"]).count() <= 200


def test_no_raw_identity_leaves_the_door(finished: Finished, spark: SparkSession) -> None:
    place, run = finished
    identities = table_rows(spark, place, TABLES["identity.customers"])
    customers = table_rows(spark, place, TABLES["silver.order_lines"]).select("customer_id").distinct()
    raw = identities.selectExpr("raw_customer_id AS customer_id")
    assert identities.count() == 200
    assert customers.join(raw, "customer_id").isEmpty()
    assert customers.join(identities, "customer_id").count() == customers.count()
    key = (place.folder / "identity/pseudonym.key").read_text(encoding="utf-8").strip()
    assert key not in run.stdout
    assert (place.folder / "identity/pseudonym.key").stat().st_mode & 0o077 == 0


def test_a_second_run_changes_no_table(finished: Finished) -> None:
    place, _ = finished
    before = versions(place)
    again = place.run("pipeline")
    assert again.returncode == 0, again.stdout[-3000:]
    assert "nothing had to be done" in again.stdout
    assert versions(place) == before


@pytest.mark.parametrize("killed_at", ["recommend.products: "])
def test_a_killed_run_goes_on_to_the_same_tables(
    finished: Finished, tmp_path: Path, spark: SparkSession, killed_at: str
) -> None:
    undisturbed, _ = finished
    place = make_place(tmp_path / "place", like=undisturbed)
    kill_when(place.command("pipeline"), killed_at, folder=place.folder, variables=environment(), seconds=0.3)
    resumed = place.run("pipeline", "--set", "places.lock_wait_seconds=60")
    assert resumed.returncode == 0, resumed.stdout[-3000:]
    got, expected = contents(spark, place), contents(spark, undisturbed)
    assert got.keys() == expected.keys()
    assert [name for name in expected if got[name] != expected[name]] == []


def test_after_a_run_with_another_budget_the_plan_is_made_again(finished: Finished) -> None:
    place, _ = finished
    other = place.run("plan", "--set", "plan.budget_amount=7")
    assert other.returncode == 0, other.stdout[-3000:]
    again = place.run("pipeline")
    assert again.returncode == 0, again.stdout[-3000:]
    assert "features: nothing to do" in again.stdout
    assert "plan: finished in" in again.stdout
    assert "report: finished in" in again.stdout
    assert "of a budget of 5,000 USD" in again.stdout

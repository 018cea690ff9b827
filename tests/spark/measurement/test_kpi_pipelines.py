"""The stages as they run: on a simulated retailer, what they write, leave out, and refuse."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from promo_spark.contracts.fairness import CONTACT_PRESSURE, FAIRNESS
from promo_spark.contracts.kpis import KPIS
from promo_spark.contracts.settings import Settings
from promo_spark.errors import FairnessError
from promo_spark.pipelines import assign, fairness, features, ingest, kpis, plan, response, segments, uplift
from promo_spark.runtime.runner import Outcome, run_stages
from promo_spark.runtime.settings import load_settings

pytestmark = pytest.mark.slow  # runs a simulated retailer up to its assignment first

DAY = date(2017, 5, 15)
UPSTREAM = (
    ingest.PIPELINE,
    features.PIPELINE,
    segments.PIPELINE,
    response.PIPELINE,
    plan.PIPELINE,
    uplift.PIPELINE,
    assign.PIPELINE,
)


def settings_of(place: Path, *more: str) -> Settings:
    config = place / "world.yaml"
    config.write_text(
        f"as_of_date: {DAY}\n"
        "source: {kind: synthetic, customers: 300, products: 120, categories: 8, stores: 3, weeks: 26, "
        "campaign_week: 14}\n"
        f"places: {{warehouse: {place}/warehouse, identity: {place}/identity, key_file: {place}/identity/key}}\n"
        f"tracking: {{uri: 'sqlite:///{place}/mlflow.db', artifacts: {place}/artifacts}}\n"
        "segments: {cluster_counts: [3], resamples: 2, horizon_days: 28}\n"
        "response: {categories: 6, trees: 3, depth: 2}\n"
        "plan: {bootstraps: 60}\n"
        "kpis: {days: 14}\n"
        "uplift: {min_arm_customers: 10}\n"
        "assign: {promotions: [campaign-1]}\n"
        "promotions:\n"
        "  offers:\n"
        "    - {offer_id: ten_off, name: Ten off, mechanic: percent_off, depth_rate: 0.1, channel: app}\n"
    )
    return load_settings([config], more)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kpis")


@pytest.fixture(scope="module")
def outcome(spark: object, place: Path) -> Outcome:
    return run_stages((*UPSTREAM, kpis.PIPELINE, fairness.PIPELINE), settings_of(place))


def test_a_randomised_campaign_is_told_against_its_holdout(outcome: Outcome) -> None:
    rows = outcome.store.read(KPIS, DAY).where("scope = 'promotion' AND comparison = 'holdout'").collect()
    found = {row["kpi"]: row for row in rows}
    promoted = found["promoted_sales_per_customer"]
    assert promoted["value"] > 0
    assert promoted["change_low"] < promoted["change"] < promoted["change_high"]
    assert found["participation"]["comparison_value"] == 0.0
    assert found["incremental_roi"]["value"] is not None
    everything = outcome.store.read(KPIS, DAY)
    assert everything.where("value IS NULL AND told IS NULL").isEmpty()
    assert everything.where("scope = 'segment'").select("scope_id").distinct().count() == 3


def test_groups_of_a_random_campaign_are_contacted_alike(outcome: Outcome) -> None:
    found = outcome.store.read(FAIRNESS, DAY).where("measure = 'contacted_rate' AND NOT is_suppressed").collect()
    assert found
    assert all(row["passed"] for row in found)
    pressure = outcome.store.read(CONTACT_PRESSURE, DAY)
    assert pressure.where("period = 'past'").agg({"customer_rate": "sum"}).collect()[0][0] == pytest.approx(1.0)


def test_an_audit_that_fails_ends_the_run_after_its_tables_are_written(outcome: Outcome, place: Path) -> None:
    version = outcome.store.version(FAIRNESS)
    strict = ("fairness.fail_run=true", "fairness.least_ratio=1", "fairness.false_discovery_rate=0.9999")
    with pytest.raises(FairnessError, match=r"fault\(s\) in the audit of 2017-05-15(.|\n)*assign.limits") as fault:
        run_stages((*UPSTREAM, fairness.PIPELINE), settings_of(place, *strict))
    assert fault.value.exit_code == 12
    assert outcome.store.version(FAIRNESS) > version
    failed = outcome.store.read(FAIRNESS, DAY).where("NOT passed").count()
    assert str(fault.value).startswith(f"{failed} fault(s)")

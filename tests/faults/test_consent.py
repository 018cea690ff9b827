"""Whoever withdrew a consent is in nothing that is decided, measured or sent from then on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts import TABLES
from promo_spark.contracts.assignment import ASSIGNMENT, SENDS
from promo_spark.contracts.consent import names_customers
from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.features import AFFINITY, CUSTOMER_FEATURES
from promo_spark.contracts.ideas import TRIGGERS
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.masked_views import ViewSettings
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.silver import ASSIGNMENTS, CONSENTS, ORDER_LINES
from promo_spark.contracts.table import AS_OF_DATE, TableContract
from promo_spark.pipelines import design_experiment, export, features, ingest, tune
from promo_spark.pipelines.catalogue import ALL
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.runner import run_stages
from promo_spark.runtime.settings import load_settings
from promo_spark.runtime.stage import Stage
from promo_spark.runtime.store import Store
from promo_spark.runtime.view_files import write_views
from tests.conftest import MakeRows
from tests.faults.conftest import Shown

pytestmark = [pytest.mark.promise("who withdrew a consent is in nothing decided, measured or sent from then on")]

DAY = date(2017, 6, 5)
BEFORE = DAY - timedelta(weeks=4)
_TASTES = AFFINITY.column_names
EVERY = (*ALL, design_experiment.PIPELINE, export.PIPELINE, tune.PIPELINE)
OFFER = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}
PURPOSES = ("personalisation", "measurement", "contact")
Answer = tuple[str, str, date, bool]


def consent_rows(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    return [
        {
            "customer_id": who,
            "purpose": purpose,
            "from_date": day,
            "is_granted": is_granted,
            "source_file": "test",
            "source_ordinal": place,
            "ingest_sequence": 1,
        }
        for place, (who, purpose, day, is_granted) in enumerate(answers, 1)
    ]


@dataclass
class Rows:
    """Stands in for the store: every table holds the same few customers."""

    make_rows: MakeRows
    consents: list[dict[str, Any]]

    def read(self, contract: TableContract, as_of_date: date | None = None) -> DataFrame:
        if contract == CONSENTS:
            return self.make_rows(CONSENTS, self.consents)
        if not names_customers(contract):
            return self.make_rows(contract, [])
        dated = {AS_OF_DATE: DAY} if contract.mode == "dated" else {}
        named = [{"customer_id": who, **dated} for who in ("stays", "withdrew", "withdraws_later")]
        return self.make_rows(contract, named)

    def read_before(self, contract: TableContract, as_of_date: date, *, days: int = 1) -> DataFrame:
        return self.read(contract)

    def exists(self, contract: TableContract) -> bool:
        return True

    def version(self, contract: TableContract) -> int:
        return 0


def seen_by(pipelines: Iterable[Pipeline]) -> list[tuple[Pipeline, TableContract]]:
    """One stage for each purpose and table: the door is the same for all that share both."""
    found: dict[tuple[str | None, str], tuple[Pipeline, TableContract]] = {}
    for pipeline in pipelines:
        for table in (*pipeline.reads, *pipeline.writes):
            if names_customers(table) and pipeline.purpose != "accounting":
                found.setdefault((pipeline.purpose, table.name), (pipeline, table))
    return list(found.values())


def test_no_stage_sees_who_withdrew(spark: SparkSession, make_rows: MakeRows, shown: Shown) -> None:
    settings = Settings.model_validate(
        {"as_of_date": DAY, "source": {"kind": "synthetic"}, "promotions": {"offers": [OFFER]}}
    )
    answers = [
        answer
        for purpose in ("personalisation", "measurement")
        for answer in (("withdrew", purpose, DAY, False), ("withdraws_later", purpose, DAY + timedelta(days=1), False))
    ]
    store = Rows(make_rows, consent_rows(answers))
    opened = 0
    seen_otherwise: set[str | None] = set()
    for pipeline, table in seen_by(EVERY):
        stage = Stage(pipeline, settings, spark, cast(Store, store), cast(Any, None), "run")
        expected = {"stays", "withdraws_later"} | ({None} if table == ORDER_LINES else set())
        frames = {"read": stage.read(table)}
        if table.mode == "dated" and pipeline.purpose not in seen_otherwise:
            seen_otherwise.add(pipeline.purpose)
            frames |= {"read_before": stage.read_before(table), "read_until": stage.read_until(table)}
        rows = [frame.select(F.lit(way), "customer_id") for way, frame in frames.items() if table != CONSENTS]
        found: dict[str, set[str | None]] = {way: set() for way in frames if table != CONSENTS}
        for way, who in (row for frame in rows for row in frame.collect()):
            found[way].add(who)
        assert all(names == expected for names in found.values()), f"{pipeline.name} sees {found} in {table.name}"
        opened += len(found)
    assert opened > 30
    shown(opened, "ways into a table")


CONFIG = """
as_of_date: {day}
source: {{kind: synthetic, customers: 100, products: 120, categories: 8, stores: 3, weeks: 26, campaign_week: 12}}
places: {{warehouse: {place}/warehouse, identity: {place}/identity, key_file: {place}/identity/key}}
tracking: {{uri: 'sqlite:///{place}/mlflow.db', artifacts: {place}/artifacts}}
segments: {{cluster_counts: [3], resamples: 2, horizon_days: 28}}
recommend: {{rank: 4, iterations: 2, min_customers: 1, models: [neighbours, als]}}
response: {{categories: 4, trees: 2, depth: 2, horizons_weeks: [1]}}
plan: {{bootstraps: 50}}
backtest: {{bootstraps: 50}}
uplift: {{min_arm_customers: 10, folds: 2}}
assign: {{promotions: [campaign-1], contact_cost_amount: 0.0, fall_back: false, holdout_rate: 0.0, \
exploration_rate: 0.5}}
ideas: {{bundle_min_baskets: 3, bundle_min_lift: 1}}
experiments: {{min_arm_units: 5, designs: [{{name: spring, arms: {{none: 0.5, campaign-1: 0.5}}, \
strata: [segment_id], start_date: 2017-06-05, end_date: 2017-06-18}}]}}
promotions:
  offers:
    - {{offer_id: ten_off, name: Ten off, mechanic: percent_off, depth_rate: 0.1, channel: app}}
    - {{offer_id: shown, name: Shown, mechanic: display, display_rate: 0.5, channel: store}}
"""


@dataclass
class Run:
    """A whole run after some had withdrawn, and who had, by purpose."""

    store: Store
    settings: Settings
    withdrawn: dict[str, list[str]]

    def holding(self, contract: TableContract, names: list[str], day: date = DAY) -> int:
        """Rows of the day in which any of these is named, in whatever column."""
        rows = self.store.read(contract, day if contract.mode == "dated" else None)
        if contract == ASSIGNMENTS:
            rows = rows.where("decision_id = 'spring'")
        return rows.where(F.to_json(F.struct("*")).rlike("|".join(names))).count()


@pytest.fixture(scope="module")
def run(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("consent")
    config = Path(place) / "consent.yaml"
    config.write_text(CONFIG.format(day=DAY, place=place))
    settings = load_settings([config])
    store = run_stages((ingest.PIPELINE,), settings).store
    known = (
        store.read(ORDER_LINES)
        .where(F.col("order_date") < F.lit(DAY))
        .join(store.read(ASSIGNMENTS).select("customer_id"), "customer_id")
    )
    names = [row[0] for row in known.select("customer_id").distinct().orderBy("customer_id").limit(30).collect()]
    # What an earlier run wrote of them, when they had not withdrawn.
    tastes = [
        tuple({"customer_id": name, "category": "c", AS_OF_DATE: BEFORE}.get(c) for c in _TASTES) for name in names
    ]
    store.write(AFFINITY, contract_frame(spark, AFFINITY, tastes), as_of_date=BEFORE)
    withdrawn = {purpose: names[place::3] for place, purpose in enumerate(PURPOSES)}
    answers = [
        answer
        for purpose, who in withdrawn.items()
        for name in who
        for answer in ((name, purpose, BEFORE, True), (name, purpose, DAY, False))
    ]
    rows = consent_rows(answers)
    values = [tuple(row.get(name) for name in CONSENTS.column_names) for row in rows]
    store.write(CONSENTS, contract_frame(spark, CONSENTS, values))
    run_stages(ALL, settings)
    run_stages((design_experiment.PIPELINE,), settings)
    store = run_stages((export.PIPELINE,), settings).store
    return Run(store, settings, withdrawn)


@pytest.mark.slow
def test_nobody_who_withdrew_is_in_any_table_that_a_stage_writes(run: Run, shown: Shown) -> None:
    looked_at = filled = 0
    for pipeline in (*ALL, design_experiment.PIPELINE, export.PIPELINE):
        if pipeline.purpose in (None, "accounting"):
            continue
        for table in pipeline.writes:
            assert run.holding(table, run.withdrawn[str(pipeline.purpose)]) == 0, (pipeline.name, table.name)
            # Those who withdrew from something else are there: the table is not merely empty.
            others = [name for purpose in PURPOSES if purpose != pipeline.purpose for name in run.withdrawn[purpose]]
            filled += names_customers(table) and run.holding(table, others) > 0
            looked_at += 1
    assert filled >= 10
    shown(looked_at, "tables")
    shown(filled, "tables that name others")


@pytest.mark.slow
def test_nobody_who_refuses_contact_is_sent_anything(spark: SparkSession, run: Run, shown: Shown) -> None:
    refused = run.withdrawn["contact"]
    assert run.holding(SENDS, refused) == 0
    assert run.holding(TRIGGERS, refused) == 0
    assert run.holding(ASSIGNMENTS, refused) == 0
    told = run.store.read(ASSIGNMENT, DAY).where(F.col("arm") != NO_ARM)
    assert told.where(F.col("customer_id").isin(refused)).isEmpty()
    assert told.count() > 10
    gone = [*refused, *run.withdrawn["personalisation"]]
    raw = run.store.read(IDENTITY_CUSTOMERS).where(F.col("customer_id").isin(gone)).select("raw_customer_id").collect()
    lists = list(Path(run.settings.places.identity).glob(f"sends/{DAY}/*.csv"))
    lines = [line for found in lists for line in found.read_text().splitlines()[1:]]
    assert lists
    assert len(lines) > 10
    assert not {line.split(",")[0] for line in lines} & {row[0] for row in raw}
    shown(len(lines), "lines of send lists")


@pytest.mark.slow
def test_what_was_decided_before_is_history_and_the_ledger_stays_whole(run: Run, shown: Shown) -> None:
    withdrawn = run.withdrawn["personalisation"]
    assert run.holding(AFFINITY, withdrawn, BEFORE) == len(withdrawn)
    lines = run.store.read(ORDER_LINES)
    assert not lines.where(F.col("customer_id").isin(withdrawn)).isEmpty()
    shown(len(withdrawn), "customers")


@pytest.mark.slow
def test_masked_views_of_a_whole_run_name_nobody(spark: SparkSession, run: Run, shown: Shown) -> None:
    names = [row[0] for row in run.store.read(IDENTITY_CUSTOMERS).select("customer_id").distinct().collect()]
    settings = ViewSettings(schema_prefix="masked")

    def named(text: Column) -> Column:
        return F.exists(F.lit(names), lambda name: F.contains(text, name))

    looked_at = 0
    for role, place in write_views(spark, run.store, run.settings.places.warehouse, settings).items():
        script = Path(place).read_text(encoding="utf-8").partition("\n\n")[2]
        for statement in script.split(";\n\n")[:-1]:
            spark.sql(statement)
        for table in TABLES.values():
            if table.layer != "identity" and run.store.exists(table):
                view = spark.table(f"masked_{role}.{table.layer}_{table.entity}")
                counts = view.agg(F.count("*"), F.count_if(named(F.to_json(F.struct("*"))))).collect()[0]
                assert tuple(counts) == (run.store.read(table).count(), 0), (role, table.name)
                looked_at += 1
        spark.sql(f"DROP SCHEMA masked_{role} CASCADE")
    shown(looked_at, "masked views")


@pytest.mark.slow
def test_without_the_door_they_would_be_there(run: Run, monkeypatch: pytest.MonkeyPatch, make_rows: MakeRows) -> None:
    monkeypatch.setattr("promo_spark.runtime.consent.Consent.keep", lambda _self, _contract, frame: frame)
    run_stages((features.PIPELINE,), run.settings, force=True)
    assert run.holding(CUSTOMER_FEATURES, run.withdrawn["personalisation"]) == len(run.withdrawn["personalisation"])


def test_where_nobody_was_asked_the_stage_says_so(spark: SparkSession, make_rows: MakeRows) -> None:
    settings = Settings.model_validate(
        {
            "as_of_date": DAY,
            "source": {"kind": "synthetic"},
            "promotions": {"offers": [OFFER]},
            "consent": {"missing": {"personalisation": "withheld"}},
        }
    )
    given = [("stays", "personalisation", DAY + timedelta(days=1), True)]
    store = Rows(make_rows, consent_rows(given))
    stage = Stage(features.PIPELINE, settings, spark, cast(Store, store), cast(Any, None), "run")
    assert stage.read(ORDER_LINES).where("customer_id IS NOT NULL").count() == 3
    assert stage.read(CUSTOMER_FEATURES).count() == 3
    assert stage.limitations == [
        f"consent to personalisation is recorded for nobody by {DAY}: nobody is left out for want of it, though "
        "consent.missing.personalisation is withheld."
    ]

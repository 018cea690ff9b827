"""What runs again, what is skipped and what is refused: small stages over real tables, through the real runner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from threading import Barrier
from typing import Any

import mlflow
import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.audit import STAGE_RUNS
from promo_spark.contracts.features import AFFINITY
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.measurement import BACKTESTS
from promo_spark.contracts.response import PANEL
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.silver import PRODUCTS
from promo_spark.contracts.table import bronze_of
from promo_spark.errors import ConflictError, SourceError, StorageError
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.runner import Outcome, run_stages
from promo_spark.runtime.stage import Stage
from promo_spark.runtime.store import Store
from promo_spark.runtime.tracking import RUN_ID_TAG

OFFER = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}
Run = Callable[[Stage], None]


def take_in(stage: Stage) -> None:
    """Take in one customer, once."""
    stage.limitation("no prices: nothing is displayed.")
    if not stage.has(IDENTITY_CUSTOMERS):
        row = [("1", "x", 1)]
        rows = contract_frame(stage.spark, IDENTITY_CUSTOMERS, row)
        stage.append_missing(IDENTITY_CUSTOMERS, rows)


def leave_nothing(stage: Stage) -> None:
    """Write empty tables: who made them is what is looked at."""
    for table in stage.pipeline.writes:
        stage.write(table, contract_frame(stage.spark, table))


def ingest(run: Run = take_in) -> Pipeline:
    return Pipeline("ingest", "", (), (IDENTITY_CUSTOMERS,), run, is_dated=False)


def features(run: Run = leave_nothing) -> Pipeline:
    return Pipeline("features", "", (IDENTITY_CUSTOMERS,), (AFFINITY,), run, ("features",), purpose="personalisation")


def response(run: Run = leave_nothing) -> Pipeline:
    return Pipeline("response", "", (AFFINITY,), (PANEL,), run, ("plan.weeks",), purpose="personalisation")


def plan(run: Run = leave_nothing) -> Pipeline:
    return Pipeline("plan", "", (PANEL,), (BACKTESTS,), run, ("plan",))


def everything() -> tuple[Pipeline, ...]:
    return (ingest(), features(), response(), plan())


@dataclass
class Warehouse:
    """A warehouse of the small stages."""

    spark: SparkSession
    folder: Path
    tracking: str

    def settings(self, **sections: object) -> Settings:
        given: dict[str, Any] = {
            "as_of_date": date(2024, 2, 26),
            "source": {"kind": "synthetic"},
            "places": {"warehouse": f"{self.folder}/w", "identity": f"{self.folder}/i"},
            "tracking": {"uri": self.tracking, "artifacts": f"{self.folder}/artifacts"},
            "promotions": {"offers": [OFFER]},
        }
        return Settings.model_validate({**given, **sections})

    def run(self, *pipelines: Pipeline, force: bool = False, **sections: object) -> Outcome:
        return run_stages(pipelines, self.settings(**sections), force=force)

    def accounts(self) -> list[Any]:
        store = Store(self.spark, warehouse=f"{self.folder}/w", identity=f"{self.folder}/i")
        return store.read(STAGE_RUNS).orderBy("sequence").collect()


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def warehouse(spark: SparkSession, tmp_path: Path, tracking: str) -> Warehouse:
    return Warehouse(spark, tmp_path, tracking)


@pytest.mark.slow
def test_only_what_a_setting_decides_is_made_again(warehouse: Warehouse) -> None:
    assert warehouse.run(*everything()).skipped == ()
    assert warehouse.run(*everything(), report={"title": "t"}).finished == ()
    with pytest.raises(SourceError, match=r"plan stands on response, .*with plan\.weeks 4, now 8"):
        warehouse.run(plan(), plan={"weeks": 8})
    assert warehouse.run(plan(), plan={"budget_amount": 7}).finished == ("plan",)
    assert warehouse.run(*everything(), plan={"weeks": 8}).finished == ("response", "plan")


@pytest.mark.slow
def test_a_stage_that_another_run_overtook_is_not_finished(warehouse: Warehouse) -> None:
    def overtaken(stage: Stage) -> None:
        leave_nothing(stage)
        row = ("b", "milk", stage.as_of_date, *[None] * (len(AFFINITY.columns) - 3))
        others = contract_frame(stage.spark, AFFINITY, [row])
        stage.store.write(AFFINITY, others, as_of_date=stage.as_of_date)

    warehouse.run(ingest())
    with pytest.raises(ConflictError, match=r"stage features: .*another run wrote features\.affinity"):
        warehouse.run(features(overtaken))
    assert warehouse.run(features()).finished == ("features",)


@pytest.mark.slow
def test_what_an_interrupted_run_wrote_is_not_taken_for_finished(warehouse: Warehouse) -> None:
    def killed(stage: Stage) -> None:
        leave_nothing(stage)
        raise KeyboardInterrupt

    warehouse.run(*everything())
    with pytest.raises(KeyboardInterrupt):
        warehouse.run(response(killed), plan={"weeks": 8})
    # The newest that finished is of these settings, but its tables are half another run's.
    with pytest.raises(SourceError, match=r"plan stands on response, which was interrupted.*jobs/response\.py"):
        warehouse.run(plan())
    assert warehouse.run(*everything()).finished == ("response", "plan")


def test_an_interrupted_ingest_must_end_first(warehouse: Warehouse) -> None:
    def killed(stage: Stage) -> None:
        take_in(stage)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        warehouse.run(ingest(killed))
    with pytest.raises(SourceError, match=r"features stands on ingest, which was interrupted"):
        warehouse.run(features())
    assert warehouse.run(ingest()).finished == ("ingest",)
    assert warehouse.run(features()).finished == ("features",)


def test_a_stage_that_fails_before_it_writes_leaves_what_there_was(warehouse: Warehouse) -> None:
    def faulty(_: Stage) -> None:
        raise SourceError("no such file")

    warehouse.run(ingest(), features())
    with pytest.raises(SourceError, match="no such file"):
        warehouse.run(ingest(faulty))
    assert warehouse.run(features()).finished == ()


@pytest.mark.slow
def test_forced_runs_have_accounts_of_their_own(warehouse: Warehouse) -> None:
    for _ in range(2):
        warehouse.run(ingest(), features(), force=True)
    keys = [(row.stage, row.sequence) for row in warehouse.accounts()]
    assert len(set(keys)) == len(keys)
    told = [(row.stage, row.finished_at is not None) for row in warehouse.accounts()]
    once = [("features", False), ("features", True)]
    assert told == [("ingest", False), ("ingest", True), *once, *once]


@pytest.mark.slow
def test_what_was_taken_in_is_part_of_the_identity(warehouse: Warehouse) -> None:
    taking = Pipeline("ingest", "", (), (bronze_of(PRODUCTS),), leave_nothing, is_dated=False)
    reading = Pipeline(
        "features", "", taking.writes, (AFFINITY,), leave_nothing, ("features",), purpose="personalisation"
    )
    first = warehouse.run(taking)
    both = warehouse.run(taking, reading)
    begun, *others = [row.run_id for row in warehouse.accounts() if row.finished_at is None]
    told = [row.run_id for row in warehouse.accounts() if row.finished_at is not None]
    assert told == [first.run_id, both.run_id, both.run_id]
    assert begun != first.run_id
    assert others == [first.run_id, both.run_id]


@pytest.mark.slow
def test_ingest_serves_every_date(warehouse: Warehouse) -> None:
    warehouse.run(ingest(), features())
    assert warehouse.run(ingest(), features(), as_of_date=date(2024, 3, 4)).finished == ("features",)
    assert [row.as_of_date for row in warehouse.accounts() if row.stage == "ingest"] == [None, None]


@pytest.mark.slow
def test_a_new_limitation_of_the_source_is_kept_though_nothing_came(warehouse: Warehouse) -> None:
    def with_less(stage: Stage) -> None:
        take_in(stage)
        stage.limitation("no products: margins are assumed.")

    warehouse.run(ingest())
    assert warehouse.run(ingest(with_less)).finished == ("ingest",)
    assert warehouse.run(ingest(with_less)).finished == ()
    assert "no products: margins are assumed." in warehouse.accounts()[-1].limitations


def test_a_warehouse_holds_one_source(warehouse: Warehouse) -> None:
    columns = dict.fromkeys(("basket_id", "product_id", "ordered_at", "quantity", "sales_amount"), "x")
    tables = {"order_lines": {"format": "csv", "path": "x", "columns": columns}}
    shop = {"kind": "files", "name": "north", "time_zone": "UTC", "tables": tables}
    warehouse.run(ingest(), source=shop)
    before = warehouse.accounts()
    for other in ({"kind": "synthetic"}, {**shop, "name": "south"}):
        with pytest.raises(SourceError, match=r"another source \(files north\).*places\.identity.*source\.name: north"):
            warehouse.run(ingest(), source=other)
    assert warehouse.accounts() == before
    corrected = {**shop, "tables": {"order_lines": {**tables["order_lines"], "path": "moved"}}}
    assert warehouse.run(ingest(), source=corrected).finished == ()


def test_a_stage_sees_the_settings_it_declares(warehouse: Warehouse) -> None:
    def curious(stage: Stage) -> None:
        assert stage.settings.plan.weeks == 4
        assert stage.settings.places.warehouse
        assert stage.settings.plan.budget_amount >= 0

    warehouse.run(ingest(), features())
    with pytest.raises(AttributeError, match="budget_amount"):
        warehouse.run(response(curious))


def test_headlines_stand_on_the_page_of_the_whole_run(warehouse: Warehouse) -> None:
    def tell(stage: Stage) -> None:
        stage.metrics({"wape": 0.25, "aside": 7.0})

    told = replace(features(tell), headlines=("wape", "never found"))
    warehouse.run(ingest(), told, features={"lookback_days": 35})
    parents = mlflow.search_runs(
        experiment_names=["promo_spark"],
        filter_string="tags.`promo_spark.stage` = 'pipeline'",
        order_by=["start_time DESC"],
        output_format="list",
    )
    metrics = parents[0].data.metrics
    assert metrics.keys() == {"ingest_seconds", "features_seconds", "wape"}
    assert metrics["wape"] == 0.25
    assert metrics["features_seconds"] > 0


def test_an_account_of_another_contract_is_named(warehouse: Warehouse) -> None:
    old = f"{warehouse.folder}/w/audit/stage_runs"
    warehouse.spark.sql("SELECT 'a' AS run_id").write.format("delta").save(old)
    with pytest.raises(StorageError, match=r"audit\.stage_runs .* another version of its contract"):
        warehouse.run(ingest())


def test_stages_whose_inputs_are_there_run_side_by_side(warehouse: Warehouse) -> None:
    meeting = Barrier(2)

    def meet(stage: Stage) -> None:
        meeting.wait(timeout=60)  # breaks unless the other stage runs now too
        leave_nothing(stage)

    beside = replace(plan(meet), reads=(AFFINITY,), settings=(), purpose="personalisation")
    outcome = warehouse.run(beside, replace(response(meet), settings=()), features(), ingest(), seed=7)
    assert set(outcome.finished) == {"ingest", "features", "response", "plan"}
    assert {row.stage for row in warehouse.accounts()[:2]} == {"ingest"}
    runs = mlflow.search_runs(
        experiment_names=["promo_spark"], filter_string=f"tags.`{RUN_ID_TAG}` = '{outcome.run_id}'"
    )
    parents = runs.set_index("tags.promo_spark.stage")["tags.mlflow.parentRunId"]
    assert parents[["features", "response", "plan"]].nunique() == 1


def test_a_fault_waits_for_the_stage_beside_it_whose_work_is_kept(warehouse: Warehouse) -> None:
    meeting = Barrier(2)

    def faulty(_: Stage) -> None:
        meeting.wait(timeout=60)
        raise SourceError("no such file")

    def slower(stage: Stage) -> None:
        meeting.wait(timeout=60)
        leave_nothing(stage)

    beside = replace(plan(slower), reads=(AFFINITY,), settings=(), purpose="personalisation")
    warehouse.run(ingest(), features())
    with pytest.raises(SourceError, match="no such file"):
        warehouse.run(ingest(), features(), response(faulty), beside)
    assert warehouse.run(beside).finished == ()

"""What every step must do; a new one joins by being declared with ``@produces``.

The inputs are tables of a small simulated retailer, made by the pipeline itself.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.settings import Settings
from promo_spark.contracts.step import STEPS, Step
from promo_spark.contracts.table import AS_OF_DATE, TableContract
from promo_spark.pipelines import design_experiment
from promo_spark.pipelines.catalogue import ALL
from promo_spark.runtime.runner import run_stages
from promo_spark.runtime.settings import load_settings
from promo_spark.runtime.store import Store

DAY = date(2017, 6, 5)
# When each fact happened: rows from the as_of_date on are the future.
HAPPENED: dict[str, str] = {
    "silver.order_lines": "order_date",
    "silver.redemptions": "redeemed_date",
    "silver.assignments": "date(decided_at)",
    "silver.ratings": "rated_date",
    "silver.prices": "week_start_date",
    "silver.exposures": "date(exposed_at)",
    "silver.events": "date(happened_at)",
    "features.lines": "order_date",
}
pytestmark = pytest.mark.slow  # simulates and runs a whole retailer first
JUDGES_THE_FUTURE = ("promo_spark.measurement.", "promo_spark.ingest.")
STEP_NAMES = sorted(STEPS)


class World:
    """Tables of the simulated retailer, and the arguments that steps take."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self._store = store
        self._frames: dict[str, DataFrame] = {}

    def table(self, contract: TableContract) -> DataFrame:
        if contract.name not in self._frames:
            self._frames[contract.name] = self._open(contract).coalesce(2).cache()
        return self._frames[contract.name]

    def _open(self, contract: TableContract) -> DataFrame:
        if contract.mode == "passed":
            makers = (step for step in STEPS.values() if step.produces is contract)
            return self.run(next(step for step in makers if contract not in step.inputs.values()))
        return self._store.read(contract, DAY if contract.mode == "dated" else None)

    def inputs(self, step: Step) -> dict[str, DataFrame]:
        return {name: self.table(contract) for name, contract in step.inputs.items()}

    def run(self, step: Step, **frames: DataFrame) -> DataFrame:
        given = {**self.inputs(step), **frames}
        for name, parameter in inspect.signature(step.function).parameters.items():
            if name not in given and parameter.default is inspect.Parameter.empty:
                given[name] = self._argument(step, name)
        return step.function(**given)

    def _argument(self, step: Step, name: str) -> Any:
        known: dict[str, Callable[[], Any]] = {
            "as_of_date": lambda: DAY,
            "time_zone": lambda: self.settings.source.time_zone,
            "seed": lambda: self.settings.seed,
            "currency": lambda: self.settings.currency,
            "offers": lambda: self.settings.promotions.offers,
            "first_week": lambda: DAY - timedelta(weeks=8),
            "last_week": lambda: DAY,
        }
        if name in known:
            return known[name]()
        hint = typing.get_type_hints(inspect.unwrap(step.function))[name]
        sections = (value for value in dict(self.settings).values() if isinstance(value, BaseModel))
        found = next((value for value in sections if isinstance(hint, type) and isinstance(value, hint)), None)
        return found if found is not None else pytest.skip(f"no argument {name} here: tested beside its step")


@pytest.fixture(scope="session")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    place = tmp_path_factory.mktemp("world")
    config = Path(place) / "world.yaml"
    config.write_text(
        f"as_of_date: {DAY}\n"
        "source: {kind: synthetic, customers: 80, products: 120, categories: 8, stores: 3, weeks: 26, "
        "campaign_week: 12}\n"
        f"places: {{warehouse: {place}/warehouse, identity: {place}/identity, key_file: {place}/identity/key}}\n"
        f"tracking: {{uri: 'sqlite:///{place}/mlflow.db', artifacts: {place}/artifacts}}\n"
        "segments: {cluster_counts: [3], resamples: 2, horizon_days: 28}\n"
        "recommend: {rank: 4, iterations: 2, min_customers: 1, models: [hybrid, neighbours, als, "
        "item_neighbours, association_rules, content, segment_popularity]}\n"
        "response: {categories: 6, trees: 3, depth: 2}\n"
        "plan: {bootstraps: 60}\n"
        "backtest: {bootstraps: 50}\n"
        "uplift: {min_arm_customers: 10}\n"
        "assign: {promotions: [campaign-1]}\n"
        "ideas: {bundle_min_baskets: 3, bundle_min_lift: 1}\n"
        "experiments: {min_arm_units: 5, designs: [{name: spring, arms: {none: 0.5, campaign-1: 0.5}, "
        "strata: [segment_id], start_date: 2017-06-05, end_date: 2017-06-18}]}\n"
        "promotions:\n"
        "  offers:\n"
        "    - {offer_id: ten_off, name: Ten off, mechanic: percent_off, depth_rate: 0.1, channel: app}\n"
        "    - {offer_id: shown, name: Shown, mechanic: display, display_rate: 0.5, channel: store}\n"
        "    - {offer_id: over, name: Over, mechanic: spend_threshold, threshold_amount: 6, "
        "depth_rate: 0.1, channel: app}\n"
        "    - {offer_id: given, name: Given, mechanic: gift, gift_unit_cost_amount: 0.5, channel: app}\n"
    )
    settings = load_settings([config])
    run_stages(ALL, settings)
    outcome = run_stages((design_experiment.PIPELINE,), settings)
    return World(settings, outcome.store)


def rows_of(frame: DataFrame) -> list[str]:
    """Rows as sorted text; doubles to ten significant digits, since sums run in any order."""
    shown = [F.col(f.name) if not _holds_doubles(f.dataType) else _rounded(f) for f in frame.schema.fields]
    return sorted(row[0] for row in frame.select(F.to_json(F.struct(*shown))).collect())


def _holds_doubles(dtype: T.DataType) -> bool:
    return "double" in dtype.simpleString() or "float" in dtype.simpleString()


def _rounded(field: T.StructField) -> Column:
    column = F.col(field.name)
    if isinstance(field.dataType, T.MapType):
        return F.transform_values(column, lambda _, value: F.format_string("%.8g", value)).alias(field.name)
    if isinstance(field.dataType, T.ArrayType):
        return F.transform(column, lambda value: F.format_string("%.5g", value.cast("double"))).alias(field.name)
    return F.format_string("%.8g", column.cast("double")).alias(field.name)


@pytest.mark.parametrize("name", STEP_NAMES)
class TestEveryStep:
    def test_gives_exactly_the_contracts_columns_without_running_a_job(
        self, name: str, world: World, spark: SparkSession
    ) -> None:
        step = STEPS[name]
        frames = world.inputs(step)
        spark.sparkContext.setJobGroup(name, name)
        made = world.run(step, **frames)
        jobs = spark.sparkContext.statusTracker().getJobIdsForGroup(name)
        spark.sparkContext.setJobGroup("tests", "tests")
        expected = [(f.name, f.dataType.simpleString()) for f in step.produces.schema().fields]
        assert [(f.name, f.dataType.simpleString()) for f in made.schema.fields][: len(expected)] == expected
        assert list(jobs) == []

    def test_makes_nothing_from_nothing(self, name: str, world: World) -> None:
        step = STEPS[name]
        empty = {argument: frame.limit(0) for argument, frame in world.inputs(step).items()}
        assert world.run(step, **empty).isEmpty()

    def test_makes_rows_with_unique_keys_that_pass_the_checks(self, name: str, world: World) -> None:
        step = STEPS[name]
        made = world.run(step).cache()
        assert made.groupBy(*step.produces.key).count().where("count > 1").isEmpty()
        for check in step.produces.checks:
            assert made.where(f"NOT ({check})").isEmpty(), check
        made.unpersist()

    def test_does_not_depend_on_the_order_or_the_partitions_of_its_input(self, name: str, world: World) -> None:
        step = STEPS[name]
        frames = world.inputs(step)
        shuffled = {argument: frame.repartition(3).orderBy(F.rand(1)) for argument, frame in frames.items()}
        assert rows_of(world.run(step, **frames)) == rows_of(world.run(step, **shuffled))

    def test_is_not_changed_by_the_future(self, name: str, world: World) -> None:
        step = STEPS[name]
        if name.startswith(JUDGES_THE_FUTURE) or AS_OF_DATE not in step.produces.column_names:
            pytest.skip("judges the future, or knows no date")
        frames = world.inputs(step)
        dated = {argument: HAPPENED[t.name] for argument, t in step.inputs.items() if t.name in HAPPENED}
        past = {argument: frames[argument].where(F.expr(when) < F.lit(DAY)) for argument, when in dated.items()}
        if not past:
            pytest.skip("reads no dated facts")
        assert rows_of(world.run(step, **frames)) == rows_of(world.run(step, **past))

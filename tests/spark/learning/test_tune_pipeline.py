"""The search on a retailer of two tastes, small enough to know what must win."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from math import log2
from typing import Any, cast

import pytest
import yaml
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.learning import TRIALS
from promo_spark.contracts.settings import RecommendSettings, SegmentSettings, Settings, TuneSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.table import TableContract
from promo_spark.contracts.tune_settings import FactorSpace, NeighbourSpace
from promo_spark.pipelines.tune import PIPELINE, run
from promo_spark.runtime.identity import narrowed
from promo_spark.runtime.stage import Stage

pytestmark = pytest.mark.slow  # searches on a retailer of its own

DAY = date(2024, 6, 3)
DAYS = 14
OFFER = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}
MakeRows = Callable[..., DataFrame]


class Notes:
    """Stands in for a run in MLflow."""

    def __init__(self) -> None:
        self.noted: dict[str, Any] = {}

    def parameters(self, values: Mapping[str, Any]) -> None:
        self.noted.update(values)

    metrics = tags = parameters


class RecordingStage:
    """Stands in for a stage: serves given tables, and keeps what is written, said and registered."""

    def __init__(self, spark: SparkSession, tables: dict[str, DataFrame], **sections: object) -> None:
        settings = Settings(
            as_of_date=DAY, seed=3, source={"kind": "synthetic"}, promotions={"offers": [OFFER]}, **sections
        )
        self.spark, self.tables, self.run_id, self.as_of_date = spark, tables, "run", DAY
        self.settings = narrowed(settings, PIPELINE.deciding_settings)
        self.runs: dict[str, Notes] = {}
        self.said: list[str] = []
        self.registered: dict[str, Any] = {}
        self.overlay = ""

    def read(self, contract: TableContract) -> DataFrame:
        return self.tables[contract.name]

    def append_missing(self, contract: TableContract, rows: DataFrame) -> None:
        new = rows.join(self.tables[contract.name], list(contract.key), "left_anti")
        self.tables[contract.name] = self.tables[contract.name].unionByName(new).localCheckpoint()

    @contextmanager
    def trial(self, name: str) -> Iterator[Notes]:
        yield self.runs.setdefault(name, Notes())

    def progress(self, message: str) -> None:
        self.said.append(message)

    limitation = progress

    def metrics(self, values: Mapping[str, float]) -> None:
        pass

    def register_challenger(self, name: str, model: Any, sample: DataFrame, output: DataFrame) -> None:
        assert sample.count() == output.count() > 0
        self.registered[name] = model

    def write_overlay(self, place: str, text: str) -> str:
        self.overlay = text
        return place


def line(customer: str, product: str, ordered: date, amount: str = "1.00") -> dict[str, Any]:
    return {
        "basket_id": f"{customer} {ordered}",
        "line_id": product,
        "customer_id": customer,
        "product_id": product,
        "order_date": ordered,
        "quantity": Decimal(1),
        "sales_amount": Decimal(amount),
        "is_return": False,
    }


def searched(
    spark: SparkSession, make_rows: MakeRows, rows: list[dict[str, Any]], **sections: object
) -> RecordingStage:
    tables = {
        ORDER_LINES: make_rows(ORDER_LINES, rows),
        PRODUCTS: make_rows(PRODUCTS, []),
        TRIALS: make_rows(TRIALS, []),
    }
    stage = RecordingStage(spark, {table.name: frame for table, frame in tables.items()}, **sections)
    run(cast(Stage, stage))
    return stage


def two_tastes() -> list[dict[str, Any]]:
    """Each of 20 customers bought five of their taste's ten products, and then buys the other five.

    From the date on everybody buys again what they bought at first, which nobody may see.
    """
    rows = []
    before, after = DAY - timedelta(days=DAYS + 1), DAY - timedelta(days=DAYS)
    for number in range(20):
        products = [f"{number % 2}-{(number // 2 + place) % 10}" for place in range(10)]
        rows += [line(f"c{number:02}", product, before) for product in products[:5]]
        rows += [line(f"c{number:02}", product, after) for product in products[5:]]
        rows += [line(f"c{number:02}", product, DAY) for product in products[:5]]
    return rows


def by_neighbours(*weights: float) -> dict[str, object]:
    space = NeighbourSpace(neighbours=(9,), neighbour_power=(1.0,), neighbour_weight=weights)
    return {
        "tune": TuneSettings(subjects=("neighbours",), days=DAYS, neighbours=space),
        "recommend": RecommendSettings(min_customers=1, neighbours=9, neighbour_power=1.0, neighbour_weight=0.0),
    }


def test_what_is_known_to_be_better_wins_and_is_not_tried_again(spark: SparkSession, make_rows: MakeRows) -> None:
    stage = searched(spark, make_rows, two_tastes(), **by_neighbours(0.0, 0.5))
    trials = {row.is_settled: row for row in stage.tables[TRIALS.name].collect()}
    # With neighbours the five to come stand on ranks 6 to 10; without them on none.
    expected = sum(1 / log2(rank + 1) for rank in range(6, 11)) / sum(1 / log2(rank + 1) for rank in range(1, 6))
    assert (trials[True].value, trials[True].gain, trials[True].is_ahead) == (0.0, 0.0, False)
    assert trials[False].value == pytest.approx(expected, abs=1e-6)
    assert trials[False].gain == pytest.approx(expected, abs=1e-6)
    assert trials[False].is_ahead
    assert (trials[False].observation_count, trials[False].last_date) == (20, DAY - timedelta(days=DAYS))
    wanted = {"neighbours": 9, "neighbour_power": 1.0, "neighbour_weight": 0.5}
    assert yaml.safe_load(stage.overlay) == {"recommend": wanted}
    notes = stage.runs[f"neighbours {trials[False].trial_id}"].noted
    assert notes["recommend.neighbour_weight"] == 0.5
    assert notes["ndcg_at_10"] == pytest.approx(expected, abs=1e-6)

    again = RecordingStage(spark, stage.tables, **by_neighbours(0.0, 0.5))
    run(cast(Stage, again))
    assert again.runs == {}
    assert again.overlay == stage.overlay
    assert again.tables[TRIALS.name].count() == 2


def test_the_settled_settings_stay_where_nothing_is_ahead(spark: SparkSession, make_rows: MakeRows) -> None:
    sections = by_neighbours(0.0, 0.5)
    better = cast(RecommendSettings, sections["recommend"]).model_copy(update={"neighbour_weight": 0.5})
    stage = searched(spark, make_rows, two_tastes(), **{**sections, "recommend": better})
    assert {row.is_settled: row.is_ahead for row in stage.tables[TRIALS.name].collect()} == {True: False, False: False}
    assert yaml.safe_load(stage.overlay) is None
    assert stage.registered == {}


def test_factors_that_win_are_fitted_on_all_days_before_the_date(spark: SparkSession, make_rows: MakeRows) -> None:
    space = FactorSpace(rank=(2,), iterations=(5,), regularisation=(0.01,), confidence_alpha=(20.0,))
    stage = searched(
        spark,
        make_rows,
        two_tastes(),
        tune=TuneSettings(subjects=("factors",), days=DAYS, slot="novel", factors=space),
        # So strong a regularisation leaves no factors but zeros: lists are in the order of the ids.
        recommend=RecommendSettings(min_customers=1, rank=2, iterations=5, regularisation=1e6, confidence_alpha=20.0),
    )
    tried = [row for row in stage.tables[TRIALS.name].collect() if not row.is_settled]
    assert [row.is_ahead for row in tried] == [True]
    assert tried[0].value == pytest.approx(1.0)
    model = stage.registered["product_als"]
    assert (model.rank, model.itemFactors.count(), model.userFactors.count()) == (2, 20, 20)


@pytest.mark.slow  # fits trees
def test_learners_are_compared_on_the_same_customers(spark: SparkSession, make_rows: MakeRows) -> None:
    rows = []
    for number in range(60):
        # They come every 4 to 28 days and leave at any time, so that who has left is not plain to see.
        last = 100 + (number * 37) % 160
        days = range(number % 7, last, 4 + 6 * (number % 5))
        rows += [line(f"c{number:02}", "p", DAY - timedelta(days=240 - day), f"{5 + number}.00") for day in days]
    rows = [row for row in rows if row["order_date"] < DAY + timedelta(days=10)]
    stage = searched(
        spark,
        make_rows,
        rows,
        tune=TuneSettings(subjects=("churn", "spend"), churn_models=("logistic", "tree"), spend_models=("tree",)),
        segments=SegmentSettings(horizon_days=56),
    )
    trials = {
        (row.subject, row.settings["segments." + row.subject + "_models"]): row
        for row in stage.tables[TRIALS.name].collect()
    }
    assert set(trials) == {
        ("churn", '["logistic"]'),
        ("churn", '["tree"]'),
        ("spend", '["linear"]'),
        ("spend", '["tree"]'),
    }
    for subject, in_force, sign in (("churn", "logistic", 1), ("spend", "linear", -1)):
        settled, tried = trials[subject, f'["{in_force}"]'], trials[subject, '["tree"]']
        assert settled.is_settled
        assert tried.gain == pytest.approx(sign * (tried.value - settled.value), abs=1e-9)
        assert tried.gain_error > 0
        assert settled.standard_error > 0
        assert settled.last_date == DAY - timedelta(days=1)


def test_nothing_to_learn_from_is_said(spark: SparkSession, make_rows: MakeRows) -> None:
    stage = searched(spark, make_rows, [line("a", "x", DAY - timedelta(days=1))])
    assert stage.tables[TRIALS.name].isEmpty()
    assert yaml.safe_load(stage.overlay) is None
    said = " ".join(stage.said)
    for subject in ("factors", "neighbours"):
        assert f"to learn {subject} from: they are not searched" in said
    assert "churn and spend of the next 91 days are not predicted" in said

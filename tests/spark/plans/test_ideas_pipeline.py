"""What the stage of ideas says of data that lack something, and what it accounts for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from math import isfinite
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
from matplotlib.figure import Figure
from pyspark.sql import DataFrame

from promo_spark.contracts.consent import ConsentSettings
from promo_spark.contracts.decision_settings import IdeaSettings
from promo_spark.contracts.features import CUSTOMER_FEATURES, PRODUCT_FEATURES
from promo_spark.contracts.ideas import BUNDLES, TRIGGERS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.table import TableContract
from promo_spark.pipelines.ideas import PIPELINE, run
from promo_spark.plans.figures import ideas_figure
from promo_spark.runtime.stage import Stage

DAY = date(2024, 6, 3)


class RecordingStage:
    """Stands in for a stage: serves given tables and keeps what is written and said."""

    def __init__(self, tables: dict[str, DataFrame]) -> None:
        self.as_of_date = DAY
        ideas = IdeaSettings(bundle_min_baskets=10, bundle_elasticity=0.5)
        source = SimpleNamespace(time_zone="UTC")
        self.settings = SimpleNamespace(
            ideas=ideas, consent=ConsentSettings(), recommend=RecommendSettings(), source=source, currency="USD"
        )
        self.tables = tables
        self.limitations: list[str] = []
        self.figures: dict[str, float] = {}
        self.drawn: list[str] = []

    def read(self, contract: TableContract) -> DataFrame:
        return self.tables[contract.name]

    def has(self, contract: TableContract) -> bool:
        return not self.read(contract).isEmpty()

    def write(self, contract: TableContract, frame: DataFrame) -> None:
        self.tables[contract.name] = frame.localCheckpoint()

    def limitation(self, message: str) -> None:
        self.limitations.append(message)

    def metrics(self, values: dict[str, float]) -> None:
        assert all(isfinite(value) for value in values.values())
        self.figures |= values

    def table(self, name: str, rows: pd.DataFrame) -> None:
        assert "customer_id" not in rows

    def figure(self, name: str, figure: Figure) -> None:
        self.drawn.append(name)


@pytest.fixture
def staged(make_rows: Callable[..., DataFrame]) -> Callable[..., RecordingStage]:
    def stage(rows: dict[TableContract, list[dict[str, Any]]]) -> RecordingStage:
        tables = (*PIPELINE.reads, *PIPELINE.writes)
        made = RecordingStage({table.name: make_rows(table, rows.get(table, [])) for table in tables})
        run(cast(Stage, made))
        return made

    return stage


def test_nothing_is_proposed_from_nothing_and_it_is_said(staged: Callable[..., RecordingStage]) -> None:
    stage = staged({})
    for start in ("there is no silver.events", "churn is not predicted", "marketing consent is unknown"):
        assert any(text.startswith(start) for text in stage.limitations)
    assert stage.limitations[-1].startswith("no two products sell together")
    assert set(stage.figures.values()) == {0.0}
    assert stage.drawn == ["ideas"]


def test_bundles_and_triggers_are_counted(staged: Callable[..., RecordingStage]) -> None:
    lines = [
        {
            "basket_id": f"b{number}",
            "line_id": name,
            "customer_id": f"c{number}",
            "product_id": name,
            "order_date": DAY - timedelta(days=30),
            "quantity": Decimal(1),
            "is_return": False,
        }
        for number in range(250)
        for name in (("pen", "ink") if number < 40 else ("pen",) if number < 100 else ("tea",))
    ]
    priced = {"as_of_date": DAY, "department": "d", "category": "c", "regular_price_amount": 2.0, "margin_rate": 0.5}
    gone = {"customer_id": "c1", "as_of_date": DAY, "recency_days": 60, "order_count": 1}
    prices = [{"product_id": name, "is_margin_assumed": True, **priced} for name in ("pen", "ink", "tea")]
    stage = staged(
        {
            ORDER_LINES: lines,
            PRODUCTS: [{"product_id": "pen", "product_name": "Pen"}],
            PRODUCT_FEATURES: prices,
            CUSTOMER_FEATURES: [gone],
        }
    )
    assert stage.figures["bundle_count"] == 1
    assert stage.figures["trigger_lapsed_count"] == 1
    assert stage.read(TRIGGERS).count() == stage.read(BUNDLES).count() == 1
    # An elasticity of 0.5 cannot pay for the discount, and no maker is known who would.
    assert stage.figures["bundle_gaining_count"] == stage.figures["bundle_joint_count"] == 0
    assert stage.limitations[-1].startswith("no bundle is expected to pay")


def test_the_figure_names_bundles_and_kinds() -> None:
    bundles = pd.DataFrame(
        {
            "anchor_name": ["Pasta", "Pen"],
            "added_name": ["Sauce", "Ink"],
            "expected_gain_amount": [5.0, -1.0],
            "is_joint": [True, False],
        }
    )
    figure = ideas_figure(bundles, {"overdue": 3, "lapsed": 1}, "EUR")
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["Pen + Ink", "Pasta + Sauce"]
    assert [bar.get_window_extent().width > 0 for bar in right.patches] == [True, True]
    assert left.get_xlabel() == "expected gain, EUR"

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import cast

from pyspark.sql import DataFrame

from promo_spark.contracts.recommend import FACTORS, RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.table import TableContract
from promo_spark.pipelines.recommend import run
from promo_spark.runtime.stage import Stage

DAY = date(2024, 6, 3)


class RecordingStage:
    """Stands in for a stage: serves given tables and keeps what is written."""

    def __init__(self, tables: dict[str, DataFrame]) -> None:
        self.as_of_date = DAY
        self.settings = SimpleNamespace(recommend=RecommendSettings(min_customers=1), seed=1)
        self.tables = tables
        self.limitations: list[str] = []

    def read(self, contract: TableContract) -> DataFrame:
        return self.tables[contract.name]

    def write(self, contract: TableContract, frame: DataFrame) -> None:
        self.tables[contract.name] = frame.localCheckpoint()

    def limitation(self, message: str) -> None:
        self.limitations.append(message)

    def progress(self, message: str) -> None:
        pass


def test_a_single_customer_gets_the_baselines_and_it_is_said(make_rows: Callable[..., DataFrame]) -> None:
    line = {
        "basket_id": "1",
        "line_id": "1",
        "customer_id": "a",
        "product_id": "x",
        "order_date": date(2024, 6, 2),
        "quantity": Decimal(1),
        "is_return": False,
    }
    stage = RecordingStage(
        {
            ORDER_LINES.name: make_rows(ORDER_LINES, [line, {**line, "line_id": "2", "product_id": "y"}]),
            PRODUCTS.name: make_rows(PRODUCTS, []),
            FACTORS.name: make_rows(FACTORS, []),
        }
    )
    run(cast(Stage, stage))
    assert len(stage.limitations) == 2
    assert "no neighbours" in stage.limitations[0]
    assert "no latent factors" in stage.limitations[1]
    assert stage.tables[FACTORS.name].isEmpty()
    written = stage.tables[RECOMMENDED_PRODUCTS.name].select("model", "slot", "rank", "product_id").collect()
    assert sorted(map(tuple, written)) == [
        ("personal_frequency", "all", 1, "x"),
        ("personal_frequency", "all", 2, "y"),
        ("popularity", "all", 1, "x"),
        ("popularity", "all", 2, "y"),
    ]

"""A stage without a warehouse: what a pipeline module writes stays with the session."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.table import TableContract


class MemoryStage:
    """Stands in for ``promo_spark.runtime.Stage``: no gate, no accounts, no MLflow."""

    def __init__(self, settings: Settings, tables: dict[str, DataFrame], spark: SparkSession, folder: Path) -> None:
        self.settings = settings
        self.as_of_date = settings.as_of_date
        self.tables = tables
        self.spark = spark
        self.folder = folder

    def read(self, contract: TableContract) -> DataFrame:
        return self.tables.get(contract.name, contract_frame(self.spark, contract))

    def write(self, contract: TableContract, frame: DataFrame) -> None:
        place = str(self.folder / "written" / contract.name)
        frame.write.parquet(place)
        self.tables[contract.name] = self.spark.read.parquet(place)

    def progress(self, message: str) -> None:
        print(message, flush=True)

    def limitation(self, message: str) -> None:
        print(message, flush=True)

    def metrics(self, values: Mapping[str, float]) -> None:
        print(dict(values), flush=True)

    def save_model(self, *_: object) -> None:
        """Models are not kept."""

    def register_classifier(self, *_: object) -> None:
        """Models are not kept."""

"""A stage without a store, and offers to decide on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import OFFERS
from promo_spark.contracts.decision_settings import AssignSettings, UpliftSettings
from promo_spark.contracts.offers import Offer
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.table import TableContract
from promo_spark.runtime.stage import Stage

DAY = date(2017, 6, 5)


@dataclass
class Desk:
    """What pipelines ask of a stage: tables by name, and what was written and said."""

    spark: SparkSession
    assign: AssignSettings
    tables: Mapping[str, DataFrame] = field(default_factory=dict)
    written: dict[str, DataFrame] = field(default_factory=dict)
    limitations: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    lists: dict[str, DataFrame] = field(default_factory=dict)
    identity: str = ""
    offers: Sequence[Offer] = ()
    as_of_date: date = DAY

    @property
    def settings(self) -> Any:
        return SimpleNamespace(
            assign=self.assign,
            uplift=UpliftSettings(min_arm_customers=10),
            promotions=SimpleNamespace(offers=self.offers),
            seed=3,
            currency="EUR",
            source=SimpleNamespace(time_zone="UTC"),
            places=SimpleNamespace(key_version=1, identity=self.identity),
        )

    @property
    def stage(self) -> Stage:
        return cast("Stage", self)

    def read(self, contract: TableContract) -> DataFrame:
        empty = contract_frame(self.spark, contract)
        return self.written.get(contract.name, self.tables.get(contract.name, empty))

    def has(self, contract: TableContract) -> bool:
        return not self.read(contract).isEmpty()

    def write(self, contract: TableContract, frame: DataFrame) -> None:
        self.written[contract.name] = frame

    def append_missing(self, contract: TableContract, frame: DataFrame) -> None:
        self.written[contract.name] = frame

    def write_list(self, name: str, rows: DataFrame, order: tuple[str, ...]) -> tuple[str, str]:
        self.lists[name] = rows.orderBy(*order)
        return f"{name}.csv", f"{name}.parquet"

    def limitation(self, message: str) -> None:
        self.limitations.append(message)

    def metrics(self, values: Mapping[str, float]) -> None:
        self.figures.update(values)

    def table(self, name: str, rows: pd.DataFrame) -> None:
        pass

    def progress(self, message: str) -> None:
        pass


def make_offers(spark: SparkSession, size: int, promotions: Sequence[str] = ("p",), **columns: str) -> DataFrame:
    """Everybody may get every promotion; each is worth 3 and costs 1 unless columns say otherwise, in SQL."""
    customers = spark.range(size).select(F.format_string("c%05d", "id").alias("customer_id"))
    pairs = customers.withColumn("promotion_id", F.explode(F.array(*(F.lit(name) for name in promotions))))
    given = {
        "customer_id": "customer_id",
        "promotion_id": "promotion_id",
        "as_of_date": f"DATE'{DAY}'",
        "arm": "'coupon'",
        "category": "'one'",
        "is_listed": "true",
        "is_counted": "true",
        "redemption_prob": "0.5",
        "value_amount": "3.0",
        "cost_amount": "1.0",
        "contact_amount": "0.5",
        "learnt_from": "'randomised'",
        **columns,
    }
    made = (F.expr(given.get(c.name, "NULL")).cast(c.dtype).alias(c.name) for c in OFFERS.columns)
    return pairs.select(*made).persist()

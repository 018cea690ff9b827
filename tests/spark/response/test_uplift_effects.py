"""What the stage says where past decisions compare nothing."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.decision_settings import UpliftSettings
from promo_spark.contracts.decisions import CANDIDATES, DECISIONS, SEGMENT_UPLIFTS
from promo_spark.contracts.table import TableContract
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES
from promo_spark.pipelines.uplift_effects import learn_effects
from promo_spark.runtime.stage import Stage
from tests.conftest import MakeRows

DAY = date(2024, 6, 3)


class FakeStage:
    """Keeps what is written and said."""

    def __init__(self, spark: SparkSession) -> None:
        self.spark, self.as_of_date = spark, DAY
        self.settings = SimpleNamespace(uplift=UpliftSettings(min_arm_customers=10), seed=0)
        self.limitations: list[str] = []
        self.written: dict[str, DataFrame] = {}

    def limitation(self, message: str) -> None:
        self.limitations.append(message)

    def progress(self, message: str) -> None:
        assert message

    def write(self, contract: TableContract, frame: DataFrame) -> None:
        self.written[contract.name] = frame


def decision(decision_id: str, customer: str, arm: str) -> dict[str, Any]:
    zeros = ("is_redeemed", "is_visited", "sales_amount", "margin_amount", "discount_amount")
    known = {"decision_id": decision_id, "customer_id": customer, "as_of_date": DAY, "arm": arm, "propensity": 0.5}
    covariates = [0.0] * len(DECISION_COVARIATES)
    return {**known, **dict.fromkeys(zeros, 0.0), "covariates": covariates, "decided_date": DAY, "is_logged": True}


@pytest.mark.spark
def test_decisions_that_gave_everybody_something_or_nobody_compare_nothing(
    spark: SparkSession, make_rows: MakeRows
) -> None:
    told = [decision("all", f"c{place}", "coupon") for place in range(20)]
    told += [decision("nobody", f"c{place}", "none") for place in range(20)]
    stage = FakeStage(spark)
    candidates = make_rows(CANDIDATES, [])
    effects = learn_effects(cast(Stage, stage), make_rows(DECISIONS, told), candidates)
    assert effects.learner is None
    assert effects.candidates is candidates
    assert stage.written[SEGMENT_UPLIFTS.name].isEmpty()
    assert "what promotions change is not known" in stage.limitations[-1]

"""Which account of each stage the report shows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import cast

from pyspark.sql import DataFrame

from promo_spark.contracts.audit import STAGE_RUNS
from promo_spark.pipelines.report import newest_runs
from promo_spark.runtime.stage import Stage
from tests.conftest import MakeRows

DAY, BEFORE, NOW = date(2024, 3, 4), date(2024, 2, 26), datetime(2024, 3, 4, tzinfo=UTC)


class OnlyAccounts:
    """Stands in for the report's stage."""

    as_of_date = DAY

    def __init__(self, accounts: DataFrame) -> None:
        self._accounts = accounts

    def read(self, _: object) -> DataFrame:
        return self._accounts


def test_the_source_s_limitations_are_shown_whatever_the_date(make_rows: MakeRows) -> None:
    accounts = [
        {"stage": "ingest", "sequence": 1, "finished_at": NOW, "limitations": ["no prices"]},
        {"stage": "ingest", "sequence": 2, "finished_at": NOW, "limitations": ["no prices", "no customers"]},
        {"stage": "features", "sequence": 3, "finished_at": NOW, "as_of_date": BEFORE, "limitations": ["old"]},
        {"stage": "features", "sequence": 4, "finished_at": NOW, "as_of_date": DAY, "limitations": ["short"]},
        {"stage": "features", "sequence": 5, "finished_at": None, "as_of_date": DAY},
    ]
    shown = newest_runs(cast(Stage, OnlyAccounts(make_rows(STAGE_RUNS, accounts)))).collect()
    assert [(row.stage, row.limitations) for row in shown] == [
        ("ingest", ["no prices", "no customers"]),
        ("features", ["short"]),
    ]

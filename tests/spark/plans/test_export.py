"""What is handed over, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.assignment import ASSIGNMENT, SENDS
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.errors import HistoryError, SourceError
from promo_spark.pipelines.export import run
from promo_spark.plans.assignment import decision_id
from tests.conftest import MakeRows
from tests.spark.plans.desk import DAY, Desk

ROW: dict[str, Any] = {
    "as_of_date": DAY,
    "decision_id": decision_id(DAY),
    "slot": 1,
    "propensity": 0.9,
    "is_holdout": False,
}
PLAN: list[dict[str, Any]] = [
    {**ROW, "customer_id": "ann", "arm": "p", "channel": "e-mail"},
    {**ROW, "customer_id": "bob", "arm": "p", "channel": "E mail"},
    {**ROW, "customer_id": "cat", "arm": "none"},
]


def desk(
    spark: SparkSession, make_rows: MakeRows, place: Path, plan: list[dict[str, Any]], *, known: str = "ann bob cat"
) -> Desk:
    ids = [{"customer_id": name, "raw_customer_id": f"raw {name}", "key_version": 1} for name in known.split()]
    tables = {
        ASSIGNMENT.name: make_rows(ASSIGNMENT, plan),
        IDENTITY_CUSTOMERS.name: make_rows(IDENTITY_CUSTOMERS, ids),
    }
    return Desk(spark, AssignSettings(), tables, identity=str(place))


def test_channels_whose_names_look_alike_keep_their_own_lists(
    spark: SparkSession, make_rows: MakeRows, tmp_path: Path
) -> None:
    folder = tmp_path / "sends" / DAY.isoformat()
    folder.mkdir(parents=True)
    (folder / "gone.csv").write_text("of an earlier run")
    own = desk(spark, make_rows, tmp_path, PLAN)
    run(own.stage)
    assert sorted(row["customer_id"] for rows in own.lists.values() for row in rows.collect()) == ["raw ann", "raw bob"]
    assert len(own.lists) == 2
    assert list(folder.iterdir()) == []
    assert own.written[FEEDBACK.name].count() == 3


def test_another_plan_of_what_was_handed_over_is_refused(
    spark: SparkSession, make_rows: MakeRows, tmp_path: Path
) -> None:
    first = desk(spark, make_rows, tmp_path, PLAN)
    run(first.stage)
    handed = make_rows(FEEDBACK, [row.asDict() for row in first.written[FEEDBACK.name].collect()])
    again = desk(spark, make_rows, tmp_path, PLAN)
    again.tables = {**again.tables, FEEDBACK.name: handed}
    run(again.stage)  # the same once more
    for other in (
        [{**PLAN[0], "arm": "q"}, *PLAN[1:]],
        [{**PLAN[0], "propensity": 0.8}, *PLAN[1:]],
        PLAN[1:],
    ):
        changed = desk(spark, make_rows, tmp_path, other)
        changed.tables = {**changed.tables, FEEDBACK.name: handed}
        with pytest.raises(HistoryError, match="was handed over before, and 1 customers have another"):
            run(changed.stage)
        assert SENDS.name not in changed.written
        assert changed.lists == {}


def test_a_customer_without_a_raw_id_is_not_left_out_in_silence(
    spark: SparkSession, make_rows: MakeRows, tmp_path: Path
) -> None:
    own = desk(spark, make_rows, tmp_path, PLAN, known="ann cat")
    with pytest.raises(SourceError, match="no raw id under key_version 1 for 1 customers"):
        run(own.stage)
    assert own.written == {}
    assert own.lists == {}

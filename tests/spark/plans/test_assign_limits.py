"""Limits hold whatever is known, and what they name and there is not is told."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import BUDGET_CURVE, CONSTRAINT_USE
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.silver import OVERRIDES
from promo_spark.errors import SettingsError
from promo_spark.pipelines import assign_limits
from promo_spark.pipelines.assign_limits import settle
from tests.conftest import MakeRows
from tests.spark.plans.desk import Desk, make_offers

UNKNOWN = {"value_amount": "NULL", "learnt_from": "'assumed'"}


@pytest.fixture(autouse=True)
def _without_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten budgets more are of no concern here."""
    monkeypatch.setattr(assign_limits, "keep_budget_curve", lambda *_, **__: None)


def used(desk: Desk) -> dict[str, float]:
    return {row["name"]: row["used"] for row in desk.written[CONSTRAINT_USE.name].collect()}


def drawn(roles: Any) -> dict[str, int]:
    given = roles.where("role = 'exploration'").select(F.explode("given").alias("p")).groupBy("p").count()
    return {row["p"]: row["count"] for row in given.collect()}


def test_nothing_of_value_is_no_leave_to_pass_a_budget(spark: SparkSession) -> None:
    offers = make_offers(spark, 1000, ("p", "q"), **UNKNOWN)
    settings = AssignSettings(budget_amount=20.0, holdout_rate=0.0, exploration_rate=0.1)
    desk = Desk(spark, settings)
    settled = settle(desk.stage, offers)
    assert settled.rates.exploration_rate == 0
    assert drawn(settled.roles) == {}
    assert used(desk) == {"budget": 0.0}
    assert desk.written[BUDGET_CURVE.name].isEmpty()
    assert any("that alone would break budget" in told for told in desk.limitations)
    enough = Desk(spark, settings.model_copy(update={"budget_amount": 500.0}))
    explored = drawn(settle(enough.stage, offers).roles)
    assert used(enough) == {"budget": float(sum(explored.values()))}
    assert set(explored) == {"p", "q"}


def test_nothing_of_value_is_no_leave_to_force_more_than_there_is(spark: SparkSession, make_rows: MakeRows) -> None:
    told = [{"customer_id": f"c{n:05d}", "promotion_id": "p", "action": "force"} for n in range(5)]
    settings = AssignSettings(stock_counts={"p": 3}, exploration_rate=0.1)
    desk = Desk(spark, settings, {OVERRIDES.name: make_rows(OVERRIDES, told)})
    with pytest.raises(SettingsError, match="what managers force breaks stock_p"):
        settle(desk.stage, make_offers(spark, 20, ("p", "q"), **UNKNOWN))


def test_one_promotion_out_of_stock_leaves_the_others_to_chance(spark: SparkSession) -> None:
    settings = AssignSettings(stock_counts={"p": 0}, holdout_rate=0.0, exploration_rate=0.2, budget_amount=1e6)
    desk = Desk(spark, settings)
    settled = settle(desk.stage, make_offers(spark, 1000, ("p", "q", "r")))
    explored = drawn(settled.roles)
    assert set(explored) == {"q", "r"}
    assert sum(explored.values()) == pytest.approx(200, abs=5 * 160**0.5)
    assert settled.rates.exploration_rate == 0.2
    assert desk.limitations[0] == "nobody is given p by chance: that alone would break stock_p."
    assert used(desk)["stock_p"] == 0
    assert {row["explorable"] == ["q", "r"] for row in settled.roles.collect()} == {True}


def test_a_floor_is_met_by_what_is_not_known_at_an_assumed_loss(spark: SparkSession) -> None:
    limits = [{"name": "launch", "measure": "count", "promotions": ["new"], "at_least": 50}]
    given = {"limits": limits, "holdout_rate": 0.1, "exploration_rate": 0.0}
    desk = Desk(spark, AssignSettings.model_validate(given))
    columns = {name: f"IF(promotion_id = 'new', NULL, {value})" for name, value in (("value_amount", "3.0"),)}
    settled = settle(desk.stage, make_offers(spark, 300, ("new", "old"), **columns))
    chosen = {row["promotion_id"]: row["count"] for row in settled.choices.groupBy("promotion_id").count().collect()}
    assert chosen["new"] == 50
    assert chosen["new"] + chosen["old"] == settled.roles.where("role = 'decided'").count()
    assert used(desk)["launch"] == 50
    assumed = settled.offers.where("promotion_id = 'new'").select("value_amount", "learnt_from").distinct().collect()
    assert [tuple(row) for row in assumed] == [(-1.0, "assumed")]
    assert any(told.startswith("new: of no known value, assumed to earn nothing") for told in desk.limitations)


def test_what_limits_name_and_there_is_not_is_told_and_left_out(spark: SparkSession) -> None:
    limits = [
        {"name": "odd", "measure": "count", "promotions": ["x", "p"], "at_most": 3},
        {"name": "gone", "measure": "count", "segments": [7], "at_least": 3},
    ]
    given = {"limits": limits, "stock_counts": {"y": 2}, "holdout_rate": 0.0, "exploration_rate": 0.0}
    desk = Desk(spark, AssignSettings.model_validate(given))
    settled = settle(desk.stage, make_offers(spark, 20))
    assert settled.choices.count() == 3
    assert used(desk) == {"budget": 3.0, "odd": 3.0}
    assert desk.limitations == [
        "assign.limits: stock_y names promotion y, which nobody may be given: it limits nothing.",
        "assign.limits: odd names promotion x, which nobody may be given.",
        "assign.limits: gone names segment 7, of whom nobody may be given anything: it limits nothing.",
    ]


def test_a_gap_that_stays_open_is_told(spark: SparkSession) -> None:
    # Costs of 3 under a budget of 5 leave 2 that nothing can use.
    settings = AssignSettings(budget_amount=5.0, holdout_rate=0.0, exploration_rate=0.0)
    desk = Desk(spark, settings)
    settled = settle(desk.stage, make_offers(spark, 3, cost_amount="3.0"))
    assert settled.choices.count() == 1
    assert desk.figures["assign_certified_gap"] > 5e-5
    assert any(told.startswith("a better plan may exist: this one is worth 3.00 EUR") for told in desk.limitations)

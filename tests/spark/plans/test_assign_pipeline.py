"""The stage as a whole, before anything was learnt."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT, CONSTRAINT_USE, DECISION_LOG
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import SCORES
from promo_spark.contracts.offers import Offer
from promo_spark.contracts.silver import OVERRIDES
from promo_spark.pipelines.assign import run
from tests.conftest import MakeRows
from tests.spark.plans.desk import DAY, Desk

MUG = Offer(offer_id="mug", name="A mug", mechanic="gift", gift_unit_cost_amount=4.0, channel="app")


@pytest.mark.slow
def test_a_cold_start_keeps_to_the_limits_and_tells_what_was_not_followed(
    spark: SparkSession, make_rows: MakeRows
) -> None:
    score = {"as_of_date": DAY, "arm": "gift", "is_listed": True, "redemption_prob": 0.5, "learnt_from": "assumed"}
    scores = [
        {**score, "customer_id": f"c{n:03d}", "promotion_id": promotion}
        for n in range(400)
        for promotion in ("mug", "q")
    ]
    told = [{"customer_id": "c001", "promotion_id": "old", "action": "force"}]
    settings = AssignSettings.model_validate(
        {
            "stock_counts": {"q": 0},
            "holdout_rate": 0.1,
            "exploration_rate": 0.2,
            "contact_cost_amount": 0.5,
            "limits": [{"name": "launch", "measure": "count", "promotions": ["mug"], "at_least": 150}],
        }
    )
    tables = {SCORES.name: make_rows(SCORES, scores), OVERRIDES.name: make_rows(OVERRIDES, told)}
    desk = Desk(spark, settings, tables, offers=(MUG,))
    run(desk.stage)
    rows = desk.written[ASSIGNMENT.name].persist()
    given = {row["arm"]: row["n"] for row in rows.groupBy("arm").agg(F.count("*").alias("n")).collect()}
    assert given == {"mug": 150, "none": 250}
    # Half of those told redeem a gift of 4; telling one costs 0.5.
    assert [row[0] for row in rows.where("arm = 'mug'").select("cost_amount").distinct().collect()] == [2.5]
    used = {row["name"]: row["used"] for row in desk.written[CONSTRAINT_USE.name].collect()}
    assert used == {"budget": pytest.approx(375.0), "stock_q": 0.0, "launch": 150.0}
    weights = rows.groupBy("arm").agg(F.sum(1 / F.col("propensity")).alias("sum"))
    assert {row["arm"]: row["sum"] / 400 for row in weights.collect()} == pytest.approx(
        {"mug": 1.0, "none": 1.0}, abs=0.2
    )
    assert desk.written[DECISION_LOG.name].where("customer_id = 'c001'").count() == 1
    said = " ".join(desk.limitations)
    assert "silver.overrides force old on 1 customers, but it is not planned" in said
    assert "nobody is given q by chance" in said
    assert "mug: of no known value" in said

"""What was logged as the probability of a decision is the probability of it."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.pipelines import assign_limits
from promo_spark.pipelines.assign_limits import settle
from promo_spark.plans.assignment import assemble_assignment
from promo_spark.plans.responses import share_decisions
from tests.conftest import MakeRows
from tests.spark.plans.desk import DAY, Desk, make_offers

SIZE = 6_000


@pytest.fixture(autouse=True)
def _without_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten budgets more are of no concern here."""
    monkeypatch.setattr(assign_limits, "keep_budget_curve", lambda *_, **__: None)


def assigned(spark: SparkSession, make_rows: MakeRows, offers: DataFrame, settings: AssignSettings) -> DataFrame:
    """The assignment that a stage would write."""
    settled = settle(Desk(spark, settings).stage, offers)
    shares = share_decisions(
        priced=settled.priced, roles=settled.roles, choices=settled.choices, settings=settled.rates
    )
    return assemble_assignment(
        offers=offers,
        roles=settled.roles,
        choices=settled.choices,
        responses=shares,
        customer_features=make_rows(CUSTOMER_FEATURES, []),
        as_of_date=DAY,
        settings=settled.rates,
    ).persist()


def inverse_weights(rows: DataFrame, size: int = SIZE) -> dict[str, tuple[float, float]]:
    """Mean over customers of 1{arm} / propensity, and its standard error, by arm."""
    weight = 1 / F.col("propensity")
    summed = rows.groupBy("arm").agg(F.sum(weight).alias("sum"), F.sum(weight * weight).alias("square")).collect()
    return {row["arm"]: (row["sum"] / size, row["square"] ** 0.5 / size) for row in summed}


# A standard error of the inverse weights counts the draws of roles; five of them.
@pytest.mark.parametrize(
    ("promotions", "columns"),
    [
        pytest.param(("p",), {}, marks=pytest.mark.slow),
        # Tied within two groups only, one of which the budget does not reach in full.
        pytest.param(("p",), {"value_amount": "IF(customer_id < 'c01500', 9.0, 3.0)"}, marks=pytest.mark.slow),
        # Two promotions of one arm: the same value, other costs.
        pytest.param(("p", "q"), {"cost_amount": "IF(promotion_id = 'p', 1.0, 2.0)"}, marks=pytest.mark.slow),
        # Nobody is like anybody.
        pytest.param(("p",), {"value_amount": "1.0 + crc32(customer_id) / 4294967296.0"}, marks=pytest.mark.slow),
    ],
    ids=["everybody", "groups", "two_promotions", "nobody"],
)
def test_inverse_propensities_sum_to_one_for_each_arm_where_ties_are_shared_out(
    spark: SparkSession, make_rows: MakeRows, promotions: tuple[str, ...], columns: dict[str, str]
) -> None:
    settings = AssignSettings(budget_amount=0.4 * SIZE, holdout_rate=0.1, exploration_rate=0.02)
    rows = assigned(spark, make_rows, make_offers(spark, SIZE, promotions, **columns), settings)
    found = inverse_weights(rows)
    assert set(found) == {*promotions, "none"}
    for arm, (mean, error) in found.items():
        assert mean == pytest.approx(1.0, abs=5 * error), arm
    told = {row["arm"]: row["cost"] for row in rows.groupBy("arm").agg(F.sum("cost_amount").alias("cost")).collect()}
    assert sum(told.values()) <= 0.4 * SIZE


@pytest.mark.slow
def test_the_losers_of_a_tie_are_told_that_a_limit_kept_it_from_them(spark: SparkSession, make_rows: MakeRows) -> None:
    settings = AssignSettings(budget_amount=40.0, holdout_rate=0.0, exploration_rate=0.0)
    rows = assigned(spark, make_rows, make_offers(spark, 100), settings)
    counted: dict[Any, Any] = {row["reason"]: row["count"] for row in rows.groupBy("reason").count().collect()}
    assert counted == {"worth_it": 40, "limit": 60}
    assert rows.agg(F.max("propensity")).collect()[0][0] == pytest.approx(0.6)


@pytest.mark.slow
def test_the_propensity_of_several_promotions_is_that_of_all_together(spark: SparkSession, make_rows: MakeRows) -> None:
    settings = AssignSettings(
        budget_amount=1e6, holdout_rate=0.1, exploration_rate=0.2, promotions_per_customer=2, per_category=2
    )
    rows = assigned(spark, make_rows, make_offers(spark, 1000, ("p", "q")), settings)
    together = rows.where("slot = 2").select("customer_id")
    assert rows.join(together, "customer_id").agg(F.max("propensity")).collect()[0][0] == pytest.approx(0.7)
    assert rows.where("is_exploration").agg(F.max("propensity")).collect()[0][0] == pytest.approx(0.1)

"""Policies valued on a log in Spark: as the kernel has them, whatever the partitions, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.assignment import ASSIGNMENT
from promo_spark.contracts.decision_settings import AssignSettings, UpliftSettings
from promo_spark.contracts.decisions import DECISIONS, SCORES
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.measurement import POLICY_VALUES
from promo_spark.contracts.off_policy import OFF_POLICY, POLICY_LOG
from promo_spark.contracts.off_policy_settings import OffPolicySettings
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import PROMOTIONS
from promo_spark.contracts.table import TableContract
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES
from promo_spark.measurement.off_policy import value_policies
from promo_spark.measurement.policy_log import lay_out_policies, policy_names
from promo_spark.pipelines import off_policy
from promo_spark.runtime import Stage

DAY = date(2024, 6, 3)
ARMS = ("none", "coupon", "mailer")
SETTINGS = OffPolicySettings(bootstraps=300, min_effective=20)
MakeRows = Callable[..., DataFrame]


def log_rows(count: int = 400) -> list[dict[str, Any]]:
    """Two decisions per customer, drawn at random; a coupon is worth 1, a mailer nothing."""
    draw = np.random.default_rng(1)
    rows = []
    for place in range(count):
        arm = int(draw.integers(0, 3))
        rows.append(
            {
                "decision_id": f"d{place % 2}",
                "customer_id": f"c{place // 2:03}",
                "as_of_date": DAY,
                "arm_index": arm,
                "propensity": 1 / 3,
                "reward": float(draw.normal()) + (arm == 1),
                "expected": [0.0, 0.5, 0.0],
                "supported": [1.0, 1.0, 1.0],
                "chances": [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0],
            }
        )
    return rows


def valued(log: DataFrame, **changes: object) -> dict[tuple[str, str], Any]:
    given: dict[str, Any] = {
        "policies": ("logged", "none", "constant:coupon", "constant:mailer"),
        "followed": "constant:coupon",
        "learnt_from": "randomised",
        "trimmed_rate": 0.0,
        "as_of_date": DAY,
        "currency": "USD",
        "settings": SETTINGS,
        "seed": 3,
    }
    rows = value_policies(policy_log=log, **{**given, **changes}).collect()
    return {(row.policy, row.estimator): row for row in rows}


def test_values_are_means_over_the_log(make_rows: MakeRows) -> None:
    rows = log_rows()
    found = valued(make_rows(POLICY_LOG, rows))
    rewards, arms = np.array([row["reward"] for row in rows]), np.array([row["arm_index"] for row in rows])
    assert found["logged", "ips"].value_amount == pytest.approx(rewards.mean())
    assert found["constant:coupon", "snips"].value_amount == pytest.approx(rewards[arms == 1].mean())
    assert found["constant:coupon", "ips"].value_amount == pytest.approx((3 * rewards * (arms == 1)).mean())
    coupon = found["constant:coupon", "doubly_robust"]
    assert coupon.gain_amount == pytest.approx(1.0, abs=3 * coupon.gain_error)
    assert coupon.is_concluded
    assert coupon.is_followed
    assert coupon.told.endswith("USD per decision beside none: better")
    spread = (coupon.bootstrap_high_amount - coupon.bootstrap_low_amount) / (2 * 1.96)
    assert coupon.standard_error == pytest.approx(spread, rel=0.25)
    assert found["constant:mailer", "doubly_robust"].told.endswith("no difference is shown")
    assert (coupon.effective_count, coupon.decision_count) == (pytest.approx((arms == 1).sum()), 400)


def test_partitions_and_order_change_nothing(make_rows: MakeRows) -> None:
    log = make_rows(POLICY_LOG, log_rows())
    assert valued(log) == valued(log.repartition(7).orderBy("reward"))


def test_what_the_log_could_not_do_is_not_concluded(make_rows: MakeRows) -> None:
    never = [{**row, "supported": [1.0, 1.0, 0.0]} for row in log_rows()]
    found = valued(make_rows(POLICY_LOG, never))["constant:mailer", "ips"]
    assert not found.is_concluded
    assert found.support_rate == 0
    assert found.told == "no conclusion: the log could have done next to nothing of what it does, and 95 % is needed"
    trimmed = valued(make_rows(POLICY_LOG, log_rows()), trimmed_rate=0.3)["constant:coupon", "ips"]
    assert (trimmed.is_concluded, trimmed.support_rate) == (False, pytest.approx(0.7))
    logged = valued(make_rows(POLICY_LOG, log_rows()), trimmed_rate=0.3)["logged", "ips"]
    assert logged.is_concluded
    assert logged.told.endswith("what none would have earned is not known")
    few = SETTINGS.model_copy(update={"min_effective": 399.0})
    assert not valued(make_rows(POLICY_LOG, log_rows()), settings=few)["constant:coupon", "ips"].is_concluded


def test_an_arm_that_nobody_was_given_has_no_value(make_rows: MakeRows) -> None:
    others = [{**row, "arm_index": row["arm_index"] % 2} for row in log_rows()]
    found = valued(make_rows(POLICY_LOG, others))["constant:mailer", "snips"]
    assert (found.value_amount, found.low_amount, found.is_concluded) == (None, None, False)


def test_nothing_comes_of_no_log(make_rows: MakeRows) -> None:
    assert valued(make_rows(POLICY_LOG, [])) == {}


def test_policies_are_laid_out_beside_each_decision(spark: SparkSession, make_rows: MakeRows) -> None:
    fields = (
        "decision_id string, customer_id string, arm_index int, propensity double, reward double, "
        "expected array<double>, personalised int"
    )
    rows = [("d0", customer, 0, 0.5, 1.0, [0.0, 0.0, 0.0], 2) for customer in ("a", "b", "c")]
    decisions = [
        {"decision_id": "d0", "customer_id": "a", "arm": "none", "propensity": 0.5},
        {"decision_id": "d0", "customer_id": "b", "arm": "coupon", "propensity": 0.5},
    ]
    plan = [
        {"customer_id": "a", "slot": 1, "arm": "p1"},
        {"customer_id": "a", "slot": 2, "arm": "p2"},
        {"customer_id": "b", "slot": 1, "arm": "unheard"},
    ]
    found = lay_out_policies(
        log=spark.createDataFrame(rows, fields),
        decisions=make_rows(DECISIONS, decisions),
        assignment=make_rows(ASSIGNMENT, plan),
        promotions=make_rows(PROMOTIONS, [{"promotion_id": "p1", "promotion_type": "coupon"}]),
        arms=ARMS,
        arm_level="promotion_type",
        as_of_date=DAY,
    )
    told = {row.customer_id: row for row in found.collect()}
    names = policy_names(ARMS)[1:]
    chances = {
        who: dict(zip(names, np.reshape(row.chances, (5, 3)).tolist(), strict=True)) for who, row in told.items()
    }
    assert chances["a"]["constant:mailer"] == chances["a"]["personalised"] == [0, 0, 1]
    assert [chances[who]["plan"] for who in "abc"] == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert told["a"].supported == [1, 1, 0]


class StageInMemory:
    """What the stage needs of a stage."""

    def __init__(self, spark: SparkSession, tables: dict[str, DataFrame], assign: AssignSettings) -> None:
        self.spark, self.tables, self.as_of_date = spark, tables, DAY
        self.settings = SimpleNamespace(
            off_policy=SETTINGS,
            uplift=UpliftSettings(min_arm_customers=10),
            assign=assign,
            promotions=SimpleNamespace(offers=()),
            seed=3,
            currency="USD",
        )
        self.limitations: list[str] = []
        self.figures: dict[str, float] = {}

    def read(self, contract: TableContract) -> DataFrame:
        return self.tables[contract.name]

    def write(self, contract: TableContract, frame: DataFrame) -> None:
        rows = [tuple(row[name] for name in contract.column_names) for row in frame.collect()]
        self.tables[contract.name] = self.spark.createDataFrame(rows, contract.schema())

    def limitation(self, message: str) -> None:
        self.limitations.append(message)

    def metrics(self, values: dict[str, float]) -> None:
        self.figures.update(values)


def run(
    spark: SparkSession,
    make_rows: MakeRows,
    decisions: list[dict[str, Any]],
    *,
    scored: bool = True,
    assign: AssignSettings | None = None,
) -> StageInMemory:
    score = {
        **{"promotion_id": "p1", "customer_id": "c000", "as_of_date": DAY, "arm": "coupon", "learner": "dr_linear"},
        **{"margin_uplift_amount": 1.0, "sales_uplift_amount": 1.0},
    }
    tables = {
        DECISIONS.name: make_rows(DECISIONS, decisions),
        SCORES.name: make_rows(SCORES, [score] if scored else []),
        SEGMENT_CUSTOMERS.name: make_rows(SEGMENT_CUSTOMERS, []),
        CUSTOMER_FEATURES.name: make_rows(CUSTOMER_FEATURES, []),
        PROMOTIONS.name: make_rows(PROMOTIONS, [{"promotion_id": "p1", "promotion_type": "coupon"}]),
        ASSIGNMENT.name: make_rows(
            ASSIGNMENT, [{"customer_id": f"c{c:03}", "slot": 1, "arm": "p1"} for c in range(300)]
        ),
        POLICY_VALUES.name: make_rows(POLICY_VALUES, [{"policy": "constant:coupon", "is_chosen": True}]),
    }
    stage = StageInMemory(spark, tables, assign or AssignSettings())
    off_policy.run(cast("Stage", stage))
    return stage


def decisions_of(propensity: float | None, effect: float = 4.0) -> list[dict[str, Any]]:
    draw = np.random.default_rng(4)
    rows = []
    for customer in range(300):
        is_given = bool(draw.random() < 0.5)
        covariates = np.zeros(len(DECISION_COVARIATES))
        covariates[:3] = draw.normal(size=3)
        amount = float(covariates[0] + draw.normal() + effect * is_given)
        rows.append(
            {
                "decision_id": "d",
                "customer_id": f"c{customer:03}",
                "as_of_date": DAY,
                "arm": "coupon" if is_given else "none",
                "propensity": propensity,
                "covariates": covariates.tolist(),
                "is_visited": 1.0,
                "sales_amount": amount,
                "margin_amount": amount,
                "discount_amount": 0.1 * is_given,
            }
        )
    return rows


@pytest.mark.parametrize("propensity", [0.5, pytest.param(None, marks=pytest.mark.slow)])
def test_the_stage_values_a_plan_that_gives_everybody_what_works(
    spark: SparkSession, make_rows: MakeRows, propensity: float | None
) -> None:
    stage = run(spark, make_rows, decisions_of(propensity))
    rows = {(row.policy, row.estimator): row for row in stage.read(OFF_POLICY).collect()}
    plan = rows["plan", "doubly_robust"]
    assert plan.gain_amount == pytest.approx(3.5, abs=4 * plan.gain_error)  # less what it costs to tell them
    assert plan.told.endswith("better")
    assert plan.value_amount == rows["constant:coupon", "doubly_robust"].value_amount
    assert plan.learnt_from == ("observational" if propensity is None else "randomised")
    assert rows["constant:coupon", "ips"].is_followed
    assert "the plan was learnt from the very decisions" in stage.limitations[-1]


@pytest.mark.parametrize(("propensity", "told"), [(0.0, "is not above 0 and at most 1"), (1.0, "no row has the arm")])
def test_a_propensity_that_teaches_nothing_is_named(
    spark: SparkSession, make_rows: MakeRows, propensity: float, told: str
) -> None:
    stage = run(spark, make_rows, decisions_of(propensity))
    assert stage.read(OFF_POLICY).isEmpty()
    assert told in stage.limitations[0]


@pytest.mark.slow
def test_vendors_money_counts_as_it_does_in_the_plan(spark: SparkSession, make_rows: MakeRows) -> None:
    def gain(share: float) -> float:
        rows = [{**row, "discount_amount": 0.5 + (row["arm"] == "coupon")} for row in decisions_of(0.5)]
        stage = run(spark, make_rows, rows, assign=AssignSettings(vendor_share_rates={"p1": share}))
        found = {(row.policy, row.estimator): row for row in stage.read(OFF_POLICY).collect()}
        return float(found["constant:coupon", "doubly_robust"].gain_amount)

    # The coupon adds one in discounts to what customers get anyway: of that the vendor bears its share.
    assert gain(0.4) - gain(0.0) == pytest.approx(0.4, abs=1e-6)


@pytest.mark.parametrize("empty", ["scores", "decisions"])
def test_without_scores_or_decisions_nothing_is_valued(spark: SparkSession, make_rows: MakeRows, empty: str) -> None:
    stage = run(spark, make_rows, [] if empty == "decisions" else decisions_of(0.5), scored=empty != "scores")
    assert stage.read(OFF_POLICY).isEmpty()
    assert len(stage.limitations) == 1

"""Which policies are compared, on whom, and in what money."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import DECISIONS, SCORES
from promo_spark.contracts.measurement import POLICY_VALUES
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES
from promo_spark.pipelines import assign_policy
from promo_spark.pipelines.assign_policy import choose_policy
from tests.conftest import MakeRows
from tests.spark.plans.desk import DAY, Desk, make_offers

RECENCY, IS_NEW = DECISION_COVARIATES.index("recency_log"), DECISION_COVARIATES.index("is_new")


def decisions(make_rows: MakeRows, sizes: dict[str, int], **values: Any) -> DataFrame:
    rows = []
    for arm, size in sizes.items():
        for number in range(size):
            covariates = [0.0] * len(DECISION_COVARIATES)
            covariates[RECENCY] = float(np.log1p(90.0 if number % 2 else 3.0))
            rows.append(
                {
                    "decision_id": "d",
                    "customer_id": f"{arm}{number:04d}",
                    "as_of_date": DAY,
                    "arm": arm,
                    "propensity": 0.5,
                    "covariates": covariates,
                    "is_visited": 1.0,
                    "sales_amount": 10.0,
                    "margin_amount": 3.0,
                    "discount_amount": 1.0 if arm == "none" else 2.0,
                    **values,
                }
            )
    return make_rows(DECISIONS, rows)


def desk(spark: SparkSession, make_rows: MakeRows, past: DataFrame, **settings: Any) -> Desk:
    score = {"customer_id": "x", "promotion_id": "p", "as_of_date": DAY, "arm": "coupon", "learner": "dr_linear"}
    scores = make_rows(SCORES, [{**score, "learnt_from": "randomised"}])
    return Desk(spark, AssignSettings.model_validate(settings), {SCORES.name: scores, DECISIONS.name: past})


@pytest.mark.parametrize(
    ("sizes", "columns"),
    [
        ({"none": 50, "coupon": 50}, {"customer_id": "NULL"}),
        ({"none": 50, "coupon": 50}, {"arm": "'mail'", "value_amount": "NULL"}),
        ({"none": 50, "coupon": 3}, {}),
        ({"none": 3, "coupon": 50}, {}),
    ],
    ids=["nobody_may_be_given_anything", "only_an_unlearnt_arm", "too_few_given", "too_few_controls"],
)
def test_what_cannot_be_compared_is_no_fault(
    spark: SparkSession, make_rows: MakeRows, sizes: dict[str, int], columns: dict[str, str]
) -> None:
    offers = make_offers(spark, 20, **columns).where("customer_id IS NOT NULL")
    own = desk(spark, make_rows, decisions(make_rows, sizes))
    policy = choose_policy(own.stage, offers)
    assert (policy.verdict, policy.constant) == ("none", None)
    assert own.written[POLICY_VALUES.name].isEmpty()
    assert own.limitations == [f"{policy.words}."]


class Asked(Exception):  # noqa: N818  (no fault: it ends the stage where the test has seen enough)
    """What the comparison was asked."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(**arguments: Any) -> None:
        raise Asked(arguments)

    monkeypatch.setattr(assign_policy, "compare_policies", stop)


def question(own: Desk, offers: DataFrame) -> dict[str, Any]:
    with pytest.raises(Asked) as fault:
        choose_policy(own.stage, offers)
    found: dict[str, Any] = fault.value.args[0]
    return found


@pytest.mark.usefixtures("asked")
def test_an_arm_dropped_for_too_few_customers_takes_no_part(spark: SparkSession, make_rows: MakeRows) -> None:
    past = decisions(make_rows, {"none": 50, "coupon": 50, "mail": 8})
    told = question(
        desk(spark, make_rows, past), make_offers(spark, 20, ("p", "q"), arm="IF(promotion_id = 'p', 'coupon', 'mail')")
    )
    assert {row["arm"] for row in told["rows"].select("arm").distinct().collect()} == {"none", "coupon"}
    assert set(told["contact_costs"]) == {"coupon"}
    assert (told["propensity_floor"], told["ridge"]) == (0.02, 1.0)


@pytest.mark.usefixtures("asked")
def test_vendors_money_counts_as_it_does_in_the_offers(spark: SparkSession, make_rows: MakeRows) -> None:
    past = decisions(make_rows, {"none": 50, "coupon": 50, "mail": 50})
    own = desk(spark, make_rows, past, vendor_share_rates={"p": 0.5, "q": 0.25})
    told = question(own, make_offers(spark, 20, ("p", "q"), arm="IF(promotion_id = 'p', 'coupon', 'mail')"))
    means = told["rows"].groupBy("arm").agg(F.avg(told["objective"]).alias("earned"), F.avg(told["cost"]).alias("paid"))
    found = {row["arm"]: row for row in means.collect()}
    # One more in discounts, of which the vendor bears the share; margins are the same in all arms.
    for arm, share in (("coupon", 0.5), ("mail", 0.25)):
        assert found[arm]["earned"] - found["none"]["earned"] == pytest.approx(share)
        assert found[arm]["paid"] - found["none"]["paid"] == pytest.approx(1 - share)


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(("objective", "recency"), [("acquisition", 90.0), ("retention", 3.0)])
def test_only_customers_whom_the_objective_counts_are_compared(
    spark: SparkSession, make_rows: MakeRows, objective: str, recency: float
) -> None:
    past = decisions(make_rows, {"none": 50, "coupon": 50})
    own = desk(spark, make_rows, past, objective=objective, budget_amount=30.0, visit_amount=4.0)
    told = question(own, make_offers(spark, 20, is_counted="customer_id < 'c00010'"))
    seen = {row[0] for row in told["rows"].select(F.round(F.expm1(F.get("covariates", F.lit(RECENCY))), 6)).collect()}
    assert seen == {recency}
    assert told["budget_per_customer"] == pytest.approx(3.0)
    assert told["rows"].agg(F.avg(told["objective"])).collect()[0][0] == pytest.approx(4.0)

"""The safe policy and the choice of a learner on Spark; boosted trees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_spark.response.safe_policy import compare_policies
from promo_spark.response.uplift_choice import choose_learner
from promo_spark.response.uplift_model import UpliftModel
from tests.spark.response.uplift_fits import fit_uplift, learning_from

NAMES = ("a", "b")


def experiment(spark: SparkSession, slope: float) -> DataFrame:
    """Uplift is 1 + slope where a is positive, 1 - slope elsewhere; discounts cost 0.5."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3000, 2))
    arm = rng.integers(0, 2, 3000)
    uplift = 1 + slope * np.where(x[:, 0] > 0, 1.0, -1.0)
    margin = x[:, 1] + arm * uplift + rng.normal(size=3000)
    rows = [
        (f"c{place:04d}", "d", ("none", "mailer")[arm[place]], 0.5, x[place].tolist(), float(margin[place]), 0.5 * own)
        for place, own in enumerate(arm.tolist())
    ]
    columns = "customer_id string, decision_id string, arm string, propensity double, covariates array<double>, "
    return spark.createDataFrame(rows, columns + "margin_amount double, discount_amount double")


@pytest.fixture(scope="module")
def alike(spark: SparkSession) -> DataFrame:
    return experiment(spark, 0.0).persist()


@pytest.fixture(scope="module")
def different(spark: SparkSession) -> DataFrame:
    return experiment(spark, 2.0).persist()


@pytest.fixture
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for one step, and quick."""
    monkeypatch.setattr("promo_spark.response.boosting._TREES", 4)
    monkeypatch.setattr("promo_spark.response.boosting._STEP", 0.7)


@pytest.mark.spark
@pytest.mark.slow
def test_it_falls_back_where_all_respond_alike(alike: DataFrame) -> None:
    told = compare_policies(
        rows=alike, objective="margin_amount", cost=None, contact_costs={"mailer": 0.2}, covariate_names=NAMES
    )
    assert told.verdict == "constant"
    assert told.constant_arm == "mailer"
    assert told.table[1].value == pytest.approx(0.8, abs=0.1)
    assert "Not personalised" in told.words
    dear = compare_policies(
        rows=alike, objective="margin_amount", cost=None, contact_costs={"mailer": 2.0}, covariate_names=NAMES
    )
    assert dear.verdict == "none"


@pytest.mark.spark
@pytest.mark.slow
def test_it_personalises_within_a_budget_where_they_differ(different: DataFrame) -> None:
    told = compare_policies(
        rows=different,
        objective="margin_amount",
        cost="discount_amount",
        contact_costs={},
        covariate_names=NAMES,
        budget_per_customer=0.2,
        shrink=True,
    )
    assert told.verdict == "personalised"
    assert told.p_value < 0.001
    personal, constant, none = told.table
    assert personal.cost == pytest.approx(0.2, abs=0.02)
    assert constant.share == pytest.approx(0.4, abs=0.01)
    assert personal.value == pytest.approx(0.4 * 3, abs=0.2)
    assert constant.value == pytest.approx(0.4 * 1, abs=0.1)
    assert told.gain == pytest.approx(personal.value - constant.value)
    assert none.value == 0


@pytest.mark.spark
def test_wrong_costs_are_refused(alike: DataFrame) -> None:
    with pytest.raises(ValueError, match="contact costs must be finite and not negative: mailer"):
        compare_policies(
            rows=alike, objective="margin_amount", cost=None, contact_costs={"mailer": -1.0}, covariate_names=NAMES
        )


@pytest.mark.slow
@pytest.mark.spark
def test_trees_find_a_step_are_kept_and_hold_intervals(different: DataFrame, tmp_path: Path, few_trees: None) -> None:
    model = fit_uplift(different, outcomes=("margin_amount",), covariate_names=NAMES, learner="t_gbt")
    model.write().save(str(tmp_path / "model"))
    told = UpliftModel.load(str(tmp_path / "model")).transform(different.where("arm = 'mailer'")).toPandas()
    high = np.stack(told["covariates"])[:, 0] > 0
    assert told.loc[high, "uplift_margin_amount"].mean() == pytest.approx(3, abs=0.3)
    assert told.loc[~high, "uplift_margin_amount"].mean() == pytest.approx(-1, abs=0.3)
    truth = np.where(high, 3.0, -1.0)
    held = (told["uplift_margin_amount_low"] <= truth) & (truth <= told["uplift_margin_amount_high"])
    assert held.mean() > 0.6
    # Shapley values sum to the gap to one and the same customer, and the step is in the first covariate.
    sums = told["contributions"].map(lambda own: sum(own.values()))
    assert np.ptp(told["uplift_margin_amount"] - sums) < 1e-6
    shares = pd.DataFrame(told["contributions"].map(dict).tolist()).abs().mean()
    assert shares.idxmax() == NAMES[0]


@pytest.mark.slow
@pytest.mark.spark
def test_the_learner_with_the_least_robust_loss_is_chosen(different: DataFrame, few_trees: None) -> None:
    with learning_from(different, outcomes=("margin_amount",), covariate_names=NAMES) as learning:
        told = choose_learner(learning=learning, learners=("t_linear", "dr_gbt"))
    figures = {(one.learner, one.metric): one for one in told.figures}
    losses = {name: figures[name, "dr_loss"].value for name in ("t_linear", "dr_gbt")}
    assert told.learnt.learner == min(losses, key=lambda name: losses[name]) == "dr_gbt"
    # The best policy takes the half that gains 3: 1.5 a customer.
    assert figures["dr_gbt", "policy_value"].value == pytest.approx(1.5, abs=0.15)
    assert figures["dr_gbt", "uplift_at_30"].value == pytest.approx(3, abs=0.4)
    assert all(one.standard_error > 0 for one in told.figures)


@pytest.mark.spark
def test_without_xgboost_it_says_what_to_do(alike: DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xgboost", None)
    monkeypatch.setitem(__import__("sys").modules, "xgboost.spark", None)
    with pytest.raises(ValueError, match="xgboost-cpu"):
        fit_uplift(alike, outcomes=("margin_amount",), covariate_names=NAMES, learner="t_xgboost")

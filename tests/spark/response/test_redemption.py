"""Redemption: recovery of who redeems, calibration, cold start and persistence."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from sklearn.metrics import roc_auc_score

from promo_spark.contracts.decision_settings import UpliftSettings
from promo_spark.contracts.decisions import DECISIONS, LEARNERS, NO_ARM, SCORES
from promo_spark.errors import SettingsError
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES
from promo_spark.recommend.promotions import rank_promotions
from promo_spark.response.redemption import (
    CLASS_RATE,
    LEARNT,
    OVERALL_RATE,
    RedemptionModels,
    fit_redemption,
    learner_figures,
    predict_redemption,
)

DAY = date(2024, 6, 3)
MakeRows = Callable[..., DataFrame]
WIDTH = len(DECISION_COVARIATES)


def decisions(count: int, *, days: int = 4, seed: int = 1, base: float = -1.5) -> list[dict[str, Any]]:
    """P(redeem) rises with the first covariate; arm b redeems more; every fifth row got nothing."""
    random, rows = np.random.default_rng(seed), []
    for place in range(count):
        covariates = random.normal(size=WIDTH)
        arm = NO_ARM if place % 5 == 0 else "ab"[place % 2]
        chance = 1 / (1 + np.exp(-(base + 1.5 * covariates[0] + (arm == "b"))))
        rows.append(
            {
                "decision_id": f"d{place % days}",
                "customer_id": f"c{place // days:05d}",
                "as_of_date": DAY,
                "arm": arm,
                "promotion_id": f"p{arm}",
                "decided_date": DAY - timedelta(days=200 - 20 * (place % days)),
                "is_logged": True,
                "covariates": covariates.tolist(),
                "is_redeemed": float(arm != NO_ARM and random.random() < chance),
                "is_visited": 1.0,
            }
        )
    return rows


def fit(make_rows: MakeRows, rows: list[dict[str, Any]], **settings: Any) -> RedemptionModels:
    return fit_redemption(decisions=make_rows(DECISIONS, rows), settings=UpliftSettings(**settings), seed=3)


def told(make_rows: MakeRows, models: RedemptionModels, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    made = predict_redemption(rows=make_rows(DECISIONS, rows).select("customer_id", "arm", "covariates"), models=models)
    return [row.asDict() for row in made.orderBy("customer_id", "arm").collect()]


@pytest.mark.slow
def test_recovers_who_redeems_and_how_many(make_rows: MakeRows, tmp_path: Path) -> None:
    models = fit(make_rows, decisions(2400), redemption_models=("logistic",))
    assert models.model is not None
    assert models.judged[0].auc > 0.75
    assert models.judged[0].reliability.shape == (10, 3)
    later = decisions(2000, seed=2)
    scored = predict_redemption(rows=make_rows(DECISIONS, later), models=models).toPandas()
    given = scored[scored["arm"] != NO_ARM]
    assert set(given["redemption_model"]) == {LEARNT}
    assert roc_auc_score(given["is_redeemed"], given["redemption_prob"]) > 0.78
    assert given["redemption_prob"].mean() == pytest.approx(given["is_redeemed"].mean(), abs=0.03)
    by_arm = given.groupby("arm")["redemption_prob"].mean()
    assert by_arm["b"] - by_arm["a"] > 0.08
    models.model.write().overwrite().save(str(tmp_path / "model"))
    again = PipelineModel.load(str(tmp_path / "model")).transform(make_rows(DECISIONS, later)).toPandas()
    assert np.array_equal(again["redemption_prob"], scored["redemption_prob"])


@pytest.mark.slow
def test_rows_in_another_order_give_the_same_model(make_rows: MakeRows) -> None:
    rows = decisions(800)
    one, other = (fit(make_rows, given, redemption_models=("logistic", "tree")) for given in (rows, rows[::-1]))
    asked = decisions(20, seed=9)
    assert [row["redemption_prob"] for row in told(make_rows, one, asked)] == pytest.approx(
        [row["redemption_prob"] for row in told(make_rows, other, asked)], rel=1e-9
    )
    assert sum(judged.is_chosen for judged in one.judged) == 1


@pytest.mark.slow
def test_one_day_of_decisions_is_judged_on_other_customers(make_rows: MakeRows) -> None:
    models = fit(make_rows, decisions(800, days=1), redemption_models=("logistic",))
    assert models.model is not None
    assert models.judged[0].customers == 640


@pytest.mark.slow
def test_an_arm_never_seen_is_scored_by_what_arms_share(make_rows: MakeRows) -> None:
    models = fit(make_rows, decisions(1200), redemption_models=("logistic",))
    low, high = [0.0] * WIDTH, [2.0, *[0.0] * (WIDTH - 1)]
    asked = [
        {"customer_id": name, "arm": "new", "covariates": values, "decision_id": "d", "as_of_date": DAY}
        for name, values in (("c1", low), ("c2", high))
    ]
    first, second = told(make_rows, models, asked)
    assert second["redemption_prob"] > first["redemption_prob"] + 0.2
    assert {first["redemption_model"], second["redemption_model"]} == {LEARNT}


def test_few_redeemers_leave_the_rates_of_classes_pulled_towards_all(make_rows: MakeRows) -> None:
    rows = [{**row, "is_redeemed": float(place in (1, 3))} for place, row in enumerate(decisions(100))]
    models = fit(make_rows, rows)
    assert models.model is None
    overall = (2 + 0.05 * 50) / (80 + 50)
    asked = [{**rows[0], "customer_id": arm, "arm": arm} for arm in ("a", "b", "new")]
    scored = {row["arm"]: (row["redemption_prob"], row["redemption_model"]) for row in told(make_rows, models, asked)}
    assert scored["new"] == (pytest.approx(overall), OVERALL_RATE)
    assert scored["b"] == (pytest.approx((2 + overall * 50) / (40 + 50)), CLASS_RATE)
    assert scored["a"][0] < overall


def test_nothing_ever_given_gives_no_rows(make_rows: MakeRows) -> None:
    rows = [{**row, "arm": NO_ARM} for row in decisions(20)]
    models = fit(make_rows, rows)
    assert models.overall_rate is None
    assert told(make_rows, models, rows) == []
    assert learner_figures(models, DAY) == []


def test_a_missing_package_is_named(make_rows: MakeRows) -> None:
    with pytest.raises(SettingsError, match="xgboost-cpu"):
        fit(make_rows, decisions(400), redemption_models=("xgboost",))


def test_promotions_are_ranked_with_what_told_their_probability(make_rows: MakeRows) -> None:
    def score(customer: str, promotion: str, arm: str, prob: float | None) -> dict[str, Any]:
        known = {"customer_id": customer, "promotion_id": promotion, "arm": arm, "redemption_prob": prob}
        return {**known, "as_of_date": DAY, "is_listed": False, "learnt_from": "observational"}

    scores = [score("c1", "p1", "a", 0.1), score("c1", "p2", "b", 0.3), score("c1", "p3", "new", 0.1)]
    scores += [score("c2", "p1", "a", None), score("c2", "p2", "b", 0.2)]
    models = RedemptionModels(None, {"a": 0.1, "b": 0.2}, 0.15)
    names = LEARNERS.column_names
    learners = [dict(zip(names, row, strict=True)) for row in learner_figures(models, DAY)]
    made = rank_promotions(scores=make_rows(SCORES, scores), learners=make_rows(LEARNERS, learners), as_of_date=DAY)
    rows = [
        (row.customer_id, row["rank"], row.promotion_id, row.model)
        for row in made.orderBy("customer_id", "rank").collect()
    ]
    assert rows == [
        ("c1", 1, "p2", CLASS_RATE),
        ("c1", 2, "p1", CLASS_RATE),
        ("c1", 3, "p3", OVERALL_RATE),
        ("c2", 1, "p2", CLASS_RATE),
    ]

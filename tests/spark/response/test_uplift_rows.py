"""What decisions are refused, and why, before anything is learnt; what is not drawn at random is estimated."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.response.uplift_rows import prepare_rows
from tests.spark.response.uplift_fits import fit_uplift

COLUMNS = "customer_id string, decision_id string, arm string, propensity double, covariates array<double>, y double"


def decisions(spark: SparkSession, customers: int = 60) -> DataFrame:
    rows = [
        (f"c{place:03d}", "d", "none" if place % 2 else "mailer", 0.5, [place / 10, 1.0], float(place % 3))
        for place in range(customers)
    ]
    return spark.createDataFrame(rows, COLUMNS)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    return decisions(spark).persist()


def prepare(rows: DataFrame) -> None:
    prepare_rows(rows=rows, outcomes=("y",), covariate_names=("a", "b"), folds=3, propensity_floor=0.02).release()


# SQL, because a column can only be made once there is a session.
FAULTS = {
    "propensity 0": ("propensity", "0D", "propensity is not above 0 and at most 1"),
    "propensity 2": ("propensity", "2D", "propensity is not above 0 and at most 1"),
    "propensity NaN": ("propensity", "double('NaN')", "propensity is not above 0 and at most 1"),
    "outcome NaN": ("y", "double('NaN')", "outcome y is missing, NaN or infinite"),
    "outcome missing": ("y", "cast(NULL AS double)", "outcome y is missing, NaN or infinite"),
    "covariate infinite": ("covariates", "array(double('Infinity'), 1D)", "not 2 finite numbers"),
    "covariate short": ("covariates", "array(1D)", "not 2 finite numbers"),
    "arm missing": ("arm", "cast(NULL AS string)", "some rows have no arm"),
    "arm of one": ("arm", "'gift'", r"fewer than 6 customers cannot be learnt: gift \(1\)"),
}


@pytest.mark.spark
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(rows: DataFrame, fault: str) -> None:
    column, value, words = FAULTS[fault]
    with pytest.raises(ValueError, match=words):
        prepare(rows.withColumn(column, F.expr(f"if(customer_id = 'c000', {value}, {column})")))


@pytest.mark.spark
def test_a_control_and_a_treated_arm_are_needed(rows: DataFrame) -> None:
    with pytest.raises(ValueError, match="no row has the arm 'none'"):
        prepare(rows.where("arm = 'mailer'"))
    with pytest.raises(ValueError, match="no row has a treated arm"):
        prepare(rows.where("arm = 'none'"))


@pytest.mark.spark
def test_a_full_vector_must_sum_to_one(rows: DataFrame) -> None:
    told = F.create_map(F.lit("none"), F.lit(0.5), F.lit("mailer"), F.lit(0.4))
    with pytest.raises(ValueError, match="do not sum to one"):
        prepare(rows.withColumn("propensities", told))


@pytest.mark.spark
def test_unknown_learners_and_columns_are_named(rows: DataFrame) -> None:
    with pytest.raises(ValueError, match="no uplift learner is called z_linear"):
        fit_uplift(rows, outcomes=("y",), covariate_names=("a", "b"), learner="z_linear")
    with pytest.raises(ValueError, match="lack columns: z"):
        fit_uplift(rows, outcomes=("z",), covariate_names=("a", "b"))


@pytest.mark.spark
def test_an_outcome_of_zeros_has_no_uplift(rows: DataFrame) -> None:
    model = fit_uplift(rows.withColumn("y", F.lit(0.0)), outcomes=("y",), covariate_names=("a", "b"))
    told = model.transform(rows.where("arm = 'mailer'")).toPandas()
    assert (told[["uplift_y", "uplift_y_low", "uplift_y_high"]].abs() < 1e-12).all().all()


@pytest.mark.spark
@pytest.mark.slow
def test_propensities_that_were_not_logged_are_estimated(spark: SparkSession) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=4000)
    chosen = rng.random(4000) < 1 / (1 + np.exp(-1.5 * x))
    y = 2 * x + 1.0 * chosen + rng.normal(size=4000)
    rows = spark.createDataFrame(
        [
            (f"c{place:04d}", "d", "mailer" if own else "none", None, [float(a), 0.0], float(b))
            for place, (own, a, b) in enumerate(zip(chosen, x, y, strict=True))
        ],
        COLUMNS,
    )
    model = fit_uplift(rows, outcomes=("y",), covariate_names=("a", "b"), propensity_floor=0.05)
    told = model.diagnostics
    assert model.learnt_from == "observational"
    assert told["mean_uplift_y_mailer"] == pytest.approx(1.0, abs=0.2)
    assert 0 < told["trimmed_rate"] < 0.3
    assert told["propensity_min"] >= 0.05
    assert told["estimated_propensity_rate"] == 1
    assert y[chosen].mean() - y[~chosen].mean() > 2, "the plain comparison is far off"


@pytest.mark.spark
def test_rows_without_choice_and_decisions_without_controls_are_left_out(rows: DataFrame) -> None:
    forced = rows.where("arm = 'mailer'").withColumns(
        {"decision_id": F.lit("forced"), "propensity": F.lit(1.0), "y": F.lit(50.0)}
    )
    alone = rows.where("arm = 'mailer'").withColumns({"decision_id": F.lit("alone"), "y": F.lit(50.0)})
    prepared = prepare_rows(
        rows=rows.union(forced).union(alone),
        outcomes=("y",),
        covariate_names=("a", "b"),
        folds=3,
        propensity_floor=0.02,
    )
    try:
        assert prepared.frame.select("decision_id").distinct().toPandas()["decision_id"].tolist() == ["d"]
        assert prepared.diagnostics["certain_rows"] == 30
        assert prepared.diagnostics["uncompared_rows"] == 30
        assert prepared.learnt_from == "randomised"
    finally:
        prepared.release()


@pytest.mark.spark
def test_arms_are_held_against_the_controls_of_their_own_decisions(spark: SparkSession) -> None:
    rng = np.random.default_rng(7)
    told = []
    for decision, arm, level in (("summer", "mailer", 100.0), ("winter", "coupon", 60.0)):
        for place in range(2000):
            own = arm if rng.random() < 0.5 else "none"
            x = rng.normal()
            effect = 2.0 if own == "coupon" else 0.0
            told.append((f"c{place:04d}", decision, own, 0.5, [x, 1.0], level + x + effect + rng.normal()))
    model = fit_uplift(spark.createDataFrame(told, COLUMNS), outcomes=("y",), covariate_names=("a", "b"))
    found = model.diagnostics
    for arm, truth in (("mailer", 0.0), ("coupon", 2.0)):
        error = found[f"mean_uplift_y_{arm}_se"]
        # A difference of two means of 1,000 of spread 1.
        assert error == pytest.approx(np.sqrt(2 / 1000), rel=0.3)
        assert found[f"mean_uplift_y_{arm}"] == pytest.approx(truth, abs=4 * error)

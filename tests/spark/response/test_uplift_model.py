"""Learners of uplift on Spark: they find planted effects, refuse bad rows, keep and score as they should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.response.uplift_model import UpliftModel
from promo_spark.response.uplift_segments import estimate_segment_uplift
from tests.spark.response.uplift_fits import fit_uplift, learning_from

NAMES = ("spend", "visits", "constant")
TRUTH = {"mild": (1.0, 1.0), "deep": (2.0, -1.5)}


def draw(seed: int = 1, customers: int = 3000, arms: tuple[str, ...] = ("none", "mild", "deep")) -> pd.DataFrame:
    """Two decisions per customer; uplift is level + slope * spend."""
    rng = np.random.default_rng(seed)
    spend, visits = np.repeat(rng.normal(size=(2, customers)), 2, axis=1)
    arm = rng.choice(arms, 2 * customers)
    own = np.repeat(rng.normal(size=customers), 2)
    level, slope = np.array([TRUTH.get(one, (0.0, 0.0)) for one in arm]).T
    margin = visits + own + level + slope * spend + rng.normal(size=2 * customers)
    return pd.DataFrame(
        {
            "customer_id": np.repeat([f"c{place:05d}" for place in range(customers)], 2),
            "decision_id": np.tile(["d1", "d2"], customers),
            "arm": arm,
            "propensity": 1 / len(arms),
            "covariates": np.column_stack([spend, visits, np.ones(2 * customers)]).tolist(),
            "margin_amount": margin,
            "is_visited": (margin > 0).astype(float),
            "spend": spend,
        }
    )


def frame(spark: SparkSession, rows: pd.DataFrame) -> DataFrame:
    return spark.createDataFrame(rows)


def fit(rows: DataFrame, **settings: Any) -> UpliftModel:
    told: dict[str, Any] = {"outcomes": ("margin_amount", "is_visited"), "covariate_names": NAMES, **settings}
    return fit_uplift(rows, **told)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    return frame(spark, draw()).persist()


@pytest.fixture(scope="module")
def model(rows: DataFrame) -> UpliftModel:
    return fit(rows)


def scored(model: UpliftModel, rows: DataFrame) -> pd.DataFrame:
    return model.transform(rows).toPandas()


@pytest.mark.spark
class TestModel:
    def test_linear_learner_recovers_planted_effects_with_honest_intervals(
        self, model: UpliftModel, rows: DataFrame
    ) -> None:
        told = scored(model, rows)
        assert model.arms == ("none", "deep", "mild")
        assert model.learnt_from == "randomised"
        for arm, (level, slope) in TRUTH.items():
            own = told[told["arm"] == arm]
            truth = level + slope * own["spend"]
            assert np.sqrt(((own["uplift_margin_amount"] - truth) ** 2).mean()) < 0.15
            is_in = (own["uplift_margin_amount_low"] <= truth) & (truth <= own["uplift_margin_amount_high"])
            assert is_in.mean() > 0.6
        assert (told.loc[told["arm"] == "none", "uplift_margin_amount"] == 0).all()
        assert model.diagnostics["effective_rows"] == pytest.approx(6000)

    def test_contributions_add_up_to_the_gap_to_the_mean_customer(self, model: UpliftModel, rows: DataFrame) -> None:
        told = scored(model, rows.where("arm = 'deep'"))
        sums = told["contributions"].map(lambda own: sum(own.values()))
        mean = model.diagnostics["mean_uplift_margin_amount_deep"]
        np.testing.assert_allclose(told["uplift_margin_amount"] - mean, sums, atol=1e-9)
        assert set(told["contributions"].iloc[0]) == set(NAMES)
        assert told["contributions"].map(lambda own: own["constant"]).abs().max() == 0

    def test_it_is_kept_and_read_again(self, model: UpliftModel, rows: DataFrame, tmp_path: Path) -> None:
        model.write().save(str(tmp_path / "model"))
        again = UpliftModel.load(str(tmp_path / "model"))
        few = rows.where("decision_id = 'd1'").limit(50)
        pd.testing.assert_frame_equal(scored(model, few), scored(again, few))
        assert again.diagnostics == model.diagnostics

    def test_an_arm_that_was_not_learnt_has_no_uplift(self, model: UpliftModel, rows: DataFrame) -> None:
        told = scored(model, rows.limit(5).withColumn("arm", F.lit("gift")))
        assert told["uplift_margin_amount"].isna().all()
        assert told["contributions"].isna().all()

    def test_no_rows_give_no_rows(self, model: UpliftModel, rows: DataFrame) -> None:
        assert scored(model, rows.where("false")).empty

    @pytest.mark.slow
    def test_the_layout_of_the_rows_changes_nothing(self, model: UpliftModel, rows: DataFrame) -> None:
        other = fit(rows.repartition(7).orderBy(F.rand(3)))
        one, two = (each.fitted() for each in (model, other))
        corners = np.eye(len(one.mean_design))
        np.testing.assert_allclose(two.uplift.uplift(corners), one.uplift.uplift(corners), rtol=1e-9, atol=1e-12)


@pytest.mark.spark
def test_segments_have_their_own_mean_uplift_and_error(spark: SparkSession, rows: DataFrame) -> None:
    members = rows.groupBy("customer_id").agg(F.when(F.max("spend") > 0, "rich").otherwise("poor").alias("segment_id"))
    with learning_from(rows, outcomes=("margin_amount",), covariate_names=NAMES) as learning:
        told = estimate_segment_uplift(learning=learning, members=members, segment="segment_id")
        larger = max(one.customers for one in told)
        of_many = estimate_segment_uplift(
            learning=learning, members=members, segment="segment_id", least_customers=larger
        )
    assert [(one.segment, one.arm) for one in told] == [
        (segment, arm) for segment in ("poor", "rich") for arm in ("deep", "mild")
    ]
    assert of_many == [one for one in told if one.customers == larger]
    assert 0 < len(of_many) < len(told)
    plain = draw()
    is_rich = plain["spend"] > 0
    for one in told:
        own = plain[is_rich == (one.segment == "rich")]
        level, slope = TRUTH[one.arm]
        truth = (level + slope * own["spend"]).mean()
        assert one.customers == own["customer_id"].nunique()
        assert abs(one.uplift - truth) < 3 * one.standard_error
        # Arms of a third each: noise of about 1 beyond the model and 1 shared within customers.
        assert one.standard_error == pytest.approx(np.sqrt(2 * 3 * 2 / len(own)), rel=0.35)
        assert one.low < one.uplift < one.high

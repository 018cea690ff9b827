"""Experiments from rows to effects, against independent estimates and known truths."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy import stats

from promo_spark.contracts.experiment_settings import ExperimentSettings, ExperimentTable
from promo_spark.contracts.experiments import EXPERIMENTS
from promo_spark.contracts.records import MALFORMED, RECORD
from promo_spark.measurement.experiment_effects import check_experiments, estimate_effects
from promo_spark.measurement.experiment_moments import gather_moments
from promo_spark.measurement.experiment_table_rows import read_experiment_table

DAY = date(2024, 5, 6)
MakeRows = Callable[..., Any]
TABLE = ExperimentTable(
    name="spring",
    format="csv",
    path="unused.csv",
    customer="who",
    arm="group",
    control="none",
    shares={"none": 0.5, "coupon": 0.5},
    outcomes={"sales": "sales", "orders": "orders"},
    ratios={"basket": ("sales", "orders")},
    guardrails=("orders",),
    covariates=("before",),
    segment="kind",
    assigned_date="assigned",
    outcome_date="counted",
)
SETTINGS = ExperimentSettings(tables=(TABLE,))


def draw(customers: int, effect: float = 3.0, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    given = rng.permutation(customers) < customers // 2
    before = rng.lognormal(3.0, 0.6, customers).round(2)
    orders = 1 + rng.poisson(2.0, customers)
    sales = (before * 0.8 + orders * 2.0 + effect * given + rng.normal(0, 5, customers)).round(2)
    return pd.DataFrame(
        {
            "who": [f"c{place}" for place in range(customers)],
            "group": np.where(given, "coupon", "none"),
            "sales": sales,
            "orders": orders,
            "before": before,
            "kind": np.where(np.arange(customers) % 3 == 0, "new", "old"),
            "assigned": "2024-03-04",
            "counted": "2024-03-04",
        }
    )


def records_of(spark: SparkSession, rows: pd.DataFrame) -> DataFrame:
    text = spark.createDataFrame(rows.astype(str).where(rows.notna(), None))
    return text.select(F.struct(*text.columns).alias(RECORD), F.lit(False).alias(MALFORMED))


def analysed(
    spark: SparkSession, make_rows: MakeRows, rows: pd.DataFrame, table: ExperimentTable = TABLE
) -> tuple[pd.DataFrame, pd.DataFrame]:
    settings = ExperimentSettings(tables=(table,))
    laid_out = read_experiment_table(records=records_of(spark, rows), table=table, as_of_date=DAY)
    moments = gather_moments(experiment_rows=laid_out).cache()
    found = {"experiments": make_rows(EXPERIMENTS, []), "as_of_date": DAY, "settings": settings}
    effects = estimate_effects(experiment_moments=moments, **found).toPandas()
    checks = check_experiments(experiment_moments=moments, **found).toPandas()
    moments.unpersist()
    return effects, checks


def one(effects: pd.DataFrame, metric: str, method: str, segment: str = "all") -> pd.Series:
    found = effects[(effects.metric == metric) & (effects.method == method) & (effects.segment == segment)]
    assert len(found) == 1
    return found.iloc[0]


@pytest.fixture(scope="module")
def spring() -> pd.DataFrame:
    return draw(2000)


@pytest.fixture(scope="module")
def found(spark: SparkSession, make_rows: MakeRows, spring: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return analysed(spark, make_rows, spring)


def test_the_difference_is_welchs(found: tuple[pd.DataFrame, pd.DataFrame], spring: pd.DataFrame) -> None:
    given, kept = (spring.loc[spring.group == arm, "sales"] for arm in ("coupon", "none"))
    welch = stats.ttest_ind(given, kept, equal_var=False)
    row = one(found[0], "sales", "difference")
    assert (row.effect, row.p_value) == pytest.approx((given.mean() - kept.mean(), welch.pvalue))
    assert (row.low, row.high) == pytest.approx(tuple(welch.confidence_interval(0.95)))
    assert (row.control_count, row.arm_count) == (1000, 1000)


def test_the_adjusted_effect_is_that_of_the_interacted_regression(
    found: tuple[pd.DataFrame, pd.DataFrame], spring: pd.DataFrame
) -> None:
    rows = spring.assign(given=(spring.group == "coupon") * 1.0, x=spring.before - spring.before.mean())
    fit = smf.ols("sales ~ given * x", rows).fit(cov_type="HC2")
    row = one(found[0], "sales", "regression_adjusted")
    assert row.effect == pytest.approx(fit.params["given"])
    assert row.standard_error == pytest.approx(fit.bse["given"], rel=0.02)
    assert row.standard_error < 0.6 * one(found[0], "sales", "difference").standard_error


def test_it_finds_what_was_planted_and_may_quote_it(found: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    effects, checks = found
    headline = effects[effects.is_headline]
    assert set(zip(headline.metric, headline.method, strict=True)) == {
        ("sales", "regression_adjusted"),
        ("orders", "regression_adjusted"),
        ("basket", "regression_adjusted"),
    }
    row = one(effects, "sales", "regression_adjusted")
    assert row.low < 3.0 < row.high
    assert row.adjusted_p_value == pytest.approx(min(1.0, 2 * row.p_value))
    assert one(effects, "orders", "regression_adjusted").is_guardrail
    peeked = one(effects, "sales", "sequential")
    assert peeked.low < row.low < row.high < peeked.high
    assert set(checks.result) == {"passed"}


def test_segments_are_told_raw_and_shrunk(found: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    effects = found[0]
    raw = [one(effects, "sales", "regression_adjusted", kind) for kind in ("new", "old")]
    shrunk = [one(effects, "sales", "shrunk", kind) for kind in ("new", "old")]
    assert abs(shrunk[0].effect - shrunk[1].effect) <= abs(raw[0].effect - raw[1].effect) + 1e-9
    assert sum(row.arm_count + row.control_count for row in raw) == 2000


def test_winsorised_and_quantile_effects_stand_beside_the_raw_one(
    found: tuple[pd.DataFrame, pd.DataFrame], spring: pd.DataFrame
) -> None:
    given, kept = (spring.loc[spring.group == arm, "sales"] for arm in ("coupon", "none"))
    row = one(found[0], "sales", "winsorised")
    limit = spring.sales.quantile(0.99)
    assert row.effect == pytest.approx(given.clip(upper=limit).mean() - kept.clip(upper=limit).mean(), abs=0.1)
    middle = one(found[0], "sales", "quantile_0.5")
    assert middle.effect == pytest.approx(given.median() - kept.median(), abs=0.3)
    assert middle.low < 3.0 < middle.high
    assert not len(found[0][(found[0].metric == "orders") & (found[0].method == "quantile_0.5")])

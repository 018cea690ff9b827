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
            "kind": np.array(["loyal", "new", "old"])[np.arange(customers) % 3],
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
    raw = [one(effects, "sales", "regression_adjusted", kind) for kind in ("loyal", "new", "old")]
    shrunk = [one(effects, "sales", "shrunk", kind) for kind in ("loyal", "new", "old")]
    assert np.ptp([row.effect for row in shrunk]) < np.ptp([row.effect for row in raw])
    assert all(row.low < 3.0 < row.high for row in shrunk)
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


def faulty(
    spark: SparkSession, make_rows: MakeRows, rows: pd.DataFrame, check: str, **changes: Any
) -> tuple[pd.DataFrame, str]:
    """The check's rows, and what it says; nothing may be quoted where it stops the headline."""
    effects, checks = analysed(spark, make_rows, rows, TABLE.model_copy(update=changes))
    found = checks[(checks["check"] == check) & (checks.result != "passed")]
    assert len(found)
    if (found.stops_headline & (found.metric == "all")).any():
        assert not effects.is_headline.any()
    return found, " ".join(found.told)


def test_an_arm_that_is_missing_stops_the_headline(
    spark: SparkSession, make_rows: MakeRows, spring: pd.DataFrame
) -> None:
    shares = {"none": 0.4, "coupon": 0.4, "gift": 0.2}
    found, told = faulty(spark, make_rows, spring, "arms", shares=shares)
    assert found.stops_headline.all()
    assert told == "gift, an arm of the design, has no customer: it was lost, or the table is cut off."
    found, told = faulty(spark, make_rows, spring[spring.group == "coupon"], "arms")
    assert "none, the control" in told
    assert "there are not two arms" in told


def test_customers_in_two_arms_are_left_out_and_stop_the_headline(
    spark: SparkSession, make_rows: MakeRows, spring: pd.DataFrame
) -> None:
    twice = spring[spring.group == "none"].head(5).assign(group="coupon")
    found, told = faulty(spark, make_rows, pd.concat([spring, twice]), "two_arms")
    assert found.stops_headline.all()
    assert told.startswith("5 customers are in more than one arm")


def test_repeated_records_count_once(spark: SparkSession, make_rows: MakeRows, spring: pd.DataFrame) -> None:
    effects, checks = analysed(spark, make_rows, pd.concat([spring, spring.head(7)]))
    assert checks[checks["check"] == "duplicates"].result.tolist() == ["warning"]
    assert one(effects, "sales", "regression_adjusted").is_headline
    assert one(effects, "sales", "difference").arm_count == 1000
    found, told = faulty(spark, make_rows, pd.concat([spring, spring.head(70)]), "duplicates")
    assert found.stops_headline.all()
    assert told.startswith("70 customers come up more than once (3.5%)")


def test_outcomes_before_the_assignment_stop_the_headline(
    spark: SparkSession, make_rows: MakeRows, spring: pd.DataFrame
) -> None:
    early = spring.assign(counted=np.where(np.arange(len(spring)) < 3, "2024-03-01", spring.counted))
    found, told = faulty(spark, make_rows, early, "outcome_dates")
    assert found.stops_headline.all()
    assert told.startswith("outcomes of 3 customers begin before they were assigned")


def test_what_does_not_vary_has_no_effect_to_quote(
    spark: SparkSession, make_rows: MakeRows, spring: pd.DataFrame
) -> None:
    found, told = faulty(spark, make_rows, spring.assign(orders=2), "variance")
    assert found.metric.tolist() == ["orders"]
    assert told.startswith("orders does not vary")


def test_one_cluster_per_arm_stops_the_headline(spark: SparkSession, make_rows: MakeRows, spring: pd.DataFrame) -> None:
    stores = spring.assign(store=spring.group + " store")
    found, told = faulty(spark, make_rows, stores, "clusters", cluster="store", segment=None)
    assert found.stops_headline.all()
    assert "coupon has 1 clusters of the 10" in told


def test_few_clusters_are_told_with_a_warning_and_the_errors_of_clusters(
    spark: SparkSession, make_rows: MakeRows, spring: pd.DataFrame
) -> None:
    number = np.arange(len(spring)) % 6
    stores = spring.assign(store=spring.group + number.astype(str), sales=spring.sales + 5 * number)
    table = TABLE.model_copy(update={"cluster": "store", "covariates": (), "segment": None})
    effects, checks = analysed(spark, make_rows, stores, table)
    assert checks[checks["check"] == "clusters"].result.tolist() == ["warning", "warning"]
    row = one(effects, "sales", "difference")
    assert (row.control_count, row.arm_count) == (6, 6)
    fit = smf.ols("sales ~ given", stores.assign(given=(stores.group == "coupon") * 1.0)).fit(
        cov_type="cluster", cov_kwds={"groups": pd.factorize(stores.store)[0]}
    )
    corrected = fit.bse["given"] * np.sqrt((6 / 5) / (12 / 11 * 1999 / 1998))
    assert (row.effect, row.standard_error) == pytest.approx((fit.params["given"], corrected), rel=1e-3)


def test_a_holdout_of_three_says_nothing(spark: SparkSession, make_rows: MakeRows, spring: pd.DataFrame) -> None:
    few = pd.concat([spring[spring.group == "coupon"], spring[spring.group == "none"].head(3)])
    found, told = faulty(spark, make_rows, few, "sizes", shares={})
    assert found.stops_headline.all()
    assert told == "none has 3 customers of the 30 that an arm needs: nothing follows from them."


def test_missing_outcomes_are_counted_and_stop_where_arms_differ(
    spark: SparkSession, make_rows: MakeRows, spring: pd.DataFrame
) -> None:
    some = spring.assign(sales=spring.sales.astype(object).where(np.arange(len(spring)) % 50 != 0, "n/a"))
    found, told = faulty(spark, make_rows, some, "missing_outcomes")
    assert found.result.tolist() == ["warning"]
    assert told.startswith("40 customers have no outcome")
    given = (spring.group == "coupon") & (np.arange(len(spring)) % 10 == 0)
    found, told = faulty(
        spark, make_rows, spring.assign(sales=spring.sales.astype(object).mask(given, "")), "missing_outcomes"
    )
    assert found.stops_headline.all()


def test_arms_that_differed_before_stop_the_headline(
    spark: SparkSession, make_rows: MakeRows, spring: pd.DataFrame
) -> None:
    chosen = spring.assign(before=spring.before + 10.0 * (spring.group == "coupon"))
    found, told = faulty(spark, make_rows, chosen, "balance")
    assert found.stops_headline.all()
    assert "differ most in earlier before" in told


def test_sums_do_not_depend_on_the_parts_of_the_data(
    spark: SparkSession, make_rows: MakeRows, found: tuple[pd.DataFrame, pd.DataFrame], spring: pd.DataFrame
) -> None:
    rows = read_experiment_table(records=records_of(spark, spring), table=TABLE, as_of_date=DAY)
    moments = gather_moments(experiment_rows=rows.repartition(7).orderBy(F.rand(3)))
    again = estimate_effects(
        experiment_moments=moments, experiments=make_rows(EXPERIMENTS, []), as_of_date=DAY, settings=SETTINGS
    ).toPandas()
    keys = ["metric", "method", "segment"]
    pd.testing.assert_frame_equal(
        again.sort_values(keys, ignore_index=True), found[0].sort_values(keys, ignore_index=True), rtol=1e-9
    )

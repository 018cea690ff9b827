"""The simulated retailer: reproducible, randomised as said, and its true effects are what its sales show."""

from __future__ import annotations

import math

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.silver import SILVER
from promo_spark.contracts.source_settings import SyntheticSource, received_columns
from promo_spark.sources.synthetic import SYNTHETIC_ENTITIES, synthetic_tables, true_effects, true_lever_effects
from promo_spark.sources.synthetic_ratings import MEAN_RATING, RATED_RATE
from promo_spark.sources.synthetic_sales import MEAN_UNITS, simulate_lines
from promo_spark.sources.synthetic_world import CAMPAIGN_WEEKS, is_covered, lever

SMALL = SyntheticSource(
    kind="synthetic", customers=600, products=200, categories=20, stores=3, weeks=12, campaign_week=6, seed=3
)


def digest(rows: DataFrame) -> tuple[int, int]:
    """Count and order-free hash of rows."""
    hashed = rows.select(F.xxhash64(*rows.columns).cast("decimal(20,0)").alias("hash"))
    count, total = hashed.agg(F.count("*"), F.sum("hash")).collect()[0]
    return int(count), int(total or 0)


def test_every_table_has_the_received_columns_and_unique_ordinals(spark: SparkSession) -> None:
    tables = synthetic_tables(spark, SMALL)
    assert tuple(tables) == tuple(silver.entity for silver in SILVER if silver.entity in SYNTHETIC_ENTITIES)
    assert set(tables) == set(SYNTHETIC_ENTITIES)
    for silver in (silver for silver in SILVER if silver.entity in tables):
        rows = tables[silver.entity]
        expected = {column.name for column in received_columns(silver)} - {"customer_id"}
        assert expected <= set(rows.columns)
        total, distinct = rows.agg(F.count("*"), F.countDistinct("source_ordinal")).collect()[0]
        assert total == distinct > 0, silver.entity


def test_a_seed_reproduces_whatever_the_partitioning(spark: SparkSession) -> None:
    lines = digest(simulate_lines(spark, SMALL))
    before = spark.conf.get("spark.sql.leafNodeDefaultParallelism", None)
    spark.conf.set("spark.sql.leafNodeDefaultParallelism", "7")
    try:
        assert digest(simulate_lines(spark, SMALL)) == lines
    finally:
        if before is None:
            spark.conf.unset("spark.sql.leafNodeDefaultParallelism")
        else:
            spark.conf.set("spark.sql.leafNodeDefaultParallelism", before)
    assert digest(simulate_lines(spark, SMALL.model_copy(update={"seed": 4}))) != lines


def test_the_randomised_share_is_the_propensity(spark: SparkSession) -> None:
    source = SMALL.model_copy(update={"customers": 10_000, "treated_rate": 0.3})
    assigned = synthetic_tables(spark, source)["assignments"]
    found = {row.arm: row for row in assigned.groupBy("arm", "propensity", "is_holdout").count().collect()}
    assert found["campaign-1"].propensity == pytest.approx(0.3)
    assert found["none"].propensity == pytest.approx(0.7)
    assert found["none"].is_holdout
    assert not found["campaign-1"].is_holdout
    # Four standard errors of a share: 4 · sqrt(0.3 · 0.7 / 10,000) = 0.018.
    assert found["campaign-1"]["count"] / 10_000 == pytest.approx(0.3, abs=0.018)


@pytest.mark.slow
def test_the_true_effect_is_the_difference_between_the_counterfactuals(spark: SparkSession) -> None:
    source = SMALL.model_copy(update={"customers": 4_000})
    first, end = source.campaign_week, source.campaign_week + CAMPAIGN_WEEKS
    in_campaign = F.col("week").between(first, end - 1)
    per_customer = [
        simulate_lines(spark, source, arm)
        .where(in_campaign)
        .groupBy("raw_customer_id")
        .agg(F.sum(F.col("sales_amount").cast("double") / CAMPAIGN_WEEKS).alias(arm))
        for arm in ("everybody", "nobody")
    ]
    truth = true_effects(spark, source).withColumnRenamed("customer_id", "raw_customer_id")
    joined = truth.join(per_customer[0], "raw_customer_id", "left").join(per_customer[1], "raw_customer_id", "left")
    observed = F.coalesce("everybody", F.lit(0.0)) - F.coalesce("nobody", F.lit(0.0))
    by_type = joined.groupBy("customer_type").agg(
        F.count("*").alias("n"),
        F.avg("uplift_weekly_amount").alias("truth"),
        F.avg(observed).alias("observed"),
        F.stddev(observed - F.col("uplift_weekly_amount")).alias("error"),
    )
    found = {row.customer_type: row for row in by_type.collect()}
    assert set(found) == {"seeker", "loyal", "steady", "averse"}
    assert found["seeker"].truth > found["loyal"].truth > 0 > found["averse"].truth
    assert found["steady"].truth == found["steady"].observed == 0
    for row in found.values():
        assert abs(row.observed - row.truth) <= 4 * row.error / math.sqrt(row.n)
    # Wide enough to miss nothing, narrow enough to notice a wrong formula: a tenth of the effect.
    seeker = found["seeker"]
    assert 4 * seeker.error / math.sqrt(seeker.n) < 0.25 * seeker.truth


def test_after_the_campaign_sales_dip(spark: SparkSession) -> None:
    source = SMALL.model_copy(update={"customers": 3_000})
    end = source.campaign_week + CAMPAIGN_WEEKS
    totals = [
        simulate_lines(spark, source, arm)
        .where(F.col("week").between(end, end + 1) & is_covered(source, F.col("category_number")))
        .agg(F.sum("sales_amount"))
        .collect()[0][0]
        for arm in ("everybody", "nobody")
    ]
    assert 0.85 < float(totals[0]) / float(totals[1]) < 0.99
    effects = true_effects(spark, source).agg(F.sum("uplift_weekly_amount"), F.sum("uplift_net_amount")).collect()[0]
    assert effects[1] < CAMPAIGN_WEEKS * effects[0]


@pytest.mark.slow
def test_levers_multiply_the_rate(spark: SparkSession) -> None:
    """Per category and type, lines in price-cut weeks against weeks without any lever, now or lately."""
    source = SMALL.model_copy(update={"customers": 3_000, "campaign_week": 11})
    category, week = F.col("category_number"), F.col("week")
    quiet = F.lit(True)
    for back in (1, 2):
        quiet = quiet & lever(source, category, week - back).isNull()
    lines = simulate_lines(spark, source, "nobody")
    cells = (
        lines.where(quiet)
        .groupBy("category_number", "week", lever(source, category, week).alias("lever"))
        .count()
        .toPandas()
    )
    plain = cells[cells.lever.isna()].groupby("category_number")["count"].mean()
    cut = cells[cells.lever == "price_cut"].groupby("category_number")["count"].mean()
    both = plain.index.intersection(cut.index)
    ratio = cut[both].sum() / plain[both].sum()
    shares = {"seeker": 0.3, "loyal": 0.4, "steady": 0.2, "averse": 0.1}
    effects = true_lever_effects()
    expected = sum(share * effects["price_cut", kind] for kind, share in shares.items())
    assert expected == pytest.approx(1.395)
    assert ratio == pytest.approx(expected, rel=0.06)


def test_mean_units_has_its_closed_form(spark: SparkSession) -> None:
    lines = simulate_lines(spark, SMALL)
    count, mean = lines.agg(F.count("*"), F.avg("quantity")).collect()[0]
    assert float(mean) == pytest.approx(MEAN_UNITS, abs=4 * 0.71 / math.sqrt(count))


def test_ratings_are_stars_of_first_purchases_about_the_known_mean(spark: SparkSession) -> None:
    ratings = synthetic_tables(spark, SMALL)["ratings"].cache()
    lines = simulate_lines(spark, SMALL)
    bought = lines.groupBy("raw_customer_id", "product_id").agg(F.count("*").alias("lines"))
    share = ratings.count() / bought.count()
    assert share == pytest.approx(RATED_RATE, abs=0.01)
    assert ratings.join(bought, ["raw_customer_id", "product_id"], "left_anti").isEmpty()
    told = ratings.agg(F.avg("rating"), F.stddev("rating"), F.min("rating"), F.max("rating")).collect()[0]
    # Whole stars and the ends of the scale draw the spread of the three parts, 0.95, in a little.
    assert told[0] == pytest.approx(MEAN_RATING, abs=0.1)
    assert 0.8 < told[1] < 1.05
    assert (told[2], told[3]) == (1.0, 5.0)

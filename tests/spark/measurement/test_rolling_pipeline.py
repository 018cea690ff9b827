"""A rolling backtest as it runs: whole dates of a simulated retailer, replayed and summed up."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from promo_spark.contracts.measurement import BACKTEST_SUMMARY, BACKTESTS
from promo_spark.pipelines import rolling
from promo_spark.runtime.places import absolute
from promo_spark.runtime.settings import load_settings
from promo_spark.runtime.store import Store

pytestmark = pytest.mark.slow  # runs most of the pipeline at two dates

DAY, EARLIER = date(2017, 5, 15), date(2017, 4, 17)


def test_each_date_is_judged_and_the_last_sums_them_up(spark: object, tmp_path: Path) -> None:
    config = tmp_path / "world.yaml"
    config.write_text(
        f"as_of_date: {DAY}\n"
        "source: {kind: synthetic, customers: 80, products: 60, categories: 6, stores: 2, weeks: 26, "
        "campaign_week: 8}\n"
        f"places: {{warehouse: {tmp_path}/warehouse, identity: {tmp_path}/identity, key_file: {tmp_path}/id/key}}\n"
        f"tracking: {{uri: 'sqlite:///{tmp_path}/mlflow.db', artifacts: {tmp_path}/artifacts}}\n"
        "segments: {cluster_counts: [3], resamples: 2, horizon_days: 28}\n"
        "recommend: {min_customers: 1, models: [segment_popularity]}\n"
        "response: {categories: 4, trees: 2, depth: 2, horizons_weeks: [1]}\n"
        "plan: {bootstraps: 50}\n"
        f"backtest: {{bootstraps: 50, weeks: 2, origins: [{EARLIER}]}}\n"
        "uplift: {min_arm_customers: 10}\n"
        "promotions:\n"
        "  offers:\n"
        "    - {offer_id: ten_off, name: Ten off, mechanic: percent_off, depth_rate: 0.1, channel: app}\n"
    )
    settings = load_settings([config])
    rolling.replay_origins(settings, False)
    store = Store(spark, warehouse=absolute(settings.places.warehouse), identity=absolute(settings.places.identity))
    judged = {row["as_of_date"] for row in store.read(BACKTESTS).select("as_of_date").distinct().collect()}
    assert judged == {EARLIER, DAY}
    rows = {(row["subject"], row["model"], row["metric"]): row for row in store.read(BACKTEST_SUMMARY, DAY).collect()}
    held = rows["segments", "segment_id", "spend_explained_rate"]
    assert (held["origin_count"], held["first_origin_date"]) == (2, EARLIER)
    assert held["lowest_value"] <= held["mean_value"] <= held["highest_value"]
    assert rows["segment_plan", "all", "base_attainment_rate"]["origin_count"] == 2
    alone = store.read(BACKTEST_SUMMARY, EARLIER)
    assert alone.where("origin_count <> 1 OR standard_error IS NOT NULL").isEmpty()
    # What is done is not done again.
    version = store.version(BACKTESTS)
    rolling.replay_origins(settings, False)
    assert store.version(BACKTESTS) == version

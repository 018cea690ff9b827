"""Forecast rows by hand, and forecasters on simulated weeks whose promotions drive sales."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.offers import Offer
from promo_spark.contracts.response import PANEL
from promo_spark.contracts.settings import ResponseSettings
from promo_spark.response.curves import lever_curves, offer_lifts
from promo_spark.response.forecast_rows import LEVERS, forecast_rows, later_rows, usual_rows
from promo_spark.response.forecasters import Forecasters, fit_forecasters
from promo_spark.response.predictions import predict_later

DAY = date(2025, 1, 6)
SETTINGS = ResponseSettings(trees=15, depth=4, step_size=0.2, horizons_weeks=(1, 3), calibration_weeks=4)


def panel_of(sales: np.ndarray, levers: np.ndarray, first: date) -> pd.DataFrame:
    """Sales of shape (n_categories, n_weeks), levers (n_categories, n_weeks, 3)."""
    rows = [
        {
            "segment_id": 0,
            "category": f"c{category:02}",
            "week_start_date": first + timedelta(weeks=week),
            "as_of_date": DAY,
            "gross_amount": float(sales[category, week]),
            "sales_amount": float(sales[category, week]),
            **{name: float(levers[category, week, place]) for place, name in enumerate(LEVERS)},
            "traffic_index": 1.0,
        }
        for category in range(sales.shape[0])
        for week in range(sales.shape[1])
    ]
    return pd.DataFrame(rows, columns=list(PANEL.column_names))


def simulate(weeks: int, later: int, categories: int = 20) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sales jump by 80 % once the depth passes 15 %: a step that no straight line follows."""
    draw = np.random.default_rng(7)
    shape = (categories, weeks + later)
    depth = np.where(draw.random(shape) < 0.4, draw.uniform(0.02, 0.4, shape), 0.0)
    level = draw.uniform(50, 200, (categories, 1))
    sales = level * np.where(depth > 0.15, 1.8, 1.0) * np.exp(0.05 * draw.normal(size=shape))
    levers = np.stack([depth, np.zeros(shape), np.zeros(shape)], axis=2)
    whole = panel_of(sales, levers, DAY - timedelta(weeks=weeks))
    is_past = whole["week_start_date"] < DAY
    return whole[is_past], whole[~is_past]


def frame(spark: SparkSession, rows: pd.DataFrame) -> DataFrame:
    return spark.createDataFrame(rows, PANEL.schema(all_nullable=True))


def fit(panel: DataFrame) -> Forecasters:
    weeks = SETTINGS.calibration_weeks
    return fit_forecasters(
        rows=forecast_rows(panel=panel, horizons_weeks=SETTINGS.horizons_weeks),
        calibration_rows=later_rows(panel=panel, as_of_date=DAY - timedelta(weeks=weeks), weeks=weeks),
        as_of_date=DAY,
        week_count=40,
        settings=SETTINGS,
        seed=3,
    )


class TestRows:
    @pytest.fixture(scope="class")
    def rows(self, spark: SparkSession) -> pd.DataFrame:
        sales = np.arange(1.0, 13.0)[None]  # 1, 2, … 12 over twelve weeks
        levers = np.zeros((1, 12, 3))
        levers[0, :, 0] = np.arange(12) / 100
        panel = panel_of(sales, levers, DAY - timedelta(weeks=12))
        found = forecast_rows(panel=frame(spark, panel), horizons_weeks=(1, 3)).toPandas()
        return found.set_index(["origin_week", "horizon_weeks"]).sort_index()

    def test_origins_have_eight_weeks_behind_them_and_targets_exist(self, rows: pd.DataFrame) -> None:
        first = DAY - timedelta(weeks=12)
        origins = [(first + timedelta(weeks=week), float(h)) for week in range(7, 12) for h in (1, 3) if week + h < 12]
        assert list(rows.index) == sorted(origins)

    def test_the_past_is_frozen_at_the_origin(self, rows: pd.DataFrame) -> None:
        row = rows.loc[(DAY - timedelta(weeks=4), 3.0)]  # the ninth week, sales 9; the target is the twelfth
        level = np.log1p((np.mean(range(2, 10)) + np.mean(range(1, 10))) / 2)
        assert row["gross_amount"] == 12.0
        assert row["level"] == pytest.approx(level)
        assert row["label"] == pytest.approx(np.log1p(12 / np.expm1(level)))
        assert row["weight"] == pytest.approx(np.sqrt(np.expm1(level)))
        assert row["spread"] == pytest.approx(np.std(np.log1p(np.arange(1, 10)), ddof=1))
        assert row["recent_1w"] == pytest.approx(np.log1p(9) - level)
        assert row["recent_4w"] == pytest.approx(np.log1p(7.5) - level)
        assert row["last_weeks_amount"] == pytest.approx(7.5)

    def test_promotions_are_those_of_the_target_week(self, rows: pd.DataFrame) -> None:
        row = rows.loc[(DAY - timedelta(weeks=4), 3.0)]
        usual = np.mean(range(1, 9)) / 100  # the eight weeks to the ninth
        assert row["depth_rate"] == pytest.approx(0.11)
        assert row["depth_rate_change"] == pytest.approx(0.11 - usual)
        assert row["depth_rate_carry"] == pytest.approx((0.09 + 0.10) / 2 - usual)


def test_calibration_rows_are_forecast_from_one_origin_as_coming_weeks_will_be(spark: SparkSession) -> None:
    past, _ = simulate(weeks=20, later=0, categories=2)
    first = DAY - timedelta(weeks=4)
    found = later_rows(panel=frame(spark, past), as_of_date=first, weeks=4).toPandas()
    assert set(found["origin_week"]) == {first - timedelta(weeks=1)}
    assert sorted(found["horizon_weeks"]) == [float(h) for h in (1, 2, 3, 4) for _ in range(2)]


@pytest.mark.slow
def test_a_cell_that_never_sold_weighs_next_to_nothing_and_is_forecast_as_nothing(spark: SparkSession) -> None:
    past, _ = simulate(weeks=20, later=0, categories=3)
    past.loc[past["category"] == "c01", "gross_amount"] = 0.0
    rows = forecast_rows(panel=frame(spark, past), horizons_weeks=(1,))
    fitted = fit(frame(spark, past))
    told = fitted.models["gbt"].transform(rows).where("category = 'c01'").toPandas()
    assert (told["weight"] <= 0.001).all()
    assert (told["label"] == 0).all()
    assert (told["predicted_amount"] == 0).all()


class TestForecasters:
    @pytest.fixture(scope="class")
    def world(self, spark: SparkSession) -> tuple[DataFrame, DataFrame, Forecasters]:
        past, later = simulate(weeks=40, later=6)
        panel, whole = frame(spark, past).cache(), frame(spark, pd.concat([past, later])).cache()
        fitted = fit(panel)
        return panel, whole, fitted

    def test_trees_beat_the_mean_and_the_line_where_promotions_drive_sales(
        self, world: tuple[DataFrame, DataFrame, Forecasters]
    ) -> None:
        _, whole, fitted = world
        rows = later_rows(panel=whole, as_of_date=DAY, weeks=6)
        found = predict_later(models=fitted.models, rows=rows, as_of_date=DAY).toPandas()
        assert found.groupby("model").size().to_dict() == dict.fromkeys(
            ("gbt", "linear", "ridge", "last_weeks_mean"), 20 * 6
        )
        error = (found["predicted_amount"] - found["actual_amount"]).abs().groupby(found["model"]).mean()
        assert error["gbt"] < 0.6 * error["last_weeks_mean"]
        assert error["gbt"] < 0.9 * error["linear"]
        trees = found[found["model"] == "gbt"]
        is_inside = trees["actual_amount"].between(trees["low_amount"], trees["high_amount"])
        assert 0.6 <= is_inside.mean() <= 0.97  # 80 % asked for, of 120 cells that are not independent
        assert found[found["model"] != "gbt"]["low_amount"].isna().all()

    def test_outcomes_after_the_date_do_not_reach_a_forecast(
        self, world: tuple[DataFrame, DataFrame, Forecasters]
    ) -> None:
        _, whole, fitted = world
        blind = whole.selectExpr(
            *[c for c in whole.columns if c not in ("gross_amount", "traffic_index")],
            f"CASE WHEN week_start_date < DATE'{DAY}' THEN gross_amount ELSE 0 END AS gross_amount",
            f"CASE WHEN week_start_date < DATE'{DAY}' THEN traffic_index ELSE 9 END AS traffic_index",
        )
        model = fitted.models["gbt"]
        told = [
            model.transform(later_rows(panel=panel, as_of_date=DAY, weeks=6))
            .orderBy("category", "week_start_date")
            .toPandas()["predicted_amount"]
            .to_list()
            for panel in (whole, blind)
        ]
        assert told[0] == told[1]

    def test_depth_matters_most_and_lifts_follow_the_step(
        self, world: tuple[DataFrame, DataFrame, Forecasters]
    ) -> None:
        panel, _, fitted = world
        depth = sum(share for name, share in fitted.importance.items() if name.startswith("depth_rate"))
        assert depth > 0.5
        usual = usual_rows(panel=panel)
        curves = (
            lever_curves(model=fitted.models["gbt"], usual=usual).toPandas().set_index(["lever", "step"])["lift_rate"]
        )
        assert curves["depth_rate", 0.0] == pytest.approx(0.0)
        assert curves["depth_rate", 0.3] > 0.4
        assert curves["display_rate", 0.3] == pytest.approx(0.0, abs=0.02)
        offer = Offer(offer_id="off", name="off", mechanic="percent_off", depth_rate=0.3, channel="app")
        lifts = offer_lifts(model=fitted.models["gbt"], usual=usual, offers=(offer,)).toPandas()
        assert len(lifts) == 20
        assert lifts["gbt_lift_rate"].mean() > 0.4

    @pytest.mark.slow
    def test_the_order_of_rows_changes_nothing(
        self, world: tuple[DataFrame, DataFrame, Forecasters], spark: SparkSession
    ) -> None:
        panel, _, fitted = world
        shuffled = frame(spark, panel.toPandas().sample(frac=1.0, random_state=1)).repartition(3)
        again = fit(shuffled)
        assert again.half_width == pytest.approx(fitted.half_width, rel=1e-12)
        assert again.importance == pytest.approx(fitted.importance, rel=1e-9)

"""Figures of forecasts against an independent computation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from promo_spark.contracts.backtest_settings import BacktestSettings
from promo_spark.contracts.measurement import FORECAST_ACTUALS
from promo_spark.measurement.forecasts import backtest_forecasts

DAY = date(2024, 1, 22)
ACTUAL = {"x": [10.0, 20.0], "y": [40.0, 0.0], "z": [5.0, 25.0]}
TREES = {"x": [12.0, 19.0], "y": [36.0, 2.0], "z": [5.0, 20.0]}
MEAN = {"x": [20.0, 20.0], "y": [20.0, 20.0], "z": [20.0, 20.0]}
MakeRows = Callable[..., Any]


def rows(model: str, predicted: dict[str, list[float]], half: float | None) -> list[dict[str, Any]]:
    return [
        {
            "segment_id": 0,
            "category": category,
            "week_start_date": DAY + timedelta(weeks=week),
            "model": model,
            "as_of_date": DAY,
            "actual_amount": ACTUAL[category][week],
            "predicted_amount": value,
            "low_amount": None if half is None else value - half,
            "high_amount": None if half is None else value + half,
        }
        for category, values in predicted.items()
        for week, value in enumerate(values)
    ]


def judged(table: DataFrame) -> dict[tuple[str, str], Any]:
    found = backtest_forecasts(
        forecast_actuals=table, as_of_date=DAY, settings=BacktestSettings(bootstraps=400), seed=1
    )
    return {(row.model, row.metric): row for row in found.collect()}


@pytest.fixture(scope="module")
def figures(make_rows: MakeRows) -> dict[tuple[str, str], Any]:
    both = rows("gbt", TREES, 3.0) + rows("last_weeks_mean", MEAN, None)
    return judged(make_rows(FORECAST_ACTUALS, both))


def flat(values: dict[str, list[float]]) -> list[float]:
    return [value for category in "xyz" for value in values[category]]


@pytest.mark.parametrize(("model", "predicted"), [("gbt", TREES), ("last_weeks_mean", MEAN)])
def test_errors_are_those_of_scikit_learn(
    figures: dict[tuple[str, str], Any], model: str, predicted: dict[str, list[float]]
) -> None:
    actual, said = flat(ACTUAL), flat(predicted)
    assert figures[model, "mae"].value == pytest.approx(mean_absolute_error(actual, said))
    assert figures[model, "rmse"].value == pytest.approx(root_mean_squared_error(actual, said))
    assert figures[model, "wape"].value == pytest.approx(6 * mean_absolute_error(actual, said) / 100)
    assert figures[model, "bias_rate"].value == pytest.approx((sum(said) - 100) / 100)


def test_coverage_and_width_are_told_where_there_are_intervals(figures: dict[tuple[str, str], Any]) -> None:
    assert figures["gbt", "coverage_rate"].value == pytest.approx(4 / 6)  # off by 4 and by 5 are outside ± 3
    assert figures["gbt", "width_rate"].value == pytest.approx(6 * 6 / 100)
    assert ("last_weeks_mean", "coverage_rate") not in figures


def test_differences_are_paired(figures: dict[tuple[str, str], Any]) -> None:
    difference = figures["gbt", "mae_minus_last_weeks_mean"]
    assert difference.value == pytest.approx(figures["gbt", "mae"].value - figures["last_weeks_mean", "mae"].value)
    assert difference.observation_count == 6


def test_standard_errors_come_from_whole_categories(figures: dict[tuple[str, str], Any]) -> None:
    errors = np.array([np.abs(np.subtract(TREES[c], ACTUAL[c])).sum() for c in "xyz"])
    expected = errors.std() / np.sqrt(3) / 2  # of the mean over cells, with equal numbers of cells
    assert figures["gbt", "mae"].standard_error == pytest.approx(expected, rel=0.15)


def test_the_days_tested_are_named(figures: dict[tuple[str, str], Any]) -> None:
    row = figures["gbt", "wape"]
    assert (row.subject, row.first_date, row.last_date) == ("category_sales", DAY, DAY + timedelta(days=13))


def test_nothing_comes_of_nothing(make_rows: MakeRows) -> None:
    assert judged(make_rows(FORECAST_ACTUALS, [])) == {}


def test_sales_of_zero_have_no_relative_error(make_rows: MakeRows) -> None:
    empty = [{**row, "actual_amount": 0.0} for row in rows("gbt", TREES, 3.0)]
    found = judged(make_rows(FORECAST_ACTUALS, empty))
    assert found["gbt", "wape"].value is None
    assert found["gbt", "mae"].value == pytest.approx(np.mean(flat(TREES)))

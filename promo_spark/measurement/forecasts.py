"""How good the sales forecasts were: each model against what was sold in the weeks that followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from promo_spark.contracts.backtest_settings import BacktestSettings
from promo_spark.contracts.measurement import BACKTESTS, FORECAST_ACTUALS
from promo_spark.contracts.step import produces

Floats = NDArray[np.float64]

SUBJECT = "category_sales"
_REFEREE = "gbt"
_PAIRED = ("wape", "mae", "rmse")
_DIGITS = 9  # float sums depend on the order of their rows in the last decimals
_ROW = ("model", "metric", "value", "standard_error", "observation_count")


@produces(BACKTESTS, forecast_actuals=FORECAST_ACTUALS)
def backtest_forecasts(
    *, forecast_actuals: DataFrame, as_of_date: date, settings: BacktestSettings, seed: int
) -> DataFrame:
    """Judge each model's weekly forecasts, and the boosted trees against each other model.

    With a the actual and p the predicted sales of a segment, category and week: wape = sum |a - p| / sum a,
    mae = mean |a - p|, rmse = root of mean (a - p)^2, bias_rate = sum (p - a) / sum a; coverage_rate and
    width_rate (sum of high - low over sum a) of models with intervals. Standard errors come from resampling whole
    categories, since a category's segments and weeks err together; of differences, from the same resamples for both.

    Args:
        forecast_actuals: measurement.forecast_actuals of the date.
        as_of_date: Day of the forecast.
        settings: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        measurement.backtests of the subject category_sales; `<metric>_minus_<model>` for the model gbt is negative
        where the trees are better.
    """
    judge = _judge(as_of_date, settings.bootstraps, seed)
    return forecast_actuals.groupBy("as_of_date").applyInPandas(judge, BACKTESTS.schema(all_nullable=True))


def _judge(as_of_date: date, bootstraps: int, seed: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def judge(rows: pd.DataFrame) -> pd.DataFrame:
        sums = _category_sums(rows)
        categories = sums.index.get_level_values("category").unique()
        weights = _resamples(len(categories), bootstraps, seed)
        judged = pd.DataFrame(list(_figures(sums, weights)), columns=list(_ROW))
        judged[["value", "standard_error"]] = judged[["value", "standard_error"]].round(_DIGITS)
        return judged.assign(
            subject=SUBJECT,
            as_of_date=as_of_date,
            first_date=rows["week_start_date"].min(),
            last_date=rows["week_start_date"].max() + timedelta(days=6),
        )[list(BACKTESTS.column_names)]

    return judge


def _category_sums(rows: pd.DataFrame) -> pd.DataFrame:
    """Sums per model and category: what every figure is made from."""
    error = rows["predicted_amount"] - rows["actual_amount"]
    is_inside = (rows["low_amount"] <= rows["actual_amount"]) & (rows["actual_amount"] <= rows["high_amount"])
    terms = pd.DataFrame(
        {
            "model": rows["model"],
            "category": rows["category"],
            "count": 1.0,
            "actual": rows["actual_amount"],
            "error": error,
            "absolute": error.abs(),
            "square": error**2,
            "inside": is_inside.where(rows["low_amount"].notna()).astype(float),
            "width": rows["high_amount"] - rows["low_amount"],
        }
    )
    return terms.groupby(["model", "category"], sort=True).sum(min_count=1)


def _resamples(n_categories: int, bootstraps: int, seed: int) -> Floats:
    """How often each category counts: first once each, then drawn with replacement, shape (1 + bootstraps, n)."""
    draw = np.random.default_rng(seed)
    drawn = draw.multinomial(n_categories, np.full(n_categories, 1.0 / n_categories), size=bootstraps)
    return np.concatenate([np.ones((1, n_categories)), drawn])


def _figures(sums: pd.DataFrame, weights: Floats) -> Iterator[tuple[str, str, float, float | None, int]]:
    """Rows of model, metric, value, standard error and count of cells."""
    models = sorted(sums.index.get_level_values("model").unique())
    draws = {model: _measures(sums.loc[model], weights) for model in models}
    for model in models:
        count = int(sums.loc[model, "count"].sum())
        for metric, values in draws[model].items():
            yield (model, metric, *_summary(values), count)
        if model == _REFEREE:
            for other in models:
                for metric in _PAIRED if other != model else ():
                    difference = draws[model][metric] - draws[other][metric]
                    yield (model, f"{metric}_minus_{other}", *_summary(difference), count)


def _measures(sums: pd.DataFrame, weights: Floats) -> dict[str, Floats]:
    """Each figure on all categories and on every resample, shape (1 + bootstraps,)."""
    total = {name: weights @ sums[name].to_numpy(dtype=np.float64) for name in sums.columns}
    measures = {
        "wape": _ratio(total["absolute"], total["actual"]),
        "mae": _ratio(total["absolute"], total["count"]),
        "rmse": np.sqrt(_ratio(total["square"], total["count"])),
        "bias_rate": _ratio(total["error"], total["actual"]),
    }
    if np.isfinite(total["inside"]).all():
        measures["coverage_rate"] = _ratio(total["inside"], total["count"])
        measures["width_rate"] = _ratio(total["width"], total["actual"])
    return measures


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    ratio: Floats = np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator != 0)
    return ratio


def _summary(values: Floats) -> tuple[float, float | None]:
    """The value on all categories and its standard error; none where resamples cannot tell one."""
    drawn = values[1:][np.isfinite(values[1:])]
    error = float(drawn.std(ddof=1)) if len(drawn) > 1 else None
    return float(values[0]), error

"""Forecasters of weekly sales: boosted trees, and the linear models they are measured against."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from pyspark.ml import PipelineModel
from pyspark.ml.base import Model
from pyspark.ml.feature import SQLTransformer, VectorAssembler
from pyspark.ml.regression import GBTRegressor, LinearRegression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.settings import ResponseSettings
from promo_spark.kernels.conformal import split_conformal_scale
from promo_spark.response.forecast_rows import CELL, LEVER_FEATURES, PAST_FEATURES, SEASON_FEATURES

MODELS = ("gbt", "linear", "ridge")

_PARTS = 1  # the panel is a summary, and the order of one part's sums is always the same
_LEAF_RATE = 0.004  # share of all rows that a leaf holds at least: less is one category's whim
_BINS = 64
_YEAR = 52


@dataclass(frozen=True)
class Forecasters:
    """Fitted models of one date.

    Attributes:
        models: gbt, linear and ridge: each turns forecast rows into predicted_amount, low_amount, high_amount
            (the bounds NULL but for gbt).
        features: Columns they look at.
        importance: Share of the trees' gain per feature.
        half_width: Half the interval's width in spreads of the cell, on the scale of the label; infinite where too few
            weeks calibrate it.
    """

    models: dict[str, PipelineModel]
    features: tuple[str, ...]
    importance: dict[str, float]
    half_width: float


def fit_forecasters(
    *,
    rows: DataFrame,
    calibration_rows: DataFrame,
    as_of_date: date,
    week_count: int,
    settings: ResponseSettings,
    seed: int,
) -> Forecasters:
    """Fit the models on every row and size the trees' interval by split conformal prediction.

    The interval is sized on the last calibration weeks, forecast as the coming ones will be: all of them from the one
    origin before them, by trees that never saw them. The model that is kept is then fitted again with those weeks,
    because they are the most like the next. Coverage as stated would need coming weeks to differ from the past as the
    calibration weeks did: in a season never seen before it is less.

    Args:
        rows: What `forecast_rows` returned, for target weeks before the date.
        calibration_rows: What `later_rows` returned for the calibration weeks, the last ones before the date.
        as_of_date: The day of the decision.
        week_count: Weeks of history: a season is only looked at from one whole year on.
        settings: Trees, ridge, calibration weeks, level.
        seed: Seed of the trees.

    Returns:
        The fitted models.
    """
    season = SEASON_FEATURES if week_count >= _YEAR else ()
    features = (*PAST_FEATURES, *LEVER_FEATURES, *season)
    assembler = VectorAssembler(inputCols=list(features), outputCol="features")
    packed = assembler.transform(rows).repartition(_PARTS, *CELL)
    packed = packed.sortWithinPartitions(*CELL, "week_start_date", "horizon_weeks").persist()
    first = as_of_date - timedelta(weeks=settings.calibration_weeks)
    before = packed.where(F.col("week_start_date") < F.lit(first))
    after = assembler.transform(calibration_rows)
    with ThreadPoolExecutor(max_workers=2) as pool:  # a tree is many short jobs: one core each
        calibrated = pool.submit(_calibrate, before, after, settings, seed)
        fitted = {name: estimator.fit(packed) for name, estimator in _estimators(settings, seed).items()}
        half_width = calibrated.result()
    packed.unpersist()
    models = {
        name: _pipeline(assembler, model, half_width if name == "gbt" else float("inf"))
        for name, model in fitted.items()
    }
    importance = dict(zip(features, fitted["gbt"].featureImportances.toArray().tolist(), strict=True))
    return Forecasters(models, features, importance, half_width)


def _estimators(settings: ResponseSettings, seed: int) -> dict[str, GBTRegressor | LinearRegression]:
    return {
        "gbt": _trees(settings, seed),
        "linear": LinearRegression(regParam=0.0, solver="normal", weightCol="weight"),
        "ridge": LinearRegression(regParam=settings.ridge, elasticNetParam=0.0, solver="normal", weightCol="weight"),
    }


def _trees(settings: ResponseSettings, seed: int) -> GBTRegressor:
    return GBTRegressor(
        maxIter=settings.trees,
        maxDepth=settings.depth,
        stepSize=settings.step_size,
        maxBins=_BINS,
        minWeightFractionPerNode=_LEAF_RATE,
        weightCol="weight",
        seed=seed,
    )


def _calibrate(before: DataFrame, after: DataFrame, settings: ResponseSettings, seed: int) -> float:
    """How many spreads wide each side must be; rows are cells × weeks, never customers."""
    if before.isEmpty():
        return float("inf")
    scored = _trees(settings, seed).fit(before).transform(after).select("label", "prediction", "spread").toPandas()
    actual, predicted, spread = (scored[name].to_numpy(dtype=np.float64) for name in scored.columns)
    return split_conformal_scale(actual, predicted, spread, settings.interval_level)


def _pipeline(assembler: VectorAssembler, model: Model, half_width: float) -> PipelineModel:
    """Assemble features, predict, and bring the prediction back to currency."""
    back = "greatest(0D, expm1(prediction{})) * expm1(level)"
    shifts = ("", f" - {half_width!r}D * spread", f" + {half_width!r}D * spread")
    names = ("predicted_amount", "low_amount", "high_amount")
    has_width = np.isfinite(half_width)
    columns = [
        f"{back.format(shift)} AS {name}" if has_width or not shift else f"CAST(NULL AS DOUBLE) AS {name}"
        for name, shift in zip(names, shifts, strict=True)
    ]
    money = SQLTransformer(statement=" ".join(("SELECT *,", ", ".join(columns), "FROM __THIS__")))
    return PipelineModel(stages=[assembler, model, money])

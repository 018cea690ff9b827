"""The classifiers and regressors that are tried, with settled settings, and the step from score to probability."""

from __future__ import annotations

from typing import Any

from pyspark.ml import Estimator, Model, Transformer
from pyspark.ml.classification import (
    DecisionTreeClassifier,
    GBTClassifier,
    LinearSVC,
    LogisticRegression,
    RandomForestClassifier,
)
from pyspark.ml.functions import vector_to_array
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasOutputCol
from pyspark.ml.regression import DecisionTreeRegressor, GBTRegressor, LinearRegression, RandomForestRegressor
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

CHURN, ROOT = "has_left", "spend_root"
BLEND = ("linear", "gbt")
_SURE = 1e-4
_RIDGE = 0.04
_TREE: dict[str, Any] = {"maxDepth": 4, "minInstancesPerNode": 40}
_FOREST: dict[str, Any] = {"numTrees": 30, "maxDepth": 6, "minInstancesPerNode": 15, "subsamplingRate": 0.8}
_BOOSTED: dict[str, Any] = {"maxIter": 25, "maxDepth": 3, "stepSize": 0.1, "minInstancesPerNode": 30, "maxBins": 64}


def classifier(name: str, seed: int) -> Estimator[Model]:
    """The classifier of who leaves, not fitted."""
    columns: dict[str, Any] = {
        "labelCol": CHURN,
        "predictionCol": f"{name}_class",
        "rawPredictionCol": f"{name}_margin",
    }
    told: dict[str, Any] = {**columns, "probabilityCol": f"{name}_probability"}
    match name:
        case "logistic":
            return LogisticRegression(regParam=_RIDGE, maxIter=50, **told)
        case "tree":
            return DecisionTreeClassifier(seed=seed, **_TREE, **told)
        case "forest":
            return RandomForestClassifier(seed=seed, **_FOREST, **told)
        case "svm":
            return LinearSVC(regParam=_RIDGE, maxIter=50, **columns)
        case "gbt":
            trees = GBTClassifier(seed=seed, **_BOOSTED, labelCol=CHURN, predictionCol=told["predictionCol"])
            # Its constructor, alone among them, does not take these two.
            trees.setRawPredictionCol(told["rawPredictionCol"]).setProbabilityCol(told["probabilityCol"])
            return trees
    raise ValueError(f"no classifier is called {name}")


def regressor(name: str, seed: int) -> Estimator[Model]:
    """The regressor of the square root of spend, not fitted; its middle is that of the spend itself."""
    columns: dict[str, Any] = {"labelCol": ROOT, "predictionCol": root_of(name)}
    match name:
        case "linear":
            return LinearRegression(regParam=_RIDGE, elasticNetParam=0.0, solver="normal", **columns)
        case "tree":
            return DecisionTreeRegressor(seed=seed, **_TREE, **columns)
        case "forest":
            return RandomForestRegressor(seed=seed, **_FOREST, **columns)
        case "gbt":
            return GBTRegressor(seed=seed, **_BOOSTED, **columns)
    raise ValueError(f"no regressor is called {name}")


def parts_of(name: str) -> tuple[str, ...]:
    """The regressors that a model of spend takes the mean of."""
    return BLEND if name == "blend" else (name,)


def root_of(name: str) -> str:
    """The column of a regressor's prediction."""
    return f"{name}_root"


def belief(model: Model) -> Expression:
    """How strongly a fitted classifier believes that a customer leaves: log-odds, or the distance to the plane."""
    return _belief(*_told_in(model))


class CalibratedProbability(
    Transformer, HasOutputCol, DefaultParamsReadable["CalibratedProbability"], DefaultParamsWritable
):
    """From a classifier's belief to a probability, by Platt's slope and intercept."""

    scoreCol = Param(Params._dummy(), "scoreCol", "vector that the belief is in", TypeConverters.toString)  # noqa: N815
    isProbability = Param(Params._dummy(), "isProbability", "it holds shares, no margins", TypeConverters.toBoolean)  # noqa: N815
    slope = Param(Params._dummy(), "slope", "of the log-odds in the belief", TypeConverters.toFloat)
    intercept = Param(Params._dummy(), "intercept", "log-odds where the belief is 0", TypeConverters.toFloat)

    def __init__(self, model: Model | None = None, slope: float = 1.0, intercept: float = 0.0) -> None:
        super().__init__()
        self._set(outputCol="churn_prob", slope=slope, intercept=intercept)
        if model is not None:
            column, shares = _told_in(model)
            self._set(scoreCol=column, isProbability=shares)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        score = _belief(self.getOrDefault(self.scoreCol), self.getOrDefault(self.isProbability))
        logit = F.lit(self.getOrDefault(self.slope)) * score + F.lit(self.getOrDefault(self.intercept))
        return dataset.withColumn(self.getOutputCol(), 1 / (1 + F.exp(-logit)))


def _told_in(model: Model) -> tuple[str, bool]:
    """The column in which a classifier tells its belief, and whether it holds shares; the SVM knows margins only."""
    shares = model.hasParam("probabilityCol")
    return model.getOrDefault("probabilityCol" if shares else "rawPredictionCol"), shares


def _belief(column: str, shares: bool) -> Expression:
    value = vector_to_array(F.col(column))[1]
    if not shares:
        return value
    limited = F.least(F.greatest(value, F.lit(_SURE)), F.lit(1 - _SURE))
    return F.log(limited / (1 - limited))

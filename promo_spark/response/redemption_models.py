"""The classifiers of who redeems, with settled settings, and the steps from covariates to a probability."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pyspark.ml import Estimator, Model, Transformer
from pyspark.ml.classification import (
    DecisionTreeClassifier,
    GBTClassifier,
    LogisticRegression,
    RandomForestClassifier,
)
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasOutputCol
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.errors import SettingsError
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES

REDEEMED, FEATURES, BELIEF, PROBABILITY = "is_redeemed", "features", "belief", "redemption_prob"
_BLEND = ("logistic", "gbt")
_SURE = 1e-4
_RIDGE = 0.1
_ROOTS = tuple(
    place
    for place, name in enumerate(DECISION_COVARIATES)
    if name.endswith("_root") and not name.endswith("_trend_root")  # a trend has a sign
)
_TREE: dict[str, Any] = {"maxDepth": 4, "minInstancesPerNode": 40}
_FOREST: dict[str, Any] = {
    "numTrees": 100,
    "maxDepth": 7,
    "minInstancesPerNode": 10,
    "subsamplingRate": 0.8,
    "featureSubsetStrategy": "0.2",
}
_BOOSTED: dict[str, Any] = {
    "maxIter": 40,
    "maxDepth": 2,
    "stepSize": 0.1,
    "minInstancesPerNode": 30,
    "subsamplingRate": 0.7,
    "featureSubsetStrategy": "0.3",
}
_XGBOOST: dict[str, Any] = {"n_estimators": 100, "max_depth": 3, "learning_rate": 0.05, "min_child_weight": 5}


def parts_of(name: str) -> tuple[str, ...]:
    """The classifiers whose log-odds a model takes the mean of."""
    return _BLEND if name == "blend" else (name,)


def classifier(name: str, seed: int) -> Estimator[Model]:
    """A classifier of who redeems, not fitted.

    Raises:
        SettingsError: xgboost is asked for and not installed.
        ValueError: There is no such classifier.
    """
    told: dict[str, Any] = {
        "featuresCol": FEATURES,
        "labelCol": REDEEMED,
        "predictionCol": f"{name}_class",
        "rawPredictionCol": f"{name}_margin",
        "probabilityCol": probability_of(name),
    }
    match name:
        case "logistic":
            return LogisticRegression(regParam=_RIDGE, maxIter=100, **told)
        case "tree":
            return DecisionTreeClassifier(seed=seed, **_TREE, **told)
        case "forest":
            return RandomForestClassifier(seed=seed, **_FOREST, **told)
        case "gbt":
            # Its constructor, alone among them, does not take these two.
            margin, probability = told.pop("rawPredictionCol"), told.pop("probabilityCol")
            trees = GBTClassifier(seed=seed, **_BOOSTED, **told)
            return trees.setRawPredictionCol(margin).setProbabilityCol(probability)
        case "xgboost":
            return _xgboost(seed, told)
    raise ValueError(f"no classifier is called {name}")


def _xgboost(seed: int, told: dict[str, Any]) -> Estimator[Model]:
    if find_spec("xgboost") is None:
        raise SettingsError(
            "uplift.redemption_models asks for xgboost, which is not installed: run pip install xgboost-cpu, or "
            "choose among logistic, tree, forest, gbt and blend."
        )
    boosted = import_module("xgboost.spark").SparkXGBClassifier  # an optional package

    columns = {
        "features_col": told["featuresCol"],
        "label_col": told["labelCol"],
        "prediction_col": told["predictionCol"],
        "raw_prediction_col": told["rawPredictionCol"],
        "probability_col": told["probabilityCol"],
    }
    found: Estimator[Model] = boosted(num_workers=1, random_state=seed, **_XGBOOST, **columns)
    return found


def probability_of(name: str) -> str:
    """The column in which a classifier tells its shares."""
    return f"{name}_shares"


class DecisionVector(Transformer, HasOutputCol, DefaultParamsReadable["DecisionVector"], DefaultParamsWritable):
    """From covariates and an arm to the vector that models take; an arm that is not listed has no indicator.

    Square roots of counts and amounts become logarithms: what a further coupon or currency unit says of redemption
    falls off that fast.
    """

    arms = Param(Params._dummy(), "arms", "arms with an indicator of their own", TypeConverters.toListString)

    def __init__(self, arms: Sequence[str] = ()) -> None:
        super().__init__()
        self._set(outputCol=FEATURES, arms=list(arms))

    def _transform(self, dataset: DataFrame) -> DataFrame:
        named = [(F.col("arm") == arm).cast("double") for arm in self.getOrDefault(self.arms)]
        logs = F.transform("covariates", _logged)
        values = F.concat(logs, F.array(*named)) if named else logs
        return dataset.withColumn(self.getOutputCol(), array_to_vector(values))


def _logged(value: Expression, place: Expression) -> Expression:
    return F.when(place.isin(*_ROOTS), F.log1p(value * value)).otherwise(value)


class BlendedBelief(Transformer, HasOutputCol, DefaultParamsReadable["BlendedBelief"], DefaultParamsWritable):
    """The mean of the log-odds of classifiers."""

    parts = Param(Params._dummy(), "parts", "classifiers", TypeConverters.toListString)

    def __init__(self, parts: Sequence[str] = ("logistic",)) -> None:
        super().__init__()
        self._set(outputCol=BELIEF, parts=list(parts))

    def _transform(self, dataset: DataFrame) -> DataFrame:
        parts: list[str] = self.getOrDefault(self.parts)
        return dataset.withColumn(self.getOutputCol(), belief_of(parts))


class RedemptionProbability(
    Transformer, HasOutputCol, DefaultParamsReadable["RedemptionProbability"], DefaultParamsWritable
):
    """From belief to probability, along the knots of a curve of calibration."""

    beliefs = Param(Params._dummy(), "beliefs", "ascending", TypeConverters.toListFloat)
    logits = Param(Params._dummy(), "logits", "log-odds at these beliefs, straight between", TypeConverters.toListFloat)
    slope = Param(Params._dummy(), "slope", "of the log-odds outside", TypeConverters.toFloat)

    def __init__(self, beliefs: Sequence[float] = (0.0,), logits: Sequence[float] = (0.0,), slope: float = 1.0) -> None:
        super().__init__()
        self._set(outputCol=PROBABILITY, beliefs=list(beliefs), logits=list(logits), slope=slope)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        at, told = self.getOrDefault(self.beliefs), self.getOrDefault(self.logits)
        slope, belief = F.lit(self.getOrDefault(self.slope)), F.col(BELIEF)
        logit = F.when(belief <= at[0], told[0] + slope * (belief - at[0]))
        for left, right, low, high in zip(at, at[1:], told, told[1:], strict=False):
            logit = logit.when(belief <= right, low + (high - low) / (right - left) * (belief - left))
        logit = logit.otherwise(told[-1] + slope * (belief - at[-1]))
        return dataset.withColumn(self.getOutputCol(), 1 / (1 + F.exp(-logit)))


def belief_of(parts: Iterable[str]) -> Expression:
    """Mean log-odds that fitted classifiers give."""
    named, total = tuple(parts), F.lit(0.0)
    for part in named:
        share = F.least(F.greatest(vector_to_array(F.col(probability_of(part)))[1], F.lit(_SURE)), F.lit(1 - _SURE))
        total = total + F.log(share / (1 - share))
    return total / len(named)

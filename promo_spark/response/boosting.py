"""Boosted regression trees by Spark or by xgboost, brought home as arrays."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import numpy as np
from pyspark.ml.regression import GBTRegressor
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.kernels.boosted_trees import LEAF, Trees

VECTOR, LABEL, WEIGHT = "features", "label", "weight"
_DEPTH, _TREES, _STEP, _SHARE, _LEAST = 3, 40, 0.1, 0.7, 50


def boost(rows: DataFrame, base: str, seed: int) -> Trees:
    """Fit boosted regression trees.

    Args:
        rows: features (a vector), label, weight.
        base: gbt, which is Spark's, or xgboost.
        seed: Of the rows that each tree is fitted on.

    Raises:
        ValueError: xgboost is asked for and not installed.
    """
    return _boost_xgboost(rows, seed) if base == "xgboost" else _boost_spark(rows, seed)


def _boost_spark(rows: DataFrame, seed: int) -> Trees:
    model = GBTRegressor(
        featuresCol=VECTOR,
        labelCol=LABEL,
        weightCol=WEIGHT,
        maxDepth=_DEPTH,
        maxIter=_TREES,
        stepSize=_STEP,
        subsamplingRate=_SHARE,
        minInstancesPerNode=_LEAST,
        seed=seed,
    ).fit(rows)
    trees = _empty(len(model.trees))
    for place, (tree, weight) in enumerate(zip(model.trees, model.treeWeights, strict=True)):
        java_tree: Any = tree._java_obj
        _lay_out_spark(java_tree.rootNode(), 0, weight, _tree(trees, place))
    return trees


def _boost_xgboost(rows: DataFrame, seed: int) -> Trees:
    try:
        # Optional: only who asks for it needs it.
        regressor: Any = import_module("xgboost.spark").SparkXGBRegressor
    except ImportError as fault:
        raise ValueError(
            "a learner with xgboost needs the package xgboost-cpu, which is not installed: "
            "'pip install xgboost-cpu', or take a learner with gbt or linear"
        ) from fault
    mean = rows.agg(F.sum(F.col(LABEL) * F.col(WEIGHT)) / F.sum(WEIGHT)).collect()[0][0] or 0.0
    model = regressor(
        features_col=VECTOR,
        label_col=LABEL,
        weight_col=WEIGHT,
        num_workers=1,
        max_depth=_DEPTH,
        n_estimators=_TREES,
        learning_rate=_STEP,
        subsample=_SHARE,
        min_child_weight=_LEAST,
        base_score=0.0,
        random_state=seed,
    ).fit(rows.withColumn(LABEL, F.col(LABEL) - F.lit(mean)))
    dumped = [json.loads(text) for text in model.get_booster().get_dump(dump_format="json")]
    trees = _empty(len(dumped) + 1)
    for place, root in enumerate(dumped):
        _lay_out_xgboost(root, 0, _tree(trees, place))
    trees.values[len(dumped), 0] = mean
    return trees


def _empty(count: int) -> Trees:
    shape = count, 2 ** (_DEPTH + 1) - 1
    return Trees(np.full(shape, LEAF), np.zeros(shape), np.zeros(shape))


def _tree(trees: Trees, place: int) -> Trees:
    return Trees(*(own[place] for own in trees))


def _lay_out_spark(node: Any, place: int, weight: float, tree: Trees) -> None:  # noqa: ANN401  (a node of the JVM)
    if node.subtreeDepth() == 0:
        tree.values[place] = weight * node.prediction()
        return
    tree.features[place], tree.thresholds[place] = node.split().featureIndex(), node.split().threshold()
    _lay_out_spark(node.leftChild(), 2 * place + 1, weight, tree)
    _lay_out_spark(node.rightChild(), 2 * place + 2, weight, tree)


def _lay_out_xgboost(node: dict[str, Any], place: int, tree: Trees) -> None:
    if "leaf" in node:
        tree.values[place] = node["leaf"]
        return
    tree.features[place] = int(node["split"].removeprefix("f"))
    # It goes left below the threshold, these trees at or below it.
    tree.thresholds[place] = np.nextafter(np.float32(node["split_condition"]), np.float32(-np.inf))
    children = {child["nodeid"]: child for child in node["children"]}
    _lay_out_xgboost(children[node["yes"]], 2 * place + 1, tree)
    _lay_out_xgboost(children[node["no"]], 2 * place + 2, tree)

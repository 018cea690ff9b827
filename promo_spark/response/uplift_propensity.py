"""Propensities of decisions that were not drawn at random, estimated on other customers, and rows without overlap."""

from __future__ import annotations

import numpy as np
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.kernels.doubly_robust import trimming_limits

_RIDGE = 1e-4
_ITERATIONS = 50


def estimate_propensities(
    numbered: DataFrame, *, folds: int, floor: float, n_arms: int
) -> tuple[DataFrame, dict[str, float], tuple[DataFrame, ...]]:
    """Fill propensities that were not logged, and leave out the rows that no other arm compares with.

    Each fold's come from a multinomial logistic regression on the covariates of the other folds.

    Args:
        numbered: customer_id, decision_id, arm_index, fold, propensity (NULL: to be estimated), covariates, ....
        folds: Number of folds.
        floor: See ``trimming_limits``.
        n_arms: Number of arms, the control among them.

    Rows without one that all have the same arm are left out where others have theirs logged.

    Returns:
        The rows that are kept, every propensity filled; how well the arms overlap; what to unpersist in the end.
    """
    known = numbered.where(F.col("propensity").isNotNull())
    unknown = numbered.where(F.col("propensity").isNull()).withColumn("_vector", array_to_vector(F.col("covariates")))
    # Laid out by content: the sums inside the regression depend on the order of its input.
    unknown = unknown.repartition(folds, "fold").sortWithinPartitions("customer_id", "decision_id").persist()
    counts = np.zeros(n_arms)
    for row in unknown.groupBy("arm_index").count().collect():
        counts[row["arm_index"]] = row["count"]
    present = np.flatnonzero(counts)
    if len(present) < 2:  # noqa: PLR2004  (two arms make a comparison)
        unknown.unpersist()
        if counts.sum() < numbered.count():
            return known, {"one_armed_rows": float(counts.sum())}, ()
        raise ValueError("decisions without a logged propensity all have one arm: nothing says how it was chosen")
    limits = trimming_limits(counts / counts.sum(), floor)
    filled = [_fill(unknown, fold, n_arms) for fold in range(folds)]
    estimated = filled[0]
    for part in filled[1:]:
        estimated = estimated.unionByName(part)
    enough = F.lit(True)
    for arm in present.tolist():
        enough = enough & (F.col("_chances")[arm] >= F.lit(float(limits[arm])))
    judged = estimated.withColumn("propensity", F.col("_chances")[F.col("arm_index")]).withColumn("_kept", enough)
    judged = judged.drop("_chances", "_vector").persist()
    kept = judged.where("_kept").drop("_kept")
    return known.unionByName(kept), _overlap(judged), (unknown, judged)


def _fill(unknown: DataFrame, fold: int, n_arms: int) -> DataFrame:
    model = LogisticRegression(
        featuresCol="_vector",
        labelCol="arm_index",
        probabilityCol="_probability",
        family="multinomial",
        regParam=_RIDGE,
        maxIter=_ITERATIONS,
    ).fit(unknown.where(F.col("fold") != fold))
    told = model.transform(unknown.where(F.col("fold") == fold))
    # Classes are numbered up to the last one seen.
    missing = F.array_repeat(F.lit(0.0), n_arms)
    chances = F.concat(vector_to_array(F.col("_probability")), missing)
    filled: DataFrame = told.withColumn("_chances", chances).select(*unknown.columns, "_chances")
    return filled


def _overlap(judged: DataFrame) -> dict[str, float]:
    weight = F.when(F.col("_kept"), 1 / F.col("propensity"))
    row = judged.agg(
        F.avg((~F.col("_kept")).cast("double")),
        F.min(1 / weight),
        F.max(1 / weight),
        F.sum(weight),
        F.sum(weight * weight),
    ).collect()[0]
    if row[3] is None:
        raise ValueError("every row was trimmed for want of overlap: the arms' customers have nothing in common")
    return {
        "trimmed_rate": row[0],
        "propensity_min": row[1],
        "propensity_max": row[2],
        "effective_rows": row[3] ** 2 / row[4],
    }

"""Propensities of decisions that were not drawn at random, estimated on other customers, and rows without overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from threadpoolctl import threadpool_limits

from promo_spark.contracts.arrow_matrices import lists_of, matrix_of
from promo_spark.contracts.persisted import persisted
from promo_spark.kernels.arm_chances import ArmChances, fit_arm_chances
from promo_spark.kernels.doubly_robust import trimming_limits

_FIT_ROWS = 100_000
_CHANCES = "_chances"
_Maker = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def estimate_propensities(
    numbered: DataFrame, *, folds: int, floor: float, n_arms: int, kept: ExitStack
) -> tuple[DataFrame, dict[str, float]]:
    """Fill propensities that were not logged, and leave out the rows that no other arm compares with.

    Each fold's come from a multinomial logistic regression on the covariates of the other folds, fitted on the driver
    on at most 100,000 rows, those of the customers with the lowest hashes: more would hardly move a few dozen weights.

    Args:
        numbered: customer_id, decision_id, arm_index, fold, propensity (NULL: to be estimated), covariates, ....
        folds: Number of folds.
        floor: See ``trimming_limits``.
        n_arms: Number of arms, the control among them.
        kept: Keeps what is looked at more than once, until the rows that are returned are kept themselves.

    Rows without one that all have the same arm are left out where others have theirs logged.

    Returns:
        The rows that are left, every propensity filled; how well the arms overlap.
    """
    known = numbered.where(F.col("propensity").isNotNull())
    unknown = kept.enter_context(persisted(numbered.where(F.col("propensity").isNull())))
    counts = np.zeros(n_arms)
    for row in unknown.groupBy("arm_index").count().collect():
        counts[row["arm_index"]] = row["count"]
    present = np.flatnonzero(counts)
    if len(present) < 2:  # noqa: PLR2004  (two arms make a comparison)
        if counts.sum() < numbered.count():
            return known, {"one_armed_rows": float(counts.sum())}
        raise ValueError("decisions without a logged propensity all have one arm: nothing says how it was chosen")
    limits = trimming_limits(counts / counts.sum(), floor)
    schema = T.StructType([*unknown.schema, T.StructField(_CHANCES, T.ArrayType(T.DoubleType()))])
    told = unknown.mapInArrow(_teller(_fit(unknown, folds, n_arms)), schema)
    enough = F.lit(True)
    for arm in present.tolist():
        enough = enough & (F.col(_CHANCES)[arm] >= F.lit(float(limits[arm])))
    judged = told.withColumn("propensity", F.col(_CHANCES)[F.col("arm_index")]).withColumn("_kept", enough)
    judged = kept.enter_context(persisted(judged.drop(_CHANCES)))
    return known.unionByName(judged.where("_kept").drop("_kept")), _overlap(judged)


def _fit(unknown: DataFrame, folds: int, n_arms: int) -> tuple[ArmChances, ...]:
    """For each fold the chances by the other folds."""
    hashed = unknown.orderBy(F.xxhash64("customer_id"), "customer_id", "decision_id").limit(_FIT_ROWS)
    rows = hashed.select("arm_index", "fold", "covariates").toArrow()
    arms, own, covariates = (rows.column(0).to_numpy(), rows.column(1).to_numpy(), matrix_of(rows.column(2)))
    return tuple(fit_arm_chances(covariates[own != fold], arms[own != fold], n_arms) for fold in range(folds))


def _teller(models: tuple[ArmChances, ...]) -> _Maker:
    """Make the function that adds to Arrow batches the chances of each arm by the other folds."""

    def tell(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with threadpool_limits(limits=1, user_api="blas"):
            for batch in batches:
                covariates = matrix_of(pa.chunked_array([batch.column("covariates")]))
                folds = batch.column("fold").to_numpy()
                told = np.zeros((len(folds), len(models[0].levels)))
                for fold in np.unique(folds).tolist():
                    told[folds == fold] = models[fold].of(covariates[folds == fold])
                names = [*batch.schema.names, _CHANCES]
                yield pa.RecordBatch.from_arrays([*batch.columns, lists_of(told)], names=names)

    return tell


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

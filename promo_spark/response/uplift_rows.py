"""Past decisions in the form that learners of uplift read: checked, numbered, in folds, a customer's side by side."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from promo_spark.contracts.persisted import persisted
from promo_spark.kernels.effect_models import CONTROL
from promo_spark.kernels.gram_regression import Floats, Standardiser, fit_standardiser
from promo_spark.response.decision_levels import align_decisions
from promo_spark.response.uplift_propensity import estimate_propensities

ARM, FOLD, PART = "arm_index", "fold", "part"
PROPENSITY, OUTCOMES, COVARIATES = "propensity", "outcomes", "covariates"
PARTS = 25
FEWEST_FOLDS = 3
_SAMPLE_ROWS = 20_000
_SUMS_TO_ONE = 1e-6


@dataclass(frozen=True)
class UpliftRows:
    """Checked decisions.

    Attributes:
        frame: customer_id, decision_id, arm_index, fold, part, propensity, covariates, outcomes; each customer's rows
            side by side.
            Persisted: use the rows in a ``with``, or call ``release``.
        arms: Names of the arms, the control first.
        outcomes: Names of the outcomes, in the order of the array.
        covariate_names: Names of the covariates, in the order of the array.
        standardiser: Learnt from the sample.
        sample: Covariates of the rows with the lowest hashes, shape (n_sampled, n_covariates).
        sample_folds: Their folds, shape (n_sampled,).
        folds: Number of folds.
        learnt_from: ``randomised`` where every propensity was logged, else ``observational``.
        diagnostics: Rows and overlap.
    """

    frame: DataFrame
    arms: tuple[str, ...]
    outcomes: tuple[str, ...]
    covariate_names: tuple[str, ...]
    standardiser: Standardiser
    sample: Floats
    sample_folds: np.ndarray[Any, np.dtype[np.int64]]
    folds: int
    learnt_from: str
    diagnostics: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> UpliftRows:
        return self

    def __exit__(self, *fault: object) -> None:
        self.release()

    def release(self) -> None:
        """Let go of what is persisted."""
        self.frame.unpersist()


def prepare_rows(
    *,
    rows: DataFrame,
    outcomes: tuple[str, ...],
    covariate_names: tuple[str, ...],
    folds: int,
    propensity_floor: float,
    seed: int = 0,
) -> UpliftRows:
    """Check decisions, find out what they hold, and lay them out for learning.

    Args:
        rows: One row per customer and decision: customer_id, decision_id, arm ('none' the control), propensity of
            that arm (NULL where it was not drawn at random), covariates (array of doubles, none of them NULL) and a
            column per outcome. Optional: propensities, a map from every arm of the decision to its propensity.
        outcomes: Columns of outcomes.
        covariate_names: One per covariate.
        folds: Parts of the customers for cross-fitting, by hash; at least 3 are made.
        propensity_floor: Rows in which an estimated propensity is lower are left out, see ``trimming_limits``.
        seed: Of the folds.

    Rows whose arm was certain, and decisions that compare nothing, are left out and counted in the diagnostics.

    Raises:
        ValueError: Names every fault of the rows at once.
    """
    _check_columns(rows, outcomes)
    names = ("customer_id", "decision_id", "arm", PROPENSITY, COVARIATES, *outcomes)
    optional = [name for name in ("propensities",) if name in rows.columns]
    n_folds = max(folds, FEWEST_FOLDS)
    with ExitStack() as kept:
        # Looked at several times before they are laid out, and often costly to compute.
        given = kept.enter_context(persisted(rows.select(*dict.fromkeys(names), *optional)))
        rows, told, left_out = _compared(given, outcomes, len(covariate_names), n_folds)
        arms = (CONTROL, *sorted(row["arm"] for row in told if row["arm"] != CONTROL))
        numbered = _numbered(rows, arms, outcomes, n_folds, seed)
        unknown = sum(row["unknown_propensities"] for row in told)
        diagnostics = _logged_overlap(told) | left_out
        if unknown:
            numbered, estimated = estimate_propensities(
                numbered, folds=n_folds, floor=propensity_floor, n_arms=len(arms), kept=kept
            )
            diagnostics |= estimated
            unknown -= int(estimated.get("one_armed_rows", 0))
        width = rows.sparkSession.sparkContext.defaultParallelism
        laid_out = (
            numbered.repartition(width, "customer_id").sortWithinPartitions("customer_id", "decision_id").persist()
        )
        sample, sample_folds = _draw(laid_out, seed)
    return UpliftRows(
        frame=laid_out,
        arms=arms,
        outcomes=outcomes,
        covariate_names=covariate_names,
        standardiser=fit_standardiser(sample),
        sample=sample,
        sample_folds=sample_folds,
        folds=n_folds,
        learnt_from="observational" if unknown else "randomised",
        diagnostics=diagnostics,
    )


def _numbered(rows: DataFrame, arms: tuple[str, ...], outcomes: tuple[str, ...], folds: int, seed: int) -> DataFrame:
    """Arms as indices, customers in folds and parts by hash, outcomes in one array."""
    fold, part = (
        F.pmod(F.xxhash64("customer_id", F.lit(seed + shift)), F.lit(count)).cast("int")
        for shift, count in ((0, folds), (2, PARTS))
    )
    return rows.select(
        "customer_id",
        "decision_id",
        F.array_position(F.lit(list(arms)), F.col("arm")).cast("int").__sub__(1).alias(ARM),
        fold.alias(FOLD),
        part.alias(PART),
        F.col(PROPENSITY).cast("double").alias(PROPENSITY),
        F.col(COVARIATES).cast("array<double>").alias(COVARIATES),
        F.array(*[F.col(name).cast("double") for name in outcomes]).alias(OUTCOMES),
    )


def _check_columns(rows: DataFrame, outcomes: tuple[str, ...]) -> None:
    needed = {"customer_id", "decision_id", "arm", PROPENSITY, COVARIATES, *outcomes}
    missing = sorted(needed - set(rows.columns))
    if missing or not outcomes:
        raise ValueError(f"uplift rows lack columns: {', '.join(missing) or 'an outcome'}")


def _compared(
    rows: DataFrame, outcomes: tuple[str, ...], n_covariates: int, folds: int
) -> tuple[DataFrame, list[Row], dict[str, float]]:
    """The rows that tell something, from their decisions' levels; what is in them; and how many were left out."""
    told = _audit(rows, outcomes, n_covariates)
    _raise_faults(told, outcomes, folds, of_rows_only=True)
    certain = sum(row["certain"] for row in told)
    if certain:
        rows = rows.where(F.coalesce(F.col(PROPENSITY) < 1, F.lit(True)))
    aligned = align_decisions(rows=rows, outcomes=outcomes)
    told = _audit(aligned.rows, outcomes, n_covariates)
    _raise_faults(told, outcomes, folds)
    return aligned.rows, told, {"certain_rows": float(certain), "uncompared_rows": float(aligned.left_out)}


def _audit(rows: DataFrame, outcomes: tuple[str, ...], n_covariates: int) -> list[Row]:
    propensity = F.col(PROPENSITY).cast("double")
    is_logged = propensity.isNotNull()
    wrong = is_logged & ~((propensity > 0) & (propensity <= 1))
    told = {
        **{f"the outcome {name} is missing, NaN or infinite": ~_finite(F.col(name)) for name in outcomes},
        f"the covariates are not {n_covariates} finite numbers": (
            F.coalesce(F.size(COVARIATES) != n_covariates, F.lit(True))
            | F.exists(COVARIATES, lambda one: ~_finite(one))
        ),
        "the propensity is not above 0 and at most 1 (NULL means not drawn)": wrong,
    }
    if "propensities" in rows.columns:
        shares = F.map_values("propensities")
        total = F.aggregate(shares, F.lit(0.0), lambda one, other: one + other)
        told["the propensities of all arms do not sum to one"] = (total < 1 - _SUMS_TO_ONE) | (total > 1 + _SUMS_TO_ONE)
    weight = F.when(is_logged & ~wrong, 1 / propensity)
    return (
        rows.groupBy("arm")
        .agg(
            F.count("*").alias("rows"),
            F.count_distinct("customer_id").alias("customers"),
            F.count_if(~is_logged).alias("unknown_propensities"),
            F.count_if(propensity == 1).alias("certain"),
            F.min(1 / weight).alias("least"),
            F.max(1 / weight).alias("largest"),
            F.sum(weight).alias("weights"),
            F.sum(weight * weight).alias("squares"),
            F.array(
                *[F.struct(F.lit(words).alias("words"), F.count_if(is_).alias("count")) for words, is_ in told.items()]
            ).alias("faults"),
        )
        .orderBy("arm")
        .collect()
    )


def _finite(value: Expression) -> Expression:
    number = value.cast("double")
    return F.coalesce(~F.isnan(number) & (F.abs(number) != float("inf")), F.lit(False))


def _raise_faults(told: list[Row], outcomes: tuple[str, ...], folds: int, *, of_rows_only: bool = False) -> None:
    arms = [row["arm"] for row in told]
    faults: dict[str, int] = {}
    for row in told:
        for fault in row["faults"]:
            faults[fault["words"]] = faults.get(fault["words"], 0) + fault["count"]
    words = [f"in {count} rows {fault}" for fault, count in faults.items() if count]
    if None in arms:
        words.append("some rows have no arm")
    if CONTROL not in arms and not of_rows_only:
        words.append(f"no row has the arm '{CONTROL}', the control that every arm is held against")
    if not [arm for arm in arms if arm not in (None, CONTROL)] and not of_rows_only:
        words.append("no row has a treated arm")
    few = [f"{row['arm']} ({row['customers']})" for row in told if row["customers"] < 2 * folds]
    if few and not of_rows_only:
        words.append(f"arms with fewer than {2 * folds} customers cannot be learnt: {', '.join(few)}")
    if words:
        raise ValueError(f"uplift of {', '.join(outcomes)} cannot be learnt: " + "; ".join(words))


def _logged_overlap(told: list[Row]) -> dict[str, float]:
    total = float(sum(row["rows"] for row in told))
    weights, squares = (sum(row[name] or 0.0 for row in told) for name in ("weights", "squares"))
    unknown = sum(row["unknown_propensities"] for row in told)
    logged = [row for row in told if row["least"] is not None]
    diagnostics = {"rows": total, "estimated_propensity_rate": unknown / total, "trimmed_rate": 0.0}
    if logged:
        diagnostics["propensity_min"] = min(row["least"] for row in logged)
        diagnostics["propensity_max"] = max(row["largest"] for row in logged)
        diagnostics["effective_rows"] = weights**2 / squares
    return diagnostics


def _draw(laid_out: DataFrame, seed: int) -> tuple[Floats, np.ndarray[Any, np.dtype[np.int64]]]:
    drawn = (
        laid_out.orderBy(F.xxhash64("customer_id", F.lit(seed + 1)), "customer_id", "decision_id")
        .limit(_SAMPLE_ROWS)
        .select(COVARIATES, FOLD)
        .collect()
    )
    if not drawn:
        raise ValueError("every row was trimmed for want of overlap: the arms' customers have nothing in common")
    return np.array([row[0] for row in drawn], dtype=np.float64), np.array([row[1] for row in drawn], dtype=np.int64)

"""Make decisions comparable with one another: each starts from what its own controls did.

Decisions differ in season, in length and in the arms they offered. Outcomes are taken from the mean of the decision's
own controls, so that an arm is never held against the controls of another time; and an arm that only some decisions
offered counts for those that did not by the share of rows that could have had it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.kernels.effect_models import CONTROL

FEWEST_CONTROLS = 2
"""Customers a decision must have kept from a promotion, and as many given one, to tell anything of it."""
_LEVEL, _SHARE = "_level", "_share"


@dataclass(frozen=True)
class AlignedRows:
    """Decisions from the level of their own controls.

    Attributes:
        rows: As they came, outcomes less their decision's level, logged propensities times the arm's share.
        left_out: Rows of decisions that compare nothing.
    """

    rows: DataFrame
    left_out: int


def align_decisions(*, rows: DataFrame, outcomes: tuple[str, ...]) -> AlignedRows:
    """Take each decision's outcomes from the mean of its controls, and weigh arms that not every decision offered.

    A logged propensity is P(arm | customer, decision). Over the rows of all decisions an arm is met with that times the
    share of rows whose decision offered it: the mixture of the loggers.

    Args:
        rows: decision_id, arm ('none' the control), propensity, and the outcomes.
        outcomes: Columns of outcomes.

    Returns:
        The rows of decisions with at least ``FEWEST_CONTROLS`` rows of the control, and of treated arms together.

    Source: mixture of logging policies, Agarwal, Basu, Schnabel and Joachims 2017 ("Effective evaluation using logged
    bandit feedback from multiple loggers"), section 4; levels are the fixed effects of decisions.
    """
    is_control = F.col("arm") == CONTROL
    levels = [F.avg(F.when(is_control, F.col(name).cast("double"))).alias(f"{_LEVEL}_{name}") for name in outcomes]
    counts = (F.count_if(is_control).alias("_controls"), F.count_if(~is_control).alias("_treated"))
    decisions = rows.groupBy("decision_id").agg(F.count("*").alias("_rows"), *counts, *levels)
    is_kept = (F.col("_controls") >= FEWEST_CONTROLS) & (F.col("_treated") >= FEWEST_CONTROLS)
    kept, every = decisions.agg(F.sum(F.when(is_kept, F.col("_rows"))), F.sum("_rows")).collect()[0]
    decisions = decisions.where(is_kept)
    offered = rows.select("decision_id", "arm").distinct().join(decisions.select("decision_id", "_rows"), "decision_id")
    shares = offered.groupBy("arm").agg((F.sum("_rows") / F.lit(kept or 1)).alias(_SHARE))
    joined = rows.join(F.broadcast(decisions), "decision_id").join(F.broadcast(shares), "arm")
    aligned = {name: F.col(name).cast("double") - F.col(f"{_LEVEL}_{name}") for name in outcomes}
    propensity = F.col("propensity").cast("double") * F.col(_SHARE)
    return AlignedRows(
        joined.withColumns({**aligned, "propensity": propensity}).select(*rows.columns), (every or 0) - (kept or 0)
    )

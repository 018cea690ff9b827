"""Variants of the message: a draw among those who were given something, analysed as an experiment of its own."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.experiments import EXPERIMENTS
from promo_spark.contracts.step import produces

VARIANT_SUFFIX = ":variant"


@produces(EXPERIMENTS, experiments=EXPERIMENTS)
def add_variants(*, experiments: DataFrame) -> DataFrame:
    """Add to each design with several variants of the message the design of the variants.

    Args:
        experiments: measurement.experiments.

    Returns:
        The same, and rows of ``<experiment>:variant`` whose arms are the variants; the first by name is the control.
    """
    names = F.array_sort(F.map_keys("variants"))
    one = experiments.where("is_control").where(F.size("variants") > 1)
    variants = one.withColumn("_first", F.get(names, F.lit(0))).select(
        *(name for name in EXPERIMENTS.column_names if name not in ("arm", "share")),
        "_first",
        F.explode("variants").alias("arm", "share"),
    )
    designs = variants.withColumns(
        {
            "experiment": F.concat("experiment", F.lit(VARIANT_SUFFIX)),
            "is_control": F.col("arm") == F.col("_first"),
            "unit": F.lit("customer"),
        }
    )
    return experiments.unionByName(designs.select(*EXPERIMENTS.column_names))


def list_variants(*, experiment_units: DataFrame, assignments: DataFrame, experiments: DataFrame) -> DataFrame:
    """List the customers who were given something, with the variant that they were told it in.

    Args:
        experiment_units: measurement.experiment_units.
        assignments: silver.assignments, for the moment of the decision.
        experiments: What `add_variants` returned.

    Returns:
        experiment, customer_id, arm (the variant), promotion_id, propensity, decided_at.
    """
    moments = assignments.select(F.col("decision_id").alias("experiment"), "customer_id", "decided_at")
    shares = experiments.select("experiment", "arm", F.col("share").alias("propensity"))
    given = experiment_units.where(F.col("arm") != NO_ARM).join(moments, ["experiment", "customer_id"])
    named = given.select(
        F.concat("experiment", F.lit(VARIANT_SUFFIX)).alias("experiment"),
        "customer_id",
        F.col("variant").alias("arm"),
        F.col("arm").alias("promotion_id"),
        "decided_at",
    )
    return named.join(F.broadcast(shares), ["experiment", "arm"]).select(
        "experiment", "customer_id", "arm", "promotion_id", "propensity", "decided_at"
    )

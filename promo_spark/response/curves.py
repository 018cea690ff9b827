"""What the boosted trees say of promotions: each offer on against off, and the curve of each lever."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.ml import PipelineModel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.offers import Offer
from promo_spark.response.forecast_rows import CELL, LEVERS

CURVE_STEPS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


def offer_lifts(
    *, model: PipelineModel, usual: DataFrame, offers: Sequence[Offer], offer_depths: DataFrame | None = None
) -> DataFrame:
    """Predict each cell's next week with each offer on top of the usual promotions, against without.

    Args:
        model: The boosted trees.
        usual: What `usual_rows` returned.
        offers: Offers to switch on.
        offer_depths: What ``effective_depths`` returned; none: every offer is as deep as it says.

    Returns:
        segment_id, category, offer_id, gbt_lift_rate (share of the sales predicted without).
    """
    added = F.array(
        *[
            F.struct(
                F.lit(offer.offer_id).alias("offer_id"), *[F.lit(getattr(offer, n)).alias(f"add_{n}") for n in LEVERS]
            )
            for offer in offers
        ]
    )
    rows = usual.withColumn("added", F.explode(added)).select("*", "added.*")
    if offer_depths is not None:
        rows = rows.join(F.broadcast(offer_depths), [*CELL, "offer_id"], "left")
        rows = rows.withColumn("add_depth_rate", F.coalesce("effective_depth_rate", "add_depth_rate"))
    return _ratios(model=model, usual=usual, rows=rows).select(*CELL, "offer_id", F.col("ratio").alias("gbt_lift_rate"))


def lever_curves(*, model: PipelineModel, usual: DataFrame) -> DataFrame:
    """Mean predicted lift over cells as one lever rises by each step and the others stay as usual.

    Args:
        model: The boosted trees.
        usual: What `usual_rows` returned.

    Returns:
        lever, step (added to the usual setting), lift_rate (share of all sales predicted without).
    """
    points = [
        F.struct(
            F.lit(lever).alias("lever"),
            F.lit(step).alias("step"),
            *[F.lit(step if name == lever else 0.0).alias(f"add_{name}") for name in LEVERS],
        )
        for lever in LEVERS
        for step in CURVE_STEPS
    ]
    rows = usual.withColumn("added", F.explode(F.array(*points))).select("*", "added.*")
    summed = _ratios(model=model, usual=usual, rows=rows).groupBy("lever", "step")
    return summed.agg(F.try_divide(F.sum("gain_amount"), F.sum("usual_amount")).alias("lift_rate"))


def _ratios(*, model: PipelineModel, usual: DataFrame, rows: DataFrame) -> DataFrame:
    raised = rows
    for name in LEVERS:
        change = F.col(name) + F.col(f"add_{name}")
        raised = raised.withColumn(f"{name}_change", F.col(f"{name}_change") + F.col(f"add_{name}"))
        raised = raised.withColumn(name, F.least(F.lit(1.0), change))
    off = model.transform(usual).select(*CELL, F.col("predicted_amount").alias("usual_amount"))
    both = model.transform(raised).join(F.broadcast(off), list(CELL), "inner")
    gain: Column = F.col("predicted_amount") - F.col("usual_amount")
    ratio = F.when(F.col("usual_amount") > 0, gain / F.col("usual_amount"))
    return both.withColumns({"gain_amount": gain, "ratio": ratio})

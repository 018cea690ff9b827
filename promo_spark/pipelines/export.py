"""Hand the assignment over: one list per channel with raw ids and codes, and the decisions to learn from.

The lists lie under the identity root. What was handed over is learnt from later; what was only planned is not.
"""

from __future__ import annotations

import re

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT, SENDS
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.silver import PROMOTIONS
from promo_spark.errors import HistoryError
from promo_spark.plans.sends import hand_to_learning, list_sends
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage

_NO_FILE_NAME = re.compile(r"[^a-z0-9]+")


def run(stage: Stage) -> None:
    """Write codes, lists and feedback; a repeat writes the same."""
    if not stage.has(ASSIGNMENT):
        raise HistoryError(
            f"there is no assignment for {stage.as_of_date}: run jobs/assign.py, or jobs/pipeline.py, for this date."
        )
    assignment = stage.read(ASSIGNMENT)
    sends = list_sends(
        assignment=assignment, as_of_date=stage.as_of_date, settings=stage.settings.assign, seed=stage.settings.seed
    )
    stage.write(SENDS, sends)
    _write_lists(stage)
    feedback = hand_to_learning(
        assignment=assignment, as_of_date=stage.as_of_date, time_zone=stage.settings.source.time_zone
    )
    stage.append_missing(FEEDBACK, feedback)


def _write_lists(stage: Stage) -> None:
    listed = _with_raw_ids(stage)
    channels = listed.groupBy("channel").count().orderBy("channel").collect()
    if not channels:
        stage.limitation("nobody gets a promotion: there is no list to hand over.")
    for channel, count in channels:
        name = _NO_FILE_NAME.sub("_", channel.lower()).strip("_") or "unnamed"
        csv, parquet = stage.write_list(name, listed.where(F.col("channel") == channel), ("customer_id", "code"))
        stage.progress(f"{channel}: {count:,} messages in {csv} and {parquet.rpartition('/')[2]}")
        stage.metrics({f"sends_{name}": float(count)})


def _with_raw_ids(stage: Stage) -> DataFrame:
    """The sends under the retailer's own ids; of several ids of one customer the first."""
    version = F.lit(stage.settings.places.key_version)
    known = stage.read(IDENTITY_CUSTOMERS).where(F.col("key_version") == version)
    raw = known.groupBy(F.col("customer_id").alias("pseudonym")).agg(F.min("raw_customer_id").alias("customer_id"))
    sends = stage.read(SENDS).withColumnRenamed("customer_id", "pseudonym")
    slots = stage.read(ASSIGNMENT).select(F.col("customer_id").alias("pseudonym"), "slot", "time_slot")
    dates = stage.read(PROMOTIONS).select("promotion_id", "start_date", "end_date")
    return (
        sends.join(raw, "pseudonym", "inner")
        .join(slots, ["pseudonym", "slot"], "left")
        .join(F.broadcast(dates), "promotion_id", "left")
        .select(
            *("customer_id", "code", "promotion_id", "variant", "channel", "time_slot", "start_date", "end_date"),
            "decision_id",
        )
    )


PIPELINE = Pipeline(
    name="export",
    summary="Hand the assignment over: a list per channel with raw ids and codes, and decisions to learn from.",
    reads=(ASSIGNMENT, IDENTITY_CUSTOMERS, PROMOTIONS),
    writes=(SENDS, FEEDBACK),
    run=run,
    settings=("assign", "seed", "source.time_zone"),
)

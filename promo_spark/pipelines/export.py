"""Hand the assignment over: one list per channel with raw ids and codes, and the decisions to learn from.

The lists lie under the identity root. What was handed over is learnt from later; what was only planned is not.
"""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT, SENDS
from promo_spark.contracts.identity import IDENTITY_CUSTOMERS
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.silver import PROMOTIONS
from promo_spark.errors import HistoryError, SourceError
from promo_spark.plans.assignment import decision_id
from promo_spark.plans.sends import hand_to_learning, list_sends
from promo_spark.runtime.exports import list_names_of, remove_other_lists
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.places import joined
from promo_spark.runtime.stage import Stage

_ROUNDING = 1e-9


def run(stage: Stage) -> None:
    """Write codes, feedback and lists; a repeat writes the same."""
    if not stage.has(ASSIGNMENT):
        raise HistoryError(
            f"there is no assignment for {stage.as_of_date}: run jobs/assign.py, or jobs/pipeline.py, for this date."
        )
    assignment = stage.read(ASSIGNMENT)
    feedback = hand_to_learning(
        assignment=assignment, as_of_date=stage.as_of_date, time_zone=stage.settings.source.time_zone
    ).persist()
    _refuse_another_hand_over(stage, feedback)
    sends = list_sends(
        assignment=assignment, as_of_date=stage.as_of_date, settings=stage.settings.assign, seed=stage.settings.seed
    )
    raw_ids = _raw_ids(stage, sends)
    stage.write(SENDS, sends)
    # Before the lists: nothing is sent that is not learnt from.
    stage.append_missing(FEEDBACK, feedback)
    _write_lists(stage, _under_raw_ids(stage, raw_ids))
    feedback.unpersist()


def _refuse_another_hand_over(stage: Stage, feedback: DataFrame) -> None:
    """What was handed over is out: it cannot be replaced by another plan of the same decision."""
    own = decision_id(stage.as_of_date)
    before = stage.read(FEEDBACK).where(F.col("decision_id") == own)
    if before.isEmpty():
        return
    then = before.select("customer_id", F.struct("arm", "propensity", "is_holdout").alias("then"))
    now = feedback.select("customer_id", F.struct("arm", "propensity", "is_holdout").alias("now"))
    same = F.col("then.arm").eqNullSafe(F.col("now.arm")) & F.col("then.is_holdout").eqNullSafe(F.col("now.is_holdout"))
    is_near = F.abs(F.col("then.propensity") - F.col("now.propensity")) <= _ROUNDING
    differing = then.join(now, "customer_id", "full").where(~F.coalesce(same & is_near, F.lit(False))).count()
    if differing:
        raise HistoryError(
            f"decision {own} was handed over before, and {differing:,} customers have another promotion or propensity "
            "in the present plans.assignment: what was sent cannot be taken back. Export the next as_of_date instead, "
            "or run jobs/assign.py with the settings and inputs of that hand-over. If its lists were never sent, first "
            f"delete the rows of learning.feedback whose decision_id is {own}."
        )


def _write_lists(stage: Stage, listed: DataFrame) -> None:
    counts = {row["channel"]: row["count"] for row in listed.groupBy("channel").count().orderBy("channel").collect()}
    if not counts:
        stage.limitation("nobody gets a promotion: there is no list to hand over.")
    names = list_names_of(counts)
    for channel, count in counts.items():
        name = names[channel]
        csv, parquet = stage.write_list(name, listed.where(F.col("channel") == channel), ("customer_id", "code"))
        stage.progress(f"{channel}: {count:,} messages in {csv} and {parquet.rpartition('/')[2]}")
        stage.metrics({f"sends_{name}": float(count)})
    folder = joined(stage.settings.places.identity, "sends", stage.as_of_date.isoformat())
    removed = remove_other_lists(stage.spark, folder, names.values())
    if removed:
        stage.progress(f"removed lists of an earlier run: {', '.join(removed)}")


def _raw_ids(stage: Stage, sends: DataFrame) -> DataFrame:
    """The retailer's own id of each customer, of several the first: pseudonym, customer_id.

    Raises:
        SourceError: Customers who get a promotion have no raw id under the present key.
    """
    version = stage.settings.places.key_version
    known = stage.read(IDENTITY_CUSTOMERS).where(F.col("key_version") == F.lit(version))
    raw = known.groupBy(F.col("customer_id").alias("pseudonym")).agg(F.min("raw_customer_id").alias("customer_id"))
    asked = sends.select(F.col("customer_id").alias("pseudonym")).distinct()
    lost = asked.join(raw, "pseudonym", "left_anti").count()
    if lost:
        raise SourceError(
            f"identity.customers has no raw id under key_version {version} for {lost:,} customers who get a promotion: "
            "their messages cannot be addressed. Run jobs/pipeline.py with the present key and inputs, then export "
            "again; or set places.key_version to that of the assignment."
        )
    return raw


def _under_raw_ids(stage: Stage, raw: DataFrame) -> DataFrame:
    """The sends as other systems get them."""
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
    purpose="personalisation",
)

"""What each policy would have done in each past decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT
from promo_spark.contracts.decisions import DECISIONS, NO_ARM
from promo_spark.contracts.off_policy import POLICY_LOG
from promo_spark.contracts.silver import PROMOTIONS
from promo_spark.contracts.step import produces
from promo_spark.kernels.off_policy import LOGGED

PERSONALISED, PLAN = "personalised", "plan"


def policy_names(arms: Sequence[str]) -> tuple[str, ...]:
    """The policies that are valued, in the order of their chances; the logged one first.

    >>> policy_names(["none", "mailer"])
    ('logged', 'none', 'constant:mailer', 'personalised', 'plan')
    """
    return (LOGGED, NO_ARM, *(f"constant:{arm}" for arm in arms[1:]), PERSONALISED, PLAN)


@produces(POLICY_LOG, decisions=DECISIONS, assignment=ASSIGNMENT, promotions=PROMOTIONS)
def lay_out_policies(
    *,
    log: DataFrame,
    decisions: DataFrame,
    assignment: DataFrame,
    promotions: DataFrame,
    arms: tuple[str, ...],
    arm_level: str,
    as_of_date: date,
) -> DataFrame:
    """Write beside each decision what every policy would have done.

    The plan gives a customer the arm of slot 1, whoever it does not name gets nothing; an arm that the log does not
    know has no chance there, and so no support. Where propensities were logged, an arm could have been assigned in a
    decision if it was to somebody; where they were estimated, rows without overlap have been left out, and every arm
    could.

    Args:
        log: customer_id, decision_id, arm_index, propensity, reward, expected, personalised (an index).
        decisions: response.decisions.
        assignment: plans.assignment.
        promotions: silver.promotions, for the arms of the plan's promotions.
        arms: Names of the arms, none first.
        arm_level: Column of promotions that names the arm.
        as_of_date: The day of the plan.

    Returns:
        measurement.policy_log.
    """
    names = F.lit(list(arms))
    level = promotions.select("promotion_id", F.coalesce(F.col(arm_level), F.col("promotion_id")).alias("level"))
    slots = assignment.where("slot = 1").select("customer_id", F.col("arm").alias("promotion_id"))
    told = slots.join(F.broadcast(level), "promotion_id", "left")
    name = F.coalesce("level", "promotion_id")
    plan = told.select("customer_id", (F.array_position(names, name) - 1).cast("int").alias("planned"))
    drawn = decisions.where(F.col("propensity").isNotNull() & F.col("arm").isin(*arms))
    possible = drawn.groupBy("decision_id").agg(F.collect_set("arm").alias("possible"))
    rows = log.join(plan, "customer_id", "left").join(F.broadcast(possible), "decision_id", "left")
    everywhere = F.col("possible").isNull()
    supported = F.array(*((everywhere | F.array_contains("possible", arm)).cast("double") for arm in arms))
    constant = [_only(F.lit(place), len(arms)) for place in range(len(arms))]
    planned = F.coalesce("planned", F.lit(0))
    chosen = [*constant, _only(F.col("personalised"), len(arms)), _only(planned, len(arms))]
    return rows.select(
        *("decision_id", "customer_id", "arm_index", "propensity", "reward", "expected"),
        F.lit(as_of_date).alias("as_of_date"),
        supported.alias("supported"),
        F.flatten(F.array(*chosen)).alias("chances"),
    )


def _only(place: Expression, count: int) -> Expression:
    """1 at a place, else 0."""
    return F.array(*((place == other).cast("double") for other in range(count)))

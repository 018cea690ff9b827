"""What the assignment follows: each customer's own value, one promotion for all, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

Verdict = Literal["personalised", "constant", "none"]


@dataclass(frozen=True)
class Constant:
    """One arm for all, as valued on past decisions.

    Attributes:
        arm: The arm.
        value_amount: Value per customer given it, contact cost taken off.
        low_amount: Lower end of its interval.
        high_amount: Upper end.
    """

    arm: str
    value_amount: float
    low_amount: float
    high_amount: float


def follow_policy(*, offers: DataFrame, verdict: Verdict, constant: Constant | None) -> DataFrame:
    """Leave of the offers' values what the verdict supports.

    Args:
        offers: plans.offers.
        verdict: personalised leaves each customer's own values; constant gives every offer of one arm the value that
            the arm had for customers as they come, and its promotion's mean cost, so that chance decides among
            them where the budget does not stretch, and takes the others' values away, those of customers whom the
            objective does not count included; none takes all away.
        constant: The arm of a constant policy.

    Returns:
        plans.offers; what has no value is not decided for, and may be drawn to learn from.
    """
    if verdict == "personalised":
        return offers
    names = ("value_amount", "value_low_amount", "value_high_amount")
    unknown = F.lit(None).cast("double")
    if verdict == "none" or constant is None:
        return offers.withColumns(dict.fromkeys(names, unknown))
    is_own = (F.col("arm") == constant.arm) & F.col("is_counted")
    values = (constant.value_amount, constant.low_amount, constant.high_amount)
    told = {name: F.when(is_own, F.lit(value)) for name, value in zip(names, values, strict=True)}
    means = offers.groupBy("promotion_id").agg(F.avg("cost_amount").alias("_mean_cost"))
    cost = F.when(is_own, F.col("_mean_cost")).otherwise(F.col("cost_amount"))
    priced = offers.join(F.broadcast(means), "promotion_id", "left")
    return priced.withColumns({**told, "cost_amount": cost}).drop("_mean_cost")


def assume_floors(*, offers: DataFrame, promotions: Sequence[str]) -> DataFrame:
    """Give what floors ask for a value where it has none: it is assumed to earn nothing, and so to lose its cost.

    Args:
        offers: plans.offers under the policy followed.
        promotions: Promotions of which some are to be given whatever they are worth.

    Returns:
        plans.offers; what was assumed is marked in ``learnt_from``.
    """
    if not promotions:
        return offers
    is_assumed = F.col("promotion_id").isin(*promotions) & F.col("value_amount").isNull()
    return offers.withColumns(
        {
            "learnt_from": F.when(is_assumed, F.lit("assumed")).otherwise(F.col("learnt_from")),
            "value_amount": F.when(is_assumed, -F.col("cost_amount")).otherwise(F.col("value_amount")),
        }
    )

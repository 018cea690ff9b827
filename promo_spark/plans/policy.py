"""What the assignment follows: each customer's own value, one promotion for all, or nothing."""

from __future__ import annotations

from typing import Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

Verdict = Literal["personalised", "constant", "none"]


def follow_policy(*, offers: DataFrame, verdict: Verdict, constant_arm: str | None) -> DataFrame:
    """Leave of the offers' values what the verdict supports.

    Args:
        offers: plans.offers.
        verdict: personalised leaves each customer's own values; constant gives the offers of one arm the mean value
            and cost of all customers, so that chance decides among them where the budget does not stretch, and
            takes the others' values away; none takes all away.
        constant_arm: The arm of a constant policy.

    Returns:
        plans.offers; what has no value is not decided for, and may be drawn to learn from.
    """
    if verdict == "personalised":
        return offers
    names = ("value_amount", "value_low_amount", "value_high_amount")
    unknown = F.lit(None).cast("double")
    if verdict == "none" or constant_arm is None:
        return offers.withColumns(dict.fromkeys(names, unknown))
    means = (
        offers.where(F.col("arm") == constant_arm)
        .groupBy("promotion_id")
        .agg(*(F.avg(name).alias(f"_{name}") for name in (*names, "cost_amount")))
    )
    joined = offers.join(F.broadcast(means), "promotion_id", "left")
    values = {name: F.col(f"_{name}") for name in names}
    return joined.withColumns({**values, "cost_amount": F.coalesce("_cost_amount", "cost_amount")}).drop(
        *(f"_{name}" for name in (*names, "cost_amount"))
    )

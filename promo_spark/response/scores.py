"""What each planned promotion is expected to do for each customer it may be given."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decisions import SCORES

OUTCOMES = ("margin_amount", "sales_amount", "is_visited", "discount_amount")
"""Outcomes whose uplift is learnt, the one that is explained first."""
_MOST_CONTRIBUTIONS = 10
_FROM_UPLIFT = {
    "visit_uplift_prob": "uplift_is_visited",
    "sales_uplift_amount": "uplift_sales_amount",
    "margin_uplift_amount": "uplift_margin_amount",
    "margin_low_amount": "uplift_margin_amount_low",
    "margin_high_amount": "uplift_margin_amount_high",
}


def assemble_scores(
    *, candidates: DataFrame, as_of_date: date, learner: str | None, learnt_from: str | None
) -> DataFrame:
    """Bring what the models say of each candidate into the columns of the scores.

    Args:
        candidates: response.candidates with ``redemption_prob`` and, where uplift was learnt, the columns that the
            uplift model adds.
        as_of_date: Date of the scores.
        learner: What learnt the uplift; None where nothing could.
        learnt_from: randomised or observational.

    Returns:
        response.scores, lazily. Of an arm that was never decided on, the uplift is NULL and assumed.
    """
    known = set(candidates.columns)
    unknown = F.lit(None).cast("double")
    values = {name: F.col(source) if source in known else unknown for name, source in _FROM_UPLIFT.items()}
    discount = F.col("uplift_discount_amount") if "uplift_discount_amount" in known else unknown
    is_learnt = values["margin_uplift_amount"].isNotNull()
    contributions = (
        F.slice(
            F.sort_array(
                F.transform(
                    F.map_entries("contributions"),
                    lambda entry: F.struct((-F.abs(entry["value"])).alias("size"), entry["key"], entry["value"]),
                )
            ),
            1,
            _MOST_CONTRIBUTIONS,
        )
        if "contributions" in known
        else None
    )
    told = candidates.withColumns(
        {
            "as_of_date": F.lit(as_of_date),
            **values,
            "discount_cost_amount": F.greatest(discount, F.lit(0.0)),
            "learner": F.when(is_learnt, F.lit(learner)),
            "learnt_from": F.when(is_learnt, F.lit(learnt_from)).otherwise(F.lit("assumed")),
            "contributions": F.lit(None)
            if contributions is None
            else F.map_from_entries(F.transform(contributions, lambda entry: F.struct(entry["key"], entry["value"]))),
        }
    )
    return told.select(*(F.col(column.name).cast(column.dtype) for column in SCORES.columns))

"""From what the models say to response.scores."""

from datetime import date

from pyspark.sql import functions as F

from promo_spark.contracts.decisions import CANDIDATES, SCORES
from promo_spark.response.scores import assemble_scores
from tests.conftest import MakeRows

DAY = date(2017, 6, 5)


def test_what_was_learnt_is_kept_and_what_was_not_is_assumed(make_rows: MakeRows) -> None:
    rows = [{"customer_id": name, "promotion_id": "p", "as_of_date": DAY, "arm": "a"} for name in ("ann", "bob")]
    is_ann = F.col("customer_id") == "ann"
    moved = F.map_from_arrays(
        F.array(*(F.lit(f"x{n}") for n in range(12))), F.array(*(F.lit((-1.0) ** n * n) for n in range(12)))
    )
    told = make_rows(CANDIDATES, rows).withColumns(
        {
            "redemption_prob": F.lit(0.3),
            **{
                f"uplift_{name}": F.when(is_ann, value)
                for name, value in {
                    "margin_amount": 2.0,
                    "margin_amount_low": 1.0,
                    "margin_amount_high": 3.0,
                    "sales_amount": 9.0,
                    "is_visited": 0.1,
                    "discount_amount": -0.5,
                }.items()
            },
            "contributions": F.when(is_ann, moved),
        }
    )
    scores = assemble_scores(candidates=told, as_of_date=DAY, learner="dr_linear", learnt_from="randomised")
    assert tuple(scores.columns) == SCORES.column_names
    ann, bob = sorted(scores.collect(), key=lambda row: str(row["customer_id"]))
    assert (ann["margin_uplift_amount"], ann["margin_low_amount"], ann["learnt_from"]) == (2.0, 1.0, "randomised")
    assert ann["discount_cost_amount"] == 0.0  # a promotion does not pay the retailer for being given
    assert len(ann["contributions"]) == 10
    assert min(abs(value) for value in ann["contributions"].values()) == 2.0
    assert (bob["margin_uplift_amount"], bob["learner"], bob["learnt_from"]) == (None, None, "assumed")
    nothing = assemble_scores(
        candidates=make_rows(CANDIDATES, rows).withColumn("redemption_prob", F.lit(None).cast("double")),
        as_of_date=DAY,
        learner=None,
        learnt_from=None,
    )
    assert {row["learnt_from"] for row in nothing.collect()} == {"assumed"}

"""Each customer's promotions, the likeliest to be redeemed first, with what told how likely."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from promo_spark.contracts.decisions import LEARNERS, SCORES
from promo_spark.contracts.recommend import RECOMMENDED_PROMOTIONS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE

_USED_FOR = "used_for_"
_LEARNT = "redemption"


@produces(RECOMMENDED_PROMOTIONS, scores=SCORES, learners=LEARNERS)
def rank_promotions(*, scores: DataFrame, learners: DataFrame, as_of_date: date, list_length: int = 20) -> DataFrame:
    """Rank the planned promotions for each customer by P(redemption | given).

    Ties go to the promotion whose id comes first.

    Args:
        scores: response.scores; pairs without a probability are left out.
        learners: response.learners; the metric used_for_<arm> names what an arm's probabilities come from, used_for_
            alone what those of other arms come from.
        as_of_date: Date of the scores.
        list_length: Promotions per customer at most.

    Returns:
        recommend.promotions.
    """
    sources = learners.where((F.col(AS_OF_DATE) == F.lit(as_of_date)) & F.col("metric").startswith(_USED_FOR))
    named = sources.select(
        F.substring("metric", len(_USED_FOR) + 1, 10_000).alias("arm"), F.col("learner").alias("_own")
    )
    others = named.where("arm = ''").agg(F.max("_own").alias("_others"))
    best_first = Window.partitionBy("customer_id").orderBy(F.desc("redemption_prob"), "promotion_id")
    told = scores.where((F.col(AS_OF_DATE) == F.lit(as_of_date)) & F.col("redemption_prob").isNotNull())
    return (
        told.withColumn("rank", F.row_number().over(best_first))
        .where(F.col("rank") <= list_length)
        .join(F.broadcast(named), "arm", "left")
        .crossJoin(F.broadcast(others))
        .withColumn("model", F.coalesce("_own", "_others", F.lit(_LEARNT)))
    )

"""Learn from past decisions who redeems a promotion, and what being given one changes."""

from __future__ import annotations

from pyspark.sql import functions as F

from promo_spark.contracts.decisions import CANDIDATES, DECISIONS, LEARNERS, NO_ARM, SCORES, SEGMENT_UPLIFTS
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.recommend import RECOMMENDED_PROMOTIONS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import (
    ASSIGNMENTS,
    CUSTOMERS,
    ORDER_LINES,
    PROMOTION_PRODUCTS,
    PROMOTIONS,
    REDEMPTIONS,
)
from promo_spark.pipelines.uplift_effects import learn_effects
from promo_spark.pipelines.uplift_redemption import learn_redemption
from promo_spark.recommend.promotions import rank_promotions
from promo_spark.response.decision_rows import gather_candidates, gather_decisions
from promo_spark.response.scores import assemble_scores
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage


def run(stage: Stage) -> None:
    """Lay out past decisions and planned promotions, learn from the ones, and score the others."""
    _lay_out(stage)
    candidates = stage.read(CANDIDATES)
    decisions = stage.read(DECISIONS)
    redeemed, redemption_figures = learn_redemption(stage, decisions, candidates)
    effects = learn_effects(stage, decisions, redeemed)
    stage.write(LEARNERS, redemption_figures.unionByName(effects.figures))
    scores = assemble_scores(
        candidates=effects.candidates,
        as_of_date=stage.as_of_date,
        learner=effects.learner,
        learnt_from=effects.learnt_from,
    )
    stage.write(SCORES, scores)
    ranked = rank_promotions(scores=stage.read(SCORES), learners=stage.read(LEARNERS), as_of_date=stage.as_of_date)
    stage.write(RECOMMENDED_PROMOTIONS, ranked)


def _lay_out(stage: Stage) -> None:
    settings, day, zone = stage.settings, stage.as_of_date, stage.settings.source.time_zone
    lines, promotions = stage.read(ORDER_LINES), stage.read(PROMOTIONS)
    covered, redemptions = stage.read(PROMOTION_PRODUCTS), stage.read(REDEMPTIONS)
    decided, handed_over = stage.read(ASSIGNMENTS), stage.read(FEEDBACK)
    decisions = gather_decisions(
        order_lines=lines,
        assignments=decided,
        feedback=handed_over,
        promotions=promotions,
        promotion_products=covered,
        redemptions=redemptions,
        product_features=stage.read(PRODUCT_FEATURES),
        as_of_date=day,
        time_zone=zone,
        settings=settings.uplift,
        features=settings.features,
    )
    if not stage.write(DECISIONS, decisions).accepted:
        stage.limitation(
            "no past decision has run its course before the date: nothing is learnt of what promotions change."
        )
    candidates = gather_candidates(
        order_lines=lines,
        assignments=decided,
        feedback=handed_over,
        promotions=promotions,
        promotion_products=covered,
        redemptions=redemptions,
        product_features=stage.read(PRODUCT_FEATURES),
        customers=stage.read(CUSTOMERS),
        as_of_date=day,
        time_zone=zone,
        settings=settings.assign,
        uplift=settings.uplift,
    )
    if not stage.write(CANDIDATES, candidates).accepted:
        stage.limitation("no promotion is planned that customers could be given one by one.")
    logged = stage.read(DECISIONS).agg(F.count_if(~F.col("is_logged") & (F.col("arm") == NO_ARM))).collect()[0][0]
    if logged:
        stage.limitation(
            f"{logged:,} rows of the arm none are customers that a decision does not name: what is learnt from them is "
            "observational."
        )


PIPELINE = Pipeline(
    name="uplift",
    summary="Learn from past decisions who redeems a promotion, and what being given one changes.",
    reads=(
        *(ORDER_LINES, ASSIGNMENTS, PROMOTIONS, PROMOTION_PRODUCTS, REDEMPTIONS, CUSTOMERS, PRODUCT_FEATURES),
        *(FEEDBACK, SEGMENT_CUSTOMERS),
    ),
    writes=(DECISIONS, CANDIDATES, LEARNERS, SEGMENT_UPLIFTS, SCORES, RECOMMENDED_PROMOTIONS),
    run=run,
    settings=(
        *("uplift", "features", "seed", "source.time_zone"),
        *("assign.promotions", "assign.planning_days"),
    ),
    purpose="personalisation",
)

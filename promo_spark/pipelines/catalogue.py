"""Every stage there is. Their order comes from what they read and write."""

from promo_spark.pipelines import (
    assign,
    backtest,
    campaign_effects,
    fairness,
    features,
    ideas,
    ingest,
    kpis,
    measure,
    off_policy,
    plan,
    recommend,
    report,
    response,
    segments,
    uplift,
)

ALL = (
    ingest.PIPELINE,
    features.PIPELINE,
    segments.PIPELINE,
    recommend.PIPELINE,
    response.PIPELINE,
    plan.PIPELINE,
    uplift.PIPELINE,
    assign.PIPELINE,
    ideas.PIPELINE,
    backtest.PIPELINE,
    kpis.PIPELINE,
    fairness.PIPELINE,
    campaign_effects.PIPELINE,
    off_policy.PIPELINE,
    measure.PIPELINE,
    report.PIPELINE,
)

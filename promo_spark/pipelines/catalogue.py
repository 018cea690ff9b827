"""Every stage there is. Their order comes from what they read and write."""

from promo_spark.pipelines import (
    assign,
    backtest,
    campaign_effects,
    features,
    ideas,
    ingest,
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
    campaign_effects.PIPELINE,
    off_policy.PIPELINE,
    report.PIPELINE,
)

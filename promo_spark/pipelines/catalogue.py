"""Every stage there is. Their order comes from what they read and write."""

from promo_spark.pipelines import (
    assign,
    backtest,
    features,
    ideas,
    ingest,
    measure,
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
    measure.PIPELINE,
    report.PIPELINE,
)

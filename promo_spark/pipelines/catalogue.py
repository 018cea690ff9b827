"""Every stage there is. Their order comes from what they read and write."""

from promo_spark.pipelines import backtest, features, ideas, ingest, plan, recommend, report, response, segments

ALL = (
    ingest.PIPELINE,
    features.PIPELINE,
    segments.PIPELINE,
    recommend.PIPELINE,
    response.PIPELINE,
    plan.PIPELINE,
    ideas.PIPELINE,
    backtest.PIPELINE,
    report.PIPELINE,
)

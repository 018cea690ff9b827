"""Every stage there is. Their order comes from what they read and write."""

from promo_spark.pipelines import backtest, features, ingest, plan, recommend, report, response, segments

ALL = (
    ingest.PIPELINE,
    features.PIPELINE,
    segments.PIPELINE,
    recommend.PIPELINE,
    response.PIPELINE,
    plan.PIPELINE,
    backtest.PIPELINE,
    report.PIPELINE,
)

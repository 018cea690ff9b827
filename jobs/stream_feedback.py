"""Take in feedback as it arrives: exposures, redemptions, ratings and events."""

from promo_spark.pipelines import stream_feedback
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(stream_feedback.PIPELINE))

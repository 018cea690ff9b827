"""Measure what randomised decisions changed."""

from promo_spark.pipelines import measure
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(measure.PIPELINE))

"""Decide which segment gets which promotion."""

from promo_spark.pipelines import plan
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(plan.PIPELINE))

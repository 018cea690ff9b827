"""Decide which customer gets which promotion, under budgets and limits."""

from promo_spark.pipelines import assign
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(assign.PIPELINE))

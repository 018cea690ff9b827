"""Audit who gets what by demographic group, and how often customers are spoken to."""

from promo_spark.pipelines import fairness
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(fairness.PIPELINE))

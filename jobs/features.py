"""Describe customers, products and promotions as of a date."""

from promo_spark.pipelines import features
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(features.PIPELINE))

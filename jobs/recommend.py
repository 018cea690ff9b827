"""Fit the recommender and list products for each customer."""

from promo_spark.pipelines import recommend
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(recommend.PIPELINE))

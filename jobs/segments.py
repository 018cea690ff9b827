"""Cluster the customers and say who they are."""

from promo_spark.pipelines import segments
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(segments.PIPELINE))

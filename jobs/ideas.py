"""Propose bundles, and find the customers who ask for a nudge."""

from promo_spark.pipelines import ideas
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(ideas.PIPELINE))

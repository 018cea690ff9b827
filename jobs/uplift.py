"""Learn who redeems, and what a promotion changes, customer by customer."""

from promo_spark.pipelines import uplift
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(uplift.PIPELINE))

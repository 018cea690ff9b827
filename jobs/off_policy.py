"""Value the plan, the best simple policies and none on past decisions, before anything is sent."""

from promo_spark.pipelines import off_policy
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(off_policy.PIPELINE))

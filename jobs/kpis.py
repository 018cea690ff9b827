"""Tell how the business and its promotions did."""

from promo_spark.pipelines import kpis
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(kpis.PIPELINE))

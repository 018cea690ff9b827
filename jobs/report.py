"""Write the manager's page."""

from promo_spark.pipelines import report
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(report.PIPELINE))

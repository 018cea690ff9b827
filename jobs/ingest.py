"""Take new files in: sources to bronze to silver."""

from promo_spark.pipelines import ingest
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(ingest.PIPELINE))

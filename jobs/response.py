"""Learn how segments respond to promotions."""

from promo_spark.pipelines import response
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(response.PIPELINE))

"""Search settings on the days before the date, and register what wins as challenger."""

from promo_spark.pipelines import tune
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(tune.PIPELINE, summary=tune.__doc__))

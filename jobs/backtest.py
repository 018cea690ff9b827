"""Set what was predicted against the weeks that followed."""

from promo_spark.pipelines import backtest
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(backtest.PIPELINE))

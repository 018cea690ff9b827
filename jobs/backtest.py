"""Set what was predicted against the weeks that followed, at one date or at several."""

from promo_spark.pipelines import backtest, rolling
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(backtest.PIPELINE, first=rolling.replay_origins))

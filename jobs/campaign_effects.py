"""Measure what past campaigns changed for the customers they targeted, with checks of every assumption."""

from promo_spark.pipelines import campaign_effects
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(campaign_effects.PIPELINE))

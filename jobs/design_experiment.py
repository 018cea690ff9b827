"""Work out what experiments can find, and draw customers into their arms."""

from promo_spark.pipelines import design_experiment
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(design_experiment.PIPELINE))

"""Hand the assignment over: a send list per channel, and the decisions to learn from."""

from promo_spark.pipelines import export
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(export.PIPELINE, summary=export.__doc__))

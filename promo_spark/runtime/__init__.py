"""The only code that touches the outside: session, settings files, tables, MLflow, clock and exit codes."""

from promo_spark.runtime.jobs import run_job
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage

__all__ = ["Pipeline", "Stage", "run_job"]

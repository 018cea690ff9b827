"""Erase customers from every table, list and model; requests come from a file (erase.requests)."""

from promo_spark.pipelines import erase
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(erase.PIPELINE, summary=erase.__doc__))

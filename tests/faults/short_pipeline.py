"""The stages from the files to the segment plan, as one job: each is killed, none is left out."""

from promo_spark.pipelines import features, ingest, plan, response, segments
from promo_spark.runtime import run_job

if __name__ == "__main__":
    stages = (ingest.PIPELINE, features.PIPELINE, segments.PIPELINE, response.PIPELINE, plan.PIPELINE)
    raise SystemExit(run_job(*stages, summary="From the files to the segment plan."))

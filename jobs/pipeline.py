"""Run every stage, from the source to the plan and its report."""

from promo_spark.pipelines.catalogue import ALL
from promo_spark.pipelines.closing import tell_where_things_are
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(*ALL, summary=__doc__, closing=tell_where_things_are))

"""jobs/stream_feedback.py, which kills its whole process group at a point: SIDE STEP [arguments of the job]."""

import sys

from promo_spark.pipelines import stream_feedback
from promo_spark.runtime import run_job
from tests.faults.stream_points import kill_group, stopped_at

if __name__ == "__main__":
    with stopped_at(sys.argv[1], sys.argv[2], kill_group):
        raise SystemExit(run_job(stream_feedback.PIPELINE, arguments=sys.argv[3:]))

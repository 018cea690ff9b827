"""Change the pseudonym key: places.key_file and places.key_version name the new one."""

from promo_spark.pipelines import rotate_key
from promo_spark.runtime import run_job

if __name__ == "__main__":
    raise SystemExit(run_job(rotate_key.PIPELINE, summary=rotate_key.__doc__))

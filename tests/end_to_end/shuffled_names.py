"""A small job that shuffles, spills and caches names, then waits until its scratch files have been looked at.

``spark-submit.sh shuffled_names.py FOLDER CONFIG...``: it writes FOLDER/ready, and ends when FOLDER/looked is there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pyspark import StorageLevel
from pyspark.sql import functions as F

from promo_spark.runtime.session import start_session
from promo_spark.runtime.settings import load_settings

ROWS = 200_000
PATIENCE_SECONDS = 120

if __name__ == "__main__":
    folder, configs = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    spark = start_session("shuffled names", load_settings(configs).spark)
    names = spark.range(ROWS).select(F.concat(F.lit("canary-customer-"), "id").alias("name"))
    shuffled = names.repartition(4, "name").sortWithinPartitions("name").persist(StorageLevel.DISK_ONLY)
    assert shuffled.agg(F.count_distinct("name")).collect()[0][0] == ROWS
    (folder / "ready").touch()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (folder / "looked").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    spark.stop()

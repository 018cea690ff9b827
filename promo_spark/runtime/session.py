"""Start Spark the same way everywhere: on a laptop, in a test, under ``spark-submit`` on a cluster."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

from pyspark.sql import SparkSession

_LOG = logging.getLogger(__name__)

CONFIGURATION: dict[str, str] = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # Instants are UTC everywhere; the retailer's own clock is a setting of its source.
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    # Without Arrow, None in a text column of a pandas frame becomes the text 'nan'.
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
    # A row may be a packed block of a megabyte.
    "spark.sql.execution.arrow.maxBytesPerBatch": "67108864",
    # Nanosecond Parquet timestamps, as pandas writes them, are otherwise refused.
    "spark.sql.legacy.parquet.nanosAsLong": "false",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "64",
}


def start_session(app_name: str, tuning: Mapping[str, object]) -> SparkSession:
    """Start or join the Spark session.

    Args:
        app_name: Shown in Spark's own UI.
        tuning: The settings' ``spark`` section; wins over the defaults here.

    Raises:
        Whatever Spark raises when its master cannot be reached.
    """
    _use_own_python()
    builder = SparkSession.builder.appName(app_name)
    for key, value in {**CONFIGURATION, **{k: _text(v) for k, v in tuning.items()}}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _use_own_python() -> None:
    """Let local workers run this interpreter; a cluster with ``--archives`` brings its own."""
    if "PYSPARK_PYTHON" not in os.environ and "spark.archives" not in os.environ.get("PYSPARK_SUBMIT_ARGS", ""):
        os.environ["PYSPARK_PYTHON"] = sys.executable
        os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

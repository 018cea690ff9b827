"""Start Spark the same way everywhere: on a laptop, in a test, under ``spark-submit`` on a cluster."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import SparkSession

from promo_spark.errors import SettingsError

_LOG = logging.getLogger(__name__)
_SECRET = "PROMO_SPARK_RPC_SECRET"  # noqa: S105  (the name of a variable)
_SECRET_FILE = "PROMO_SPARK_RPC_SECRET_FILE"  # noqa: S105  (likewise)

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
    # A frame that is kept has else as many parts as shuffles may have at most, each a task, however few its rows.
    "spark.sql.optimizer.canChangeCachedPlanOutputPartitioning": "true",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "64",
}


def start_session(app_name: str, tuning: Mapping[str, object]) -> SparkSession:
    """Start or join the Spark session.

    Args:
        app_name: Shown in Spark's own UI.
        tuning: The settings' ``spark`` section; wins over the defaults here.

    Raises:
        SettingsError: The cluster's secret cannot be read.
        Whatever Spark raises when its master cannot be reached.
    """
    _use_own_python()
    builder = SparkSession.builder.appName(app_name)
    for key, value in {**CONFIGURATION, **{k: _text(v) for k, v in tuning.items()}, **_shared_secret(tuning)}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _shared_secret(tuning: Mapping[str, object]) -> dict[str, str]:
    """The secret that a standalone cluster shares with the driver, from a file or the environment.

    Raises:
        SettingsError: The file cannot be read, or others can read it.
    """
    # Only where spark-submit has started the JVM: else pyspark would start it with the secret on its command line.
    if not tuning.get("spark.authenticate") or "PYSPARK_GATEWAY_PORT" not in os.environ:
        return {}
    secret = os.environ.get(_SECRET, "")
    if _SECRET_FILE in os.environ:
        secret = _read_secret(Path(os.environ[_SECRET_FILE]))
    return {"spark.authenticate.secret": secret} if secret else {}


def _read_secret(file: Path) -> str:
    try:
        if file.stat().st_mode & 0o077:
            raise SettingsError(f"{file} ({_SECRET_FILE}) can be read by others: run chmod 600 {file}.")
        return file.read_text(encoding="utf-8").strip()
    except OSError as fault:
        raise SettingsError(f"{file} ({_SECRET_FILE}) cannot be read: {fault.strerror}.") from None


def _use_own_python() -> None:
    """Let local workers run this interpreter; a cluster with ``--archives`` brings its own."""
    if "PYSPARK_PYTHON" not in os.environ and "spark.archives" not in os.environ.get("PYSPARK_SUBMIT_ARGS", ""):
        os.environ["PYSPARK_PYTHON"] = sys.executable
        os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

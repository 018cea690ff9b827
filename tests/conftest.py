"""What all tests share: one Spark session, made only when a test asks for it, and rows from contracts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.table import TableContract
from promo_spark.runtime.session import CONFIGURATION

ROOT = Path(__file__).parents[1]
# Whether a change is good must not hang on a draw: the same examples in `make test`, new ones in `make test-all`.
hypothesis_settings.register_profile("same", derandomize=True, deadline=None)
hypothesis_settings.register_profile("new", deadline=None)
hypothesis_settings.load_profile("same")
# Without its second compiler a JVM is ready sooner, but has room for 48 MB of code only: a pipeline fills that.
FAST_JVM = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"
MakeRows = Callable[[TableContract, Sequence[Mapping[str, Any]]], DataFrame]


def delta_jars() -> str:
    """The Delta jars that the project's set-up put in place."""
    folder = Path(os.environ.get("PROMO_SPARK_JARS", Path(sys.prefix) / "delta-jars"))
    jars = sorted(str(jar) for jar in folder.glob("*.jar"))
    if not jars:
        pytest.fail(f"no Delta jars in {folder}: run 'make setup-dev' once, or set PROMO_SPARK_JARS")
    drivers = Path(os.environ.get("PROMO_SPARK_FAULTS", ROOT / ".venv-faults")) / "driver-jars"
    return ",".join([*jars, *(str(jar) for jar in drivers.glob("*.jar"))])


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One local session for the whole test run, tuned for many small jobs."""
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    scratch = tmp_path_factory.mktemp("spark")
    tuning = {
        "spark.jars": delta_jars(),
        "spark.driver.memory": "2g",
        "spark.driver.extraJavaOptions": f"{FAST_JVM} -Dderby.system.home={scratch}",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2",
        "spark.ui.enabled": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName("promo_spark tests")
    for key, value in {**CONFIGURATION, **tuning}.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def make_rows(spark: SparkSession) -> MakeRows:
    """Build rows of a table from only the columns that matter; the others are NULL."""

    def make(contract: TableContract, rows: Sequence[Mapping[str, Any]]) -> DataFrame:
        unknown = {name for row in rows for name in row} - set(contract.column_names)
        if unknown:
            raise KeyError(f"{contract.name} has no column {sorted(unknown)}")
        values = [tuple(row.get(name) for name in contract.column_names) for row in rows]
        return contract_frame(spark, contract, values)

    return make

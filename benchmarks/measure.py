"""Experiments of many million customers, analysed on Spark from sums.

    make bench-measure
    make bench-measure ARGS="--rows 10000000"

Makes rows of experiments on the executors, with half of the customers given something of known worth, and runs the
pipeline's own steps: one pass that adds up units, and effects and checks from the sums. Peak memory is that of the
driver's process alone, its JVM included. Beside it, many small experiments through the same steps: how often intervals
hold the known effect, and how often one is found where there is none. Prints a table and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.processes import machine
from promo_spark.contracts.experiment_settings import ExperimentSettings, ExperimentTable
from promo_spark.contracts.experiments import EXPERIMENTS
from promo_spark.contracts.rows import contract_frame
from promo_spark.measurement.experiment_effects import check_experiments, estimate_effects
from promo_spark.measurement.experiment_moments import gather_moments
from promo_spark.runtime.session import CONFIGURATION

DAY = date(2024, 1, 1)
EFFECT = 1.0
SMALL = 4000
OUTCOMES, COVARIATES = ("sales", "orders", "bought"), ("before", "orders_before")


def rows_of(spark: SparkSession, customers: int, experiments: int, parts: int, groups: int) -> DataFrame:
    """measurement.experiment_rows of experiments of one size; every other experiment changes nothing."""
    number = F.col("id")
    experiment = F.pmod(number, F.lit(experiments))
    drawn = F.shiftrightunsigned(F.xxhash64(number, F.lit("arm")), 63) == 1
    before = F.exp(2.5 + 0.7 * F.randn(1))
    orders = F.floor(F.rand(2) * 5)
    lifted = F.when(drawn & (F.pmod(experiment, F.lit(2)) == 0), F.lit(EFFECT)).otherwise(F.lit(0.0))
    sales = 0.8 * before + 2.0 * orders - 6.0 * F.log(1.0 - F.rand(3)) + lifted
    return (
        spark.range(0, customers * experiments, 1, parts)
        .withColumns({"before": before, "orders_before": orders.cast("double"), "is_drawn": drawn})
        .select(
            F.concat(F.lit("e"), experiment.cast("string")).alias("experiment"),
            number.cast("string").alias("customer_id"),
            F.lit(DAY).alias("as_of_date"),
            F.when(F.col("is_drawn"), "coupon").otherwise("none").alias("arm"),
            F.lit(0.5).alias("propensity"),
            F.concat(
                F.lit("stratum "), F.pmod(F.xxhash64(number, F.lit("stratum")), F.lit(groups)).cast("string")
            ).alias("stratum"),
            F.concat(F.lit("segment "), F.pmod(F.xxhash64(number), F.lit(groups)).cast("string")).alias("segment"),
            F.lit(None).cast("string").alias("cluster_id"),
            *(F.lit(1).cast("long").alias(name) for name in ("record_count", "arm_count")),
            *(F.lit(False).alias(name) for name in ("is_early", "is_missing")),
            F.array("before", "orders_before").alias("covariates"),
            F.array(sales, F.floor(F.rand(4) * 4).cast("double"), (F.rand(5) < 0.3).cast("double")).alias("outcomes"),
        )
    )


def analyse(
    spark: SparkSession, rows: DataFrame, experiments: int
) -> tuple[list[tuple[str, float, float, float]], int]:
    """Experiment, low, high and p-value of the adjusted effect on sales; and the number of checks that failed."""
    tables = tuple(
        ExperimentTable(
            name=f"e{number}",
            format="parquet",
            path="made here",
            customer="customer",
            arm="arm",
            outcomes={name: name for name in OUTCOMES},
            covariates=COVARIATES,
        )
        for number in range(experiments)
    )
    settings = ExperimentSettings(tables=tables)
    moments = gather_moments(experiment_rows=rows).localCheckpoint()
    designs = contract_frame(spark, EXPERIMENTS)
    found = estimate_effects(experiment_moments=moments, experiments=designs, as_of_date=DAY, settings=settings)
    told = found.where("metric = 'sales' AND method = 'regression_adjusted' AND segment = 'all'")
    effects = [(row.experiment, row.low, row.high, row.p_value) for row in told.collect()]
    checks = check_experiments(experiment_moments=moments, experiments=designs, as_of_date=DAY, settings=settings)
    return effects, checks.where("result = 'failed'").count()


class DriverMemory(threading.Thread):
    """Highest resident memory of this process and its JVM; Python workers of executors are not the driver's."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_gb = 0.0
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.wait(0.5):
            own = {os.getpid(), *(child for child in children_of(os.getpid()) if name_of(child) == "java")}
            self.peak_gb = max(self.peak_gb, sum(resident_gb(process) for process in own))


def children_of(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def name_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


def resident_gb(process: int) -> float:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
    except OSError:
        return 0.0


def session(heap: str) -> SparkSession:
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    scratch = tempfile.mkdtemp(prefix="promo_spark-measure-")
    builder = SparkSession.builder.master("local[2]").appName("measure").config("spark.driver.memory", heap)
    own = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "4", "spark.local.dir": scratch}
    without_delta = {key: value for key, value in CONFIGURATION.items() if "delta" not in value.lower()}
    for key, value in {**without_delta, **own}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--experiments", type=int, default=400, help=f"small ones, of {SMALL} customers")
    parser.add_argument("--heap", default="2g", help="of the driver, which runs the executors too")
    options = parser.parse_args()
    spark = session(options.heap)
    spark.sparkContext.setLogLevel("ERROR")
    memory = DriverMemory()
    memory.start()
    started = time.monotonic()
    effects, failed = analyse(spark, rows_of(spark, options.rows, 1, max(options.rows // 5_000_000, 4), 5), 1)
    wall_s = time.monotonic() - started
    memory.is_over.set()
    memory.join()
    name, low, high, p_value = effects[0]
    print(
        f"\n{options.rows:,} customers in one experiment ({name}): effect of {EFFECT:g} within {low:.4f} to {high:.4f}"
    )
    print(f"{wall_s:.1f} s, {options.rows / wall_s / 1e6:.2f} million rows a second, driver {memory.peak_gb:.2f} GB\n")
    many, _ = analyse(spark, rows_of(spark, SMALL, options.experiments, 8, 1), options.experiments)
    has_effect = [(int(experiment[1:]) % 2 == 0, low, high, p) for experiment, low, high, p in many]
    holds = [low <= EFFECT <= high for real, low, high, _ in has_effect if real]
    false = [p < 0.05 for real, _, _, p in has_effect if not real]
    coverage, rate = sum(holds) / len(holds), sum(false) / len(false)
    print(f"{options.experiments} experiments of {SMALL:,}: intervals hold the effect in {coverage:.3f}, ", end="")
    print(f"something found where there is nothing in {rate:.3f}\n")
    told = {
        "benchmark": "measure",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {name: version(name) for name in ("pyspark", "numpy")},
        "rows": options.rows,
        "wall_s": round(wall_s, 1),
        "driver_rss_gb": round(memory.peak_gb, 2),
        "coverage": round(coverage, 4),
        "false_positive_rate": round(rate, 4),
        "effect": [low, high, p_value],
        "checks_failed": failed,
    }
    print(json.dumps(told))
    spark.stop()


if __name__ == "__main__":
    main()

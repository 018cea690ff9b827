"""Recommended lists against what was bought: this project's recommend stage beside peers, on the same rows.

    make bench-recommend
    make bench-recommend ARGS="--config benchmarks/recommend.yaml --config my_shop.yaml --set as_of_date=2025-03-03"

The stage learns from the lines before the as_of_date; every line from that day on is a test line. The slot all
counts every test purchase of the catalogue, the slot novel only products that the customer had not bought before.
NDCG at 10, mean over the customers with such purchases. Peers run in an environment of their own on the same
rows. Differences are paired; their errors come from resampling customers. Which of the project's models stands
for it is an argument, so that nothing is chosen on test rows; the best peer is the best on the test rows.
Prints a table, and as its last line one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.memory_stage import MemoryStage  # noqa: E402  (the path comes first)
from benchmarks.processes import machine, run_measured, tree_usage  # noqa: E402
from promo_spark.contracts.ingest import USUAL_SIZES  # noqa: E402
from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS  # noqa: E402
from promo_spark.contracts.rows import contract_frame  # noqa: E402
from promo_spark.contracts.settings import Settings  # noqa: E402
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS  # noqa: E402
from promo_spark.ingest.entities import conform_products  # noqa: E402
from promo_spark.ingest.order_lines import conform_order_lines  # noqa: E402
from promo_spark.pipelines import recommend  # noqa: E402
from promo_spark.pipelines.ingest_loads import source_tables  # noqa: E402
from promo_spark.recommend.purchases import keep_eligible_lines  # noqa: E402
from promo_spark.runtime.input_files import list_files  # noqa: E402
from promo_spark.runtime.inputs import open_records  # noqa: E402
from promo_spark.runtime.session import CONFIGURATION  # noqa: E402
from promo_spark.runtime.settings import load_settings  # noqa: E402
from promo_spark.sources.mapping import map_records, needed_columns  # noqa: E402

K = 10
DRAWS = 1000
SLOTS = ("all", "novel")
LAST_DAY = date(9999, 1, 1)


def start_spark(settings: Settings) -> SparkSession:
    """The project's session, without Delta: nothing here is kept."""
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").appName("bench-recommend").config("spark.ui.enabled", "false")
    plain = {key: value for key, value in CONFIGURATION.items() if "delta" not in value}
    for key, value in {**plain, "spark.driver.memory": "4g", **settings.spark}.items():
        builder = builder.config(key, str(value))
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def open_silver(spark: SparkSession, settings: Settings, folder: Path) -> dict[str, DataFrame]:
    """The two tables the stage reads, mapped and conformed as by the ingest stage; ids stay the source's own."""
    offered = source_tables(settings.source)
    frames: dict[str, DataFrame] = {}
    for silver in (PRODUCTS, ORDER_LINES):
        mapping = offered[silver.entity].mapping
        opened = open_records(spark, mapping, list_files(spark, mapping), needed_columns(mapping))
        mapped = map_records(
            records=opened.records, mapping=mapping, silver=silver, time_zone=settings.source.time_zone
        ).withColumn("ingest_sequence", F.lit(1))
        if silver == PRODUCTS:
            conformed = conform_products(products=mapped)
        else:
            conformed = conform_order_lines(
                order_lines=mapped.withColumnRenamed("raw_customer_id", "customer_id"),
                # Nothing is known of usual sizes, so nothing is flagged: the stage does not look at the flag.
                usual_sizes=contract_frame(spark, USUAL_SIZES),
                products=frames[PRODUCTS.name],
                time_zone=settings.source.time_zone,
            )
        place = str(folder / silver.entity)
        conformed.where(F.size("faults") == 0).drop("faults").write.parquet(place)
        frames[silver.name] = spark.read.parquet(place)
    return frames


def write_rows(tables: dict[str, DataFrame], settings: Settings, folder: Path) -> pd.DataFrame:
    """What peers learn from and all are judged by: customer, product, day (0 is the as_of_date), category."""
    lines = keep_eligible_lines(
        order_lines=tables[ORDER_LINES.name],
        products=tables[PRODUCTS.name],
        as_of_date=LAST_DAY,
        settings=settings.recommend,
    )
    rows = (
        lines.join(tables[PRODUCTS.name].select("product_id", "category"), "product_id", "left")
        .select(
            "customer_id",
            "product_id",
            "category",
            F.date_diff("order_date", F.lit(settings.as_of_date)).alias("day"),
        )
        .distinct()
        .toPandas()
        .sort_values(["customer_id", "product_id", "day"], ignore_index=True)
    )
    buyers = rows[rows["day"] < 0].drop_duplicates(["customer_id", "product_id"])["product_id"].value_counts()
    rows["in_catalogue"] = rows["product_id"].map(buyers).fillna(0) >= settings.recommend.min_customers
    rows.to_parquet(folder / "rows.parquet")
    return rows


def relevant_products(rows: pd.DataFrame) -> dict[str, dict[str, set[str]]]:
    """Per slot and customer, what was bought from day 0 on."""
    past = rows[rows["day"] < 0]
    test = rows[(rows["day"] >= 0) & rows["in_catalogue"] & rows["customer_id"].isin(past["customer_id"].unique())]
    known = set(zip(past["customer_id"], past["product_id"], strict=True))
    relevant: dict[str, dict[str, set[str]]] = {slot: {} for slot in SLOTS}
    for customer, product in zip(test["customer_id"], test["product_id"], strict=True):
        relevant["all"].setdefault(customer, set()).add(product)
        if (customer, product) not in known:
            relevant["novel"].setdefault(customer, set()).add(product)
    return relevant


def ndcg_of(lists: dict[str, list[str]], relevant: dict[str, set[str]]) -> np.ndarray:
    """Per customer of ``relevant`` in the order of their ids; a customer without a list scores nothing."""
    discounts = 1 / np.log2(np.arange(2, K + 2))
    scores = []
    for customer in sorted(relevant):
        own = relevant[customer]
        gains = sum(d for d, p in zip(discounts, lists.get(customer, [])[:K], strict=False) if p in own)
        scores.append(gains / discounts[: len(own)].sum())
    return np.array(scores)


def paired(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Mean difference, and its standard error over resampled customers."""
    random, gaps = np.random.default_rng(0), ours - theirs
    means = [gaps[random.integers(0, len(gaps), len(gaps))].mean() for _ in range(DRAWS)]
    return float(gaps.mean()), float(np.std(means))


def lists_by_model(frame: pd.DataFrame) -> dict[tuple[str, str], dict[str, list[str]]]:
    """(slot, model) -> customer -> products, best first."""
    ranked = frame.sort_values("rank")
    return {
        (slot, model): own.groupby("customer_id")["product_id"].agg(list).to_dict()
        for (slot, model), own in ranked.groupby(["slot", "model"])
    }


def run_stage(settings: Settings, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """The stage's lists, the rows, and the CPU seconds of the stage."""
    spark = start_spark(settings)
    tables = open_silver(spark, settings, folder)
    stage = MemoryStage(settings, tables, spark, folder)
    before = tree_usage(os.getpid())[0]
    recommend.run(stage)
    cpu_s = tree_usage(os.getpid())[0] - before
    lists = stage.tables[RECOMMENDED_PRODUCTS.name].where(F.col("rank") <= K)
    found = lists.select("customer_id", "model", "slot", "rank", "product_id").toPandas()
    rows = write_rows(tables, settings, folder)
    spark.stop()
    return found, rows, cpu_s


def run_peers(folder: Path, min_customers: int) -> tuple[pd.DataFrame, dict[str, str]]:
    """The peers' lists, and versions."""
    python = os.environ.get("PROMO_SPARK_PEERS_PYTHON", str(ROOT / ".venv-benchmarks/bin/python"))
    script = str(ROOT / "benchmarks/contenders/recommend.py")
    environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    usage = run_measured([python, script, str(folder), str(min_customers)], environment=environment)
    if usage.exit_code:
        sys.exit("\n".join([*usage.lines[-20:], "the peers failed: 'make bench-recommend' makes their environment"]))
    return pd.read_parquet(folder / "peers.parquet"), json.loads(usage.lines[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, action="append", help="settings files, with the source")
    parser.add_argument("--set", action="append", default=[], help="a setting, key=value")
    parser.add_argument("--days", type=int, default=366, help="days from the as_of_date that count")
    parser.add_argument("--no-peers", action="store_true", help="the project's models only: to settle settings")
    parser.add_argument("--all-model", default="neighbours", help="model that stands for the project in the slot all")
    parser.add_argument("--novel-model", default="neighbours", help="the same in the slot novel")
    options = parser.parse_args()
    started = time.monotonic()
    settings = load_settings(options.config or [ROOT / "benchmarks/recommend.yaml"], options.set)
    with tempfile.TemporaryDirectory() as scratch:
        found, rows, cpu_s = run_stage(settings, Path(scratch))
        peers, versions = found, {}
        if not options.no_peers:
            peers, versions = run_peers(Path(scratch), settings.recommend.min_customers)
    relevant = relevant_products(rows[rows["day"] < options.days])
    own, others = lists_by_model(found), lists_by_model(peers)
    chosen = {"all": options.all_model, "novel": options.novel_model}
    result: dict[str, object] = {
        "benchmark": "recommend",
        "date": datetime.now(UTC).date().isoformat(),
        "as_of_date": settings.as_of_date.isoformat(),
        "machine": machine(),
        "versions": {**{name: version(name) for name in ("pyspark", "numpy", "scipy")}, **versions},
        "train_rows": int((rows["day"] < 0).sum()),
        "catalogue": int(rows.loc[rows["in_catalogue"], "product_id"].nunique()),
        "stage_cpu_s": round(cpu_s, 1),
    }
    for slot in SLOTS:
        result |= compare(slot, chosen[slot], own, others, relevant[slot])
    result["wall_s"] = round(time.monotonic() - started, 1)
    print(json.dumps(result))


def compare(
    slot: str,
    chosen: str,
    own: dict[tuple[str, str], dict[str, list[str]]],
    peers: dict[tuple[str, str], dict[str, list[str]]],
    relevant: dict[str, set[str]],
) -> dict[str, object]:
    """Print a slot's table; its part of the result."""
    scores = {f"{model} (this project)": ndcg_of(lists, relevant) for (of, model), lists in own.items() if of == slot}
    theirs = {model: ndcg_of(lists, relevant) for (of, model), lists in peers.items() if of == slot}
    ours = scores[f"{chosen} (this project)"]
    print(f"\n{slot}, {len(relevant):,} customers{'NDCG@10':>28}{'error':>8}{chosen + ' minus it':>24}{'error':>8}")
    for name, values in sorted({**scores, **theirs}.items(), key=lambda entry: -entry[1].mean()):
        gap, error = paired(ours, values)
        spread = values.std() / len(values) ** 0.5
        print(f"{name:<42}{values.mean():>8.4f}{spread:>8.4f}{gap:>+24.4f}{error:>8.4f}")
    best = max(theirs, key=lambda name: theirs[name].mean())
    gap, error = paired(ours, theirs[best])
    key = f"{slot}_ndcg{K}"
    return {
        key: round(float(ours.mean()), 4),
        f"{key}_se": round(float(ours.std() / len(ours) ** 0.5), 4),
        f"{key}_model": chosen,
        f"{key}_minus_best_peer": round(gap, 4),
        f"{key}_minus_best_peer_se": round(error, 4),
        f"{slot}_best_peer": best,
        f"{slot}_customers": len(relevant),
        f"{slot}_peers": {name: round(float(values.mean()), 4) for name, values in theirs.items()},
        f"{slot}_models": {name: round(float(values.mean()), 4) for name, values in scores.items()},
    }


if __name__ == "__main__":
    main()

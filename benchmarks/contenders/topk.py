"""One contender of the top-k benchmark on one set of factors, as a process of its own that can be measured.

    python benchmarks/contenders/topk.py NAME FOLDER USERS K [keep]

Writes "ready" when set up and "done" when the lists are made. FOLDER holds the factors, see
benchmarks/topk.py. With "keep" the contenders on Spark then make their lists again, and write them to FOLDER.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pyspark.ml.recommendation import ALSModel
    from pyspark.sql import DataFrame, SparkSession

BLOCK = 256
KEEP = sys.argv[5:] == ["keep"]
Measured = Callable[[Path, int, int], None]


def say(word: str) -> None:
    print(word, flush=True)


def factors(folder: Path, users: int) -> tuple[np.ndarray, np.ndarray]:
    return np.load(folder / "users.npy")[:users], np.load(folder / "items.npy")


def matmul(folder: Path, users: int, k: int) -> None:
    """The matrix product alone: what every exact method has to do."""
    del k
    customers, items = factors(folder, users)
    turned, scores = np.ascontiguousarray(items.T), np.empty((BLOCK, len(items)), dtype=np.float32)
    say("ready")
    for first in range(0, users, BLOCK):
        block = customers[first : first + BLOCK]
        np.matmul(block, turned, out=scores[: len(block)])
    say("done")


def argpartition(folder: Path, users: int, k: int) -> None:
    """The usual way in NumPy."""
    customers, items = factors(folder, users)
    turned = np.ascontiguousarray(items.T)
    say("ready")
    for first in range(0, users, BLOCK):
        scores = customers[first : first + BLOCK] @ turned
        best = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
        np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
    say("done")


def kernel(folder: Path, users: int, k: int) -> None:
    """This project's kernel without Spark, in portions as Spark would hand them over."""
    from promo_spark.kernels.topk import best_items  # noqa: PLC0415 (the peer's environment lacks it)

    customers, items = factors(folder, users)
    say("ready")
    for first in range(0, users, 10_000):
        best_items(customers[first : first + 10_000], items, k)
    say("done")


def implicit(folder: Path, users: int, k: int) -> None:
    """The function of implicit, in C++."""
    from implicit.cpu.topk import topk  # noqa: PLC0415 (only the peer's environment has it)

    customers, items = factors(folder, users)
    say("ready")
    topk(items, customers, k)
    say("done")


def session() -> SparkSession:
    from pyspark.sql import SparkSession  # noqa: PLC0415 (the peer's environment lacks it)

    builder = SparkSession.builder.master("local[2]").appName("top-k").config("spark.driver.memory", "6g")
    spark = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def write_model(folder: Path, rank: int) -> None:
    """Save a model fitted on four ratings, whose factors benchmarks/topk.py then replaces."""
    from pyspark.ml.recommendation import ALS  # noqa: PLC0415

    ratings = session().createDataFrame(
        [(u, i, 1.0) for u in (0, 1) for i in (0, 1)], "user int, item int, rating float"
    )
    ALS(rank=rank, maxIter=1).fit(ratings).save(str(folder / "model"))


def spark_als(folder: Path, users: int, k: int) -> None:
    """Spark's own lists."""
    spark = session()
    say("ready")
    model: ALSModel = als_model(folder, users)
    discard(model.recommendForAllUsers(k))
    say("done")
    if KEEP:
        lists = model.recommendForAllUsers(k).selectExpr(
            "user AS customer_id", "posexplode(recommendations) AS (place, entry)"
        )
        keep(
            lists.selectExpr("customer_id", "place", "entry.item AS item", "entry.rating AS score"),
            folder / "lists/spark_als",
        )
    spark.stop()


def spark_ours(folder: Path, users: int, k: int) -> None:
    """This project's lists on Spark, from the same files."""
    from promo_spark.recommend.factorisation import ProductFactors  # noqa: PLC0415
    from promo_spark.recommend.topk import list_best_products  # noqa: PLC0415

    spark = session()
    say("ready")
    items = np.load(folder / "items.npy")
    customers = spark.read.parquet(str(folder / f"model-{users}/userFactors"))
    lists = list_best_products(
        customers=customers.selectExpr("id AS customer_id", "features AS factors"),
        product_factors=ProductFactors(np.arange(len(items)).astype(np.str_), items),
        list_length=k,
    )
    discard(lists)
    say("done")
    if KEEP:
        ranked = lists.selectExpr("customer_id", "rank - 1 AS place", "int(product_id) AS item", "score")
        keep(ranked, folder / "lists/spark_ours")
    spark.stop()


def als_model(folder: Path, users: int) -> ALSModel:
    from pyspark.ml.recommendation import ALSModel  # noqa: PLC0415

    return ALSModel.load(str(folder / f"model-{users}"))


def discard(lists: DataFrame) -> None:
    """Make every row and keep none."""
    lists.write.format("noop").mode("overwrite").save()


def keep(lists: DataFrame, place: Path) -> None:
    lists.write.parquet(str(place))


CONTENDERS: dict[str, Measured] = {
    "matmul": matmul,
    "argpartition": argpartition,
    "kernel": kernel,
    "implicit": implicit,
    "spark_als": spark_als,
    "spark_ours": spark_ours,
}

if __name__ == "__main__":
    name, folder, users, k = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if name == "write_model":
        write_model(folder, k)
    else:
        CONTENDERS[name](folder, users, k)

"""Uplift of a randomised promotion beside six usual ways to learn it.

    make bench-uplift DATA=FOLDER
    make bench-uplift

FOLDER holds training.csv.gz and test.csv.gz with the columns Promotion (Yes or No), purchase and V1 to V7; without it
the benchmark draws synthetic data of the same form. Models learn from the training rows; the test rows are scored once.
V1 and V4 to V7 are categories, one-hot for everybody. Ours is the mean of two of the project's learners, dr_linear and
dr_gbt, settled by cross-validation on training rows. The share of customers to target is that with the highest net
incremental revenue out of fold in training, for every model its own.

Qini is that of scikit-uplift. IRR is buyers / treated less buyers / control among the targeted; NIR is 10 * (treated
buyers - control buyers) - 0.15 * treated among them. ± is the paired bootstrap's standard error over test customers.
Prints a table, and as its last line one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.processes import machine, run_measured
from promo_spark.kernels.uplift_metrics import qini, rank_by
from promo_spark.response.uplift_groups import out_of_fold
from promo_spark.response.uplift_learners import learn_uplift, prepare_learning
from promo_spark.response.uplift_rows import prepare_rows
from promo_spark.runtime.session import start_session

ROOT = Path(__file__).parents[1]
CATEGORIES, NUMBERS = ("V1", "V4", "V5", "V6", "V7"), ("V2", "V3")
LEARNERS = ("dr_linear", "dr_gbt")
OURS, FOLDS, DRAWS = "promo_spark", 5, 400
SHARES = np.arange(1, 101) / 100


class Customers:
    """Rows of the experiment as arrays."""

    def __init__(self, rows: pd.DataFrame, levels: dict[str, np.ndarray]) -> None:
        told = [rows[list(NUMBERS)].to_numpy(dtype=np.float64)]
        told += [(rows[name].to_numpy()[:, None] == levels[name]).astype(np.float64) for name in CATEGORIES]
        self.x = np.hstack(told)
        self.treated = (rows["Promotion"] == "Yes").to_numpy(dtype=np.int64)
        self.bought = rows["purchase"].to_numpy(dtype=np.float64)
        self.ids = rows["ID"].to_numpy()


def synthetic(rows: int, seed: int) -> pd.DataFrame:
    """An experiment whose effect depends on two categories and bends in a number."""
    rng = np.random.default_rng(seed)
    told = {name: rng.integers(1, 5, rows) for name in CATEGORIES}
    told |= {"V2": rng.normal(30, 5, rows), "V3": rng.normal(size=rows)}
    treated = rng.integers(0, 2, rows)
    uplift = 0.03 * ((told["V4"] == 2) & (told["V5"] != 4)) + 0.008 * np.maximum(told["V3"], 0) - 0.004
    chance = 0.01 + 0.008 * (told["V1"] == 1) + treated * uplift
    bought = (rng.random(rows) < np.clip(chance, 0, 1)).astype(int)
    arms = np.where(treated == 1, "Yes", "No")
    return pd.DataFrame({"ID": np.arange(rows), "Promotion": arms, "purchase": bought, **told})


def irr(targeted: np.ndarray, treated: np.ndarray, bought: np.ndarray, weights: np.ndarray) -> float:
    own, other = weights * targeted * treated, weights * targeted * (1 - treated)
    return float((own * bought).sum() / max(own.sum(), 1) - (other * bought).sum() / max(other.sum(), 1))


def nir(targeted: np.ndarray, treated: np.ndarray, bought: np.ndarray, weights: np.ndarray) -> float:
    gained = weights * targeted * (treated * (10 * bought - 0.15) - (1 - treated) * 10 * bought)
    return float(gained.sum())


def target(scores: np.ndarray, share: float) -> np.ndarray:
    """1 for the share with the highest scores."""
    chosen = np.zeros(len(scores))
    chosen[np.argsort(-scores, kind="stable")[: round(share * len(scores))]] = 1
    return chosen


def best_share(scores: np.ndarray, training: Customers) -> float:
    ones = np.ones(len(scores))
    reached = [nir(target(scores, share), training.treated, training.bought, ones) for share in SHARES]
    return float(SHARES[int(np.argmax(reached))])


def ours(training: Customers, test: Customers) -> tuple[np.ndarray, np.ndarray]:
    """Learn on Spark: scores of the training rows out of fold, and of the test rows."""
    spark = start_session("bench-uplift", {"spark.master": f"local[{os.cpu_count()}]"})
    spark.sparkContext.setLogLevel("OFF")
    frame: DataFrame = spark.createDataFrame(
        pd.DataFrame(
            {
                "customer_id": [f"{one:08d}" for one in training.ids],
                "decision_id": "d",
                "arm": np.where(training.treated == 1, "promotion", "none"),
                "propensity": 0.5,
                "covariates": training.x.tolist(),
                "purchase": training.bought,
            }
        )
    )
    names = tuple(f"x{place}" for place in range(training.x.shape[1]))
    rows = prepare_rows(
        rows=frame, outcomes=("purchase",), covariate_names=names, folds=FOLDS, propensity_floor=0.02, seed=1
    )
    prepared = prepare_learning(rows=rows, ridge=1.0, depths=None)
    told = [learn_uplift(prepared=prepared, learner=name, seed=1) for name in LEARNERS]
    parts = rows.frame.select("customer_id", "fold").toPandas().set_index("customer_id")["fold"]
    folds = parts.loc[[f"{one:08d}" for one in training.ids]].to_numpy()
    designs = rows.standardiser.design(training.x), rows.standardiser.design(test.x)
    scores = (
        np.mean([out_of_fold(designs[0], folds, one.by_fold)[:, 0, 0] for one in told], axis=0),
        np.mean([one.full.uplift(designs[1])[:, 0, 0] for one in told], axis=0),
    )
    rows.release()
    spark.stop()
    return scores


def peers(training: Customers, test: Customers, python: str) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], str]:
    with tempfile.TemporaryDirectory() as scratch:
        folds = np.random.default_rng(5).integers(0, FOLDS, len(training.x))
        told = {"x": training.x, "treated": training.treated, "bought": training.bought, "x_test": test.x}
        np.savez(Path(scratch) / "tables.npz", folds=folds, **told)
        usage = run_measured([python, str(ROOT / "benchmarks/contenders/uplift.py"), scratch])
        if usage.exit_code:
            sys.exit("\n".join([*usage.lines[-20:], "the peers failed: 'make bench-uplift' makes their environment"]))
        with np.load(Path(scratch) / "peers.npz") as said:
            names = sorted({name.split("|")[0] for name in said.files})
            return {name: (said[f"{name}|training"], said[f"{name}|test"]) for name in names}, usage.lines[-1]


def measure(test: Customers, scores: dict[str, np.ndarray], shares: dict[str, float]) -> dict[str, dict[str, list]]:
    """Each metric of each model: on the test rows, then on bootstrap draws of them."""
    rng = np.random.default_rng(7)
    draws = [np.ones(len(test.x)), *(rng.poisson(1.0, len(test.x)).astype(np.float64) for _ in range(DRAWS))]
    # Ranks, so that each draw sorts small numbers.
    ranks = {name: np.unique(own, return_inverse=True)[1].astype(np.float64) for name, own in scores.items()}
    metrics: dict[str, Callable[[str, np.ndarray], float]] = {
        "qini": lambda name, own: qini(rank_by(ranks[name], test.treated, test.bought, own)),
        "irr": lambda name, own: irr(target(scores[name], shares[name]), test.treated, test.bought, own),
        "nir": lambda name, own: nir(target(scores[name], shares[name]), test.treated, test.bought, own),
    }
    return {key: {name: [metric(name, own) for own in draws] for name in scores} for key, metric in metrics.items()}


def compare(reached: dict[str, dict[str, list]], shares: dict[str, float]) -> dict[str, object]:
    result: dict[str, object] = {}
    ranks = dict.fromkeys(shares, 0)
    for key, by_model in reached.items():
        order = sorted(by_model, key=lambda name: -by_model[name][0])
        print(f"\n{key:<28}{'':>12}{'share':>8}{'ours minus it':>22}")
        for place, name in enumerate(order):
            ranks[name] += place + 1
            gaps = np.array(by_model[OURS]) - np.array(by_model[name])
            words = "" if name == OURS else f"{gaps[0]:>+14.4f} ± {gaps[1:].std(ddof=1):.4f}"
            print(f"{name:<28}{by_model[name][0]:>12.4f}{shares[name]:>8.2f}{words}")
        best = next(name for name in order if name != OURS)
        gaps = np.array(by_model[OURS]) - np.array(by_model[best])
        result |= {
            key: round(by_model[OURS][0], 5),
            f"{key}_minus_best_peer": round(float(gaps[0]), 5),
            f"{key}_minus_best_peer_se": round(float(gaps[1:].std(ddof=1)), 5),
            f"{key}_best_peer": best,
            f"{key}_peers": {name: round(own[0], 5) for name, own in by_model.items() if name != OURS},
        }
    print("\nsum of ranks: " + ", ".join(f"{name} {ranks[name]}" for name in sorted(ranks, key=lambda one: ranks[one])))
    return {**result, "rank_sum": ranks[OURS], "rank_sums": ranks, "targeted_share": shares[OURS]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with training.csv.gz and test.csv.gz")
    options = parser.parse_args()
    python = os.environ.get("PROMO_SPARK_PEERS_PYTHON", str(ROOT / ".venv-benchmarks/bin/python"))
    if options.data:
        tables = [pd.read_csv(options.data / f"{name}.csv.gz") for name in ("training", "test")]
    else:
        tables = [synthetic(80_000, 1), synthetic(40_000, 2)]
    levels = {name: np.unique(tables[0][name]) for name in CATEGORIES}
    training, test = (Customers(rows, levels) for rows in tables)
    started = time.monotonic()
    said = {OURS: ours(training, test)}
    seconds = time.monotonic() - started
    others, peer_version = peers(training, test, python)
    said |= others
    shares = {name: best_share(own[0], training) for name, own in said.items()}
    reached = measure(test, {name: own[1] for name, own in said.items()}, shares)
    everybody = nir(np.ones(len(test.x)), test.treated, test.bought, np.ones(len(test.x)))
    print(f"targeting everybody: NIR {everybody:.2f}")
    result = {
        "benchmark": "uplift",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {name: version(name) for name in ("pyspark", "numpy")},
        "peer": peer_version,
        "data": "given" if options.data else "synthetic",
        "nir_everybody": round(everybody, 2),
        "learning_wall_s": round(seconds, 1),
        **compare(reached, shares),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

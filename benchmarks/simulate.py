"""Do intervals hold what they should, and do tests reject as rarely and as often as designed?

    make simulate
    make simulate ARGS="--replications 200 --estimators difference regression_adjusted"

Runs every estimator of `benchmarks/simulations` on worlds whose truth is known, seeded. At 2,000 replications nominal
95 % intervals must hold the truth in 95 ± 1.7 % of them, conservative ones in 93.3 % or more; where nothing differs
5 ± 1.7 % may be rejected, and with intervals that allow to peek 5 % + 3 standard errors at any look; what was designed
for a power must reach it. Prints a table and one line of JSON; exits with 1 where a figure lies outside its bounds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import time
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import simulations
from benchmarks.simulations.figures import Figure, Study


def estimators() -> dict[str, Study]:
    """Every estimator of every family, by name; families are modules with ``ESTIMATORS``."""
    found: dict[str, Study] = {}
    for module in sorted(item.name for item in pkgutil.iter_modules(simulations.__path__)):
        own = getattr(importlib.import_module(f"{simulations.__name__}.{module}"), "ESTIMATORS", {})
        doubled = sorted(set(found) & set(own))
        if doubled:
            raise ValueError(f"{module}: these names are taken: {', '.join(doubled)}")
        found.update(own)
    return found


def study(names: list[str], replications: int, seed: int) -> dict[str, list[Figure]]:
    """What each estimator shows; its draws depend on the seed and its name alone."""
    known = estimators()
    return {name: known[name](np.random.default_rng([seed, zlib.crc32(name.encode())]), replications) for name in names}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=2000, help="experiments per estimator and world")
    parser.add_argument("--estimators", nargs="+", choices=sorted(estimators()), default=sorted(estimators()))
    parser.add_argument("--seed", type=int, default=20171030)
    options = parser.parse_args()
    started = time.monotonic()
    print(f"{'estimator':<26}{'world':<34}{'figure':<16}{'rate':>8}{'bounds':>18}")
    rows, failed = [], []
    for name in options.estimators:
        for figure in study([name], options.replications, options.seed)[name]:
            low, high = figure.bounds
            verdict = "" if figure.is_passed else "  FAILED"
            print(f"{name:<26}{figure.case:<34}{figure.kind:<16}{figure.rate:>8.4f}{low:>9.4f} –{high:>7.4f}{verdict}")
            rows.append([name, figure.case, figure.kind, round(figure.rate, 4)])
            if not figure.is_passed:
                failed.append(f"{name}, {figure.case}: {figure.kind} {figure.rate:.4f}")
    seconds = round(time.monotonic() - started, 1)
    told = {"benchmark": "simulate", "replications": options.replications, "seed": options.seed, "wall_s": seconds}
    print(json.dumps({**told, "failed": failed, "figures": rows}))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

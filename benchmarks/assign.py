"""Budgeted assignment of promotions: this project on Spark beside HiGHS and OR-tools PDLP.

    make bench-assign
    make bench-assign ARGS="--pairs 1000000000 --family-pairs 2000000"

The large instance has a budget and a cap per promotion; it is drawn into Delta first, and what is timed goes from there
to the written plan, Spark's start included. The written plan is then read again and added up. The same is done with
every family of limits at a smaller size, and with each family at a size that fits HiGHS and PDLP. Gaps are
certified: between the plan and a bound that no plan passes. Prints a table, and as its last line one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.processes import Usage, machine, run_measured  # noqa: E402  (the path comes first)

FAMILIES = {
    "budget": "budget only",
    "caps": "budget and caps",
    "segments": "and segments' floors and budgets",
    "three": "three each, category caps",
    "sparse": "1,000 promotions, sparse",
    "ties": "all pairs alike",
    "free": "many zero costs",
    "infeasible": "a floor out of reach",
}
PEERS = {"highs": "HiGHS, relaxed", "integer": "HiGHS, whole", "pdlp": "PDLP 1e-4, relaxed"}
HEADINGS = ("", "pairs", "gap", "missed by", "wall s", "CPU s", "GB")


def run(name: str, family: str, pairs: int, folder: Path, python: str) -> tuple[dict[str, object], Usage]:
    """Run one contender; its answer is the last line."""
    command = [python, str(ROOT / "benchmarks/contenders/assign.py"), name, family, str(pairs), str(folder)]
    environment = {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python}
    for library in ("OPENBLAS", "OMP", "MKL"):
        environment[f"{library}_NUM_THREADS"] = "1"
    usage = run_measured(command, environment=environment)
    if usage.exit_code:
        sys.exit("\n".join([*usage.lines[-20:], f"{name} {family} ended with exit code {usage.exit_code}"]))
    answer: dict[str, object] = json.loads(usage.lines[-1])
    return answer, usage


def show(title: str, pairs: int, entry: dict[str, object]) -> None:
    told = [f"{entry[key]:.1e}" if key in entry else "-" for key in ("gap", "violation")]
    told += [f"{entry[key]:.1f}" for key in ("seconds", "cpu_s", "peak_rss_gb")]
    print(f"{title:<38}{pairs:>14,}" + "".join(f"{text:>11}" for text in told), flush=True)


def run_ours(family: str, pairs: int) -> dict[str, object]:
    """Draw, plan and check one instance."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run("write", family, pairs, folder, sys.executable)
        answer, usage = run("ours", family, pairs, folder, sys.executable)
        if "explained" not in answer:
            answer["violation"] = run("check", family, pairs, folder, sys.executable)[0]["violation"]
    entry = {**answer, "pairs": pairs, **costs(usage)}
    show(FAMILIES[family], pairs, entry)
    if "explained" in entry:
        print(f"    {entry['explained']}")
    return entry


def costs(usage: Usage) -> dict[str, float]:
    return {
        "seconds": round(usage.wall_s, 1),
        "cpu_s": round(usage.cpu_s, 1),
        "peak_rss_gb": round(usage.peak_rss_gb, 2),
    }


def run_peers(family: str, pairs: int, python: str) -> dict[str, dict[str, object]]:
    """This project and its peers on one instance that fits them; gaps to this project's certified bound."""
    found = {"ours": run_ours(family, pairs)}
    bound = found["ours"].get("upper_bound")
    for name, title in PEERS.items():
        answer, usage = run(name, family, pairs, ROOT, python)
        entry = {**answer, **costs(usage)}
        if bound is not None and "value" in entry:
            entry["gap"] = (float(str(bound)) - float(str(entry["value"]))) / abs(float(str(bound)))
        show(f"    {title}", pairs, entry)
        found[name] = entry
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000_000, help="of the large instance; 0 leaves it out")
    parser.add_argument("--family-pairs", type=int, default=2_000_000)
    parser.add_argument("--peer-pairs", type=int, default=40_000, help="0 leaves peers out")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    options = parser.parse_args()
    peer_python = os.environ.get("PROMO_SPARK_PEERS_PYTHON", str(ROOT / ".venv-benchmarks/bin/python"))
    print(f"{HEADINGS[0]:<38}{HEADINGS[1]:>14}" + "".join(f"{heading:>11}" for heading in HEADINGS[2:]), flush=True)
    large = run_ours("caps", options.pairs) if options.pairs else {}
    families: dict[str, dict[str, object]] = {name: run_ours(name, options.family_pairs) for name in options.families}
    if options.peer_pairs:
        print("beside peers", flush=True)
        for name in options.families:
            families[name]["peers"] = run_peers(name, options.peer_pairs, peer_python)
    result = {
        "benchmark": "assign",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {name: version(name) for name in ("pyspark", "numpy", "scipy")},
        "pairs": options.pairs,
        "wall_s": large.get("seconds"),
        "cpu_s": large.get("cpu_s"),
        "certified_gap": large.get("gap"),
        "max_violation": large.get("violation"),
        "peak_rss_gb": large.get("peak_rss_gb"),
        "passes": large.get("passes"),
        "families": families,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

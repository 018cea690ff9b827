"""Time, CPU and memory of the whole pipeline by stage, and how it grows with customers.

    make bench-pipeline
    make bench-pipeline ARGS="--sizes 2000 6000 20000 --keep kept"

Runs the embedded real data in a fresh warehouse, then synthetic copies of growing size. Prints a table, and
as its last line one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.processes import Usage, machine, run_measured  # noqa: E402  (the path comes first)

_FINISHED = re.compile(r"(\w+): finished in ([\d.]+) s")


@dataclass
class Stages:
    """Seconds and CPU seconds per stage, read off the job's own log."""

    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    _before: float = 0.0

    def note(self, line: str, cpu_s: float) -> None:
        """Take in one log line and the CPU seconds of all processes when it came."""
        found = _FINISHED.search(line)
        if found:
            self.wall[found[1]] = float(found[2])
            self.cpu[found[1]] = cpu_s - self._before
            self._before = cpu_s
            told = f"{found[1]}: {self.wall[found[1]]:.1f} s wall, {self.cpu[found[1]]:.1f} s CPU"
            print(told, file=sys.stderr, flush=True)


def run_pipeline(place: Path, *settings: str) -> tuple[Usage, Stages]:
    """Run the whole pipeline once in a warehouse of its own."""
    stages = Stages()
    own = (
        f"places.warehouse={place}/warehouse",
        f"places.identity={place}/identity",
        f"places.key_file={place}/identity/pseudonym.key",
        f"tracking.uri=sqlite:///{place}/mlflow.db",
        f"tracking.artifacts={place}/artifacts",
    )
    command = [str(ROOT / "spark-submit.sh"), str(ROOT / "jobs/pipeline.py"), "--config", str(ROOT / "conf/local.yaml")]
    for setting in (*own, *settings):
        command += ["--set", setting]
    usage = run_measured(command, on_line=stages.note)
    if usage.exit_code:
        sys.exit("\n".join([*usage.lines[-20:], f"the pipeline ended with exit code {usage.exit_code}"]))
    return usage, stages


def growth_exponent(sizes: list[int], seconds: list[float]) -> float:
    """Least-squares slope of log seconds on log customers."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((value - mean_x) ** 2 for value in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[2500, 7500, 25000], help="synthetic customers")
    parser.add_argument("--keep", type=Path, help="new folder for the real run's tables and report")
    options = parser.parse_args()
    if options.keep and options.keep.exists():
        parser.error(f"--keep {options.keep}: there is something; what is finished there would be skipped, not timed.")
    with tempfile.TemporaryDirectory() as scratch:
        usage, stages = run_pipeline(options.keep.resolve() if options.keep else Path(scratch))
    print(f"{'stage':<12}{'wall s':>9}{'CPU s':>9}")
    for name in stages.wall:
        print(f"{name:<12}{stages.wall[name]:>9.1f}{stages.cpu[name]:>9.1f}")
    print(f"{'whole run':<12}{usage.wall_s:>9.1f}{usage.cpu_s:>9.1f}   peak {usage.peak_rss_gb:.2f} GB resident")
    costly = sorted(stages.cpu, key=stages.cpu.__getitem__, reverse=True)[:3]
    print(f"most CPU: {', '.join(costly)}")
    grown: list[tuple[int, float, float]] = []
    for size in options.sizes:
        print(f"synthetic, {size:,} customers", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            source = f"source={{kind: synthetic, customers: {size}}}"
            used, _ = run_pipeline(Path(scratch), source, "as_of_date=2017-06-19")
        grown.append((size, used.wall_s, used.cpu_s))
        print(
            f"SYNTHETIC {size:>8,} customers: {used.wall_s:7.1f} s wall {used.cpu_s:7.1f} s CPU "
            f"{used.peak_rss_gb:5.2f} GB"
        )
    sizes = [size for size, _, _ in grown]
    result = {
        "benchmark": "pipeline",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "wall_s": round(usage.wall_s, 1),
        "cpu_s": round(usage.cpu_s, 1),
        "peak_rss_gb": round(usage.peak_rss_gb, 2),
        "stages_wall_s": stages.wall,
        "stages_cpu_s": {name: round(value, 1) for name, value in stages.cpu.items()},
        "synthetic_sizes": sizes,
        "synthetic_cpu_s": [round(cpu, 1) for _, _, cpu in grown],
        "growth_exponent": round(growth_exponent(sizes, [cpu for _, _, cpu in grown]), 3) if len(grown) > 1 else None,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""What one more day costs once many are loaded: rows and bytes read, CPU and time of ingest, against the full load.

    make bench-incremental
    make bench-incremental ARGS="--days 10 40 160 --lines 20000"

A made retailer exports a file of order lines, one of prices and one of redemptions a day. For each length of history
the whole of it is taken in at once, then one more day, then nothing new; each in a process of its own. What Spark
read stands in its event log. Prints a table, and as its last line one JSON object. Figures are of made data.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.processes import machine, run_measured  # noqa: E402  (the path comes first)

FIRST_DAY = date(2024, 1, 1)
PRODUCTS, STORES, CUSTOMERS, LINES_PER_BASKET = 2_000, 10, 20_000, 8
SETTINGS = """
include: {local}
as_of_date: 2026-01-01
source:
  kind: files
  name: benchmark
  time_zone: UTC
  tables:
    products: {{format: csv, path: {place}/in/products, columns: {{product_id: article, category: kind}}}}
    order_lines:
      format: csv
      path: {place}/in/order_lines
      columns: {{basket_id: receipt, line_id: line, customer_id: customer, product_id: article, store_id: store,
        ordered_at: at, quantity: quantity, sales_amount: amount}}
    prices:
      format: csv
      path: {place}/in/prices
      columns: {{product_id: article, store_id: store, week_start_date: week, shelf_price_amount: price}}
    redemptions:
      format: csv
      path: {place}/in/redemptions
      columns: {{promotion_id: promotion, customer_id: customer, redeemed_date: day}}
places: {{warehouse: {place}/warehouse, identity: {place}/identity, key_file: {place}/identity/key}}
tracking: {{uri: "sqlite:///{place}/mlflow.db", artifacts: {place}/artifacts}}
"""


@dataclass(frozen=True)
class Cost:
    """What one run of ingest took and read."""

    wall_s: float
    cpu_s: float
    rows_read: int
    megabytes_read: float


def export_day(place: Path, number: int, lines: int) -> None:
    """One day's files: order lines, the prices of a seventh of all products, redemptions."""
    random = np.random.default_rng(number)
    day = (FIRST_DAY + timedelta(days=number)).isoformat()
    monday = FIRST_DAY + timedelta(days=number - number % 7)
    baskets = np.arange(lines) // LINES_PER_BASKET
    rows = zip(
        *(baskets.tolist(), (np.arange(lines) % LINES_PER_BASKET).tolist()),
        *(random.integers(0, bound, lines).tolist() for bound in (CUSTOMERS, PRODUCTS, STORES, 24, 60)),
        *(random.integers(1, 4, lines).tolist(), random.integers(50, 2000, lines).tolist()),
        strict=True,
    )
    bought = [
        f"{number}-{basket},{line},{customer},{article},{store},"
        f"{day} {hour:02}:{minute:02}:00,{count},{cents / 100:.2f}"
        for basket, line, customer, article, store, hour, minute, count, cents in rows
    ]
    _export(place, "order_lines", number, "receipt,line,customer,article,store,at,quantity,amount", bought)
    offered = [
        f"{article},{store},{monday},{1 + article % 90 / 10:.2f}"
        for article in range(number % 7, PRODUCTS, 7)
        for store in range(STORES)
    ]
    _export(place, "prices", number, "article,store,week,price", offered)
    redeemed = [f"p{number // 28},{customer},{day}" for customer in random.permutation(CUSTOMERS)[: lines // 100]]
    _export(place, "redemptions", number, "promotion,customer,day", redeemed)


def _export(place: Path, entity: str, number: int, header: str, rows: list[str]) -> None:
    folder = place / "in" / entity
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number:05}.csv").write_text("\n".join([header, *rows]) + "\n")


def ingest(place: Path) -> Cost:
    """Run ingest once, with Spark's event log."""
    events = Path(tempfile.mkdtemp(dir=place, prefix="events-"))
    options = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.compress": "false",
    }
    named = [word for key, value in options.items() for word in ("--conf", f"{key}={value}")]
    job = [str(ROOT / "jobs/ingest.py"), "--config", str(place / "settings.yaml")]
    usage = run_measured([str(ROOT / "spark-submit.sh"), *named, *job])
    if usage.exit_code:
        sys.exit("\n".join([*usage.lines[-20:], f"ingest ended with exit code {usage.exit_code}"]))
    read: dict[str, int] = defaultdict(int)
    for log in events.rglob("*"):
        if log.is_file():
            _add_reads(log, read)
    return Cost(usage.wall_s, usage.cpu_s, read["Records Read"], read["Bytes Read"] / 1e6)


def _add_reads(log: Path, read: dict[str, int]) -> None:
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if '"SparkListenerTaskEnd"' in line:
                metrics = json.loads(line).get("Task Metrics") or {}
                for name, value in metrics.get("Input Metrics", {}).items():
                    read[name] += value


def measure(days: int, lines: int) -> dict[str, Cost]:
    """Costs of a full load of so many days, of one more, and of finding nothing new."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (place / "settings.yaml").write_text(SETTINGS.format(local=ROOT / "conf/local.yaml", place=place))
        _export(place, "products", 0, "article,kind", [f"{n},kind {n % 40}" for n in range(PRODUCTS)])
        for number in range(days):
            export_day(place, number, lines)
        costs = {"full": ingest(place)}
        export_day(place, days, lines)
        return {**costs, "one more day": ingest(place), "nothing new": ingest(place)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, nargs="+", default=[10, 40, 160], help="lengths of the history")
    parser.add_argument("--lines", type=int, default=20_000, help="order lines a day")
    options = parser.parse_args()
    results = []
    print(f"{'days':>5} {'load':<14}{'wall s':>9}{'CPU s':>9}{'rows read':>14}{'MB read':>10}")
    for days in options.days:
        for load, cost in measure(days, options.lines).items():
            told = f"{cost.wall_s:>9.1f}{cost.cpu_s:>9.1f}{cost.rows_read:>14,}{cost.megabytes_read:>10.1f}"
            print(f"{days:>5} {load:<14}{told}", flush=True)
            results.append(
                {"days": days, "load": load, **{name: round(value, 1) for name, value in vars(cost).items()}}
            )
    result = {
        "benchmark": "incremental",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "lines_per_day": options.lines,
        "loads": results,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

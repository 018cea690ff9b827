"""Churn and spend of the next 91 days: the segments stage beside LightGBM, logistic regression and naive rules.

    make bench-segments
    make bench-segments ARGS="--warehouse kept --identity kept/identity"

Runs ingest, features and segments for one date and reads what the stage predicted from its own table; then the days
after the date say what happened. Peers learn from the same two horizons before the date, once from recency,
frequency, gap and spend over the usual windows, once from all of this project's own measures of a history. Nothing is
chosen on the days after. ± is the paired bootstrap's standard error over customers. Prints a table, and as its last
line one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn.metrics import mean_absolute_error, roc_auc_score

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.processes import machine, run_measured  # noqa: E402  (the path comes first)
from promo_spark.contracts.segments import SEGMENT_BEHAVIOUR, SEGMENT_QUALITY  # noqa: E402
from promo_spark.contracts.silver import ORDER_LINES  # noqa: E402
from promo_spark.kernels.shopping_history import (  # noqa: E402
    HISTORY_FEATURES,
    label_histories,
    measure_histories,
)
from promo_spark.pipelines import features, ingest, segments  # noqa: E402
from promo_spark.runtime.runner import Outcome, run_stages  # noqa: E402
from promo_spark.runtime.settings import load_settings  # noqa: E402
from promo_spark.segments.histories import gather_histories  # noqa: E402

DATE, HORIZON, DRAWS = date(2017, 9, 30), 91, 1000
EPOCH = date(1970, 1, 1)
# What a table of recency, frequency and monetary value usually holds.
RFM = (
    "recency_log",
    "tenure_log",
    "gap_log",
    "day_spend_root",
    *(f"{what}_{days}d_root" for what in ("visits", "spend") for days in (28, 91, 182)),
)
Metric = Callable[[np.ndarray, np.ndarray], float]


def difference(ours: np.ndarray, theirs: np.ndarray, truth: np.ndarray, metric: Metric) -> tuple[float, float]:
    """Ours minus theirs, and its standard error by drawing customers anew."""
    random, gaps = np.random.default_rng(7), []
    for _ in range(DRAWS):
        drawn = random.integers(0, len(truth), len(truth))
        gaps.append(metric(truth[drawn], ours[drawn]) - metric(truth[drawn], theirs[drawn]))
    return metric(truth, ours) - metric(truth, theirs), float(np.nanstd(gaps))


class Histories:
    """Shopping days of all customers, those after the date included."""

    def __init__(self, outcome: Outcome) -> None:
        end = DATE + timedelta(days=HORIZON)
        rows = gather_histories(order_lines=outcome.store.read(ORDER_LINES), as_of_date=end).toPandas()
        rows = rows.sort_values("customer_id", ignore_index=True)
        self.customers = rows["customer_id"].to_numpy()
        self.owners = np.repeat(np.arange(len(rows)), rows["shopping_days"].map(len))
        self.days = np.concatenate(rows["shopping_days"].to_list()).astype(np.int64)
        self.amounts = np.concatenate(rows["spend_amounts"].to_list()).astype(np.float64)

    def measured(self, cut: date) -> np.ndarray:
        day = (cut - EPOCH).days
        return measure_histories(self.owners, self.days, self.amounts, count=len(self.customers), cut=day)

    def labels(self, first: date) -> tuple[np.ndarray, np.ndarray]:
        """Whether each customer left, and what each spent."""
        day, count = (first - EPOCH).days, len(self.customers)
        visits, spend = label_histories(self.owners, self.days, self.amounts, count=count, first=day, horizon=HORIZON)
        return (visits == 0).astype(np.float64), spend


def peers_say(histories: Histories, python: str) -> tuple[dict[str, np.ndarray], str]:
    """Let the peers learn and predict in their own environment."""
    cuts = [DATE - timedelta(days=back * HORIZON) for back in (2, 1, 0)]
    rfm = [HISTORY_FEATURES.index(name) for name in RFM]
    parts = []
    for cut in cuts:
        table = histories.measured(cut)
        known = ~np.isnan(table[:, 0])
        left, spend = histories.labels(cut)
        parts.append((table[known], left[known], spend[known]))
    train = [np.concatenate(values) for values in zip(*parts[:2], strict=True)]
    test = parts[2][0]
    with tempfile.TemporaryDirectory() as scratch:
        np.savez(
            Path(scratch) / "tables.npz",
            train_rfm=train[0][:, rfm],
            test_rfm=test[:, rfm],
            train_measures=train[0],
            test_measures=test,
            train_left=train[1],
            train_spend=train[2],
        )
        usage = run_measured([python, str(ROOT / "benchmarks/contenders/segments.py"), scratch])
        if usage.exit_code:
            sys.exit("\n".join([*usage.lines[-20:], "the peers failed: 'make bench-segments' makes their environment"]))
        with np.load(Path(scratch) / "peers.npz") as said:
            told = {name.replace("|", "/"): said[name] for name in said.files}
    told["churn/recency"] = test[:, HISTORY_FEATURES.index("recency_log")]
    known = ~np.isnan(histories.measured(DATE)[:, 0])
    told["spend/last window repeated"] = histories.labels(DATE - timedelta(days=HORIZON))[1][known]
    return told, usage.lines[-1]


def compare(outcome: Outcome, python: str) -> dict[str, object]:
    """Judge the stage's own table beside the peers."""
    histories = Histories(outcome)
    known = ~np.isnan(histories.measured(DATE)[:, 0])
    predicted = outcome.store.read(SEGMENT_BEHAVIOUR, DATE).toPandas().set_index("customer_id")
    predicted = predicted.loc[histories.customers[known]]
    left, spent = (values[known] for values in histories.labels(DATE))
    said, peer_version = peers_say(histories, python)
    ours = {
        "churn": predicted["churn_prob"].to_numpy(dtype=np.float64),
        "spend": predicted["median_spend_amount"].to_numpy(dtype=np.float64),
    }
    result: dict[str, object] = {"peer": peer_version, "customers": len(spent), "churn_rate": round(left.mean(), 4)}
    subjects: tuple[tuple[str, str, np.ndarray, Metric, int], ...] = (
        ("churn", "churn_auc", left, roc_auc_score, 1),
        ("spend", "spend_mae", spent, mean_absolute_error, -1),
    )
    for subject, key, truth, metric, sign in subjects:
        peers = {name.split("/")[1]: values for name, values in said.items() if name.startswith(subject)}
        reached = {name: metric(truth, values) for name, values in peers.items()}
        own = metric(truth, ours[subject])
        print(f"\n{key:<34}{'':>10}{'ours minus it':>22}\n{'promo_spark':<34}{own:>10.4f}")
        for name, values in sorted(reached.items(), key=lambda item: -sign * item[1]):
            gap, error = difference(ours[subject], peers[name], truth, metric)
            print(f"{name:<34}{values:>10.4f}{gap:>+14.4f} ± {error:.4f}")
        best = max(reached, key=lambda name: sign * reached[name])
        gap, error = difference(ours[subject], peers[best], truth, metric)
        result |= {
            key: round(own, 4),
            f"{key}_minus_best_peer": round(gap, 4),
            f"{key}_minus_best_peer_se": round(error, 4),
            f"{key}_best_peer": best,
            f"{key}_peers": {name: round(value, 4) for name, value in reached.items()},
        }
    expected = predicted["expected_spend_amount"].astype(float).sum()
    chosen = outcome.store.read(SEGMENT_QUALITY, DATE).where("is_chosen").collect()
    return result | {
        "predicted_churn_rate": round(float(ours["churn"].mean()), 4),
        "expected_over_actual_spend": round(float(expected / spent.sum()), 3),
        "stability_ari": round(chosen[0]["stability_ari"], 3) if chosen else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warehouse", type=Path, help="a warehouse of the real data to go on with")
    parser.add_argument("--identity", type=Path, help="its identities and key")
    options = parser.parse_args()
    python = os.environ.get("PROMO_SPARK_PEERS_PYTHON", str(ROOT / ".venv-benchmarks/bin/python"))
    with tempfile.TemporaryDirectory() as scratch:
        warehouse = options.warehouse or Path(scratch) / "warehouse"
        identity = options.identity or Path(scratch) / "identity"
        own = (
            f"as_of_date={DATE}",
            f"segments.horizon_days={HORIZON}",
            f"places.warehouse={warehouse.resolve()}",
            f"places.identity={identity.resolve()}",
            f"places.key_file={identity.resolve()}/pseudonym.key",
            f"tracking.uri=sqlite:///{scratch}/mlflow.db",
            f"tracking.artifacts={scratch}/artifacts",
        )
        settings = load_settings([ROOT / "conf/local.yaml"], own)
        found: dict[str, object] = {}
        stages = (ingest.PIPELINE, features.PIPELINE, segments.PIPELINE)
        run_stages(stages, settings, closing=lambda outcome: found.update(compare(outcome, python)))
    result = {
        "benchmark": "segments",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {name: version(name) for name in ("pyspark", "numpy", "scikit-learn")},
        **found,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""Who redeems a campaign's coupons: the response stage beside LightGBM, logistic regression and their mean.

    make bench-response
    make bench-response ARGS="--warehouse kept --identity kept/identity"

One row per campaign and targeted household, measured before the campaign starts, redeemed if any of its coupons ever
was. Learnt from the campaigns that start from February to July 2017, judged once on those that start later; penalties
and models are chosen within the former. Peers get the same rows, once with our covariates and once with the plain ones
among them. ± is the paired bootstrap's standard error over households. Prints a table, and as its last line one JSON
object. Within-campaign AUC is the share of pairs of a redeemer and another household of the same campaign that are
ranked rightly.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.processes import machine, run_measured  # noqa: E402  (the path comes first)
from promo_spark.contracts.decision_settings import RedemptionModel, UpliftSettings  # noqa: E402
from promo_spark.contracts.decisions import NO_ARM  # noqa: E402
from promo_spark.contracts.learning import FEEDBACK  # noqa: E402
from promo_spark.contracts.settings import FeatureSettings  # noqa: E402
from promo_spark.contracts.silver import (  # noqa: E402
    ASSIGNMENTS,
    ORDER_LINES,
    PRODUCTS,
    PROMOTION_PRODUCTS,
    PROMOTIONS,
    REDEMPTIONS,
)
from promo_spark.kernels.calibration import calibration_errors  # noqa: E402
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES, PROMOTION_FACTS  # noqa: E402
from promo_spark.pipelines import ingest  # noqa: E402
from promo_spark.response.decision_rows import gather_decisions  # noqa: E402
from promo_spark.response.redemption import fit_redemption, predict_redemption  # noqa: E402
from promo_spark.runtime.runner import Outcome, run_stages  # noqa: E402
from promo_spark.runtime.settings import load_settings  # noqa: E402

FIRST, SPLIT, DRAWS = date(2017, 2, 1), date(2017, 8, 1), 500
# Longer than any campaign, and a date by which all are over.
EVER, OVER = 365, date(2019, 6, 1)
# What a table of recency, frequency, monetary value and past campaigns usually holds.
PLAIN = (
    "recency_log",
    "tenure_log",
    "gap_log",
    "day_spend_root",
    *(f"{what}_{days}d_root" for what in ("visits", "spend") for days in (28, 91, 182)),
    "coupon_visits_364d_root",
    "discount_364d_rate",
    "covered_spend_364d_root",
    "given_log",
    "redeemed_log",
    *PROMOTION_FACTS,
)
Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


def area(redeemed: np.ndarray, told: np.ndarray, _campaigns: np.ndarray) -> float:
    """Area under the ROC curve by ranks: many draws need it."""
    yes = redeemed.sum()
    ranks = rankdata(told)[redeemed == 1].sum()
    return float((ranks - yes * (yes + 1) / 2) / (yes * (len(redeemed) - yes)))


def precision(redeemed: np.ndarray, told: np.ndarray, _campaigns: np.ndarray) -> float:
    return float(average_precision_score(redeemed, told))


def area_within(redeemed: np.ndarray, told: np.ndarray, campaigns: np.ndarray) -> float:
    right = pairs = 0.0
    for campaign in np.unique(campaigns):
        here = campaigns == campaign
        count = redeemed[here].sum() * (1 - redeemed[here]).sum()
        if count:
            right += count * area(redeemed[here], told[here], campaigns[here])
            pairs += count
    return float(right / pairs)


METRICS: dict[str, Metric] = {
    "redemption_auc": area,
    "redemption_ap": precision,
    "redemption_within_campaign_auc": area_within,
}


def judged(test: pd.DataFrame, told: dict[str, np.ndarray], metric: Metric) -> dict[str, np.ndarray]:
    """The metric of each contender on the rows, and after it on draws of households, the same for all."""
    redeemed, campaigns = test["is_redeemed"].to_numpy(), test["promotion_id"].astype("category").cat.codes.to_numpy()
    places = [group.to_numpy() for _, group in pd.Series(np.arange(len(test))).groupby(test["customer_id"].to_numpy())]
    random = np.random.default_rng(7)
    draws = [np.arange(len(test))]
    draws += [
        np.concatenate([places[place] for place in random.integers(0, len(places), len(places))]) for _ in range(DRAWS)
    ]
    return {
        name: np.array([metric(redeemed[drawn], values[drawn], campaigns[drawn]) for drawn in draws])
        for name, values in told.items()
    }


def decisions_of(outcome: Outcome, time_zone: str) -> DataFrame:
    """Every targeting with its covariates and whether it was ever redeemed."""
    read = outcome.store.read
    products = read(PRODUCTS).select("product_id", "category", F.lit(None).cast("double").alias("margin_rate"))
    rows = gather_decisions(
        order_lines=read(ORDER_LINES),
        assignments=read(ASSIGNMENTS),
        feedback=read(FEEDBACK),
        promotions=read(PROMOTIONS),
        promotion_products=read(PROMOTION_PRODUCTS),
        redemptions=read(REDEMPTIONS),
        product_features=products,
        as_of_date=OVER,
        time_zone=time_zone,
        settings=UpliftSettings(unlisted_are_controls=False, attribution_days=EVER, carry_over_days=0),
        features=FeatureSettings(),
    )
    return rows.where((F.col("arm") != NO_ARM) & (F.col("decided_date") >= F.lit(FIRST)))


def peers_say(train: pd.DataFrame, test: pd.DataFrame, python: str) -> tuple[dict[str, np.ndarray], str]:
    """Let the peers learn and predict in their own environment."""
    arms = sorted(train["arm"].unique())
    plain = [DECISION_COVARIATES.index(name) for name in PLAIN]

    def table(rows: pd.DataFrame, places: list[int] | slice) -> np.ndarray:
        indicators = np.column_stack([rows["arm"] == arm for arm in arms]).astype(np.float64)
        return np.column_stack([np.stack(rows["covariates"].to_list())[:, places], indicators])

    with tempfile.TemporaryDirectory() as scratch:
        np.savez(
            Path(scratch) / "tables.npz",
            train_redeemed=train["is_redeemed"].to_numpy(),
            train_households=train["customer_id"].astype("category").cat.codes.to_numpy(),
            train_plain=table(train, plain),
            test_plain=table(test, plain),
            train_covariates=table(train, slice(None)),
            test_covariates=table(test, slice(None)),
        )
        usage = run_measured([python, str(ROOT / "benchmarks/contenders/response.py"), scratch])
        if usage.exit_code:
            sys.exit("\n".join([*usage.lines[-20:], "the peers failed: 'make bench-response' makes their environment"]))
        with np.load(Path(scratch) / "peers.npz") as said:
            return {name: said[name] for name in said.files}, usage.lines[-1]


def compare(outcome: Outcome, python: str, time_zone: str, models: tuple[RedemptionModel, ...]) -> dict[str, object]:
    """Learn, predict, and judge beside the peers."""
    rows = decisions_of(outcome, time_zone).persist()
    early, late = (
        rows.where(condition) for condition in (F.col("decided_date") < SPLIT, F.col("decided_date") >= SPLIT)
    )
    learnt = fit_redemption(decisions=early, settings=UpliftSettings(redemption_models=models), seed=42)
    order = ["decided_date", "promotion_id", "customer_id"]
    train = early.toPandas().sort_values(order, ignore_index=True)
    test = predict_redemption(rows=late, models=learnt).toPandas().sort_values(order, ignore_index=True)
    ours = test["redemption_prob"].to_numpy(dtype=np.float64)
    peers, peer_version = peers_say(train, test, python)
    shift, shape = calibration_errors(ours, test["is_redeemed"].to_numpy())
    result: dict[str, object] = {
        "peer": peer_version,
        "train_rows": len(train),
        "test_rows": len(test),
        "redemption_model": next(one.model for one in learnt.judged if one.is_chosen),
        "redemption_models_in_training": {
            one.model: [round(one.auc, 4), round(one.log_loss, 4)] for one in learnt.judged
        },
        "redemption_ece_shift": round(shift, 4),
        "redemption_ece_shape": round(shape, 4),
    }
    for key, metric in METRICS.items():
        values = judged(test, {"promo_spark": ours, **peers}, metric)
        own = values.pop("promo_spark")
        print(f"\n{key:<34}{'':>10}{'ours minus it':>22}\n{'promo_spark':<34}{own[0]:>10.4f}")
        for name, reached in sorted(values.items(), key=lambda item: -item[1][0]):
            print(f"{name:<34}{reached[0]:>10.4f}{own[0] - reached[0]:>+14.4f} ± {np.std((own - reached)[1:]):.4f}")
        best = max(values, key=lambda name: values[name][0])
        result |= {
            key: round(own[0], 4),
            f"{key}_minus_best_peer": round(own[0] - values[best][0], 4),
            f"{key}_minus_best_peer_se": round(float(np.std((own - values[best])[1:])), 4),
            f"{key}_best_peer": best,
            f"{key}_peers": {name: round(reached[0], 4) for name, reached in values.items()},
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warehouse", type=Path, help="a warehouse of the real data to go on with")
    parser.add_argument("--identity", type=Path, help="its identities and key")
    parser.add_argument("--models", nargs="+", default=list(UpliftSettings().redemption_models))
    options = parser.parse_args()
    python = os.environ.get("PROMO_SPARK_PEERS_PYTHON", str(ROOT / ".venv-benchmarks/bin/python"))
    with tempfile.TemporaryDirectory() as scratch:
        warehouse = options.warehouse or Path(scratch) / "warehouse"
        identity = options.identity or Path(scratch) / "identity"
        own = (
            f"places.warehouse={warehouse.resolve()}",
            f"places.identity={identity.resolve()}",
            f"places.key_file={identity.resolve()}/pseudonym.key",
            f"tracking.uri=sqlite:///{scratch}/mlflow.db",
            f"tracking.artifacts={scratch}/artifacts",
        )
        settings = load_settings([ROOT / "conf/local.yaml"], own)
        found: dict[str, object] = {}
        zone, models = settings.source.time_zone, tuple(options.models)
        run_stages(
            (ingest.PIPELINE,), settings, closing=lambda outcome: found.update(compare(outcome, python, zone, models))
        )
    result = {
        "benchmark": "response",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {name: version(name) for name in ("pyspark", "numpy", "scikit-learn")},
        **found,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

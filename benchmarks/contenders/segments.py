"""The peers of the churn and spend benchmark, in their own environment.

    python benchmarks/contenders/segments.py FOLDER

FOLDER holds tables.npz, see benchmarks/segments.py. Writes peers.npz beside it: what each peer says of the test rows.
LightGBM 4.7 and scikit-learn as they come, but for the rounds, which are set to what their users usually start from.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lightgbm
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

TREES = {"n_estimators": 100, "learning_rate": 0.05, "num_leaves": 15, "verbose": -1, "num_threads": 1, "seed": 1}


def main() -> None:
    folder = Path(sys.argv[1])
    with np.load(folder / "tables.npz") as tables:
        given = {name: tables[name] for name in tables.files}
    left, spend = given["train_left"], given["train_spend"]
    said: dict[str, np.ndarray] = {}
    for kind in ("rfm", "measures"):
        train, test = given[f"train_{kind}"], given[f"test_{kind}"]
        logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, left)
        said[f"churn/logistic on {kind}"] = logistic.predict_proba(test)[:, 1]
        trees = lightgbm.LGBMClassifier(**TREES).fit(train, left)
        said[f"churn/LightGBM on {kind}"] = trees.predict_proba(test)[:, 1]
        median = lightgbm.LGBMRegressor(objective="l1", **TREES).fit(train, spend)
        said[f"spend/LightGBM-L1 on {kind}"] = np.maximum(median.predict(test), 0)
    np.savez(folder / "peers.npz", **{name.replace("/", "|"): values for name, values in said.items()})
    print(f"lightgbm {lightgbm.__version__}", flush=True)


if __name__ == "__main__":
    main()

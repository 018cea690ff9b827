"""The peers of the redemption benchmark, in their own environment.

    python benchmarks/contenders/response.py FOLDER

FOLDER holds tables.npz, see benchmarks/response.py. Writes peers.npz beside it: what each peer says of the test rows.
scikit-learn's logistic regression, its penalty chosen on folds of households within the training campaigns, LightGBM
with what its users usually start from, and the mean of both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lightgbm
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

TREES = {"n_estimators": 100, "learning_rate": 0.05, "num_leaves": 15, "verbose": -1, "num_threads": 1, "seed": 1}
PENALTIES = {"logisticregression__C": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]}


def main() -> None:
    folder = Path(sys.argv[1])
    with np.load(folder / "tables.npz") as tables:
        given = {name: tables[name] for name in tables.files}
    redeemed, households = given["train_redeemed"], given["train_households"]
    said: dict[str, np.ndarray] = {}
    for kind in ("plain", "covariates"):
        train, test = given[f"train_{kind}"], given[f"test_{kind}"]
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        logistic = GridSearchCV(pipeline, PENALTIES, scoring="roc_auc", cv=GroupKFold(5))
        by_line = logistic.fit(train, redeemed, groups=households).predict_proba(test)[:, 1]
        by_trees = lightgbm.LGBMClassifier(**TREES).fit(train, redeemed).predict_proba(test)[:, 1]
        said[f"logistic on {kind}"] = by_line
        said[f"LightGBM on {kind}"] = by_trees
        said[f"mean of both on {kind}"] = (by_line + by_trees) / 2
    np.savez(folder / "peers.npz", **said)
    print(f"lightgbm {lightgbm.__version__}", flush=True)


if __name__ == "__main__":
    main()

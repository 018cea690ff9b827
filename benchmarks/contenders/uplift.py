"""The peers of the uplift benchmark, in their own environment.

    python benchmarks/contenders/uplift.py FOLDER

FOLDER holds tables.npz, see benchmarks/uplift.py. Writes peers.npz beside it: what each peer says of the training rows
out of fold, and of the test rows. scikit-learn's logistic regression and LightGBM as they come, but for the rounds,
which are set to what their users usually start from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

TREES = {"n_estimators": 100, "learning_rate": 0.05, "num_leaves": 15, "verbose": -1, "num_threads": 1, "seed": 1}


def logistic() -> object:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def boosted() -> object:
    return lightgbm.LGBMClassifier(**TREES)


def crossed(x: np.ndarray, treated: np.ndarray) -> np.ndarray:
    return np.column_stack([x, treated, x * treated[:, None]])


def beside(x: np.ndarray, treated: np.ndarray) -> np.ndarray:
    return np.column_stack([x, treated])


def say(model: object, x: np.ndarray) -> np.ndarray:
    return model.predict_proba(x)[:, 1]


def s_learner(make: Callable, join: Callable) -> Callable:
    def fit(x: np.ndarray, treated: np.ndarray, bought: np.ndarray, test: np.ndarray) -> np.ndarray:
        model = make().fit(join(x, treated), bought)
        return say(model, join(test, np.ones(len(test)))) - say(model, join(test, np.zeros(len(test))))

    return fit


def t_learner(make: Callable) -> Callable:
    def fit(x: np.ndarray, treated: np.ndarray, bought: np.ndarray, test: np.ndarray) -> np.ndarray:
        models = [make().fit(x[treated == arm], bought[treated == arm]) for arm in (0, 1)]
        return say(models[1], test) - say(models[0], test)

    return fit


def response(x: np.ndarray, treated: np.ndarray, bought: np.ndarray, test: np.ndarray) -> np.ndarray:
    return say(boosted().fit(x[treated == 1], bought[treated == 1]), test)


def class_transformation(x: np.ndarray, treated: np.ndarray, bought: np.ndarray, test: np.ndarray) -> np.ndarray:
    """P(treated and bought, or neither): Jaskowski and Jaroszewicz 2012."""
    return say(boosted().fit(x, (treated == bought).astype(int)), test)


PEERS = {
    "T-logit": t_learner(logistic),
    "S-logit with interactions": s_learner(logistic, crossed),
    "S-LightGBM": s_learner(boosted, beside),
    "T-LightGBM": t_learner(boosted),
    "response model": response,
    "class transformation": class_transformation,
}


def main() -> None:
    folder = Path(sys.argv[1])
    with np.load(folder / "tables.npz") as tables:
        given = {name: tables[name] for name in tables.files}
    x, treated, bought, folds = (given[name] for name in ("x", "treated", "bought", "folds"))
    said = {}
    for name, fit in PEERS.items():
        training = np.zeros(len(x))
        for fold in np.unique(folds):
            rest = folds != fold
            training[~rest] = fit(x[rest], treated[rest], bought[rest], x[~rest])
        said[f"{name}|training"], said[f"{name}|test"] = training, fit(x, treated, bought, given["x_test"])
    np.savez(folder / "peers.npz", **said)
    print(f"lightgbm {lightgbm.__version__}", flush=True)


if __name__ == "__main__":
    main()

"""The peers of benchmarks/recommend.py, on the rows it wrote, in the peers' own environment.

    python benchmarks/contenders/recommend.py FOLDER MIN_CUSTOMERS

Reads FOLDER/rows.parquet (customer_id, product_id, category, day: negative days are the past), writes
FOLDER/peers.parquet (customer_id, model, slot, rank, product_id), and prints versions as one JSON line. The
two-stage reference learns LightGBM's lambdarank from three earlier windows of 28 days.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import lightgbm
import numpy as np
import pandas as pd
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender
from scipy import sparse

K = 10
WINDOW = 28
HALF_LIVES = (14, 28, 56, 112, 224)
OWN, POPULAR, NEIGHBOURS, FACTORS = 100, 100, 100, 60
"""Candidates of each kind."""


class Window(NamedTuple):
    """What is known at a cut, by customer (rows) and product of the catalogue (columns).

    Attributes:
        past: Rows before the cut: h, p, age in days.
        catalogue: Products with enough buyers, ascending.
        scores: First-stage scores by name, shape (n_customers, n_catalogue).
        seen: Bought before.
    """

    past: pd.DataFrame
    catalogue: np.ndarray
    scores: dict[str, np.ndarray]
    seen: np.ndarray


def matrix(rows: pd.DataFrame, weights: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.csr_matrix((weights.astype(np.float32), (rows["h"], rows["p"])), shape=shape)


def neighbour_weights(habits: sparse.csr_matrix) -> sparse.csr_matrix:
    """Cosine of roots of decayed baskets, the 300 nearest, squared."""
    roots = habits.sqrt()
    buyers = np.maximum(np.bincount(roots.indices, minlength=roots.shape[1]), 1)
    scaled = (roots @ sparse.diags(np.log(roots.shape[0] / buyers).clip(0) ** 0.5)).tocsr()
    lengths = np.sqrt(np.asarray(scaled.multiply(scaled).sum(axis=1))).ravel()
    unit = sparse.diags(1 / np.where(lengths > 0, lengths, 1)) @ scaled
    similar = (unit @ unit.T).toarray()
    np.fill_diagonal(similar, 0)
    k = min(300, similar.shape[0] - 1)
    similar[similar < -np.partition(-similar, k, axis=1)[:, k][:, None]] = 0
    similar **= 2
    return sparse.csr_matrix(similar / np.maximum(similar.sum(axis=1, keepdims=True), 1e-9))


def describe(rows: pd.DataFrame, cut: int, min_customers: int, shape: tuple[int, int]) -> Window:
    """First stages at a cut."""
    past = rows[rows["day"] < cut].copy()
    past["age"] = (cut - past["day"]).astype(np.float32)
    buyers = past.drop_duplicates(["h", "p"])["p"].value_counts()
    catalogue = np.sort(buyers.index[buyers >= min_customers].to_numpy())
    decayed = matrix(past, 0.5 ** (past["age"] / 112), shape)[:, catalogue]
    recent = matrix(past[past["age"] <= WINDOW], np.ones((past["age"] <= WINDOW).sum()), shape)[:, catalogue]
    popular = np.asarray((recent > 0).sum(axis=0), dtype=np.float32).ravel()
    weights = neighbour_weights(decayed)
    roots = decayed.sqrt().tocsr()
    nearest = BM25Recommender(K=100, K1=100, B=0.5, num_threads=1)
    nearest.fit(roots, show_progress=False)
    factors = AlternatingLeastSquares(
        factors=128, regularization=0.05, alpha=10, iterations=10, num_threads=1, random_state=0
    )
    factors.fit(roots, show_progress=False)
    own = decayed.toarray()
    scores = {
        "popularity": np.broadcast_to(popular, (shape[0], len(popular))),
        "personal frequency": own + 1e-6 * popular,
        "user-kNN": own + 0.2 * (weights @ decayed).toarray(),
        "user-kNN, last 28 days": np.asarray((weights @ recent).todense(), dtype=np.float32),
        "implicit BM25": np.asarray((roots @ nearest.similarity).todense(), dtype=np.float32),
        "implicit ALS": np.asarray(factors.user_factors @ factors.item_factors.T, dtype=np.float32),
    }
    return Window(past, catalogue, scores, matrix(past, np.ones(len(past)), shape)[:, catalogue].toarray() > 0)


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of each row's k best scores, best first."""
    found = np.argpartition(-scores, k, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def candidates(window: Window, slot: str) -> tuple[np.ndarray, np.ndarray]:
    """Customer and column of each candidate, by customer."""
    active = window.seen.any(axis=1)
    novel = {
        name: np.where(window.seen, -np.inf, window.scores[name])
        for name in ("popularity", "user-kNN, last 28 days", "implicit ALS")
    }
    sizes = {"popularity": POPULAR, "user-kNN, last 28 days": NEIGHBOURS, "implicit ALS": FACTORS}
    kinds = [(novel[name], size) for name, size in sizes.items()]
    if slot == "all":
        own = np.where(window.seen, window.scores["personal frequency"], -np.inf)
        kinds = [(own, OWN), (novel["user-kNN, last 28 days"], 40)]
    keys = []
    for scores, size in kinds:
        columns = best(scores, min(size, scores.shape[1] - 1))
        kept = np.isfinite(np.take_along_axis(scores, columns, axis=1)) & active[:, None]
        customers = np.repeat(np.arange(len(columns)), columns.shape[1]).reshape(columns.shape)
        keys.append(customers[kept].astype(np.int64) * len(window.catalogue) + columns[kept])
    return np.divmod(np.unique(np.concatenate(keys)), len(window.catalogue))


def features(window: Window, categories: np.ndarray, customers: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """About thirty features of each candidate, shape (n_candidates, n_features)."""
    past, n_products = window.past, len(categories)
    products = window.catalogue[columns]
    age = past["age"].to_numpy()
    weights = {f"dec{life}": 0.5 ** (age / life) for life in HALF_LIVES}
    pairs = past.assign(**weights, n=1.0).groupby(["h", "p"], sort=True)
    known = pairs[[*weights, "n"]].sum()
    known["rec"], known["first"] = pairs["age"].min(), pairs["age"].max()
    known["gap"] = ((known["first"] - known["rec"]) / (known["n"] - 1)).where(known["n"] > 1)
    known["over"] = known["rec"] / known["gap"]
    keys = known.index.get_level_values(0).to_numpy() * n_products + known.index.get_level_values(1).to_numpy()
    asked = customers * n_products + products
    places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    own = np.where((keys[places] == asked)[:, None], known.to_numpy()[places], np.nan)
    last = known["rec"].to_numpy()
    bought = keys % n_products
    popular = [np.bincount(bought[last <= days], minlength=n_products)[products] for days in (7, 28, 84, 10_000)]
    visits = past.drop_duplicates(["h", "day"])
    trips = np.bincount(visits["h"], weights=0.5 ** (visits["age"] / 28), minlength=len(window.seen))[customers]
    n_categories = categories.max() + 1
    group = past["h"].to_numpy() * n_categories + categories[past["p"]]
    size = len(window.seen) * n_categories
    group_habit = np.bincount(group, weights=weights["dec112"], minlength=size)
    group_last = np.full(size, np.nan)
    np.fmin.at(group_last, group, age)
    asked_group = customers * n_categories + categories[products]
    rate = own[:, 1] / np.maximum(trips, 0.05)
    trend = popular[0] * 4 / (popular[1] + 2)
    first_stage = [scores[customers, columns] for scores in window.scores.values()]
    return np.column_stack(
        [own, rate, *popular, trend, trips, group_habit[asked_group], group_last[asked_group], *first_stage]
    ).astype(np.float32)


def labelled(
    rows: pd.DataFrame, window: Window, cut: int, categories: np.ndarray, slot: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and group sizes of an earlier window: customers who bought a candidate, some of the others."""
    n_customers = len(window.seen)
    customers, columns = candidates(window, slot)
    label_rows = rows[(rows["day"] >= cut) & (rows["day"] < cut + WINDOW)]
    bought = matrix(label_rows, np.ones(len(label_rows)), (n_customers, len(categories)))
    labels = np.asarray(bought[customers, window.catalogue[columns]]).ravel() > 0
    buyers = np.bincount(customers[labels], minlength=n_customers) > 0
    share = 0.15 if slot == "all" else 0.08
    kept = buyers[customers] & (labels | (np.random.default_rng(-cut).random(len(labels)) < share))
    described = features(window, categories, customers[kept], columns[kept])
    return described, labels[kept], np.unique(customers[kept], return_counts=True)[1]


def two_stage(parts: list[tuple[np.ndarray, ...]], now: Window, categories: np.ndarray, slot: str) -> np.ndarray:
    """Ranked columns of each customer at cut 0, shape (n_customers, K)."""
    inputs, labels, groups = (np.concatenate(own) for own in zip(*parts, strict=True))
    learner = {"objective": "lambdarank", "label_gain": [0, 1], "num_threads": 1, "verbosity": -1, "seed": 0}
    model = lightgbm.train(learner, lightgbm.Dataset(inputs, labels, group=groups), 50)
    customers, columns = candidates(now, slot)
    scores = np.full(now.seen.shape, -np.inf, dtype=np.float32)
    scores[customers, columns] = model.predict(features(now, categories, customers, columns), num_threads=1)
    found = best(scores, K)
    return np.where(np.isfinite(np.take_along_axis(scores, found, axis=1)), found, -1)


def main() -> None:
    folder, min_customers = Path(sys.argv[1]), int(sys.argv[2])
    rows = pd.read_parquet(folder / "rows.parquet")
    customer_ids, rows["h"] = np.unique(rows["customer_id"], return_inverse=True)
    product_ids, rows["p"] = np.unique(rows["product_id"], return_inverse=True)
    categories = (
        rows.drop_duplicates("p").sort_values("p")["category"].astype("category").cat.codes.to_numpy(np.int64) + 1
    )
    shape = len(customer_ids), len(product_ids)
    parts: dict[str, list[tuple[np.ndarray, ...]]] = {"all": [], "novel": []}
    for cut in (-3 * WINDOW, -2 * WINDOW, -WINDOW):
        window = describe(rows, cut, min_customers, shape)
        for slot, own in parts.items():
            own.append(labelled(rows, window, cut, categories, slot))
        del window  # its dense scores take a gigabyte
    now = describe(rows, 0, min_customers, shape)
    lists = {
        (name, slot): best(np.where(now.seen, -np.inf, scores) if slot == "novel" else scores, K)
        for name, scores in now.scores.items()
        for slot in ("all", "novel")
        if not (name == "personal frequency" and slot == "novel")
    }
    for slot, own in parts.items():
        lists["LightGBM in two stages", slot] = two_stage(own, now, categories, slot)
    frames = []
    for (name, slot), columns in lists.items():
        customers, places = np.nonzero(columns >= 0)
        found = columns[customers, places]
        frames.append(
            pd.DataFrame(
                {
                    "customer_id": customer_ids[customers],
                    "model": name,
                    "slot": slot,
                    "rank": places + 1,
                    "product_id": product_ids[now.catalogue[found]],
                }
            )
        )
    pd.concat(frames).to_parquet(folder / "peers.parquet")
    print(json.dumps({name: version(name) for name in ("implicit", "lightgbm")}))


if __name__ == "__main__":
    main()

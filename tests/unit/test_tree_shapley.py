"""Shapley values of trees against all subsets."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from numpy.typing import NDArray

from promo_spark.kernels.boosted_trees import LEAF, Trees, add_trees
from promo_spark.kernels.tree_shapley import shapley_values

N_FEATURES = 4


def _random_trees(seed: int, count: int, depth: int) -> Trees:
    draws = np.random.default_rng(seed)
    nodes = 2 ** (depth + 1) - 1
    features = draws.integers(0, N_FEATURES, (count, nodes))
    features[:, nodes // 2 :] = LEAF
    # Some branches end early; what lies below them is never reached.
    features[draws.uniform(size=features.shape) < 0.2] = LEAF
    values = np.where(features == LEAF, draws.normal(size=features.shape), 0.0)
    return Trees(features, draws.normal(size=features.shape), values)


def _by_subsets(trees: Trees, row: NDArray[np.float32], baseline: NDArray[np.float32]) -> NDArray[np.float64]:
    def told(chosen: tuple[int, ...]) -> float:
        mixed = baseline.copy()
        mixed[list(chosen)] = row[list(chosen)]
        return float(add_trees(trees, mixed[None])[0])

    values = np.zeros(N_FEATURES)
    for feature in range(N_FEATURES):
        others = [name for name in range(N_FEATURES) if name != feature]
        for size in range(N_FEATURES):
            weight = factorial(size) * factorial(N_FEATURES - size - 1) / factorial(N_FEATURES)
            for chosen in combinations(others, size):
                values[feature] += weight * (told((*chosen, feature)) - told(chosen))
    return values


@pytest.mark.parametrize("seed", range(8))
def test_they_are_the_mean_over_all_orders_and_add_up(seed: int) -> None:
    trees = _random_trees(seed, count=5, depth=1 + seed % 4)
    draws = np.random.default_rng(100 + seed)
    rows = draws.normal(size=(6, N_FEATURES)).astype(np.float32)
    baseline = draws.normal(size=N_FEATURES).astype(np.float32)
    found = shapley_values(trees, rows, baseline)
    expected = np.array([_by_subsets(trees, row, baseline) for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    gap = add_trees(trees, rows) - add_trees(trees, baseline[None])
    np.testing.assert_allclose(found.sum(axis=1), gap, atol=1e-12)


def test_nothing_moves_the_baseline_itself() -> None:
    trees = _random_trees(1, count=3, depth=3)
    baseline = np.zeros(N_FEATURES, dtype=np.float32)
    assert not shapley_values(trees, baseline[None], baseline).any()

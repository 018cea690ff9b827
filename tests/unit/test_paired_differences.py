"""Areas beside scikit-learn's, errors beside what drawing the customers anew gives."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from promo_spark.kernels.paired_differences import area_difference, mean_difference, winning_errors


def scores(count: int = 400, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who is positive, and two scores that share part of their noise; whole numbers, so that many are equal."""
    dice = np.random.default_rng(seed)
    positive = (dice.random(count) < 0.2).astype(float)
    shared = dice.normal(size=count)
    ours = np.round(3 * (positive + shared + 0.5 * dice.normal(size=count)))
    return positive, ours, np.round(3 * (0.7 * positive + shared + 0.5 * dice.normal(size=count)))


def test_areas_differ_as_scikit_learn_says_with_the_error_of_the_bootstrap() -> None:
    positive, ours, theirs = scores()
    difference, error = area_difference(positive, ours, theirs)
    assert difference == pytest.approx(roc_auc_score(positive, ours) - roc_auc_score(positive, theirs), abs=1e-12)
    dice, drawn = np.random.default_rng(2), []
    for _ in range(400):
        rows = dice.integers(0, len(positive), len(positive))
        drawn.append(roc_auc_score(positive[rows], ours[rows]) - roc_auc_score(positive[rows], theirs[rows]))
    assert error == pytest.approx(np.std(drawn), rel=0.12)


def test_equal_scores_differ_by_nothing_for_certain() -> None:
    positive, ours, _ = scores()
    assert area_difference(positive, ours, ours) == (0.0, 0.0)
    assert area_difference(positive, ours, 2 * ours + 1) == (0.0, 0.0)


def test_means_differ_with_the_error_of_their_pairs() -> None:
    ours, theirs = np.array([3.0, 5.0, 10.0]), np.array([1.0, 5.0, 6.0])
    assert mean_difference(ours, theirs) == (pytest.approx(2.0), pytest.approx(2 / np.sqrt(3)))


def test_the_best_of_many_alike_seldom_wins() -> None:
    dice = np.random.default_rng(3)
    needed = winning_errors(12, 0.05)
    best = dice.normal(size=(20_000, 12)).max(axis=1)
    assert (best > needed).mean() == pytest.approx(0.05, abs=0.006)
    assert needed > winning_errors(1, 0.05)

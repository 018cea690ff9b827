"""Chances of arms: those of scikit-learn's own model, and those that were planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from promo_spark.kernels.arm_chances import fit_arm_chances


def draw(n_arms: int, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n_arms)
    covariates = rng.normal(size=(rows, 3)) * [1.0, 10.0, 0.0] + [0.0, 5.0, 2.0]
    truth = softmax(covariates @ rng.normal(size=(n_arms, 3)).T * 0.1 + rng.normal(size=n_arms), axis=1)
    arms = (truth.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)
    return covariates, arms, truth


@pytest.mark.parametrize("n_arms", [2, 3, 5])
def test_planted_chances_are_found(n_arms: int) -> None:
    covariates, arms, truth = draw(n_arms)
    told = fit_arm_chances(covariates, arms, n_arms).of(covariates)
    np.testing.assert_allclose(told.sum(axis=1), 1)
    # A dozen weights from 20,000 rows: about sqrt(12 / 20,000) of a share.
    assert np.sqrt(((told - truth) ** 2).mean()) < 0.015


@pytest.mark.parametrize("n_arms", [2, 4])
def test_chances_are_those_of_the_library(n_arms: int) -> None:
    covariates, arms, _ = draw(n_arms, rows=500)
    scaled = StandardScaler().fit_transform(covariates)
    model = LogisticRegression(C=1 / (1e-2 * 500), max_iter=500).fit(scaled, arms)
    told = fit_arm_chances(covariates, arms, n_arms, ridge=1e-2).of(covariates)
    np.testing.assert_allclose(told, model.predict_proba(scaled), atol=1e-9)


def test_an_arm_that_nobody_had_has_no_chance() -> None:
    covariates, arms, _ = draw(2)
    told = fit_arm_chances(covariates, np.where(arms == 1, 3, 0), 4).of(covariates)
    assert (told[:, [1, 2]] == 0).all()
    assert told[:, 3].mean() == pytest.approx((arms == 1).mean(), abs=1e-3)


def test_rows_of_one_arm_have_that_arm_for_sure() -> None:
    assert fit_arm_chances(np.ones((5, 2)), np.ones(5, dtype=np.int64), 2).of(np.ones((1, 2))).tolist() == [[0.0, 1.0]]

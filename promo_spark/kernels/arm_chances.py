"""How likely each arm was for a customer, where nobody wrote it down: multinomial logistic regression."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ITERATIONS = 500


class ArmChances(NamedTuple):
    """A fitted model of which arm a customer got.

    Attributes:
        weights: By arm and covariate, shape (n_arms, n_covariates).
        levels: By arm, minus infinity where no row had it, shape (n_arms,).
    """

    weights: Floats
    levels: Floats

    def of(self, covariates: Floats) -> Floats:
        """P(arm | covariates), shape (n_rows, n_arms)."""
        chances: Floats = softmax(covariates @ self.weights.T + self.levels, axis=1)
        return chances


def fit_arm_chances(covariates: Floats, arms: Ints, n_arms: int, ridge: float = 1e-4) -> ArmChances:
    """Fit P(arm | covariates).

    Args:
        covariates: Shape (n_rows, n_covariates).
        arms: Index of each row's arm, shape (n_rows,).
        n_arms: Number of arms; some may have no row.
        ridge: Penalty on standardised weights, per row.

    >>> chances = fit_arm_chances(np.zeros((4, 1)), np.array([0, 0, 0, 2]), 3)
    >>> chances.of(np.zeros((1, 1))).round(3).tolist()
    [[0.75, 0.0, 0.25]]
    """
    present = np.unique(arms)
    weights, levels = np.zeros((n_arms, covariates.shape[1])), np.full(n_arms, -np.inf)
    levels[present] = 0.0
    if len(present) > 1:
        means, scales = covariates.mean(axis=0), covariates.std(axis=0)
        scales[scales == 0] = 1.0
        model = LogisticRegression(C=1 / (ridge * len(arms)), max_iter=_ITERATIONS)
        model.fit((covariates - means) / scales, arms)
        own, level = model.coef_ / scales, model.intercept_
        if len(present) == 2:  # noqa: PLR2004  (one row of weights tells two arms apart)
            own, level = np.stack([np.zeros_like(own[0]), own[0]]), np.array([0.0, level[0]])
        weights[present], levels[present] = own, level - own @ means
    return ArmChances(weights, levels)

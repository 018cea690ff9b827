"""Who was likely to be targeted, the weights that make the others like the targeted, and how alike they then are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_STEPS, _HALVINGS = 100, 30
_STILL = 1e-9
_LARGEST_LOGIT = 30.0


class Propensities(NamedTuple):
    """Estimated chances of being targeted.

    Attributes:
        chances: P(targeted | covariates), strictly between 0 and 1, shape (n_rows,).
        influence: What each row does to the coefficients, shape (n_rows, q): their mean is 0, and their covariance over
            n_rows is that of the coefficients.
    """

    chances: Floats
    influence: Floats


def fit_propensities(design: Floats, targeted: Bools, ridge: float = 0.1) -> Propensities:
    """Fit a logistic model of being targeted so that its odds make the others like the targeted.

    The coefficients solve sum over targeted of x = sum over others of odds(x) x, where maximum likelihood would solve
    sum over targeted of x = sum over all of p(x) x: the weighted means of the covariates then match but for the ridge,
    and weighting by the odds is right if the model or a regression of the outcome on x is.

    Args:
        design: A leading 1 and standardised covariates, shape (n_rows, q).
        targeted: Shape (n_rows,), both values present.
        ridge: Penalty on each coefficient but the intercept, in rows: keeps groups that never overlap at finite odds.

    Raises:
        ValueError: All rows are targeted, or none is.

    Source: Graham, Pinto and Egel 2012 and Sant'Anna and Zhao 2020, section 3.1 (inverse probability tilting); the
    weights are those of entropy balancing (Hainmueller 2012, Zhao and Percival 2017).

    Complexity: O(n_rows * q^2) for each of at most 100 Newton steps.

    >>> fit_propensities(np.ones((4, 1)), np.array([True, False, False, False])).chances.round(6).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    if targeted.all() or not targeted.any():
        raise ValueError("propensities need both targeted and untargeted customers")
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0.0
    problem = _Problem(design, np.where(targeted, 0.0, 1.0), penalty)
    told = np.zeros(design.shape[1])
    told[0] = np.log(targeted.mean() / (1 - targeted.mean()))
    for _ in range(_STEPS):
        step = problem.step(told)
        share = problem.share_of(told, step)
        told += share * step
        if share * np.abs(step).max() < _STILL:
            break
    scores = np.where(targeted[:, None], design, -problem.odds(told)[:, None] * design)
    influence = (scores - scores.mean(axis=0)) @ np.linalg.inv(problem.curvature(told) / len(design))
    return Propensities(expit(problem.logits(told)), influence)


class _Problem(NamedTuple):
    """A penalised tilting of those who were not targeted."""

    design: Floats
    others: Floats
    penalty: Floats

    def logits(self, told: Floats) -> Floats:
        return np.clip(self.design @ told, -_LARGEST_LOGIT, _LARGEST_LOGIT)

    def odds(self, told: Floats) -> Floats:
        """Of the others; 0 for the targeted."""
        odds: Floats = np.exp(self.logits(told)) * self.others
        return odds

    def loss(self, told: Floats) -> float:
        fit = self.odds(told).sum() - (1 - self.others) @ self.design @ told
        return float(fit + (self.penalty * told**2).sum() / 2)

    def slope(self, told: Floats) -> Floats:
        return (1 - self.others - self.odds(told)) @ self.design - self.penalty * told

    def curvature(self, told: Floats) -> Floats:
        odds = self.odds(told)
        # Collinear covariates stay solvable.
        jitter = _STILL * max(float(odds.sum()), 1.0)
        return self.design.T @ (odds[:, None] * self.design) + np.diag(self.penalty + jitter)

    def step(self, told: Floats) -> Floats:
        """Newton's step."""
        found: Floats = np.linalg.solve(self.curvature(told), self.slope(told)).astype(np.float64, copy=False)
        return found

    def share_of(self, told: Floats, step: Floats) -> float:
        """Halve the step until it does not raise the loss; 0 where no part of it does."""
        loss = self.loss(told)
        shares = (0.5**halving for halving in range(_HALVINGS))
        return next((share for share in shares if self.loss(told + share * step) <= loss), 0.0)


def odds_weights(chances: Floats, targeted: Bools) -> Floats:
    """Weights under which the others stand for the targeted: 1 for a targeted row, p / (1 - p) for another.

    Source: Hirano, Imbens and Ridder 2003, effect on the treated.

    >>> odds_weights(np.array([0.5, 0.75]), np.array([True, False])).tolist()
    [1.0, 3.0]
    """
    return np.where(targeted, 1.0, chances / (1 - chances))


def standardised_differences(covariates: Floats, targeted: Bools, weights: Floats) -> Floats:
    """Mean of the targeted less the weighted mean of the others, in unweighted pooled standard deviations.

    Args:
        covariates: Shape (n_rows, n_covariates).
        targeted: Shape (n_rows,).
        weights: Shape (n_rows,); only those of the others count.

    Returns:
        Shape (n_covariates,); 0 where a covariate does not vary within either group and has the same mean, infinite
        where it does not vary and the means differ.

    Source: Austin 2009.

    >>> standardised_differences(np.array([[1.0], [3.0], [0.0], [2.0]]), np.array([True, True, False, False]),
    ...     np.array([1.0, 1.0, 1.0, 3.0])).round(4).tolist()
    [0.3536]
    """
    own, other = covariates[targeted], covariates[~targeted]
    spread = np.sqrt((_variance(own) + _variance(other)) / 2)
    gap = own.mean(axis=0) - np.average(other, axis=0, weights=weights[~targeted])
    gap = np.where(np.abs(gap) > _STILL * (1 + np.abs(covariates).max(axis=0)), gap, 0.0)
    limit = np.where(gap == 0, 0.0, np.copysign(np.inf, gap))
    return np.divide(gap, spread, out=limit, where=spread > 0)


def effective_count(weights: Floats) -> float:
    """Rows of equal weight that would tell as much: (sum of weights)^2 over the sum of their squares.

    >>> effective_count(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def _variance(rows: Floats) -> Floats:
    if len(rows) < 2:  # noqa: PLR2004  (a variance needs two rows)
        return np.zeros(rows.shape[1])
    variance: Floats = rows.var(axis=0, ddof=1)
    return variance

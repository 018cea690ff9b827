"""Rates of few and of many trials beside each other: each pulled towards that of all as far as it is uncertain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, digamma, expit

from promo_spark.kernels.maximum_likelihood import find_maximum

Floats = npt.NDArray[np.float64]

# Log-odds of the mean rate, and the logarithm of a + b: at its far end all rates are the same.
_BOUNDS = np.array([[-14.0, 14.0], [-3.0, 12.0]])
_SPREAD_STARTS = (1.0, 5.0)


def fit_rates(successes: Floats, trials: Floats) -> tuple[float, float]:
    """Fit the beta distribution of rates, by maximum likelihood of beta-binomial counts.

    With it the expected rate of an entity is (successes + a) / (trials + a + b).

    Args:
        successes: Shape (entities,).
        trials: At least as many, same shape.

    Returns:
        a and b; both 1, the flat distribution, where nothing was tried.

    Complexity: O(entities) for each of some dozens of evaluations. Source: Skellam 1948; Robbins 1956 for the use.

    Rates that differ no more than chance has it are all taken to be the same:

    >>> a, b = fit_rates(np.array([10.0, 12.0, 8.0]), np.array([100.0, 100.0, 100.0]))
    >>> round(a / (a + b), 3), round((8 + a) / (100 + a + b), 3)
    (0.1, 0.1)
    """
    tried = trials > 0
    successes, trials = successes[tried], trials[tried]
    if not len(trials):
        return 1.0, 1.0
    failures = trials - successes

    def climb(point: Floats) -> tuple[float, Floats]:
        a, b = _parameters(point)
        value = float((betaln(a + successes, b + failures) - betaln(a, b)).mean())
        both = digamma(a + b) - digamma(a + b + trials)
        by_a = float((digamma(a + successes) - digamma(a) + both).mean())
        by_b = float((digamma(b + failures) - digamma(b) + both).mean())
        shared = a * b / (a + b)
        return value, np.array([shared * (by_a - by_b), a * by_a + b * by_b])

    mean = (successes.sum() + 0.5) / (trials.sum() + 1.0)
    starts = [(float(np.log(mean / (1.0 - mean))), spread) for spread in _SPREAD_STARTS]
    return _parameters(find_maximum(climb, starts, _BOUNDS).point)


def _parameters(point: Floats) -> tuple[float, float]:
    spread = float(np.exp(point[1]))
    return spread * float(expit(point[0])), spread * float(expit(-point[0]))

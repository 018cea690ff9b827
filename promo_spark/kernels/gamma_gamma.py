"""What a customer's purchases are worth on average: the gamma-gamma model."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, digamma

from promo_spark.kernels.maximum_likelihood import find_maximum

Floats = npt.NDArray[np.float64]

# Mean amount over the mean of all, p, q - 1. Below its least q the mean amount of a customer hardly exists.
_BOUNDS = np.array([[-7.0, 7.0], [-7.0, 9.0], [-3.0, 9.0]])
_SHAPE_STARTS = (0.0, 2.0)


class GammaGamma(NamedTuple):
    """Parameters: amounts are gamma(p, rate), and rates gamma(q, v) over customers; v in units of money."""

    p: float
    q: float
    v: float


@dataclass(frozen=True)
class GammaGammaFit:
    """Fitted parameters.

    Attributes:
        parameters: The parameters.
        log_likelihood: Summed over customers.
        is_converged: The likelihood is highest there, and amounts have a mean.
    """

    parameters: GammaGamma
    log_likelihood: float
    is_converged: bool


def fit_gamma_gamma(counts: Floats, means: Floats) -> GammaGammaFit:
    """Fit by maximum likelihood.

    Searched over are the logarithms of the mean amount p v / (q - 1), of p and of q - 1, so that amounts always have
    a mean; amounts are scaled to a mean of 1.

    Args:
        counts: Purchases of each customer, at least 1, shape (customers,).
        means: Their mean amount, above 0, same shape, currency.

    Returns:
        Parameters, and whether they are the most likely ones.

    Raises:
        ValueError: There are no customers, or one has no purchases or no amount.

    Complexity: O(customers) for each of some hundred evaluations. Source: Fader and Hardie 2013, The
    Gamma-Gamma Model of Monetary Value, equation 1a.
    """
    if not len(counts) or not ((counts >= 1) & (means > 0)).all():
        raise ValueError("customers need at least one purchase, of more than nothing on average")
    order = np.lexsort((means, counts))
    counts, scale = counts[order], float(means.mean())
    means = means[order] / scale

    def climb(point: Floats) -> tuple[float, Floats]:
        parameters = _parameters(point)
        values, slopes = _likelihood(parameters, counts, means)
        return float(values.mean()), _chain(parameters) @ slopes.mean(axis=0)

    starts = [(0.0, *shapes) for shapes in product(_SHAPE_STARTS, repeat=2)]
    found = find_maximum(climb, starts, _BOUNDS)
    p, q, v = _parameters(found.point)
    likelihood = len(counts) * (found.value - float(np.log(scale)))
    has_mean = bool(found.point[2] > _BOUNDS[2, 0])
    return GammaGammaFit(GammaGamma(p, q, v * scale), likelihood, found.is_converged and has_mean)


def expected_amounts(parameters: GammaGamma, counts: Floats, means: Floats) -> Floats:
    """Mean amount of a customer's purchases to come: their own mean, pulled towards that of all.

    Args:
        parameters: Fitted.
        counts: Purchases of each customer so far, 0 or more, shape (customers,).
        means: Their mean amount, same shape, currency; of no account where there were none.

    Returns:
        Shape (customers,), currency.

    Source: Fader and Hardie 2013, equation 5.

    >>> expected_amounts(GammaGamma(2.0, 3.0, 10.0), np.array([0.0, 1.0]), np.array([0.0, 30.0])).tolist()
    [10.0, 20.0]
    """
    p, q, v = parameters
    return p * (v + counts * means) / (p * counts + q - 1.0)


def _parameters(point: Floats) -> GammaGamma:
    mean, p, surplus = (float(value) for value in np.exp(point))
    return GammaGamma(p, 1.0 + surplus, mean * surplus / p)


def _chain(parameters: GammaGamma) -> Floats:
    """Derivatives of p, q, v (columns) by the coordinates of the point (rows)."""
    p, q, v = parameters
    return np.array([[0.0, 0.0, v], [p, 0.0, -v], [0.0, q - 1.0, v]])


def _likelihood(parameters: GammaGamma, counts: Floats, means: Floats) -> tuple[Floats, Floats]:
    """Log-likelihoods, shape (customers,), and their derivatives by p, q, v, shape (customers, 3)."""
    p, q, v = parameters
    shape, total = p * counts, counts * means
    reach = np.log(v + total)
    values = q * np.log(v) + shape * np.log(total) - np.log(means) - (shape + q) * reach - betaln(shape, q)
    both = digamma(shape + q) - reach
    slopes = [
        counts * (both - digamma(shape) + np.log(total)),
        both - digamma(q) + np.log(v),
        q / v - (shape + q) / (v + total),
    ]
    return values, np.column_stack(slopes)

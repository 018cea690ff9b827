"""When customers buy again and when they leave for good: the BG/NBD model."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from promo_spark.kernels.maximum_likelihood import find_maximum

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Shape of the rates, mean rate per mean age, log-odds of leaving, a + b. Their far ends are limits of the model: all
# customers have one rate, nobody leaves, all leave alike.
_BOUNDS = np.array([[-7.0, 9.0], [-9.0, 14.0], [-14.0, 7.0], [-7.0, 14.0]])
_LEAVING_STARTS = (-4.0, -1.0)
_SPREAD_STARTS = (0.0, 4.0)
_NODES = 16
_LEAST_CHANCE = 1e-12


class BgNbd(NamedTuple):
    """Parameters: rates are gamma(r, alpha), alpha in units of time; chances to leave are beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float


@dataclass(frozen=True)
class BgNbdFit:
    """Fitted parameters.

    Attributes:
        parameters: The parameters, alpha in the unit of the times given.
        log_likelihood: Summed over customers, in that unit.
        is_converged: The likelihood is highest there; otherwise nothing may be told from the parameters.
    """

    parameters: BgNbd
    log_likelihood: float
    is_converged: bool


def fit_bg_nbd(repeats: Ints, last: Floats, age: Floats, weights: Floats | None = None) -> BgNbdFit:
    """Fit by maximum likelihood.

    Customers alike in all three numbers are counted once with a weight, and times are scaled to a mean age of 1: days
    and weeks take the same steps. What is searched over is not the four parameters, whose likelihood is a long
    ridge (a and b grow together where all leave alike, r and alpha where all buy alike), but the logarithms of the
    rates' shape r and mean r / alpha, and the log-odds a / b and the logarithm of a + b: each ridge
    lies along one of them, and ends at a bound.

    Args:
        repeats: Purchases after the first, shape (customers,).
        last: Time from the first purchase to the last, same shape, 0 where there was no other.
        age: Time from the first purchase to the end of what was seen, positive, same shape.
        weights: How many customers each stands for, same shape; one each when not given.

    Returns:
        Parameters, and whether they are the most likely ones.

    Raises:
        ValueError: There are no customers, or one's times are impossible.

    Complexity: O(different customers) for each of a few hundred evaluations. Source: Fader, Hardie and Lee 2005,
    "Counting Your Customers" the Easy Way, equation 6.
    """
    if not len(age) or not ((age > 0) & (last >= 0) & (last <= age) & ((repeats > 0) | (last == 0))).all():
        raise ValueError("customers need an age above 0, and a last purchase between the first and their age")
    triples, place = np.unique(np.column_stack([repeats, last, age]), axis=0, return_inverse=True)
    counts: Floats = np.bincount(place.ravel(), weights).astype(np.float64)
    total, scale = float(counts.sum()), float(np.average(triples[:, 2], weights=counts))
    repeats, last, age = triples[:, 0].astype(np.int64), triples[:, 1] / scale, triples[:, 2] / scale

    def climb(point: Floats) -> tuple[float, Floats]:
        parameters = _parameters(point)
        values, slopes = _likelihood(parameters, repeats, last, age)
        return float(counts @ values) / total, _chain(parameters) @ (slopes @ counts) / total

    bought = float(counts @ repeats) / total
    rate = np.clip(np.log(max(bought, 1.0 / total)), *_BOUNDS[1])
    starts = [(0.0, rate, *leaving) for leaving in product(_LEAVING_STARTS, _SPREAD_STARTS)]
    found = find_maximum(climb, starts, _BOUNDS)
    r, alpha, a, b = _parameters(found.point)
    likelihood = total * (found.value - bought * float(np.log(scale)))
    return BgNbdFit(BgNbd(r, alpha * scale, a, b), likelihood, found.is_converged)


def log_likelihoods(parameters: BgNbd, repeats: Ints, last: Floats, age: Floats) -> Floats:
    """Log-likelihood of each customer, shape (customers,); arguments as in `fit_bg_nbd`.

    >>> one = log_likelihoods(BgNbd(1.0, 1.0, 1.0, 1.0), np.array([0]), np.array([0.0]), np.array([1.0]))
    >>> float(np.exp(one[0]))  # no purchase within 1: 1 / (1 + 1)
    0.5
    """
    return _likelihood(parameters, repeats, last, age)[0]


def alive_probability(parameters: BgNbd, repeats: Ints, last: Floats, age: Floats) -> Floats:
    """Probability that a customer has not left; arguments as in `fit_bg_nbd`.

    Customers leave after a purchase, and in this model never after the first: whoever has bought once is taken to be
    alive.

    Returns:
        Shape (customers,).

    Source: Fader, Hardie and Lee 2008, Computing P(alive) using the BG/NBD model.

    >>> told = alive_probability(BgNbd(1.0, 1.0, 1.0, 1.0), np.array([1, 1]), np.array([0.0, 3.0]), np.full(2, 3.0))
    >>> told.round(4).tolist()  # odds of having left: a / (b + x - 1) = 1, times (4 / 1)² or (4 / 4)²
    [0.0588, 0.5]
    """
    stayed, left = _log_parts(parameters, repeats, last, age)
    alive: Floats = expit(stayed - left)
    return alive


def purchase_probability(parameters: BgNbd, repeats: Ints, last: Floats, age: Floats, horizon: float) -> Floats:
    """Probability of at least one purchase within a horizon after the age; arguments as in `expected_purchases`.

    Returns:
        Shape (customers,).

    >>> told = purchase_probability(BgNbd(2.0, 5.0, 1.0, 1.0), np.array([0]), np.array([0.0]), np.array([5.0]), 10.0)
    >>> told.tolist()  # alive for sure; none with (10 / 20)²
    [0.75]
    """
    some: Floats = -np.expm1(-(parameters.r + repeats) * np.log1p(horizon / (parameters.alpha + age)))
    return alive_probability(parameters, repeats, last, age) * some


def expected_purchases(parameters: BgNbd, repeats: Ints, last: Floats, age: Floats, horizon: float) -> Floats:
    """Purchases expected of each customer within a horizon after their age.

    P(alive) times the mean of (1 - (1 + p horizon / (alpha + age))^-(r + repeats)) / p over chances to leave
    p ~ beta(a, b + repeats), by Gauss-Jacobi quadrature: the published form with the hypergeometric function, but
    without its 0 / 0 at a = 1.

    Args:
        parameters: Fitted.
        repeats: Purchases after the first, shape (customers,).
        last: Time from the first purchase to the last, same shape.
        age: Time from the first purchase to the end of what was seen, same shape.
        horizon: Time looked ahead.

    Returns:
        Shape (customers,).

    Complexity: O(customers), and a small eigenvalue problem for each different number of purchases. Source:
    Fader, Hardie and Lee 2005, equation 10; Golub and Welsch 1969.

    >>> customer = np.array([2]), np.array([30.43]), np.array([38.86])
    >>> expected_purchases(BgNbd(0.243, 4.414, 0.793, 2.426), *customer, 39.0).round(3).tolist()  # as published
    [1.226]
    """
    different, place = np.unique(repeats, return_inverse=True)
    chances, weights = _beta_quadrature(parameters.a, parameters.b + different.astype(np.float64))
    leaving = chances[place]
    reach = (horizon / (parameters.alpha + age))[:, None]
    bought = -np.expm1(-(parameters.r + repeats)[:, None] * np.log1p(leaving * reach)) / leaving
    mean: Floats = (weights[place] * bought).sum(axis=1)
    return alive_probability(parameters, repeats, last, age) * mean


def _parameters(point: Floats) -> BgNbd:
    """r, alpha, a, b at a point of log r, log r / alpha, log a / b, log (a + b)."""
    r, spread = np.exp(point[0]), np.exp(point[3])
    return BgNbd(
        float(r), float(r / np.exp(point[1])), float(spread * expit(point[2])), float(spread * expit(-point[2]))
    )


def _chain(parameters: BgNbd) -> Floats:
    """Derivatives of r, alpha, a, b (columns) by the coordinates of the point (rows)."""
    r, alpha, a, b = parameters
    shared = a * b / (a + b)
    return np.array([[r, alpha, 0, 0], [0, -alpha, 0, 0], [0, 0, shared, -shared], [0, 0, a, b]])


def _log_parts(parameters: BgNbd, repeats: Ints, last: Floats, age: Floats) -> tuple[Floats, Floats]:
    """Logarithms of the two terms that tell customers still alive from those who left, less what they share."""
    r, alpha, a, b = parameters
    stayed = -r * np.log1p(age / alpha) - repeats * np.log(alpha + age)
    left = -r * np.log1p(last / alpha) - repeats * np.log(alpha + last)
    # Nobody leaves after the first purchase.
    return stayed, np.where(repeats > 0, left + np.log(a / (b + _earlier(repeats))), -np.inf)


def _likelihood(parameters: BgNbd, repeats: Ints, last: Floats, age: Floats) -> tuple[Floats, Floats]:
    """Log-likelihoods, shape (customers,), and their derivatives by r, alpha, a, b, shape (4, customers)."""
    r, alpha, a, b = parameters
    stayed, left = _log_parts(parameters, repeats, last, age)
    gone = expit(left - stayed)
    here = 1.0 - gone
    # Ratios of gamma functions as products over the purchases: differences of their logarithms cancel for large b.
    step = np.arange(repeats.max(initial=0), dtype=np.float64)
    terms = [
        np.log(r + step) - np.log1p(a / (b + step)),
        1.0 / (r + step),
        -1.0 / (a + b + step),
        a / ((b + step) * (a + b + step)),
    ]
    value, by_r, by_a, by_b = (np.concatenate([[0.0], np.cumsum(term)])[repeats] for term in terms)
    slopes = [
        by_r - here * np.log1p(age / alpha) - gone * np.log1p(last / alpha),
        here * (r * age / alpha - repeats) / (alpha + age) + gone * (r * last / alpha - repeats) / (alpha + last),
        by_a + gone / a,
        by_b - gone / (b + _earlier(repeats)),
    ]
    return value + np.logaddexp(stayed, left), np.array(slopes)


def _earlier(repeats: Ints) -> Ints:
    """Purchases after the first at which a customer might have left but did not."""
    return np.maximum(repeats, 1) - 1


def _beta_quadrature(a: float, b: Floats) -> tuple[Floats, Floats]:
    """Nodes and weights of the mean over beta(a, b), each of shape (different b, nodes)."""
    step, place = np.arange(1.0, _NODES), np.arange(1, _NODES)
    surplus = (a + b - 2.0)[:, None]
    width = 2.0 * step + surplus
    # The first ratio is 1, also where it is 0 / 0.
    ratio = np.where(step == 1.0, 1.0, (step + surplus) / np.where(step == 1.0, 1.0, width - 1.0))
    beside = step * (step + a - 1.0) * (step + b[:, None] - 1.0) * ratio / (width**2 * (width + 1.0))
    matrices = np.zeros((len(b), _NODES, _NODES))
    matrices[:, 0, 0] = a / (a + b)
    matrices[:, place, place] = (2.0 * step * (step + surplus + 1.0) + surplus * a) / (width * (width + 2.0))
    matrices[:, place, place - 1] = np.sqrt(beside)  # eigh reads the lower triangle only
    nodes, vectors = np.linalg.eigh(matrices)
    return np.maximum(nodes, _LEAST_CHANCE), vectors[:, 0, :] ** 2

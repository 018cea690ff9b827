"""Figures made of customers' sums, with errors by the delta method.

Each customer brings six terms: a1 and n1 to the figure, a0 and n0 to what it is compared with, and b1 and b0 to a
second amount beside a. A figure is a smooth function g of their totals t. Customers are independent, so that the
totals vary by V = n / (n - 1) * (sum x x' - t t' / n), and g by its gradient: grad' V grad. A customer's own
terms may be as dependent as they like: the same customer before and after, or on both sides of an experiment.

Source: the delta method, e.g. Deng, Knoblich and Lu, "Applying the Delta Method in Metric Analytics", KDD 2018, sec. 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Kind = Literal["total", "ratio", "gain_over_cost", "quotient", "displacement"]

_ROUNDING = 1e-13


class Estimate(NamedTuple):
    """A number and its standard error; None where either is not defined."""

    value: float | None
    error: float | None


class Figure(NamedTuple):
    """A figure, what it is compared with, and the difference of the two."""

    value: Estimate
    other: Estimate
    change: Estimate


_NOTHING = Estimate(None, None)
_Found = tuple[float, Floats] | None


def estimate_figure(kind: Kind, count: int, totals: Floats, products: Floats) -> Figure:
    """Estimate a figure from the moments of customers' terms.

    Args:
        kind: total: a1, beside a0. ratio: a1/n1, beside a0/n0. gain_over_cost: (a1/n1 - a0/n0) / (b1/n1). quotient:
            (a0/n0) / (a1/n1), at most 1. displacement: -(a1/n1 - a0/n0) / (b1/n1 - b0/n0), where the
            latter is a gain.
        count: Customers.
        totals: Sums of a1, n1, a0, n0, b1, b0, shape (6,); NaN where unknown.
        products: Sums of their products, shape (6, 6).

    Two customers, who bought for 2 and 4 on one occasion each, and for 1 and 1 before:

    >>> terms = np.array([[2.0, 1, 1, 1, 0, 0], [4.0, 1, 1, 1, 0, 0]])
    >>> figure = estimate_figure("ratio", 2, terms.sum(axis=0), terms.T @ terms)
    >>> figure.value, figure.other.value, figure.change.value
    (Estimate(value=3.0, error=1.0), 1.0, 2.0)
    """
    if kind == "total":
        own, other = _total(totals, 0), _total(totals, 2)
    elif kind == "ratio":
        own, other = _ratio(totals, 0, 1), _ratio(totals, 2, 3)
    else:
        own, other = _COMPOSED[kind](totals), None
    change = None if own is None or other is None else (own[0] - other[0], own[1] - other[1])
    spread = _spread(count, totals, products)
    return Figure(*(_estimate(found, spread) for found in (own, other, change)))


def interval(estimate: Estimate, count: int, level: float) -> tuple[float | None, float | None]:
    """Ends of Student's interval with count - 1 degrees of freedom; None without an error.

    >>> interval(Estimate(1.0, None), 5, 0.95)
    (None, None)
    """
    if estimate.value is None or estimate.error is None or count < 2:  # noqa: PLR2004  (one has no spread)
        return None, None
    half = float(stats.t.ppf(0.5 + level / 2.0, count - 1)) * estimate.error
    return estimate.value - half, estimate.value + half


def share_interval(successes: int, count: int, level: float) -> tuple[float | None, float | None]:
    """Ends of Wilson's interval of a share: those shares that the observed one is not too far from; within [0, 1].

    Source: Wilson (1927); for few observations recommended by Brown, Cai and DasGupta, "Interval Estimation for a
    Binomial Proportion", Statistical Science 16(2), 2001.

    >>> low, high = share_interval(1, 1, 0.9)
    >>> round(low, 3), high
    (0.27, 1.0)
    >>> share_interval(0, 0, 0.9)
    (None, None)
    """
    if count == 0:
        return None, None
    share = successes / count
    squared = float(stats.norm.ppf(0.5 + level / 2.0)) ** 2 / count
    middle = (share + squared / 2.0) / (1.0 + squared)
    half = float(np.sqrt(squared * (share * (1.0 - share) + squared / 4.0))) / (1.0 + squared)
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == count else middle + half
    return low, high


def _spread(count: int, totals: Floats, products: Floats) -> Floats | None:
    """Covariance of the totals, shape (6, 6); terms that are unknown do not vary, since no figure uses them."""
    if count < 2:  # noqa: PLR2004  (one has no spread)
        return None
    known, squares = np.nan_to_num(totals), np.nan_to_num(products)
    spread = squares - np.outer(known, known) / count
    tiny = np.abs(spread) <= _ROUNDING * np.sqrt(np.outer(np.diag(squares), np.diag(squares)))
    return np.where(tiny, 0.0, spread) * count / (count - 1.0)


def _estimate(found: _Found, spread: Floats | None) -> Estimate:
    if found is None:
        return _NOTHING
    value, gradient = found
    if spread is None:
        return Estimate(value, None)
    return Estimate(value, float(np.sqrt(max(float(gradient @ spread @ gradient), 0.0))))


def _total(totals: Floats, place: int) -> _Found:
    value = float(totals[place])
    return (value, np.eye(6)[place]) if np.isfinite(value) else None


def _ratio(totals: Floats, top: int, bottom: int) -> _Found:
    above, below = float(totals[top]), float(totals[bottom])
    if not (np.isfinite(above) and np.isfinite(below)) or below == 0:
        return None
    gradient = np.zeros(6)
    gradient[top], gradient[bottom] = 1.0 / below, -above / below**2
    return above / below, gradient


def _over(above: _Found, below: _Found) -> _Found:
    """Quotient of two functions of the totals."""
    if above is None or below is None or below[0] == 0:
        return None
    value = above[0] / below[0]
    return value, (above[1] - value * below[1]) / below[0]


def _less(first: _Found, second: _Found) -> _Found:
    return None if first is None or second is None else (first[0] - second[0], first[1] - second[1])


def _gain_over_cost(totals: Floats) -> _Found:
    return _over(_less(_ratio(totals, 0, 1), _ratio(totals, 2, 3)), _ratio(totals, 4, 1))


def _quotient(totals: Floats) -> _Found:
    found = _over(_ratio(totals, 2, 3), _ratio(totals, 0, 1))
    return None if found is None else (min(found[0], 1.0), found[1])


def _displacement(totals: Floats) -> _Found:
    lost = _less(_ratio(totals, 2, 3), _ratio(totals, 0, 1))
    gained = _less(_ratio(totals, 4, 1), _ratio(totals, 5, 3))
    return None if gained is None or gained[0] <= 0 else _over(lost, gained)


_COMPOSED: dict[str, Callable[[Floats], _Found]] = {
    "gain_over_cost": _gain_over_cost,
    "quotient": _quotient,
    "displacement": _displacement,
}

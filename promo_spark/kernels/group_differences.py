"""Is a group treated as everybody else is? Differences with errors, from sums alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Exponents = tuple[int, int, int]

RATIO_MOMENTS = ("count", "top", "bottom", "top_top", "top_bottom", "bottom_bottom")
DEGREE = 4
MONOMIALS: tuple[Exponents, ...] = tuple(
    (a, b, c) for a, b, c in product(range(DEGREE + 1), repeat=3) if a + b + c <= DEGREE
)
_UNITS: tuple[Exponents, ...] = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
_SINGULAR = 1e-10
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Difference:
    """A group's figure beside that of all others.

    Attributes:
        value: The group's.
        reference: That of all others.
        error: Standard error of the difference; None where one side has no spread to tell it by.
        freedom: Its degrees of freedom.
        shares: For shares of customers: how many of how many, in the group and among all others.
    """

    value: float
    reference: float
    error: float | None
    freedom: float | None
    shares: tuple[int, int, int, int] | None = None

    @property
    def difference(self) -> float:
        """Value less reference."""
        return self.value - self.reference

    @property
    def p_value(self) -> float | None:
        """Two-sided, of no difference: Fisher's exact test of shares, else Student's t."""
        if self.shares is not None:
            own, size, other, others = self.shares
            return float(stats.fisher_exact(np.array([[own, size - own], [other, others - other]]))[1])
        if self.error is None or self.freedom is None:
            return None
        if self.error == 0:
            return 1.0 if abs(self.difference) <= _ROUNDING * abs(self.reference) else 0.0
        return float(2.0 * stats.t.sf(abs(self.difference) / self.error, self.freedom))

    def interval(self, level: float) -> tuple[float | None, float | None]:
        """Ends of the difference's interval: Newcombe's of shares, else Student's."""
        if self.shares is not None:
            return _newcombe(*self.shares, level=level)
        if self.error is None or self.freedom is None:
            return None, None
        half = float(stats.t.ppf(0.5 + level / 2.0, self.freedom)) * self.error
        return self.difference - half, self.difference + half


def ratio_difference(group: Floats, everybody: Floats) -> Difference | None:
    """Compare sum(top) / sum(bottom) of a group with that of all other customers.

    Both are means of customers' terms, with errors by the delta method. The error is Welch's, which lets the two vary
    differently, or Student's, by which all vary alike, whichever is larger: where something is rare, a small
    group in which nobody has it shows no spread of its own, and would be called different for certain. Where every
    bottom is 1 and every top 0 or 1, they are shares, and Fisher's exact test and Newcombe's interval are used.

    Args:
        group: RATIO_MOMENTS of the group, shape (6,): customers with a bottom other than 0, and sums over them.
        everybody: The same of the group and all others.

    Returns:
        None where either has no customers.

    Source: Welch 1947; Satterthwaite 1946; Fisher 1935; Newcombe 1998 (method 10).

    >>> first, rest = np.array([2.0, 3, 2, 5, 3, 2]), np.array([2.0, 1, 2, 1, 1, 2])
    >>> found = ratio_difference(first, first + rest)
    >>> found.value, found.reference, round(found.error, 4)
    (1.5, 0.5, 0.7071)
    """
    first, second = (_ratio(moments) for moments in (group, everybody - group))
    if first is None or second is None:
        return None
    if min(first.size, second.size) < 2:  # noqa: PLR2004  (one has no spread)
        return Difference(first.value, second.value, None, None)
    own = first.variance + second.variance
    parts = first.variance**2 / (first.size - 1.0) + second.variance**2 / (second.size - 1.0)
    pooled = first.size + second.size - 2.0
    alike = (first.squares + second.squares) / pooled * (first.scale + second.scale)
    freedom = pooled if parts == 0 or alike > own * (1.0 + _ROUNDING) else own**2 / parts
    shares = None
    if _is_share(everybody):
        shares = (round(group[1]), round(first.size), round(everybody[1] - group[1]), round(second.size))
    return Difference(first.value, second.value, float(np.sqrt(max(own, alike))), float(freedom), shares)


class _Side(NamedTuple):
    """A ratio of sums: its squared residuals, and what they are multiplied by for a variance as of one customer."""

    value: float
    squares: float
    scale: float
    size: float

    @property
    def variance(self) -> float:
        return self.squares / (self.size - 1.0) * self.scale


def _is_share(moments: Floats) -> bool:
    count, top, bottom, top_top, top_bottom, bottom_bottom = moments.tolist()
    return bool(count == bottom == bottom_bottom and top == top_top == top_bottom and top == round(top))


def _newcombe(own: int, size: int, other: int, others: int, *, level: float) -> tuple[float, float]:
    """Interval of a difference of shares, from Wilson's of each."""
    ends = []
    for successes, count in ((own, size), (other, others)):
        wilson = stats.binomtest(successes, count).proportion_ci(level, method="wilson")
        ends.append((successes / count, float(wilson.low), float(wilson.high)))
    (first, low, high), (second, other_low, other_high) = ends
    below = np.hypot(first - low, other_high - second)
    above = np.hypot(high - first, second - other_low)
    return float(first - second - below), float(first - second + above)


def _ratio(moments: Floats) -> _Side | None:
    count, top, bottom, top_top, top_bottom, bottom_bottom = (float(moment) for moment in moments)
    if count < 1 or bottom <= 0:
        return None
    value = top / bottom
    squares = top_top - 2.0 * value * top_bottom + value**2 * bottom_bottom
    noise = _ROUNDING * max(top_top, value**2 * bottom_bottom)
    return _Side(value, squares if squares > noise else 0.0, count / bottom**2, count)


def adjusted_difference(group: Mapping[Exponents, float], everybody: Mapping[Exponents, float]) -> Difference | None:
    """Compare an outcome of a group with that of all others, customers alike in two controls.

    Least squares of y on 1, z1, z2 and the group: the group's coefficient, with an error that allows for customers who
    vary differently (HC1), or the usual one where that is larger. The group is an indicator, so that sums of products
    of z1, z2 and y up to the fourth degree, in the group and overall, are all there is to know. A control that does
    not vary is left out.

    Args:
        group: Sum of z1^a z2^b y^c over the group's customers for each of MONOMIALS.
        everybody: The same over all.

    Returns:
        The reference is the mean of all others, the value that plus the coefficient. None where the group is
        nobody, everybody, or told by the controls.

    Source: White 1980; MacKinnon and White 1985 (HC1).
    """
    inside, outside = _tensor(group), _tensor(everybody) - _tensor(group)
    count, others = inside[0, 0, 0, 0], outside[0, 0, 0, 0]
    if min(count, others) < 1:
        return None
    whole = inside + outside
    kept = [place for place in (1, 2) if _varies(whole[0, 0], place)]
    design = [0, *kept]
    gram, moment = _normal_equations(inside, whole, design)
    reference = float(outside[0, 0, 0, 3] / others)
    freedom = count + others - len(gram)
    if freedom < 1 or np.linalg.cond(_scaled(gram)) > 1.0 / _SINGULAR:
        return None
    inverse = np.linalg.inv(gram)
    coefficients = inverse @ moment
    meat = _meat(inside, outside, design, coefficients)
    robust = float((inverse @ meat @ inverse)[-1, -1]) * (count + others) / freedom
    left = max(float(whole[0, 0, 3, 3] - moment @ coefficients), 0.0)
    variance = max(robust, left / freedom * float(inverse[-1, -1]))
    own = float(coefficients[-1])
    return Difference(reference + own, reference, float(np.sqrt(variance)), float(freedom))


def _tensor(sums: Mapping[Exponents, float]) -> Floats:
    """Fourth moments of v = (1, z1, z2, y), shape (4, 4, 4, 4)."""
    tensor = np.empty((4, 4, 4, 4))
    for places in product(range(4), repeat=4):
        a, b, c = (sum(_UNITS[place][axis] for place in places) for axis in range(3))
        tensor[places] = sums[a, b, c]
    return tensor


def _varies(seconds: Floats, place: int) -> bool:
    mean = seconds[0, place] / seconds[0, 0]
    return bool(seconds[place, place] / seconds[0, 0] - mean**2 > 1e-12 * max(1.0, mean**2))


def _normal_equations(inside: Floats, whole: Floats, design: list[int]) -> tuple[Floats, Floats]:
    """X'X and X'y of the design and, last, the group's indicator."""
    size = len(design)
    gram, moment = np.empty((size + 1, size + 1)), np.empty(size + 1)
    gram[:size, :size] = whole[0, 0][np.ix_(design, design)]
    gram[size, :size] = gram[:size, size] = inside[0, 0, 0, design]
    gram[size, size] = inside[0, 0, 0, 0]
    moment[:size], moment[size] = whole[0, 0, design, 3], inside[0, 0, 0, 3]
    return gram, moment


def _scaled(gram: Floats) -> Floats:
    scale = np.sqrt(np.diag(gram))
    scaled: Floats = gram / np.outer(scale, scale)
    return scaled


def _meat(inside: Floats, outside: Floats, design: list[int], coefficients: Floats) -> Floats:
    """Sum of e^2 x x': the residual is linear in v, within the group and outside it."""
    size = len(design)
    weights = np.zeros(4)
    weights[design] = -coefficients[:size]
    weights[3] = 1.0
    own = weights.copy()
    own[0] -= coefficients[size]
    within = np.einsum("i,l,iljk->jk", own, own, inside)[np.ix_(design, design)]
    without = np.einsum("i,l,iljk->jk", weights, weights, outside)[np.ix_(design, design)]
    meat = np.empty((size + 1, size + 1))
    meat[:size, :size] = within + without
    meat[size, :size] = meat[:size, size] = within[0]
    meat[size, size] = within[0, 0]
    return meat

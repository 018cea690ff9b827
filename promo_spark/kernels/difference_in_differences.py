"""What being targeted changed, from before to after, beside those who were not targeted; one row per customer.

A row is one customer's change, so errors that are independent between rows are clustered by customer.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution
from scipy.stats import t as t_distribution

from promo_spark.kernels.targeting_weights import Propensities, odds_weights

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_FEWEST = 2
_ZERO = 1e-12


class Effect(NamedTuple):
    """An estimate.

    Attributes:
        effect: Per targeted customer, in units of the outcome.
        standard_error: Clustered by customer; 0 where outcomes do not vary.
        degrees: Of freedom, of its t distribution (Satterthwaite).
    """

    effect: float
    standard_error: float
    degrees: float

    def interval(self, level: float) -> tuple[float, float]:
        """Lower and upper end of the two-sided interval of that level."""
        half = float(t_distribution.ppf(0.5 + level / 2, self.degrees)) * self.standard_error
        return self.effect - half, self.effect + half

    @property
    def p_value(self) -> float:
        """Two-sided, of no effect; NaN where the error is 0: nothing varies, nothing can be tested."""
        if self.standard_error <= 0:
            return float("nan")
        return float(2 * t_distribution.sf(abs(self.effect) / self.standard_error, self.degrees))


class Trend(NamedTuple):
    """A joint test that targeted and others moved alike before.

    Attributes:
        leads: Difference of the groups in each period beside that in the last one, shape (n_periods - 1,).
        p_value: Of all being 0; NaN where it cannot be tested.
    """

    leads: Floats
    p_value: float


def difference_in_differences(changes: Floats, targeted: Bools) -> Effect:
    """Mean change of the targeted less that of the others.

    Right where both would have moved alike without the campaign.

    Args:
        changes: Outcome after less outcome before, shape (n_rows,).
        targeted: Shape (n_rows,), at least two rows of each group.

    Returns:
        Its error is the HC2 one of a regression of the change on being targeted.

    Raises:
        ValueError: A group has fewer than two rows.

    >>> difference_in_differences(np.array([3.0, 5.0, 1.0, 1.0]), np.array([True, True, False, False]))[:2]
    (3.0, 1.0)
    """
    own, other = _groups(changes, targeted)
    parts = (float(own.var(ddof=1)) / len(own), float(other.var(ddof=1)) / len(other))
    return Effect(float(own.mean() - other.mean()), float(np.sqrt(sum(parts))), _degrees(parts, (len(own), len(other))))


def weighted_difference(
    changes: Floats,
    targeted: Bools,
    design: Floats,
    propensities: Propensities,
    *,
    expected: bool,
) -> Effect:
    """The same with the others weighted to be like the targeted, and, doubly robust, their expected change taken off.

    With w the odds of being targeted, normalised, and m(x) the change that a regression on the others expects, the
    effect is mean over targeted of (change - m) less the w-weighted mean over others of (change - m). With ``expected``
    it is right if either the propensities or m are; without, m is 0 and the propensities must be.

    Args:
        changes: Shape (n_rows,).
        targeted: Shape (n_rows,).
        design: A leading 1 and covariates known before, shape (n_rows, q).
        propensities: Of the same design.
        expected: Doubly robust.

    Returns:
        Its error accounts for the estimation of propensities and of m.

    Raises:
        ValueError: A group has fewer than two rows.

    Source: Sant'Anna and Zhao 2020, equations 2.5 and 3.1, and the influence functions of section 3 for panel data, of
    whatever propensities; without ``expected``, Abadie 2005 with normalised weights.
    """
    effect, influence = _weighted_influence(changes, targeted, design, propensities, expected=expected)
    parts = (_spread(influence[targeted]), _spread(influence[~targeted]))
    sizes = (int(targeted.sum()), int((~targeted).sum()))
    return Effect(effect, float(np.sqrt(sum(parts))), _degrees(parts, sizes))


def pre_trend(before: Floats, targeted: Bools) -> Trend:
    """Test whether targeted and others moved alike in the periods before: the leads of an event study.

    Args:
        before: Outcome of each period before, in order, shape (n_rows, n_periods).
        targeted: Shape (n_rows,).

    Returns:
        Leads beside the last period, and the p-value of a Wald test with errors clustered by customer, as F with the
        degrees of freedom of the smaller group (Hotelling). NaN with one period, constant outcomes or too few rows.

    >>> same = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 4.0], [4.0, 6.0]])
    >>> pre_trend(np.concatenate([same, same]), np.arange(8) < 4)
    Trend(leads=array([0.]), p_value=1.0)
    """
    gaps = before[:, :-1] - before[:, -1:]
    own, other = _groups(gaps, targeted)
    leads = own.mean(axis=0) - other.mean(axis=0)
    if leads.size == 0:
        return Trend(leads, float("nan"))
    spread = np.atleast_2d(np.cov(own.T)) / len(own) + np.atleast_2d(np.cov(other.T)) / len(other)
    return Trend(leads, _joint_p_value(leads, spread, min(len(own), len(other)) - 1))


def weighted_trend(before: Floats, targeted: Bools, design: Floats, propensities: Propensities) -> Trend:
    """The same with the others weighted to be like the targeted: what weights cannot make alike shows.

    Targeting by what was bought before fails ``pre_trend`` even where weighting by it makes the groups comparable; this
    test holds then, and fails where something else moved the targeted.

    Args:
        before: Outcome of each period before, in order, shape (n_rows, n_periods).
        targeted: Shape (n_rows,).
        design: A leading 1 and covariates known before, shape (n_rows, q).
        propensities: Of the same design.

    Returns:
        As ``pre_trend``; the errors account for the estimation of the propensities.

    >>> same = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 4.0], [4.0, 6.0]] * 2)
    >>> targeted, design = np.arange(8) < 4, np.ones((8, 1))
    >>> even = Propensities(np.full(8, 0.5), np.zeros((8, 1)))
    >>> weighted_trend(same, targeted, design, even)
    Trend(leads=array([0.]), p_value=1.0)
    """
    gaps = before[:, :-1] - before[:, -1:]
    own, other = _groups(gaps, targeted)
    if gaps.shape[1] == 0:
        return Trend(gaps[0], float("nan"))
    found = [_weighted_influence(gap, targeted, design, propensities, expected=False) for gap in gaps.T]
    influence = np.column_stack([one for _, one in found])
    spread = sum(
        (rows.T @ rows * len(rows) / (len(rows) - 1) for rows in (influence[targeted], influence[~targeted])),
        np.zeros((gaps.shape[1], gaps.shape[1])),
    )
    leads = np.array([effect for effect, _ in found])
    return Trend(leads, _joint_p_value(leads, spread, min(len(own), len(other)) - 1))


def _joint_p_value(leads: Floats, spread: Floats, freedom: int) -> float:
    """P-value of all being 0; NaN where their covariance or the rows do not allow a test."""
    roots, axes = np.linalg.eigh(spread)
    kept = roots > _ZERO * max(float(roots.max()), _ZERO)
    rank = int(kept.sum())
    if rank == 0 or freedom < rank or float(roots.max()) <= _ZERO:
        return float("nan")
    statistic = float(((axes[:, kept].T @ leads) ** 2 / roots[kept]).sum())
    scaled = statistic * (freedom - rank + 1) / (freedom * rank)
    return float(f_distribution.sf(scaled, rank, freedom - rank + 1))


def _weighted_influence(
    changes: Floats, targeted: Bools, design: Floats, propensities: Propensities, *, expected: bool
) -> tuple[float, Floats]:
    """The effect, and what each row adds to its error: their sum of squares is its variance."""
    _groups(changes, targeted)
    count = len(changes)
    own = targeted.astype(np.float64)
    weights = odds_weights(propensities.chances, targeted) * (1 - own)
    rest, regression = _residuals(changes, targeted, design) if expected else (changes, np.zeros_like(design))
    told = float((own * rest).sum() / own.sum()), float((weights * rest).sum() / weights.sum())
    influence_own = own * (rest - told[0]) - regression @ (own @ design / count)
    slope = (weights * (rest - told[1])) @ design / count
    influence_other = (
        weights * (rest - told[1]) + propensities.influence @ slope - regression @ (weights @ design / count)
    )
    influence: Floats = (influence_own / own.mean() - influence_other / weights.mean()) / count
    return told[0] - told[1], influence


def _spread(influence: Floats) -> float:
    """Sum of squares, with what n - 1 does for a variance."""
    return float((influence**2).sum()) * len(influence) / (len(influence) - 1)


def _residuals(changes: Floats, targeted: Bools, design: Floats) -> tuple[Floats, Floats]:
    """Changes less those that a least-squares fit on the others expects, and what each row does to the fit."""
    count = len(changes)
    others = np.where(targeted, 0.0, 1.0)[:, None] * design
    inverse = np.linalg.pinv(others.T @ design / count, hermitian=True)
    told = inverse @ (others.T @ changes / count)
    rest = changes - design @ told
    return rest, (others * rest[:, None]) @ inverse


def _groups(values: Floats, targeted: Bools) -> tuple[Floats, Floats]:
    own, other = values[targeted], values[~targeted]
    if min(len(own), len(other)) < _FEWEST:
        raise ValueError(
            f"a comparison needs at least two customers on either side; {len(own)} were targeted, {len(other)} not"
        )
    return own, other


def _degrees(parts: tuple[float, ...], sizes: tuple[int, int]) -> float:
    """Welch and Satterthwaite's degrees of freedom of a sum of two variances."""
    shares = sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    return sum(parts) ** 2 / shares if shares > 0 else float(min(sizes) - 1)

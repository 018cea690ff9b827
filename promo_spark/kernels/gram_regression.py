"""Ridge regression from sums of products, which blocks of rows add up and folds subtract.

A row of the design is a leading 1 and the standardised covariates. The sums are all that a linear model needs, so one
pass over the data serves every outcome, every arm and every fold.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sums = TypeVar("Sums", bound=tuple[NDArray[np.float64], ...])

_FEW_VALUES = 10
_CONSTANT = 1e-12
_JITTER = 1e-9  # of the count: keeps collinear covariates solvable


class Standardiser(NamedTuple):
    """Limits, centre and scale of each covariate, and where it may bend.

    Attributes:
        lows: Shape (n_covariates,).
        highs: Shape (n_covariates,).
        means: Shape (n_covariates,).
        scales: Shape (n_covariates,).
        bends: Covariates whose line may bend at their median, as floats, shape (n_bends,).
        knots: The medians, standardised, shape (n_bends,).
        middles: Means of what lies beyond the knots, shape (n_bends,).
    """

    lows: Floats
    highs: Floats
    means: Floats
    scales: Floats
    bends: Floats
    knots: Floats
    middles: Floats

    @property
    def owners(self) -> Ints:
        """The covariate that each column of the design but the first belongs to, shape (q - 1,)."""
        return np.concatenate([np.arange(len(self.means)), self.bends.astype(np.int64)])

    def design(self, covariates: Floats) -> Floats:
        """A leading 1, the winsorised, standardised covariates and what lies beyond knots, shape (n_rows, q)."""
        count = len(self.means)
        design = np.ones((len(covariates), 1 + count + len(self.bends)))
        design[:, 1 : 1 + count] = (np.clip(covariates, self.lows, self.highs) - self.means) / self.scales
        beyond = design[:, 1 + self.bends.astype(np.int64)] - self.knots
        design[:, 1 + count :] = np.maximum(beyond, 0.0) - self.middles
        return design


class Grams(NamedTuple):
    """Sums of products of groups of rows.

    Attributes:
        xx: Design by design, shape (..., q, q).
        xy: Design by outcome, shape (..., q, n_outcomes).
    """

    xx: Floats
    xy: Floats

    @property
    def counts(self) -> Floats:
        """Rows of each group, shape (...)."""
        return self.xx[..., 0, 0]


def fit_standardiser(sample: Floats, tail: float = 0.005) -> Standardiser:
    """Learn limits, centre, scale and knots from a sample of rows.

    Args:
        sample: Shape (n_rows, n_covariates), finite, at least one row.
        tail: Share cut off on either side of a covariate that takes more than ten values; such a one may bend.

    Returns:
        A covariate that does not vary becomes 0 throughout.

    >>> fit_standardiser(np.array([[0.0, 5.0], [2.0, 5.0]])).design(np.array([[2.0, 7.0]])).tolist()
    [[1.0, 1.0, 0.0]]
    """
    lows, highs = np.quantile(sample, [tail, 1 - tail], axis=0)
    many = np.array([len(np.unique(column)) > _FEW_VALUES for column in sample.T], dtype=bool)
    # Winsorising would wipe out a rare yes.
    lows, highs = np.where(many, lows, sample.min(axis=0)), np.where(many, highs, sample.max(axis=0))
    cut = np.clip(sample, lows, highs)
    scales = cut.std(axis=0)
    scales = np.where(scales > _CONSTANT * (1 + np.abs(cut).max(axis=0)), scales, 1.0)
    scaled = (cut - cut.mean(axis=0)) / scales
    medians = np.median(scaled, axis=0)
    bends = np.flatnonzero(many & (medians < scaled.max(axis=0)))
    middles = np.maximum(scaled[:, bends] - medians[bends], 0.0).mean(axis=0)
    return Standardiser(lows, highs, cut.mean(axis=0), scales, bends.astype(np.float64), medians[bends], middles)


def gather_grams(design: Floats, outcomes: Floats, groups: Ints, n_groups: int) -> Grams:
    """Sums of products of each group of rows.

    Args:
        design: Shape (n_rows, q).
        outcomes: Shape (n_rows, n_outcomes).
        groups: Group of each row, from 0, shape (n_rows,).
        n_groups: Number of groups.

    Returns:
        Grams with leading shape (n_groups,).

    Complexity: O(n_rows * q * (q + n_outcomes)).

    >>> gather_grams(np.ones((2, 1)), np.array([[2.0], [3.0]]), np.array([1, 1]), 2).xy.ravel().tolist()
    [0.0, 5.0]
    """
    size = design.shape[1]
    xx, xy = np.zeros((n_groups, size, size)), np.zeros((n_groups, size, outcomes.shape[1]))
    for group in np.unique(groups).tolist():
        rows = groups == group
        own = design[rows]
        xx[group], xy[group] = own.T @ own, own.T @ outcomes[rows]
    return Grams(xx, xy)


def add_up(parts: Iterable[Sums]) -> Sums:
    """Add tuples of arrays, part by part.

    Raises:
        ValueError: There is nothing to add up.

    >>> add_up([(np.ones(2),), (np.ones(2),)])[0].tolist()
    [2.0, 2.0]
    """
    total: Sums | None = None
    for part in parts:
        if total is None:
            total = part
            continue
        for place, values in enumerate(part):
            total[place][...] += values
    if total is None:
        raise ValueError("there are no rows to add up")
    return total


def solve_ridge(xx: Floats, xy: Floats, penalty: float | Floats) -> Floats:
    """Coefficients of ridge regressions, their intercept not penalised.

    Args:
        xx: Shape (..., q, q).
        xy: Shape (..., q, n_outcomes).
        penalty: Added to the diagonal, in rows; a number, or shape (q,) with 0 where nothing is penalised.

    Returns:
        Shape (..., q, n_outcomes); finite even where rows are fewer than q or a covariate is 0 throughout.

    >>> solve_ridge(np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([[4.0], [4.0]]), 2.0).ravel().round(6).tolist()
    [2.0, 1.0]
    """
    size = xx.shape[-1]
    own = np.broadcast_to(penalty, size).copy()
    if np.ndim(penalty) == 0:
        own[0] = 0.0
    diagonal = own + _JITTER * (1 + np.abs(np.einsum("...ii->...i", xx)).max(axis=-1, keepdims=True))
    return np.linalg.solve(xx + diagonal[..., None] * np.eye(size), xy)


def choose_penalties(xx: Floats, xy: Floats, penalties: Sequence[float], free: Sequence[int] = (0,)) -> Floats:
    """For each outcome the penalty with the least squared error on the folds left out, one after another.

    Args:
        xx: Shape (n_folds, q, q).
        xy: Shape (n_folds, q, n_outcomes).
        penalties: What is tried, in rows.
        free: Coefficients that are not penalised.

    Returns:
        Shape (n_outcomes,); the first penalty where there is a single fold. Of equals the earlier.

    Complexity: O(n_folds * n_penalties * q^3), whatever the rows.

    >>> noise = np.array([[[4.0]], [[-4.0]]])
    >>> choose_penalties(np.full((2, 1, 1), 4.0), noise, [0.0, 100.0], free=()).tolist()
    [100.0]
    """
    if 1 in (len(xx), len(penalties)):
        return np.full(xy.shape[2], float(penalties[0]))
    allowed = np.ones(xx.shape[1])
    allowed[list(free)] = 0.0
    losses = np.zeros((len(penalties), xy.shape[2]))
    for fold in range(len(xx)):
        rest_xx, rest_xy = xx.sum(axis=0) - xx[fold], xy.sum(axis=0) - xy[fold]
        for place, penalty in enumerate(penalties):
            told = solve_ridge(rest_xx, rest_xy, penalty * allowed)
            losses[place] += np.einsum("qm,qr,rm->m", told, xx[fold], told) - 2 * (told * xy[fold]).sum(axis=0)
    best: Floats = np.asarray(penalties, dtype=np.float64)[losses.argmin(axis=0)]
    return best


def solve_each(xx: Floats, xy: Floats, penalties: Floats, free: Sequence[int] = (0,)) -> Floats:
    """Ridge regressions on one design, each outcome under its own penalty; shapes as ``solve_ridge``.

    >>> solve_each(np.eye(1), np.array([[4.0, 4.0]]), np.array([0.0, 1.0]), free=()).round(6).tolist()
    [[4.0, 2.0]]
    """
    allowed = np.ones(xx.shape[-1])
    allowed[list(free)] = 0.0
    told = np.empty_like(xy)
    for penalty in np.unique(penalties):
        same = penalties == penalty
        told[:, same] = solve_ridge(xx, xy[:, same], penalty * allowed)
    return told

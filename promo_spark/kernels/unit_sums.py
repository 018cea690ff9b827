"""All that the analysis of an experiment needs of its units, added up cell by cell.

A cell is an arm in a stratum and a segment. Sums of blocks of rows add up to those of all, so that nobody ever holds
the rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.value_bins import sum_bins

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TOLD = ("customers", "sound", "units", "two_arms", "duplicates", "early", "missing")
"""What is counted: customers drawn; those whose outcomes count; units (customers or clusters) that the products add up;
and customers, or clusters, with several arms, several records, outcomes before the assignment or none."""


class UnitBlock(NamedTuple):
    """Rows of one experiment.

    Attributes:
        cells: From 0, shape (n,).
        arms: From 0, shape (n,); a cell belongs to one.
        weights: Customers of the unit, shape (n,).
        is_customer: The row is a customer, not a cluster, shape (n,).
        is_unit: Its products count: a customer of an experiment without clusters, or a cluster, shape (n,).
        faults: Several arms, several records, early, missing, shape (n, 4).
        propensities: NaN where none is logged, shape (n,).
        covariates: Shape (n, n_covariates).
        outcomes: Shape (n, n_outcomes).
    """

    cells: Ints
    arms: Ints
    weights: Floats
    is_customer: Bools
    is_unit: Bools
    faults: Bools
    propensities: Floats
    covariates: Floats
    outcomes: Floats


class UnitSums(NamedTuple):
    """Sums per cell, and per arm where values themselves are looked at.

    Attributes:
        counts: In the order of `TOLD`, shape (n_cells, 7).
        propensities: Number logged, sum and sum of squares, shape (n_cells, 3).
        products: Sums of z z' with z = 1, weight, covariates, outcomes, shape (n_cells, q, q).
        bins: Counts, sums and squares of customers' outcomes per bin of value, shape (n_arms, n_outcomes, BINS, 3).
        fractions: Customers whose outcome is no whole number, shape (n_arms, n_outcomes).
    """

    counts: Floats
    propensities: Floats
    products: Floats
    bins: Floats
    fractions: Floats


def sum_units(block: UnitBlock, n_cells: int, n_arms: int) -> UnitSums:
    """Add up the rows of a block.

    Args:
        block: Rows of one experiment.
        n_cells: Number of cells.
        n_arms: Number of arms.

    Returns:
        Sums; those with several arms, early or missing outcomes are counted and take no further part.

    Complexity: O(n q^2 + n log n + n_arms n_outcomes BINS).

    >>> one = np.array([True, True])
    >>> none = np.zeros((2, 4), dtype=bool)
    >>> block = UnitBlock(np.array([0, 0]), np.array([0, 0]), np.ones(2), one, one, none, np.full(2, 0.5),
    ...     np.zeros((2, 0)), np.array([[2.0], [4.0]]))
    >>> sums = sum_units(block, 1, 1)
    >>> sums.products[0].tolist()
    [[2.0, 2.0, 6.0], [2.0, 2.0, 6.0], [6.0, 6.0, 20.0]]
    >>> dict(zip(TOLD, sums.counts[0].tolist()))["units"]
    2.0
    """
    is_sound = ~block.faults[:, [0, 2, 3]].any(axis=1)
    counted = [block.is_customer, block.is_customer & is_sound, block.is_unit & is_sound, *block.faults.T]
    counts = np.stack([_count(block.cells, which, n_cells) for which in counted], axis=-1)
    is_logged = ~np.isnan(block.propensities) & block.is_customer
    logged = np.where(is_logged, block.propensities, 0.0)
    propensities = np.stack(
        [
            _count(block.cells, is_logged, n_cells),
            np.bincount(block.cells, logged, minlength=n_cells),
            np.bincount(block.cells, logged**2, minlength=n_cells),
        ],
        axis=-1,
    )
    units = block.is_unit & is_sound
    rows = np.column_stack([np.ones(units.sum()), block.weights[units], block.covariates[units], block.outcomes[units]])
    products = _products(rows, block.cells[units], n_cells)
    own = block.is_customer & is_sound
    arms, outcomes = block.arms[own], block.outcomes[own]
    width = outcomes.shape[1]
    bins = np.stack([sum_bins(outcomes[:, place], arms, n_arms) for place in range(width)], axis=1)
    broken = outcomes != np.floor(outcomes)
    fractions = np.stack([_count(arms, broken[:, place], n_arms) for place in range(width)], axis=-1)
    return UnitSums(counts, propensities, products, bins, fractions)


def pack_bins(bins: Floats) -> Floats:
    """Lay out what is not empty: outcome, bin, count, sum and sum of squares, one after the other.

    Args:
        bins: Of one cell, shape (n_outcomes, BINS, 3).

    >>> bins = np.zeros((1, 4, 3))
    >>> bins[0, 2] = [1.0, 5.0, 25.0]
    >>> pack_bins(bins).tolist()
    [0.0, 2.0, 1.0, 5.0, 25.0]
    """
    outcome, place = np.nonzero(bins[..., 0])
    packed: Floats = np.column_stack([outcome, place, bins[outcome, place]]).ravel()
    return packed


def unpack_bins(packed: Floats, n_outcomes: int, n_bins: int) -> Floats:
    """The opposite; several cells one after the other are added up.

    >>> unpack_bins(np.array([0.0, 2, 1, 5, 25, 0, 2, 1, 1, 1]), 1, 4)[0, 2].tolist()
    [2.0, 6.0, 26.0]
    """
    bins = np.zeros((n_outcomes, n_bins, 3))
    rows = packed.reshape(-1, 5)
    np.add.at(bins, (rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)), rows[:, 2:])
    return bins


def _products(rows: Floats, cells: Ints, n_cells: int) -> Floats:
    """Sums of products per cell, however many cells there are: rows of one lie side by side once sorted."""
    products = np.zeros((n_cells, rows.shape[1], rows.shape[1]))
    order = np.argsort(cells, kind="stable")
    present, starts = np.unique(cells[order], return_index=True)
    for cell, own in zip(present.tolist(), np.split(rows[order], starts[1:]), strict=True) if len(present) else ():
        products[cell] = own.T @ own
    return products


def _count(cells: Ints, which: Bools, n_cells: int) -> Floats:
    return np.bincount(cells[which], minlength=n_cells).astype(np.float64)

"""Resample blocks of consecutive weeks, and read intervals and p-values from the resampled values.

Weeks of one retailer are not independent, so whole blocks are drawn. Choosing the best of many offers and
measuring how good it is on the same weeks flatters it, so weeks are split into a selection and an evaluation
fold.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Interval(NamedTuple):
    """Bounds and one-sided p-value of each value; arrays of the shape of the point estimate."""

    lower: Floats
    upper: Floats
    p_value: Floats


def alternating_folds(n_weeks: int, block_weeks: int, gap_weeks: int = 0) -> tuple[Bools, Bools]:
    """Split weeks into a selection and an evaluation fold by alternating blocks.

    Sales that carry over from week to week leak between neighbouring blocks. Measured on simulated panels (43
    weeks in blocks of 4, 6,000 cells where no offer does anything): of the value that the best of 20 offers
    seemed to have on the selection fold, the evaluation fold still showed 1 % (standard error 3 %) with
    independent weeks, 11 % with weeks correlated 0.3, 22 % with 0.6; after a gap of one week 0, 1 and 6 %.

    Args:
        n_weeks: Number of weeks.
        block_weeks: Weeks in a block; the last block may be shorter.
        gap_weeks: First weeks of each block but the first that belong to neither fold, fewer than
            `block_weeks`.

    Returns:
        Masks of the selection weeks (first, third, … block) and of the evaluation weeks, each shape
        (n_weeks,).

    >>> [fold.astype(int).tolist() for fold in alternating_folds(5, 2)]
    [[1, 1, 0, 0, 1], [0, 0, 1, 1, 0]]
    """
    block = _block_of_week(n_weeks, block_weeks)
    if not 0 <= gap_weeks < block_weeks:
        raise ValueError(f"gap_weeks must be from 0 to {block_weeks - 1}, got {gap_weeks}")
    kept = (block == 0) | (np.arange(n_weeks) % block_weeks >= gap_weeks)
    return kept & (block % 2 == 0), kept & (block % 2 == 1)


def count_blocks(fold: Bools, block_weeks: int) -> int:
    """Count the blocks that have a week in the fold, shape (n_weeks,).

    >>> count_blocks(np.array([True, True, False, False, True]), 2)
    2
    """
    return len(np.unique(_block_of_week(len(fold), block_weeks)[fold]))


def block_bootstrap_weights(n_weeks: int, block_weeks: int, n_boot: int, seed: int, fold: Bools) -> Floats:
    """Draw as many blocks as the fold has, with replacement, and count how often each week came.

    Args:
        n_weeks: Number of weeks.
        block_weeks: Weeks in a block; blocks start at week 0, as in `alternating_folds`.
        n_boot: Number of resamples.
        seed: Seed of the draw.
        fold: Weeks that may be drawn, shape (n_weeks,); at least one.

    Returns:
        Counts, shape (n_boot, n_weeks); 0 outside the fold, equal within a block.

    Complexity: O(n_boot * n_weeks). Source: the non-overlapping block bootstrap, Carlstein 1986.

    >>> fold = np.array([True, True, False, False, True, True])
    >>> counts = block_bootstrap_weights(6, 2, 100, 0, fold)
    >>> counts[:, 2:4].max(), set(counts.sum(axis=1).tolist())
    (np.float64(0.0), {4.0})
    """
    if fold.shape != (n_weeks,) or not fold.any():
        raise ValueError(f"fold must mark at least one of {n_weeks} weeks, got shape {fold.shape}")
    blocks, position = np.unique(_block_of_week(n_weeks, block_weeks)[fold], return_inverse=True)
    chance = np.full(len(blocks), 1.0 / len(blocks))
    drawn = np.random.default_rng(seed).multinomial(len(blocks), chance, size=n_boot)
    counts = np.zeros((n_boot, n_weeks))
    counts[:, fold] = drawn[:, position]
    return counts


def interval(draws: Floats, point: Floats, level: float = 0.95, n_blocks: int | None = None) -> Interval:
    """Percentile interval, and the p-value of "the value is not above 0".

    Few blocks make a bootstrap too sure of itself. With `n_blocks`, draws are first stretched around the
    point by Student's t over the normal quantile with n_blocks - 1 degrees of freedom. Measured on simulated
    panels (a fold of 6 blocks of 4 weeks, 3,000 cells, standard error 0.4 %, independent weeks or correlated
    0.3): with one lever and no controls a 95 % interval covered 90 % of true effects unstretched and 95 %
    stretched, and without effect p <= 0.025 came in 5.5 % and in 2.5 to 2.9 % of cells; with three levers and
    two controls it covered 97 % and 99 %, because resamples of few distinct weeks spread too much: on the
    safe side.

    Args:
        draws: Bootstrap values, shape (n_boot, ...).
        point: Value on the unresampled weeks, shape (...).
        level: Coverage, such as 0.95.
        n_blocks: Blocks resampled, at least 2; None for no correction.

    Returns:
        Lower and upper bound and p = (1 + draws at or below 0) / (1 + n_boot), each of shape (...). Where no
        draw is at or below 0, p is the tail of Student's t (n_blocks - 1 degrees of freedom, else the normal's)
        beyond the point over the draws' standard deviation, if that is smaller still: otherwise a correction
        for more than rate * n_boot tests could never find a single one.

    Complexity: O(draws.size * log n_boot). Source: Efron and Tibshirani 1993, ch. 13; the +1 from Davison and
    Hinkley 1997, ch. 4; the stretch from Hesterberg 2015, sec. 3.2.

    >>> [round(float(bound), 3) for bound in interval(np.arange(-1.0, 100.0), np.array(49.0), level=0.9)]
    [4.0, 94.0, 0.029]
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    if n_blocks is not None and n_blocks <= 1:
        raise ValueError(f"an interval needs at least 2 blocks, got {n_blocks}")
    tail = (1.0 - level) / 2.0
    stretch = 1.0 if n_blocks is None else stats.t.isf(tail, n_blocks - 1) / stats.norm.isf(tail)
    stretched = point + stretch * (draws - point)
    lower, upper = np.quantile(stretched, [tail, 1.0 - tail], axis=0)
    below = (stretched <= 0).sum(axis=0)
    counted = (1.0 + below) / (1.0 + len(draws))
    return Interval(lower, upper, np.where(below == 0, np.minimum(counted, _tail(draws, point, n_blocks)), counted))


def _tail(draws: Floats, point: Floats, n_blocks: int | None) -> Floats:
    """P(a value as high as the point | true value 0) by the draws' spread; 1 where they have none."""
    spread = draws.std(axis=0, ddof=1)
    ratio = np.divide(point, spread, out=np.full(np.shape(point), -np.inf), where=spread > 0)
    tail: Floats = stats.norm.sf(ratio) if n_blocks is None else stats.t.sf(ratio, n_blocks - 1)
    return tail


def _block_of_week(n_weeks: int, block_weeks: int) -> NDArray[np.int64]:
    """Number the block of each week."""
    if block_weeks < 1:
        raise ValueError(f"block_weeks must be at least 1, got {block_weeks}")
    return np.arange(n_weeks, dtype=np.int64) // block_weeks

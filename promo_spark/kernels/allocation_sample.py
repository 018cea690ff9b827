"""A bounded, weighted sample of customers that stands for everyone, and the sizes found in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from promo_spark.kernels.allocation_greedy import NONE
from promo_spark.kernels.allocation_problem import AllocationProblem, Floats, Ints
from promo_spark.kernels.allocation_response import NOISE, SAMPLING, PairBlock, chosen_sums
from promo_spark.kernels.hash_draws import draw_uniform

HIGHEST = 1e4
"""No price makes a typical coefficient worth more than so many typical values."""


class Sample(NamedTuple):
    """Customers, and how many each stands for.

    Attributes:
        block: The customers.
        weights: Shape (customers,).
    """

    block: PairBlock
    weights: Floats

    def value_scale(self) -> float:
        """A typical absolute value."""
        return _typical(np.abs(self.block.values.astype(np.float64)))


class Scales(NamedTuple):
    """Sizes by which prices are judged.

    Attributes:
        value: A typical absolute value of a pair.
        rows: A typical absolute coefficient of each row, shape (rows,).
    """

    value: float
    rows: Floats

    @property
    def noise(self) -> float:
        """Largest noise that breaks ties."""
        return NOISE * self.value

    @property
    def highest_prices(self) -> Floats:
        """Beyond these a row cannot be met, shape (rows,)."""
        return HIGHEST * self.value / self.rows


def measure_scales(sample: Sample, problem: AllocationProblem) -> Scales:
    """Typical sizes of values and of each row's coefficients."""
    block, count = sample.block, problem.promotion_count
    promotions = block.all_promotions()
    is_pair = promotions < count
    groups = (block.cells * count + np.where(is_pair, promotions, 0))[is_pair]
    size = problem.cell_count * count
    parts = (np.abs(block.costs[is_pair]), None, np.abs(block.values[is_pair]))
    sums = np.array([np.bincount(groups, part, minlength=size) for part in parts]).reshape(3, -1, count)
    totals: Floats = sum((problem.cells @ sums[kind] * np.abs(problem.weights[kind])).sum(axis=1) for kind in range(3))
    has = np.abs(problem.weights).sum(axis=0) > 0
    pairs = (problem.cells @ sums[1] * has).sum(axis=1) if len(has) else np.empty(0)
    rows = np.divide(totals, pairs, out=np.ones(len(has)), where=pairs > 0) if len(has) else np.empty(0)
    return Scales(sample.value_scale(), np.where(rows > 0, rows, 1.0))


def thin(sample: Sample, pairs: int) -> Sample:
    """About so many pairs: the customers of the smallest hashes, standing for all of their cell."""
    wanted = max(pairs // max(len(sample.block.values), 1), 1)
    if wanted >= len(sample.weights):
        return sample
    kept = np.sort(np.argsort(draw_uniform(sample.block.keys, SAMPLING), kind="stable")[:wanted])
    block, cells, own = sample.block.take(kept), sample.block.cells, sample.weights[kept]
    size = int(cells.max()) + 1
    whole, part = np.bincount(cells, sample.weights, size), np.bincount(block.cells, own, size)
    return Sample(block, own * (whole / np.maximum(part, own.min(initial=1.0)))[block.cells])


def weighted_sums(sample: Sample, problem: AllocationProblem, slots: Ints) -> Floats:
    """Cost, count and value of what is chosen, as for all customers, shape (3, cells, promotions)."""
    return chosen_sums(sample.block, problem, slots, sample.weights)


def coefficients(block: PairBlock, problem: AllocationProblem, slots: Ints) -> sparse.csr_array:
    """Coefficients of one slot of each customer in every row, shape (customers, rows); 0 for ``NONE``."""
    customers = np.arange(len(slots))
    own = np.maximum(slots, 0)
    promotions = block.all_promotions()[own, customers]
    has = (slots != NONE) & (promotions < problem.promotion_count)
    groups = np.where(has, block.cells * problem.promotion_count + promotions, -1)
    cost, count, value = (table[groups] for table in problem.pair_weights)
    costs, values = (sparse.diags_array(part[own, customers].astype(np.float64)) for part in block[3:][::-1])
    return sparse.csr_array(costs @ cost + count + values @ value)


def join_blocks(blocks: Sequence[PairBlock], promotion_count: int) -> PairBlock:
    """One block of several, by cell and key whatever their order, as wide as the widest.

    >>> join_blocks([], 3).values.shape
    (1, 0)
    """
    width = max((len(block.values) for block in blocks), default=1)
    is_dense = all(block.promotions is None and len(block.values) == width for block in blocks) and len(blocks) > 0
    keys = np.concatenate([np.empty(0, np.int64), *(block.keys for block in blocks)])
    cells = np.concatenate([np.empty(0, np.int64), *(block.cells for block in blocks)])
    order = np.lexsort((keys, cells))

    def side_by_side(parts: Sequence[np.ndarray], filler: float) -> np.ndarray:
        padded = [np.pad(part, ((0, width - len(part)), (0, 0)), constant_values=filler) for part in parts]
        return np.concatenate([np.empty((width, 0), np.float32), *padded], axis=1)[:, order]

    promotions = None
    if not is_dense:
        parts = [np.asarray(block.all_promotions(), dtype=np.int32) for block in blocks]
        promotions = side_by_side(parts, promotion_count).astype(np.int32)
    values = side_by_side([block.values for block in blocks], 0)
    return PairBlock(keys[order], cells[order], promotions, values, side_by_side([block.costs for block in blocks], 0))


def _typical(sizes: Floats) -> float:
    own = sizes[np.isfinite(sizes) & (sizes > 0)]
    return float(own.mean()) if len(own) else 1.0

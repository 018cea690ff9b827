"""Settle customers who are near a tie, so that the whole plan keeps every limit exactly.

What all others take of the rows is fixed. The near ties are an allocation problem of their own between the bounds
that are left: its shadow prices decide for most of them, and HiGHS finds the whole plan of the few that remain,
with those of every row among them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from promo_spark.kernels.allocation_dual import minimise_dual
from promo_spark.kernels.allocation_greedy import NONE
from promo_spark.kernels.allocation_problem import AllocationProblem, Bools, Floats, Ints, RowBounds, price_tables
from promo_spark.kernels.allocation_relaxation import best_plan, exact_prices, write_program
from promo_spark.kernels.allocation_response import PairBlock, Response, chosen_sums, respond
from promo_spark.kernels.allocation_sample import Sample, Scales

TOLERANCE = 1e-9
"""Rows may be missed by so much of their size: rounding of sums."""
EXACT_PAIRS = 20_000
"""So many pairs are left to a general solver."""
_CORES = (1_500, 6_000, 24_000)
_PER_ROW = 4
_NODES = 400
_SOLVER_SHARE = 0.1
_MARGIN = 1e-5


class Settlement(NamedTuple):
    """Choices of the customers near ties.

    Attributes:
        slots: Chosen slots, shape (customer_cap, customers).
        missed: Rows that are still missed, by how much, shape (rows,); all 0 when the plan keeps every limit.
    """

    slots: Ints
    missed: Floats


def row_sizes(problem: AllocationProblem, sums: Floats) -> Floats:
    """What rounding is judged by: the bounds, and what rows add up to without regard to sign, shape (rows,).

    >>> row_sizes(AllocationProblem(1), np.ones((3, 1, 1))).shape
    (0,)
    """
    gross: Floats = sum((problem.cells @ sums[kind] * np.abs(problem.weights[kind])).sum(axis=1) for kind in range(3))
    low, high = (np.where(np.isfinite(bound), np.abs(bound), 0.0) for bound in problem.bounds)
    return np.maximum(np.maximum(low, high), np.abs(gross)) + np.zeros(len(problem.rows))


def find_prices(
    sample: Sample, problem: AllocationProblem, bounds: RowBounds, scales: Scales, start: Floats | None = None
) -> Floats:
    """Multipliers of the rows for a sample, exact when it is small."""
    if sample.block.values.size <= EXACT_PAIRS and len(sample.weights):
        program = write_program(sample.block, problem, scales.noise)
        return exact_prices(program, bounds, scales.highest_prices, sample.weights)[0]
    return minimise_dual(sample, problem, bounds, scales, start)


def settle(
    block: PairBlock,
    problem: AllocationProblem,
    bounds: RowBounds,
    scales: Scales,
    *,
    start: Floats,
    sizes: Floats,
    allowed_loss: float,
) -> Settlement:
    """Choose for customers near ties.

    Args:
        block: These customers, all pairs of each.
        problem: The problem.
        bounds: What is left of the rows.
        scales: See ``measure_scales``.
        start: Multipliers that made them near ties.
        sizes: What rounding of rows is judged by, shape (rows,).
        allowed_loss: By how much less than the best the plan may be worth.

    Returns:
        The choices.

    Complexity: that of ``minimise_dual``, and of whole plans of a few thousand pairs.
    """
    prices = find_prices(Sample(block, np.ones(len(block.keys))), problem, bounds, scales, start)
    reply = respond(block, problem, price_tables(problem, prices), scales.noise)
    settlement = Settlement(reply.slots, np.full(len(problem.rows), np.inf))
    bound = reply.best + bounds.support(prices)
    # Sharing out ties costs up to the noise of each choice.
    slack = allowed_loss + scales.noise * np.count_nonzero(reply.slots != NONE)
    for pairs in _CORES:
        core = _core(block, problem, reply, pairs)
        settlement = _settle_core(block, problem, bounds, (reply.slots, core), sizes=sizes, allowed_loss=allowed_loss)
        worth = float(chosen_sums(block, problem, settlement.slots)[2].sum())
        is_good = not settlement.missed.any() and bound - worth <= slack
        if is_good or core.all():
            break
    return settlement


def _settle_core(
    block: PairBlock,
    problem: AllocationProblem,
    bounds: RowBounds,
    choices: tuple[Ints, Bools],
    *,
    sizes: Floats,
    allowed_loss: float,
) -> Settlement:
    """Plan the core anew, all others as they are; twice when the solver's own rounding got in the way."""
    slots, core = choices
    others = problem.usage(chosen_sums(block.take(~core), problem, slots[:, ~core]))
    left = RowBounds(bounds.low - others, bounds.high - others)
    tolerance = TOLERANCE * sizes
    own, missed = block.take(core), np.zeros(len(sizes))
    program = write_program(own, problem)
    slack = tolerance / 2
    for _ in range(2):
        inner = RowBounds(left.low - slack, left.high + slack)
        plan = best_plan(program, problem, inner, allowed_loss=_SOLVER_SHARE * allowed_loss, most_nodes=_NODES)
        if plan is None:
            break
        found = slots.copy()
        found[:, core] = NONE
        found[:, np.flatnonzero(core)[: plan.shape[1]]] = plan
        used = problem.usage(chosen_sums(block, problem, found))
        missed = bounds.violations(used)
        if (missed <= tolerance).all():
            return Settlement(found, np.zeros(len(sizes)))
        slack = np.where(missed > tolerance, -_MARGIN * np.maximum(missed / _MARGIN, 1e-3), slack)
    used = problem.usage(chosen_sums(block, problem, slots))
    missed = bounds.violations(used)
    return Settlement(slots, np.where(missed > tolerance, missed, 0.0))


def _core(block: PairBlock, problem: AllocationProblem, reply: Response, pairs: int) -> Bools:
    """The nearest ties, and for every row the nearest that would change it."""
    order = np.lexsort((block.keys, reply.margins))
    width = max(len(block.values), 1)
    core = np.zeros(len(order), dtype=np.bool_)
    core[order[: max(pairs // width, 1)]] = True
    if len(core) and not core.all():
        per_row = max(1, min(_PER_ROW, _PER_ROW * _CORES[0] // (width * len(problem.rows) + 1))) * pairs // _CORES[0]
        touches = np.append(np.abs(problem.weights).sum(axis=0) > 0, np.zeros((len(problem.rows), 1), np.bool_), axis=1)
        cells = block.cells[order]
        leaving, entering = (_promotions(block, slots, problem.promotion_count)[order] for slots in reply[3:])
        for row in range(len(problem.rows)):
            changes = (problem.cells[row, cells] > 0) & (touches[row, leaving] | touches[row, entering])
            core[order[np.flatnonzero(changes)[:per_row]]] = True
    return core


def _promotions(block: PairBlock, slots: Ints, none: int) -> Ints:
    """Promotions of one slot of each customer; ``none`` in the place of ``NONE``."""
    customers = np.arange(len(slots))
    return np.where(slots == NONE, none, block.all_promotions()[np.maximum(slots, 0), customers]).astype(np.int64)

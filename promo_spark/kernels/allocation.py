"""Plan who gets what: prices from a sample, exact passes over everyone, and the near ties settled.

The search knows the customers only through passes: given prices, a pass says what the best responses use and are
worth, and hands over the customers who are near a tie. A pass corrects the sample: its rows are moved by the difference
between what the sample and what everyone uses at the same prices, and the sample is solved again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from promo_spark.errors import AllocationInfeasible
from promo_spark.kernels.allocation_dual import Sample, Scales, measure_scales, thin, weighted_sums
from promo_spark.kernels.allocation_problem import (
    AllocationProblem,
    Floats,
    Ints,
    PriceTables,
    RowBounds,
    price_tables,
)
from promo_spark.kernels.allocation_relaxation import Relaxation, exact_prices, write_program
from promo_spark.kernels.allocation_response import (
    NONE,
    PairBlock,
    Response,
    chosen_sums,
    respond,
    rounding_error,
)
from promo_spark.kernels.allocation_settlement import EXACT_PAIRS, TOLERANCE, find_prices, row_sizes, settle

NEAR_PAIRS = 1_000_000
"""About so many pairs of customers near ties are settled one by one."""
_LEAST_NEAR = 500
_SNAP_BITS = 38
_RUNAWAY = 0.99
_TIED = 0.01


class Everyone(NamedTuple):
    """Who takes part.

    Attributes:
        members: Customers of each cell, shape (cells,).
        pairs: Number of pairs.
        values: Sum over customers of the largest absolute value of a pair.
        costs: The same of costs.
    """

    members: Ints
    pairs: int
    values: float
    costs: float


class PassResult(NamedTuple):
    """What a pass over everyone finds under given prices.

    Attributes:
        best: Sum of the largest reduced values.
        sums: Cost, count and value of the best responses, shape (3, cells, promotions).
        near: Customers whose margin is at most their cell's threshold.
    """

    best: float
    sums: Floats
    near: PairBlock


class Look(NamedTuple):
    """What a pass is asked.

    Attributes:
        tables: Prices.
        noise: Largest noise that breaks ties.
        thresholds: Margins up to which customers of a cell are handed over, negative for nobody, shape (cells,).
    """

    tables: PriceTables
    noise: float
    thresholds: Floats


RunPass = Callable[[Sequence[Look]], list[PassResult]]
"""Goes through everyone once, and answers each look."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A plan that keeps every limit.

    Attributes:
        multipliers: Shadow prices of the rows, shape (rows,): worth of one more unit of the upper bound.
        tables: Prices that all others follow.
        noise: Largest noise that broke ties.
        settled_keys: Keys of the customers settled one by one, ascending, shape (settled,).
        settled_promotions: What they get, ``NONE`` for no more, shape (customer_cap, settled).
        value: Worth of the plan.
        upper_bound: No plan is worth more.
        sums: Cost, count and value of the plan, shape (3, cells, promotions).
        passes: Passes over everyone.
    """

    multipliers: Floats
    tables: PriceTables
    noise: float
    settled_keys: Ints
    settled_promotions: Ints
    value: float
    upper_bound: float
    sums: Floats
    passes: int

    @property
    def gap(self) -> float:
        """By which share of its own worth the plan may be short of the best one."""
        size = max(abs(self.value), abs(self.upper_bound))
        return max(self.upper_bound - self.value, 0.0) / size if size > 0 else 0.0


def run_block(block: PairBlock, problem: AllocationProblem, look: Look) -> PassResult:
    """One block's part of a pass; of the problem, rows are not asked for."""
    reply = respond(block, problem, look.tables, look.noise)
    near = block.take(np.flatnonzero(reply.margins <= look.thresholds[block.cells]))
    return PassResult(reply.best, chosen_sums(block, problem, reply.slots), near)


def find_plan(
    problem: AllocationProblem,
    sample: Sample,
    everyone: Everyone,
    run_pass: RunPass,
    *,
    allowed_gap: float = 5e-5,
    most_passes: int = 6,
) -> Plan:
    """Find a plan that keeps every limit and is all but the best.

    Args:
        problem: The limits.
        sample: Customers chosen by key, who stand for everyone.
        everyone: Totals.
        run_pass: Goes through everyone.
        allowed_gap: The search ends when no plan can be better by a larger share.
        most_passes: Or after so many passes.

    Returns:
        The best plan found.

    Raises:
        AllocationInfeasible: No plan that keeps every limit exists, or none was found; names the rows.
    """
    scales = measure_scales(sample, problem)
    bounds, prices = problem.bounds, np.zeros(len(problem.rows))
    shifted, best, upper = bounds, None, np.inf
    for passes in range(1, most_passes + 1):
        prices = find_prices(sample, problem, shifted, scales, prices)
        if passes == 1:
            _refuse_runaway(problem, prices, scales, run_pass)
        look, reply = look_ahead(problem, sample, everyone, prices, scales)
        result = run_pass([look])[0]
        plan, missed = complete_plan(problem, everyone, (prices, scales, look), result, allowed_gap)
        upper = min(upper, plan.upper_bound)
        if not missed.any() and (best is None or plan.value > best.value):
            best = plan
        is_whole = len(result.near.keys) == everyone.members.sum()
        if is_whole or (best is not None and _with(best, upper, passes).gap <= allowed_gap):
            break
        used = problem.usage(_snap(result.sums))
        difference = used - problem.usage(weighted_sums(sample, problem, reply.slots))
        shifted = RowBounds(bounds.low - difference, bounds.high - difference)
    if best is None:
        raise _explain(problem, sample, scales, run_pass, missed)
    return _with(best, upper, passes)


def _with(plan: Plan, upper: float, passes: int) -> Plan:
    return Plan(**{**plan.__dict__, "upper_bound": upper, "passes": passes})


def complete_plan(
    problem: AllocationProblem,
    everyone: Everyone,
    asked: tuple[Floats, Scales, Look],
    result: PassResult,
    allowed_gap: float,
) -> tuple[Plan, Floats]:
    """Settle the near ties of a pass: a plan with its bound, and by how much it misses rows, shape (rows,)."""
    prices, scales, look = asked
    error = rounding_error(problem, look.tables, (float(everyone.members.sum()), everyone.values, everyone.costs))
    upper = result.best + error + problem.bounds.support(prices)
    near = sort_block(result.near)
    if (np.diff(np.sort(near.keys)) == 0).any():
        raise ValueError("a customer appears twice among the pairs")
    sums = _snap(result.sums)
    reply = respond(near, problem, look.tables, look.noise)
    fixed = sums - chosen_sums(near, problem, reply.slots)
    used = problem.usage(fixed)
    left = RowBounds(problem.bounds.low - used, problem.bounds.high - used)
    loss = 0.1 * allowed_gap * abs(float(sums[2].sum()))
    sizes = row_sizes(problem, sums)
    settlement = settle(near, problem, left, scales, start=prices, sizes=sizes, allowed_loss=loss)
    order = np.argsort(near.keys)
    promotions = np.where(
        settlement.slots == NONE,
        NONE,
        np.take_along_axis(near.all_promotions(), np.maximum(settlement.slots, 0), axis=0),
    )
    total = fixed + chosen_sums(near, problem, settlement.slots)
    value = float(total[2].sum())
    plan = Plan(prices, look.tables, look.noise, near.keys[order], promotions[:, order], value, upper, total, 1)
    return plan, settlement.missed


def sort_block(block: PairBlock) -> PairBlock:
    """The block by cell and key."""
    return block.take(np.lexsort((block.keys, block.cells)))


def look_ahead(
    problem: AllocationProblem,
    sample: Sample,
    everyone: Everyone,
    prices: Floats,
    scales: Scales,
    *,
    share: float = 1.0,
) -> tuple[Look, Response]:
    """What to ask everyone, so that about the wanted number of customers of each cell are near ties; and the sample."""
    tables = price_tables(problem, prices)
    reply = respond(sample.block, problem, tables, scales.noise)
    margins = reply.margins
    # Many alike: only the last digits of prices share them out.
    if np.count_nonzero(margins <= scales.noise) <= _TIED * len(margins):
        tables = tables.rounded()
    share *= NEAR_PAIRS / max(everyone.pairs, 1)
    thresholds = np.full(problem.cell_count, np.inf)
    for cell in np.flatnonzero(everyone.members).tolist():
        wanted = max(share, _LEAST_NEAR / everyone.members[cell])
        own = np.sort(margins[sample.block.cells == cell])
        if wanted < 1 and len(own):
            thresholds[cell] = own[min(int(np.ceil(wanted * len(own))), len(own) - 1)]
    return Look(tables, scales.noise, thresholds), reply


def _snap(sums: Floats) -> Floats:
    """Sums without their last bits, which hang on the order of adding."""
    top = np.abs(sums).max(axis=(1, 2), keepdims=True)
    unit = 2.0 ** (np.ceil(np.log2(np.where(top > 0, top, 1.0))) - _SNAP_BITS)
    return np.rint(sums / unit) * unit


def _refuse_runaway(problem: AllocationProblem, prices: Floats, scales: Scales, run_pass: RunPass) -> None:
    """Raise when a price has no end because its row alone asks for more than everyone can give."""
    runaway = np.flatnonzero(np.abs(prices) >= _RUNAWAY * scales.highest_prices)
    alone = _out_of_reach(problem, runaway, run_pass)
    if alone:
        raise AllocationInfeasible(describe(problem, alone))


def _explain(
    problem: AllocationProblem, sample: Sample, scales: Scales, run_pass: RunPass, missed: Floats
) -> AllocationInfeasible:
    """Name the rows that cannot be met: each alone, else together on the sample, else those the best attempt missed."""
    rows = np.flatnonzero(missed)
    alone = _out_of_reach(problem, rows, run_pass)
    if alone:
        return AllocationInfeasible(describe(problem, alone))
    few = thin(sample, EXACT_PAIRS)
    program = write_program(few.block, problem)
    together = exact_prices(program, problem.bounds, scales.highest_prices, few.weights)[1]
    if together:
        return AllocationInfeasible(describe(problem, together, about=len(few.weights) < few.weights.sum()))
    names = ", ".join(f"{problem.rows[row].name} (by {missed[row]:.6g})" for row in rows.tolist())
    return AllocationInfeasible(f"no plan was found that keeps every limit; the nearest misses {names}")


def _out_of_reach(problem: AllocationProblem, rows: Ints, run_pass: RunPass) -> list[Relaxation]:
    """Rows that no plan can meet, were there no other rows: a pass for each end asked of each."""
    found = []
    nobody = np.full(problem.cell_count, -1.0)
    for row in rows.tolist():
        for sign, end in ((1.0, problem.bounds.low[row]), (-1.0, problem.bounds.high[row])):
            # Without anything chosen the sum is 0.
            if sign * end <= 0 or not np.isfinite(end):
                continue
            used = float(problem.usage(run_pass([Look(_row_tables(problem, row, sign), 0.0, nobody)])[0].sums)[row])
            if sign * (end - used) > TOLERANCE * abs(end):
                found.append(Relaxation(row, used, sign * (end - used)))
    return found


def _row_tables(problem: AllocationProblem, row: int, sign: float) -> PriceTables:
    """Tables under which the reduced value of a pair is its coefficient in a row, or less that."""
    multipliers = np.zeros(len(problem.rows))
    multipliers[row] = -sign
    tables = price_tables(problem, multipliers)
    return tables._replace(value_factors=tables.value_factors - np.append(np.ones(problem.promotion_count), 0.0))


def describe(problem: AllocationProblem, relaxations: Sequence[Relaxation], *, about: bool = False) -> str:
    """What rows ask, what can be met, and by how much to relax them.

    >>> each = np.ones(1)
    >>> row = CouplingRow("least gifts", np.ones(1, dtype=np.bool_), 0 * each, each, 0 * each, low=500.0)
    >>> describe(AllocationProblem(1, rows=(row,)), [Relaxation(0, 320.0, 180.0)])
    'no plan keeps every limit. Row least gifts: asks at least 500, at most 320 can be met; relax by 180'
    """
    told = []
    for row, used, by in relaxations:
        low, high = problem.bounds.low[row], problem.bounds.high[row]
        is_floor = used < low
        asks = f"at least {low:.10g}" if is_floor else f"at most {high:.10g}"
        met = f"{'at most' if is_floor else 'no less than'} {'about ' if about else ''}{used:.10g} can be met"
        told.append(f"Row {problem.rows[row].name}: asks {asks}, {met}; relax by {by:.10g}")
    return "no plan keeps every limit. " + ". ".join(told)

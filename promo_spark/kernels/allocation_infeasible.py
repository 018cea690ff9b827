"""Why no plan keeps every limit: the rows that ask too much, and the smallest relaxation of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from promo_spark.errors import AllocationInfeasible
from promo_spark.kernels.allocation_pass import Look, RunPass
from promo_spark.kernels.allocation_problem import (
    AllocationProblem,
    Floats,
    Ints,
    PriceTables,
    price_tables,
)
from promo_spark.kernels.allocation_relaxation import Relaxation, exact_prices, write_program
from promo_spark.kernels.allocation_sample import Sample, Scales, thin
from promo_spark.kernels.allocation_settlement import EXACT_PAIRS, TOLERANCE

_RUNAWAY = 0.99


def refuse_runaway(problem: AllocationProblem, prices: Floats, scales: Scales, run_pass: RunPass) -> None:
    """Raise when a price has no end because its row alone asks for more than everyone can give."""
    runaway = np.flatnonzero(np.abs(prices) >= _RUNAWAY * scales.highest_prices)
    alone = _out_of_reach(problem, runaway, run_pass)
    if alone:
        raise AllocationInfeasible(describe(problem, alone))


def explain(
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
            used = float(problem.usage(run_pass([Look.at(_row_tables(problem, row, sign), 0.0, nobody)])[0].sums)[row])
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

    >>> from promo_spark.kernels.allocation_problem import CouplingRow
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

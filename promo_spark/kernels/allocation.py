"""Plan who gets what: prices from a sample, exact passes over everyone, and the near ties settled.

The search knows the customers only through passes: given prices, a pass says what the best responses use and are
worth, and hands over the customers who are near a tie. A pass corrects the sample: its rows are moved by the difference
between what the sample and what everyone uses at the same prices, and the sample is solved again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from promo_spark.kernels.allocation_greedy import NONE
from promo_spark.kernels.allocation_infeasible import explain, refuse_runaway
from promo_spark.kernels.allocation_pass import Everyone, Look, PassResult, RunPass, Ties, find_ties
from promo_spark.kernels.allocation_problem import AllocationProblem, Floats, Ints, PriceTables, RowBounds, price_tables
from promo_spark.kernels.allocation_response import chosen_sums, respond, rounding_error
from promo_spark.kernels.allocation_sample import Sample, Scales, measure_scales
from promo_spark.kernels.allocation_settlement import find_prices, row_sizes, settle

NEAR_PAIRS = 1_000_000
"""About so many pairs of customers near ties are settled one by one."""
_LEAST_NEAR = 500
AROUND_PAIRS = 2_000_000
"""About so many pairs of customers around them are drawn, to find the next prices from."""
_LEAST_AROUND = 200
_REACHES = (0.02, 1.0)
_ERRORS = 4.0
_SNAP_BITS = 38
_TIED = 0.01


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
    shifted, best, upper, near = bounds, None, np.inf, sample
    for passes in range(1, most_passes + 1):
        prices = find_prices(near, problem, shifted, scales, prices)
        if passes == 1:
            refuse_runaway(problem, prices, scales, run_pass)
        look = look_ahead(problem, sample, everyone, prices, scales)
        result = run_pass([look])[0]
        ties = find_ties(result.near, problem, look)
        plan, missed = complete_plan(problem, everyone, (prices, scales, look), (result, ties), allowed_gap)
        upper = min(upper, plan.upper_bound)
        if not missed.any() and (best is None or plan.value > best.value):
            best = plan
        is_whole = len(ties.near.keys) == everyone.members.sum()
        if is_whole or (best is not None and _with(best, upper, passes).gap <= allowed_gap):
            break
        near, difference = ties.around, problem.usage(_snap(result.sums)) - problem.usage(ties.sums)
        shifted = RowBounds(bounds.low - difference, bounds.high - difference)
    if best is None:
        raise explain(problem, sample, scales, run_pass, missed)
    return _with(best, upper, passes)


def _with(plan: Plan, upper: float, passes: int) -> Plan:
    return replace(plan, upper_bound=upper, passes=passes)


def complete_plan(
    problem: AllocationProblem,
    everyone: Everyone,
    asked: tuple[Floats, Scales, Look],
    answer: tuple[PassResult, Ties],
    allowed_gap: float,
) -> tuple[Plan, Floats]:
    """Settle the near ties of a pass: a plan with its bound, and by how much it misses rows, shape (rows,)."""
    (prices, scales, look), (result, ties) = asked, answer
    error = rounding_error(problem, look.tables, (float(everyone.members.sum()), everyone.values, everyone.costs))
    upper = result.best + error + problem.bounds.support(prices)
    near, reply = ties.near, ties.reply
    if (np.diff(np.sort(near.keys)) == 0).any():
        raise ValueError("a customer appears twice among the pairs")
    sums = _snap(result.sums)
    fixed = sums - chosen_sums(near, problem, reply.slots)
    used = problem.usage(fixed)
    left = RowBounds(problem.bounds.low - used, problem.bounds.high - used)
    loss = allowed_gap * abs(float(sums[2].sum()))
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


def look_ahead(
    problem: AllocationProblem,
    sample: Sample,
    everyone: Everyone,
    prices: Floats,
    scales: Scales,
    *,
    share: float = 1.0,
) -> Look:
    """What to ask everyone, so that about the wanted number of customers of each cell are near ties."""
    tables = price_tables(problem, prices)
    reply = respond(sample.block, problem, tables, scales.noise)
    margins = reply.margins
    # Many alike: only the last digits of prices share them out.
    if np.count_nonzero(margins <= scales.noise) <= _TIED * len(margins):
        tables = tables.rounded()
    share *= NEAR_PAIRS / max(everyone.pairs, 1)
    reach = _reach(problem, sample, reply.slots, prices)
    around = AROUND_PAIRS / max(everyone.pairs, 1) / reach
    thresholds, reaches, shares = np.full((3, problem.cell_count), np.inf)
    for cell in np.flatnonzero(everyone.members).tolist():
        wanted = max(share, _LEAST_NEAR / everyone.members[cell])
        own = np.sort(margins[sample.block.cells == cell])
        if wanted < 1 and len(own):
            thresholds[cell] = own[min(int(np.ceil(wanted * len(own))), len(own) - 1)]
            reaches[cell] = max(own[min(int(np.ceil(reach * len(own))), len(own) - 1)], thresholds[cell])
            shares[cell] = min(max(around, _LEAST_AROUND / everyone.members[cell] / reach), 1.0)
    return Look(tables, scales.noise, thresholds, reaches, shares)


def _reach(problem: AllocationProblem, sample: Sample, slots: Ints, prices: Floats) -> float:
    """Share of customers around ties whom new prices may move: several sampling errors of the row known worst."""
    chosen, sizes = chosen_sums(sample.block, problem, slots)[1], np.abs(problem.weights).sum(axis=0) > 0
    counts = (problem.cells @ chosen * sizes).sum(axis=1) if len(prices) else np.empty(0)
    fewest = counts[(prices != 0) & (counts > 0)].min(initial=np.inf)
    return float(np.clip(_ERRORS / np.sqrt(fewest), *_REACHES))


def _snap(sums: Floats) -> Floats:
    """Sums without their last bits, which hang on the order of adding.

    >>> sums = np.array([[[0.1 + 0.2, 7.0]]])
    >>> bool((_snap(sums) == _snap(np.array([[[0.3, 7.0]]]))).all())
    True
    """
    top = np.abs(sums).max(axis=(1, 2), keepdims=True)
    unit = 2.0 ** (np.ceil(np.log2(np.where(top > 0, top, 1.0))) - _SNAP_BITS)
    return np.rint(sums / unit) * unit

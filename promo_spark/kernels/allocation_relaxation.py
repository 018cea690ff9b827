"""Small allocation problems handed to HiGHS: exact shadow prices, whole plans, and what stands in the way of one."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from promo_spark.kernels.allocation_greedy import NONE
from promo_spark.kernels.allocation_problem import AllocationProblem, Floats, Ints, RowBounds
from promo_spark.kernels.allocation_response import TIES, PairBlock, noise_weights
from promo_spark.kernels.hash_draws import draw_uniform

_TIGHT = 1e-9


class PairProgram(NamedTuple):
    """A block's pairs as columns of a linear program.

    Attributes:
        slots: Of each pair, shape (pairs,).
        customers: Of each pair, shape (pairs,).
        values: Shape (pairs,).
        coupling: Coefficients in the coupling rows, shape (rows, pairs).
        caps: How often pairs count towards the caps of customers and their categories, shape (caps, pairs).
        ends: Those caps, shape (caps,).
    """

    slots: Ints
    customers: Ints
    values: Floats
    coupling: sparse.csr_array
    caps: sparse.csr_array
    ends: Floats


class Relaxation(NamedTuple):
    """How far a row stays from what it asks when all rows are met as nearly as possible.

    Attributes:
        row: Index of the row.
        used: The sum that is within reach.
        by: What the bound would have to give way.
    """

    row: int
    used: float
    by: float


def write_program(block: PairBlock, problem: AllocationProblem, noise: float = 0.0) -> PairProgram:
    """Columns and rows of the linear program of a block; pairs that limits of nothing forbid are left out.

    Args:
        block: Customers and pairs.
        problem: The limits.
        noise: Largest noise taken from a value, as ``respond`` takes it: prices that share out ties must know it.
    """
    promotions, count = block.all_promotions(), problem.promotion_count
    _, banned, free_only = problem.bans
    of_pair = np.minimum(promotions, count - 1)
    is_open = (promotions < count) & ~banned[block.cells, of_pair]
    is_open &= ~(free_only[block.cells, of_pair] & (block.costs > 0))
    # Customer by customer, so that the result does not hang on how many slots others have.
    customers, slots = np.nonzero(is_open.T)
    own = promotions[slots, customers].astype(np.int64)
    values = block.values[slots, customers].astype(np.float64)
    costs = block.costs[slots, customers].astype(np.float64)
    priced = values - noise * draw_uniform(block.keys, TIES)[customers] * noise_weights(count)[own]
    cost, count_weight, value = problem.weights
    places = [np.empty((2, 0), dtype=np.int64)]
    entries = [np.empty(0)]
    cells = block.cells[customers]
    for row in range(len(problem.rows)):
        concerned = np.flatnonzero(problem.cells[row, cells] > 0)
        kinds = own[concerned]
        entry = cost[row, kinds] * costs[concerned] + count_weight[row, kinds] + value[row, kinds] * values[concerned]
        kept = entry != 0
        places.append(np.array([np.full(kept.sum(), row), concerned[kept]]))
        entries.append(entry[kept])
    shape = (len(problem.rows), len(customers))
    coupling = sparse.csr_array((np.concatenate(entries), tuple(np.concatenate(places, axis=1))), shape=shape)
    caps, ends = _caps(problem, customers, own)
    return PairProgram(slots, customers, priced, coupling, caps, ends)


def _caps(problem: AllocationProblem, customers: Ints, promotions: Ints) -> tuple[sparse.csr_array, Floats]:
    """Caps of each customer, and of each customer and category where they can bind."""
    groups, ends = [customers], [float(problem.customer_cap)]
    parts, limits = [], []
    if problem.categories is not None:
        sizes = problem.category_caps
        for category, cap in enumerate(sizes.tolist()):
            groups.append(np.where(problem.categories[promotions] == category, customers, NONE))
            ends.append(float(cap))
    pairs = np.arange(len(customers))
    for group, end in zip(groups, ends, strict=True):
        own = group != NONE
        _, members, counts = np.unique(group[own], return_inverse=True, return_counts=True)
        binds = counts[members] > end
        _, rows = np.unique(members[binds], return_inverse=True)
        height = int(rows.max(initial=-1)) + 1
        shape = (height, len(pairs))
        parts.append(sparse.csr_array((np.ones(len(rows)), (rows, pairs[own][binds])), shape=shape))
        limits.append(np.full(height, end))
    return sparse.csr_array(sparse.vstack(parts)), np.concatenate(limits)


def exact_prices(
    program: PairProgram, bounds: RowBounds, highest: Floats, weights: Floats
) -> tuple[Floats, list[Relaxation]]:
    """Multipliers of a small problem's rows, and the rows that cannot be met.

    Args:
        program: The pairs.
        bounds: Of the rows.
        highest: What missing a row by one unit costs, shape (rows,).
        weights: How many customers each customer stands for, shape (customers,).

    Raises:
        RuntimeError: The solver gave up.
    """
    columns = len(program.values)
    scale = weights[program.customers]
    rows = np.arange(len(highest))
    uppers, lowers = rows[np.isfinite(bounds.high)], rows[np.isfinite(bounds.low)]
    sides = sparse.vstack([program.coupling[uppers], -program.coupling[lowers]]) * scale[None, :]
    ends = np.concatenate([bounds.high[uppers], -bounds.low[lowers]])
    owners = np.concatenate([uppers, lowers])
    missing = sparse.vstack([-sparse.eye_array(len(ends)), sparse.csr_array((len(program.ends), len(ends)))])
    matrix = sparse.csr_array(sparse.hstack([sparse.vstack([sides, program.caps]), missing]))
    cost = np.concatenate([-program.values * scale, highest[owners]])
    limits = np.concatenate([np.ones(columns), np.full(len(ends), np.inf)])
    # Its stubs know neither sparse matrices nor arrays of bounds.
    solve = cast(Any, linprog)
    found = solve(
        cost,
        A_ub=matrix,
        b_ub=np.concatenate([ends, program.ends]),
        bounds=np.stack([np.zeros(len(limits)), limits], axis=1),
        method="highs",
    )
    if found.x is None:
        raise RuntimeError(f"HiGHS found no shadow prices: {found.message}")
    signs = np.repeat([1.0, -1.0], [len(uppers), len(lowers)])
    multipliers = np.bincount(owners, -found.ineqlin.marginals[: len(ends)] * signs, minlength=len(highest)).astype(
        np.float64
    )
    used = program.coupling @ (found.x[:columns] * scale)
    short = found.x[columns:]
    too_far = short > _TIGHT * np.maximum(1.0, np.abs(ends))
    reached = used[owners]
    told = zip(owners[too_far].tolist(), reached[too_far].tolist(), short[too_far].tolist(), strict=True)
    return multipliers, [Relaxation(*entry) for entry in told]


def best_plan(
    program: PairProgram, problem: AllocationProblem, bounds: RowBounds, *, allowed_loss: float, most_nodes: int
) -> Ints | None:
    """The best whole plan of a small problem.

    Args:
        program: The pairs.
        problem: For the number of promotions per customer.
        bounds: Of the rows.
        allowed_loss: The search ends when no plan can be better by so much.
        most_nodes: The search ends after so many nodes.

    Returns:
        Chosen slots, shape (customer_cap, customers) up to the last customer with a pair; None when none was found.

    >>> values = np.array([[3.0, 1.0], [2.0, 4.0]])
    >>> block = PairBlock(np.arange(2), np.zeros(2, dtype=np.int64), None, values, np.ones((2, 2)))
    >>> problem, free = AllocationProblem(2), RowBounds(np.empty(0), np.empty(0))
    >>> best_plan(write_program(block, problem), problem, free, allowed_loss=0.0, most_nodes=10).tolist()
    [[0, 1]]
    """
    size = int(program.customers.max(initial=-1)) + 1
    slots = np.full((problem.customer_cap, size), NONE)
    if not len(program.values):
        return slots if not bounds.violations(np.zeros(len(bounds.low))).any() else None
    constraints = [LinearConstraint(program.caps, ub=program.ends)] if len(program.ends) else []
    if len(bounds.low):
        # Scaled to a typical coefficient of 1: the solver's tolerance is absolute.
        sizes = abs(program.coupling).sum(axis=1) / np.maximum(1, np.diff(program.coupling.indptr))
        sizes = np.where(sizes > 0, sizes, 1.0)
        scaled = program.coupling.multiply(1 / sizes[:, None]).tocsr()
        constraints.append(LinearConstraint(scaled, bounds.low / sizes, bounds.high / sizes))
    top = max(float(np.abs(program.values).max()), 1e-300)
    firsts = np.flatnonzero(np.diff(program.customers, prepend=-1))
    reference = max(float(np.maximum(np.maximum.reduceat(program.values, firsts), 0).sum()), top)
    found = milp(
        -program.values / top,
        integrality=np.ones(len(program.values), dtype=np.int64),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": min(max(allowed_loss / reference, 0.0), 0.5), "node_limit": most_nodes},
    )
    if found.x is None:
        return None
    chosen = np.flatnonzero(np.rint(found.x))
    return _stack(slots, program.slots[chosen], program.customers[chosen])


def _stack(slots: Ints, chosen: Ints, customers: Ints) -> Ints:
    """Put chosen slots, ordered by customer, below one another."""
    turns = np.arange(len(customers)) - np.searchsorted(customers, customers)
    slots[turns, customers] = chosen
    return slots

"""Small allocation instances, run in memory as Spark would run them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise, product

import numpy as np

from promo_spark.kernels.allocation import Plan, find_plan
from promo_spark.kernels.allocation_greedy import NONE
from promo_spark.kernels.allocation_pass import Everyone, Look, PassResult, run_block
from promo_spark.kernels.allocation_problem import AllocationProblem, CouplingRow, Floats, Ints
from promo_spark.kernels.allocation_response import SAMPLING, PairBlock, chosen_sums, respond
from promo_spark.kernels.allocation_sample import Sample, join_blocks
from promo_spark.kernels.hash_draws import draw_uniform


def make_row(
    name: str,
    promotions: int,
    *,
    cells: Sequence[bool] = (True,),
    cost: float | Floats = 0.0,
    count: float | Floats = 0.0,
    value: float | Floats = 0.0,
    low: float = -np.inf,
    high: float = np.inf,
) -> CouplingRow:
    costs, counts, values = (
        np.broadcast_to(np.asarray(weight, dtype=np.float64), (promotions,)) for weight in (cost, count, value)
    )
    return CouplingRow(name, np.array(cells), costs, counts, values, low, high)


def draw_pairs(customers: int, promotions: int, *, seed: int, cells: int = 1, present: float = 1.0) -> PairBlock:
    random = np.random.default_rng(seed)
    values = random.gamma(2.0, 1.0, (promotions, customers))
    costs = random.random((promotions, customers)) + 0.2
    numbers = None
    if present < 1:
        slots = np.arange(promotions)[:, None]
        numbers = np.where(random.random(values.shape) < present, slots, promotions).astype(np.int32)
    keys = random.integers(-(2**62), 2**62, customers)
    return PairBlock(keys, np.sort(random.integers(0, cells, customers)), numbers, values, costs)


def run_in_memory(
    block: PairBlock, problem: AllocationProblem, *, sample_share: float = 1.0, parts: int = 3
) -> tuple[Plan, Ints]:
    """The plan, and the slots that follow from it, shape (customer_cap, customers)."""
    edges = np.linspace(0, len(block.keys), parts + 1).astype(int)
    blocks = [block.take(slice(*pair)) for pair in pairwise(edges)]
    members = np.bincount(block.cells, minlength=problem.cell_count)
    sampled = block.take(np.flatnonzero(draw_uniform(block.keys, SAMPLING) < sample_share))
    drawn = join_blocks([sampled], problem.promotion_count)
    kept = np.bincount(drawn.cells, minlength=problem.cell_count)
    sample = Sample(drawn, (members / np.maximum(kept, 1))[drawn.cells])
    tops = [float(np.abs(part).max(axis=0, initial=0.0).sum()) for part in (block.values, block.costs)]
    everyone = Everyone(members, block.values.size, *tops)

    def run_pass(looks: Sequence[Look]) -> list[PassResult]:
        answers = []
        for look in looks:
            results = [run_block(part, problem, look) for part in blocks]
            near = join_blocks([result.near for result in results], problem.promotion_count)
            best, sums = sum(result.best for result in results), sum(result.sums for result in results)
            answers.append(PassResult(best, np.asarray(sums), near))
        return answers

    plan = find_plan(problem, sample, everyone, run_pass)
    return plan, slots_of(block, problem, plan)


def slots_of(block: PairBlock, problem: AllocationProblem, plan: Plan) -> Ints:
    slots = respond(block, problem, plan.tables, plan.noise).slots
    settled = dict(zip(plan.settled_keys.tolist(), plan.settled_promotions.T.tolist(), strict=True))
    promotions = block.all_promotions()
    for customer, key in enumerate(block.keys.tolist()):
        if key in settled:
            own = promotions[:, customer].tolist()
            slots[:, customer] = [NONE if number == NONE else own.index(number) for number in settled[key]]
    return slots


def value_of(block: PairBlock, problem: AllocationProblem, slots: Ints) -> float:
    return float(chosen_sums(block, problem, slots)[2].sum())


def best_by_trying(block: PairBlock, problem: AllocationProblem) -> float | None:
    """Value of the best plan by trying all; None when there is none."""
    choices = [choices_of(block, problem, customer) for customer in range(len(block.keys))]
    best = None
    for chosen in product(*choices):
        slots = np.full((problem.customer_cap, len(chosen)), NONE)
        for customer, own in enumerate(chosen):
            slots[: len(own), customer] = own
        sums = chosen_sums(block, problem, slots)
        used = problem.usage(sums)
        if (problem.bounds.violations(used) <= 1e-9 * np.maximum(1.0, np.abs(used))).all():
            best = max(float(sums[2].sum()), -np.inf if best is None else best)
    return best


def choices_of(block: PairBlock, problem: AllocationProblem, customer: int) -> list[tuple[int, ...]]:
    """Sets of slots one customer may get."""
    promotions = block.all_promotions()[:, customer]
    slots = np.flatnonzero(promotions < problem.promotion_count).tolist()
    found = []
    for size in range(min(problem.customer_cap, len(slots)) + 1):
        for own in combinations(slots, size):
            if problem.categories is not None and size:
                counts = np.bincount(problem.categories[promotions[list(own)]], minlength=len(problem.category_caps))
                if (counts > problem.category_caps).any():
                    continue
            found.append(own)
    return found

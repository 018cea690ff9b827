"""Assign promotions to customers on Spark under limits that they share: a few passes over packed blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame

from promo_spark.kernels.allocation import Plan, complete_plan, find_plan, look_ahead
from promo_spark.kernels.allocation_greedy import NONE
from promo_spark.kernels.allocation_pass import Look, find_ties
from promo_spark.kernels.allocation_problem import AllocationProblem, Ints
from promo_spark.kernels.allocation_response import PairBlock, respond
from promo_spark.kernels.allocation_sample import measure_scales
from promo_spark.kernels.allocation_settlement import find_prices
from promo_spark.plans.allocation_passes import count_everyone, draw_sample, make_runner
from promo_spark.plans.packed_pairs import ID_COLUMNS, PAIR_COLUMNS, decode_blocks, decode_ids, pack_pairs

__all__ = ["Allocation", "BudgetPoint", "allocate", "budget_curve", "pack_pairs"]

_CHOICES = "customer_id string, promotion int, value double, cost double, is_settled boolean"
_Mapper = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, eq=False)
class Allocation:
    """Who gets which promotion.

    Attributes:
        choices: One lazy row per chosen pair: customer_id, promotion, value, cost, is_settled (decided one by one).
        value: Worth of the plan.
        upper_bound: No plan is worth more.
        gap: By which share of its worth the plan may be short of the best one.
        usage: What it takes of each row, by name.
        shadow_prices: What one more unit of each row's limit would earn, by name; negative for floors.
        passes: Passes over everyone that it took, the sample and the choices aside.
    """

    choices: DataFrame
    value: float
    upper_bound: float
    gap: float
    usage: dict[str, float]
    shadow_prices: dict[str, float]
    passes: int


class BudgetPoint(NamedTuple):
    """What a limit would bring at another height.

    Attributes:
        budget: The limit.
        value: Worth of a plan that keeps it.
        cost: What that plan takes of the row.
        upper_bound: No plan within the limit is worth more.
        shadow_price: What one more unit would earn.
    """

    budget: float
    value: float
    cost: float
    upper_bound: float
    shadow_price: float


def allocate(
    *, packed: DataFrame, problem: AllocationProblem, allowed_gap: float = 5e-5, most_passes: int = 6
) -> Allocation:
    """Choose promotions for customers so that the total value is all but the largest and every limit is kept.

    The plan is the same for any partitioning and order of the blocks.

    Args:
        packed: Blocks of ``pack_pairs``; stored, since it is read several times.
        problem: The limits.
        allowed_gap: The search ends when no plan can be better by a larger share.
        most_passes: Or after so many passes.

    Returns:
        The plan; its choices are read lazily, once more over all blocks.

    Raises:
        AllocationInfeasible: No plan keeps every limit, or none was found; names the rows.
        ValueError: Blocks and problem do not fit, or a customer appears twice.
    """
    everyone = count_everyone(packed, problem)
    sample = draw_sample(packed, problem, everyone)
    plan = find_plan(
        problem, sample, everyone, make_runner(packed, problem), allowed_gap=allowed_gap, most_passes=most_passes
    )
    names = [row.name for row in problem.rows]
    return Allocation(
        _choose(packed, problem, plan),
        plan.value,
        plan.upper_bound,
        plan.gap,
        dict(zip(names, problem.usage(plan.sums).tolist(), strict=True)),
        dict(zip(names, plan.multipliers.tolist(), strict=True)),
        plan.passes,
    )


def budget_curve(
    *, packed: DataFrame, problem: AllocationProblem, row: str, budgets: Sequence[float]
) -> list[BudgetPoint]:
    """What the plan would earn at other heights of one row's upper limit, all in one pass.

    Args:
        packed: Blocks of ``pack_pairs``.
        problem: The limits.
        row: Name of the row.
        budgets: Its upper limits.

    Returns:
        A point per budget, in their order; value and cost are NaN where no plan that keeps every limit was found.

    Raises:
        KeyError: There is no such row.
    """
    places = {own.name: place for place, own in enumerate(problem.rows)}
    place = places[row]
    everyone = count_everyone(packed, problem)
    sample = draw_sample(packed, problem, everyone)
    prices, asked = None, []
    for budget in budgets:
        rows = tuple(replace(own, high=budget) if own.name == row else own for own in problem.rows)
        shifted = replace(problem, rows=rows)
        scales = measure_scales(sample, shifted)
        prices = find_prices(sample, shifted, shifted.bounds, scales, prices)
        look = look_ahead(shifted, sample, everyone, prices, scales, share=1 / len(budgets))
        look = Look.at(look.tables, look.noise, look.thresholds)
        asked.append((shifted, prices, scales, look))
    results = make_runner(packed, problem)([look for *_, look in asked])
    points = []
    for budget, (shifted, prices, scales, look), result in zip(budgets, asked, results, strict=True):
        ties = find_ties(result.near, shifted, look)
        plan, missed = complete_plan(shifted, everyone, (prices, scales, look), (result, ties), 5e-5)
        is_kept = not missed.any()
        cost = float(shifted.usage(plan.sums)[place]) if is_kept else np.nan
        value = plan.value if is_kept else np.nan
        points.append(BudgetPoint(float(budget), value, cost, plan.upper_bound, float(prices[place])))
    return points


def _choose(packed: DataFrame, problem: AllocationProblem, plan: Plan) -> DataFrame:
    """The choices of everyone: best responses, but for those settled one by one."""
    shared = packed.sparkSession.sparkContext.broadcast((replace(problem, rows=()), plan))
    return packed.select(*PAIR_COLUMNS, *ID_COLUMNS).mapInArrow(_chooser(shared), _CHOICES)


def _chooser(shared: Broadcast[tuple[AllocationProblem, Plan]]) -> _Mapper:
    def choose(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        problem, plan = shared.value
        for batch in batches:
            for block, ids in zip(decode_blocks(batch), decode_ids(batch), strict=True):
                yield _choices_of(block, ids, problem, plan)

    return choose


def _choices_of(block: PairBlock, ids: pa.StringArray, problem: AllocationProblem, plan: Plan) -> pa.RecordBatch:
    slots = respond(block, problem, plan.tables, plan.noise).slots
    places = np.minimum(np.searchsorted(plan.settled_keys, block.keys), max(len(plan.settled_keys) - 1, 0))
    is_settled = np.zeros(len(block.keys), dtype=np.bool_)
    if len(plan.settled_keys):
        is_settled = plan.settled_keys[places] == block.keys
        slots[:, is_settled] = _slots_of(block.take(is_settled), plan.settled_promotions[:, places[is_settled]])
    customers, turns = np.nonzero(slots.T != NONE)
    chosen = slots[turns, customers]
    return pa.RecordBatch.from_pydict(
        {
            "customer_id": ids.take(pa.array(customers)),
            "promotion": pa.array(block.all_promotions()[chosen, customers].astype(np.int32)),
            "value": pa.array(block.values[chosen, customers].astype(np.float64)),
            "cost": pa.array(block.costs[chosen, customers].astype(np.float64)),
            "is_settled": pa.array(is_settled[customers]),
        }
    )


def _slots_of(block: PairBlock, promotions: Ints) -> Ints:
    """Slots of promotions, shape as theirs."""
    slots = (block.all_promotions()[None] == promotions[:, None]).argmax(axis=1)
    return np.where(promotions == NONE, NONE, slots)

"""Assign promotions to customers on Spark under limits that they share: a few passes over packed blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.kernels.allocation import (
    Everyone,
    Look,
    PassResult,
    Plan,
    RunPass,
    complete_plan,
    find_plan,
    look_ahead,
    run_block,
    sort_block,
)
from promo_spark.kernels.allocation_dual import Sample, join_blocks, measure_scales
from promo_spark.kernels.allocation_problem import AllocationProblem, Ints
from promo_spark.kernels.allocation_response import NONE, SAMPLING, PairBlock, draw_uniform, respond
from promo_spark.kernels.allocation_settlement import find_prices
from promo_spark.plans.packed_pairs import (
    ID_COLUMNS,
    PAIR_COLUMNS,
    STRATUM_SHARE,
    decode_blocks,
    decode_ids,
    encode_pairs,
    pack_pairs,
)

__all__ = ["Allocation", "BudgetPoint", "allocate", "budget_curve", "pack_pairs"]

SAMPLE_PAIRS = 2_000_000
"""About so many pairs are drawn to find prices from."""
_LEAST_SAMPLE = 200
_CHOICES = "customer_id string, promotion int, value double, cost double, is_settled boolean"
_PAIRS = (
    "cell_numbers array<int>, cell_sizes array<int>, slot_count int, precision int, promotion_count int, "
    "customer_keys binary, slot_promotions binary, pair_values binary, pair_costs binary"
)
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
    everyone = _count(packed, problem)
    sample = _draw_sample(packed, problem, everyone)
    plan = find_plan(
        problem, sample, everyone, _runner(packed, problem), allowed_gap=allowed_gap, most_passes=most_passes
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
    everyone = _count(packed, problem)
    sample = _draw_sample(packed, problem, everyone)
    prices, asked = None, []
    for budget in budgets:
        rows = tuple(replace(own, high=budget) if own.name == row else own for own in problem.rows)
        shifted = replace(problem, rows=rows)
        scales = measure_scales(sample, shifted)
        prices = find_prices(sample, shifted, shifted.bounds, scales, prices)
        look, _ = look_ahead(shifted, sample, everyone, prices, scales, share=1 / len(budgets))
        asked.append((shifted, prices, scales, look))
    results = _runner(packed, problem)([look for *_, look in asked])
    points = []
    for budget, (shifted, prices, scales, look), result in zip(budgets, asked, results, strict=True):
        plan, missed = complete_plan(shifted, everyone, (prices, scales, look), result, 5e-5)
        is_kept = not missed.any()
        cost = float(shifted.usage(plan.sums)[place]) if is_kept else np.nan
        value = plan.value if is_kept else np.nan
        points.append(BudgetPoint(float(budget), value, cost, plan.upper_bound, float(prices[place])))
    return points


def _count(packed: DataFrame, problem: AllocationProblem) -> Everyone:
    """Totals, from the small columns."""
    entry = F.explode(F.arrays_zip("cell_numbers", "cell_sizes")).alias("entry")
    counted = packed.select(entry).groupBy(F.col("entry.cell_numbers").alias("cell"))
    cells = counted.agg(F.sum("entry.cell_sizes").alias("customers")).collect()
    bounds = [F.sum(name) for name in ("pair_count", "value_bound", "cost_bound")]
    pairs, values, costs, promotions = packed.agg(*bounds, F.max("promotion_count")).collect()[0]
    members = np.zeros(problem.cell_count, dtype=np.int64)
    for cell, customers in cells:
        if cell >= problem.cell_count:
            raise ValueError(f"customers are in cell {cell}, but the problem has {problem.cell_count} cells")
        members[cell] = customers
    if promotions is not None and promotions != problem.promotion_count:
        raise ValueError(f"pairs were packed for {promotions} promotions, the problem has {problem.promotion_count}")
    return Everyone(members, pairs or 0, values or 0.0, costs or 0.0)


def _draw_sample(packed: DataFrame, problem: AllocationProblem, everyone: Everyone) -> Sample:
    """Customers with the smallest random numbers of each cell, and how many each stands for."""
    share = SAMPLE_PAIRS / max(everyone.pairs, 1)
    shares = np.maximum(share, _LEAST_SAMPLE / np.maximum(everyone.members, 1))
    if share <= STRATUM_SHARE / 2:
        packed = packed.where(F.col("stratum") == 0)
        shares = np.minimum(shares, STRATUM_SHARE)

    def draw(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for block in decode_blocks(batch):
                chosen = np.flatnonzero(draw_uniform(block.keys, SAMPLING) < shares[block.cells])
                yield _pair_batch(block.take(chosen), problem.promotion_count)

    table = packed.select(*PAIR_COLUMNS).mapInArrow(draw, _PAIRS).toArrow()
    block = sort_block(join_blocks(list(decode_blocks(table)), problem.promotion_count))
    drawn = np.bincount(block.cells, minlength=problem.cell_count)
    return Sample(block, (everyone.members / np.maximum(drawn, 1))[block.cells])


def _pair_batch(block: PairBlock, promotion_count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(encode_pairs(block, promotion_count))


def _runner(packed: DataFrame, problem: AllocationProblem) -> RunPass:
    """Passes over the blocks."""
    few = replace(problem, rows=())

    def run(looks: Sequence[Look]) -> list[PassResult]:
        shared = packed.sparkSession.sparkContext.broadcast((few, list(looks)))
        schema = f"look int, best double, sums binary, {_PAIRS}"
        table = packed.select(*PAIR_COLUMNS).mapInArrow(_answerer(shared), schema).toArrow()
        shared.destroy()
        return [_gather(table, number, problem) for number in range(len(looks))]

    return run


def _answerer(shared: Broadcast[tuple[AllocationProblem, list[Look]]]) -> _Mapper:
    def answer(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        problem, looks = shared.value
        shape = (3, problem.cell_count, problem.promotion_count)
        best, sums = [0.0] * len(looks), [np.zeros(shape) for _ in looks]
        near: list[list[PairBlock]] = [[] for _ in looks]
        for batch in batches:
            for block in decode_blocks(batch):
                for number, look in enumerate(looks):
                    result = run_block(block, problem, look)
                    best[number] += result.best
                    sums[number] += result.sums
                    if len(result.near.keys):
                        near[number].append(result.near)
        for number in range(len(looks)):
            joined = join_blocks(near[number], problem.promotion_count)
            totals = {
                "look": pa.array([number], pa.int32()),
                "best": pa.array([best[number]]),
                "sums": pa.array([sums[number].tobytes()], pa.binary()),
            }
            yield pa.RecordBatch.from_pydict({**totals, **encode_pairs(joined, problem.promotion_count)})

    return answer


def _gather(table: pa.Table, number: int, problem: AllocationProblem) -> PassResult:
    """One look's answer from all partitions."""
    own = table.filter(pa.compute.equal(table.column("look"), number))
    shape = (3, problem.cell_count, problem.promotion_count)
    sums = np.zeros(shape)
    for part in own.column("sums"):
        sums += np.frombuffer(part.as_buffer()).reshape(shape)
    blocks = [block for block in decode_blocks(own) if len(block.keys)]
    return PassResult(float(sum(own.column("best").to_pylist())), sums, join_blocks(blocks, problem.promotion_count))


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

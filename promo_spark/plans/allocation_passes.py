"""Passes over packed blocks on Spark: totals, a sample, and what everyone answers under given prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.kernels.allocation_pass import Everyone, Look, PassResult, RunPass, run_block
from promo_spark.kernels.allocation_problem import AllocationProblem
from promo_spark.kernels.allocation_response import SAMPLING, PairBlock
from promo_spark.kernels.allocation_sample import Sample, join_blocks
from promo_spark.kernels.hash_draws import draw_uniform
from promo_spark.plans.packed_pairs import PAIR_COLUMNS, STRATUM_SHARE, decode_blocks, encode_pairs

SAMPLE_PAIRS = 2_000_000
"""About so many pairs are drawn to find prices from."""
_LEAST_SAMPLE = 200
_PAIRS = (
    "cell_numbers array<int>, cell_sizes array<int>, slot_count int, precision int, promotion_count int, "
    "customer_keys binary, slot_promotions binary, pair_values binary, pair_costs binary"
)
_Mapper = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def count_everyone(packed: DataFrame, problem: AllocationProblem) -> Everyone:
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


def draw_sample(packed: DataFrame, problem: AllocationProblem, everyone: Everyone) -> Sample:
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
    block = join_blocks(list(decode_blocks(table)), problem.promotion_count)
    drawn = np.bincount(block.cells, minlength=problem.cell_count)
    return Sample(block, (everyone.members / np.maximum(drawn, 1))[block.cells])


def _pair_batch(block: PairBlock, promotion_count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(encode_pairs(block, promotion_count))


def make_runner(packed: DataFrame, problem: AllocationProblem) -> RunPass:
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

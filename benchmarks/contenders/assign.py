"""One contender of the assignment benchmark on one instance, as a process of its own that can be measured.

    python benchmarks/contenders/assign.py NAME FAMILY PAIRS FOLDER

"write" draws an instance into FOLDER as packed blocks in Delta; "ours" plans it from there and writes the plan; "check"
adds the written plan up. "highs" and "pdlp" solve the linear relaxation of the same instance and "integer" seeks
HiGHS's own whole plan. Each writes "ready" when set up, "done" when done, and a JSON object as its last line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from promo_spark.kernels.allocation_problem import AllocationProblem, CouplingRow
from promo_spark.kernels.allocation_relaxation import PairProgram, write_program
from promo_spark.kernels.allocation_response import PairBlock

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

CELLS, CATEGORIES, SLOTS = 5, 4, 20
WIDE = 1000
BLOCK = 13_000
TIME_LIMIT_S = float(os.environ.get("PROMO_SPARK_PEER_SECONDS", "120"))


def say(word: str) -> None:
    print(word, flush=True)


def promotions_of(family: str) -> int:
    return WIDE if family == "sparse" else SLOTS


def draw_block(family: str, number: int, customers: int) -> PairBlock:
    """The customers of one block: keys are numbers, cells follow from them."""
    random = np.random.default_rng([7, number])
    keys = np.arange(number * BLOCK, number * BLOCK + customers)
    cells = keys % CELLS if family in {"segments", "infeasible"} else np.zeros(customers, dtype=np.int64)
    keys, cells = (part[np.argsort(cells, kind="stable")] for part in (keys, cells))
    shape = (SLOTS, customers)
    values = random.standard_gamma(2.0, shape, dtype=np.float32)
    costs = random.random(shape, dtype=np.float32) + np.float32(0.2)
    promotions = None
    if family == "ties":
        values[:], costs[:] = 2.0, 1.0
    if family == "free":
        costs[random.random(shape, dtype=np.float32) < 0.3] = 0.0
        values -= np.float32(0.5)
    if family == "sparse":
        # One of every fifty promotions in a row, so that none comes twice.
        promotions = (np.arange(SLOTS)[:, None] * 50 + random.integers(0, 50, shape)).astype(np.int32)
    return PairBlock(keys, cells, promotions, values, costs)


def problem_of(family: str, customers: int) -> AllocationProblem:
    """The limits of a family."""
    count, cells = promotions_of(family), CELLS if family in {"segments", "infeasible"} else 1
    none, each, all_cells = np.zeros(count), np.ones(count), np.ones(cells, dtype=np.bool_)
    rows = [CouplingRow("budget", all_cells, each, none, none, high=0.2 * customers)]
    if family != "budget":
        cap = max(np.floor(0.03 * customers * SLOTS / count), 1.0)
        rows += [CouplingRow(f"cap {k}", all_cells, none, np.eye(count)[k], none, high=cap) for k in range(count)]
    if family in {"segments", "infeasible"}:
        for cell in range(cells):
            own, size = np.arange(cells) == cell, customers / cells
            rows.append(CouplingRow(f"budget of {cell}", own, each, none, none, high=(0.15 + 0.03 * cell) * size))
            least = (0.35 if family == "segments" else 1.2 if cell == 0 else 0.1) * size
            rows.append(CouplingRow(f"exposure of {cell}", own, none, each, none, low=least))
        if family == "segments":
            rows.append(CouplingRow("volume of 3", all_cells, none, np.eye(count)[3], none, low=0.025 * customers))
            rows.append(CouplingRow("return", all_cells, -8.0 * each, none, each, low=0.0))
    if family == "three":
        categories = np.arange(count) % CATEGORIES
        caps = np.array([1, 1, 2, 2])
        return AllocationProblem(count, cells, tuple(rows), 3, categories, caps)
    return AllocationProblem(count, cells, tuple(rows))


def sizes_of(pairs: int) -> list[int]:
    """Customers of each block."""
    customers = pairs // SLOTS
    return [min(BLOCK, customers - first) for first in range(0, customers, BLOCK)]


def session() -> SparkSession:
    from pyspark.sql import SparkSession  # noqa: PLC0415 (the peer's environment lacks it)

    from promo_spark.runtime.session import CONFIGURATION  # noqa: PLC0415

    folder = Path(os.environ.get("PROMO_SPARK_JARS", Path(sys.prefix) / "delta-jars"))
    tuning = {
        "spark.jars": ",".join(sorted(str(jar) for jar in folder.glob("*.jar"))),
        "spark.driver.memory": "4g",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        # A row is a block of megabytes.
        "spark.sql.execution.arrow.maxBytesPerBatch": str(64 << 20),
        "spark.driver.maxResultSize": "2g",
        "spark.sql.parquet.columnarReaderBatchSize": "16",
        "spark.sql.parquet.compression.codec": "uncompressed",
    }
    builder = SparkSession.builder.master("local[2]").appName("assignment")
    for key, value in {**CONFIGURATION, **tuning}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def write(family: str, pairs: int, folder: Path) -> dict[str, object]:
    """Draw the instance into Delta."""
    import pyarrow as pa  # noqa: PLC0415

    from promo_spark.kernels.allocation_response import SAMPLING, draw_uniform  # noqa: PLC0415
    from promo_spark.plans.packed_pairs import PACKED_COLUMNS, STRATUM_SHARE, encode_block  # noqa: PLC0415

    spark, sizes = session(), sizes_of(pairs)
    count = promotions_of(family)

    def draw(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column("id").to_pylist():
                block = draw_block(family, number, sizes[number])
                is_first = draw_uniform(block.keys, SAMPLING) < STRATUM_SHARE
                for stratum, members in enumerate((is_first, ~is_first)):
                    part = block.take(np.flatnonzero(members))
                    if len(part.keys):
                        yield encode_block(pa.array(part.keys), part, count, stratum=stratum)

    say("ready")
    blocks = spark.range(0, len(sizes), 1, max(2, len(sizes) // 64))
    blocks.mapInArrow(draw, PACKED_COLUMNS).write.format("delta").option("parquet.block.size", 64 << 20).save(
        str(folder / "packed")
    )
    say("done")
    spark.stop()
    return {}


def ours(family: str, pairs: int, folder: Path) -> dict[str, object]:
    """Plan the instance from Delta to the written plan."""
    from promo_spark.errors import AllocationInfeasible  # noqa: PLC0415
    from promo_spark.plans.allocation import allocate  # noqa: PLC0415

    spark = session()
    say("ready")
    packed = spark.read.format("delta").load(str(folder / "packed"))
    try:
        found = allocate(packed=packed, problem=problem_of(family, pairs // SLOTS))
    except AllocationInfeasible as error:
        say("done")
        return {"explained": str(error)}
    say(f"planned with gap {found.gap:.2e} in {found.passes} passes")
    found.choices.write.format("delta").save(str(folder / "plan"))
    say("done")
    spark.stop()
    return {"gap": found.gap, "value": found.value, "upper_bound": found.upper_bound, "passes": found.passes}


def check(family: str, pairs: int, folder: Path) -> dict[str, object]:
    """Add up the written plan, row by row, and see that nobody gets too much."""
    from pyspark.sql import functions as F  # noqa: PLC0415

    problem = problem_of(family, pairs // SLOTS)
    plan = session().read.format("delta").load(str(folder / "plan"))
    cell = F.col("customer_id").cast("bigint") % CELLS if problem.cell_count > 1 else F.lit(0)
    sums = np.zeros((3, problem.cell_count, problem.promotion_count))
    own = plan.groupBy(cell.alias("cell"), "promotion").agg(F.sum("cost"), F.count("*"), F.sum("value")).collect()
    for row in own:
        sums[:, row[0], row[1]] = row[2:]
    say("ready")
    most = plan.groupBy("customer_id").count().agg(F.max("count")).collect()[0][0] if pairs <= 10**8 else None
    used = problem.usage(sums)
    size = np.maximum(np.where(np.isfinite(problem.bounds.high), np.abs(problem.bounds.high), 0), np.abs(used))
    missed = problem.bounds.violations(used) / np.maximum(size, 1.0)
    violation = float(np.where(missed > 1e-9, missed, 0.0).max(initial=0.0))
    if most is not None and most > problem.customer_cap:
        violation = float("inf")
    say("done")
    return {"violation": violation, "value": float(sums[2].sum()), "choices": int(sums[1].sum())}


def program_of(family: str, pairs: int) -> tuple[AllocationProblem, PairProgram]:
    from promo_spark.kernels.allocation_sample import join_blocks  # noqa: PLC0415

    problem = problem_of(family, pairs // SLOTS)
    blocks = [draw_block(family, number, size) for number, size in enumerate(sizes_of(pairs))]
    return problem, write_program(join_blocks(blocks, problem.promotion_count), problem)


def highs(family: str, pairs: int, folder: Path) -> dict[str, object]:
    """HiGHS on the linear relaxation."""
    del folder
    return _highs(family, pairs, is_whole=False)


def integer(family: str, pairs: int, folder: Path) -> dict[str, object]:
    """HiGHS's own whole plan."""
    del folder
    return _highs(family, pairs, is_whole=True)


def _highs(family: str, pairs: int, *, is_whole: bool) -> dict[str, object]:
    from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415

    problem, program = program_of(family, pairs)
    say("ready")
    found = milp(
        -program.values,
        integrality=np.full(len(program.values), int(is_whole)),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(program.coupling, *problem.bounds),
            LinearConstraint(program.caps, ub=program.ends),
        ],
        options={"time_limit": TIME_LIMIT_S, "mip_rel_gap": 1e-6},
    )
    say("done")
    if found.x is None:
        return {"status": found.message}
    used = program.coupling @ found.x
    return {"value": -float(found.fun), "violation": float(problem.bounds.violations(used).max(initial=0.0))}


def pdlp(family: str, pairs: int, folder: Path) -> dict[str, object]:
    """OR-tools PDLP on the linear relaxation, to a relative accuracy of 1e-4."""
    from ortools.pdlp import solvers_pb2  # noqa: PLC0415 (only the peers' environment has it)
    from ortools.pdlp.python import pdlp as solver  # noqa: PLC0415
    from scipy import sparse  # noqa: PLC0415

    del folder
    problem, program = program_of(family, pairs)
    model = solver.QuadraticProgram()
    matrix = sparse.csc_matrix(sparse.vstack([program.coupling, program.caps]))
    model.objective_vector = -program.values
    model.constraint_matrix = matrix
    model.constraint_lower_bounds = np.concatenate([problem.bounds.low, np.full(len(program.ends), -np.inf)])
    model.constraint_upper_bounds = np.concatenate([problem.bounds.high, program.ends])
    model.variable_lower_bounds = np.zeros(len(program.values))
    model.variable_upper_bounds = np.ones(len(program.values))
    options = solvers_pb2.PrimalDualHybridGradientParams()
    options.termination_criteria.simple_optimality_criteria.eps_optimal_relative = 1e-4
    options.termination_criteria.simple_optimality_criteria.eps_optimal_absolute = 1e-4
    options.termination_criteria.time_sec_limit = TIME_LIMIT_S
    say("ready")
    found = solver.primal_dual_hybrid_gradient(model, options)
    say("done")
    chosen = np.array(found.primal_solution)
    used = program.coupling @ chosen
    return {
        "value": float(program.values @ chosen),
        "violation": float(problem.bounds.violations(used).max(initial=0.0)),
    }


CONTENDERS: dict[str, Callable[[str, int, Path], dict[str, object]]] = {
    contender.__name__: contender for contender in (write, ours, check, highs, integer, pdlp)
}

if __name__ == "__main__":
    answer = CONTENDERS[sys.argv[1]](sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    say(json.dumps(answer))

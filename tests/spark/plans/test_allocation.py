from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pyspark.errors import PythonException
from pyspark.sql import DataFrame, SparkSession

from promo_spark.errors import AllocationInfeasible
from promo_spark.kernels.allocation_problem import AllocationProblem, CouplingRow
from promo_spark.plans import allocation_passes
from promo_spark.plans.allocation import allocate, budget_curve, pack_pairs

pytestmark = pytest.mark.spark

PAIRS = "customer_id string, cell int, promotions array<int>, values array<double>, costs array<double>"
CUSTOMERS, PROMOTIONS = 600, 4


def make_row(name: str, *, cost: float = 0.0, count: object = 0.0, **bounds: float) -> CouplingRow:
    weights = np.broadcast_to(np.asarray(count, dtype=np.float64), (PROMOTIONS,))
    every = np.ones(2, dtype=np.bool_)
    return CouplingRow(name, every, np.full(PROMOTIONS, cost), weights, np.zeros(PROMOTIONS), **bounds)


ROWS = (
    make_row("budget", cost=1.0, high=60.0),
    make_row("stock of 0", count=np.eye(PROMOTIONS)[0], high=20.0),
    make_row("volume of 3", count=np.eye(PROMOTIONS)[3], low=60.0),
)
PROBLEM = AllocationProblem(PROMOTIONS, 2, ROWS)


def draw_rows(*, present: float = 1.0) -> list[tuple[Any, ...]]:
    random = np.random.default_rng(9)
    rows = []
    for customer in range(CUSTOMERS):
        own = np.flatnonzero(random.random(PROMOTIONS) < present).tolist()
        values, costs = random.gamma(2.0, 1.0, len(own)).tolist(), (random.random(len(own)) + 0.2).tolist()
        rows.append((f"c{customer:04d}", customer % 2, own, values, costs))
    return rows


def choices_of(frame: DataFrame) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in frame.collect())


@pytest.mark.parametrize("present", [1.0, 0.5])
def test_the_plan_keeps_every_limit_whatever_the_partitioning(
    spark: SparkSession, present: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocation_passes, "SAMPLE_PAIRS", 1_200)
    rows = draw_rows(present=present)
    given = {(row[0], k): pair for row in rows for k, *pair in zip(*row[2:], strict=True)}
    found = []
    for order, parts in ((1, 1), (-1, 3)):
        pairs = spark.createDataFrame(rows[::order], PAIRS).coalesce(parts)
        packed = pack_pairs(pairs=pairs, promotion_count=PROMOTIONS).localCheckpoint()
        plan = allocate(packed=packed, problem=PROBLEM)
        found.append(choices_of(plan.choices))
    assert found[0] == found[1]
    assert all(given[customer, k] == [value, cost] for customer, k, value, cost, _ in found[0])
    assert len({row[0] for row in found[0]}) == len(found[0])
    counts = np.bincount([row[1] for row in found[0]], minlength=PROMOTIONS)
    assert (counts[0] <= 20, counts[3] >= 60) == (True, True)
    assert sum(row[3] for row in found[0]) <= 60.0 * (1 + 1e-9)
    assert sum(row[2] for row in found[0]) == pytest.approx(plan.value)
    assert plan.usage["stock of 0"] == pytest.approx(counts[0])
    assert plan.value <= plan.upper_bound
    assert plan.gap < 1e-3
    assert plan.shadow_prices["budget"] > 0 > plan.shadow_prices["volume of 3"]


def test_more_budget_earns_more_and_what_it_earns_is_the_shadow_price(spark: SparkSession) -> None:
    packed = pack_pairs(pairs=spark.createDataFrame(draw_rows(), PAIRS), promotion_count=PROMOTIONS).localCheckpoint()
    points = budget_curve(packed=packed, problem=PROBLEM, row="budget", budgets=[40.0, 60.0, 80.0])
    assert all(point.cost <= point.budget * (1 + 1e-9) for point in points)
    assert all(point.value <= point.upper_bound <= point.value * 1.002 for point in points)
    for poorer, richer in pairwise(points):
        slope = (richer.upper_bound - poorer.upper_bound) / (richer.budget - poorer.budget)
        assert poorer.shadow_price >= slope >= richer.shadow_price


def test_nobody_and_floors_out_of_reach(spark: SparkSession) -> None:
    nobody = pack_pairs(pairs=spark.createDataFrame([], PAIRS), promotion_count=PROMOTIONS)
    plan = allocate(packed=nobody, problem=AllocationProblem(PROMOTIONS, 2, ROWS[:2]))
    assert (plan.value, plan.upper_bound, plan.choices.count()) == (0.0, 0.0, 0)
    with pytest.raises(
        AllocationInfeasible, match="Row volume of 3: asks at least 60, at most 0 can be met; relax by 60"
    ):
        allocate(packed=nobody, problem=PROBLEM)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            ("c7", 0, [0, 1], [1.0, float("nan")], [1.0, 1.0]),
            "customer c7, promotion 1: its value is not a finite number",
        ),
        (("c7", 0, [0], [1.0], [float("inf")]), "customer c7, promotion 0: its cost is not a finite number"),
        (("c7", 0, [0], [1.0], [-1.0]), "customer c7, promotion 0: its cost is negative"),
        (("c7", 0, [9], [1.0], [1.0]), "customer c7, promotion 9: there is no such promotion"),
        (("c7", 0, [1, 1], [1.0, 2.0], [1.0, 1.0]), "customer c7, promotion 1: the promotion appears twice"),
        (("c7", 0, [0, 1], [1.0], [1.0, 1.0]), "customer c7: promotions and values differ in length"),
        (("c7", None, [0], [1.0], [1.0]), "customer c7: cell is missing"),
    ],
)
def test_pairs_that_make_no_sense_are_refused(spark: SparkSession, row: tuple[Any, ...], message: str) -> None:
    rows = [*draw_rows()[:3], row]
    with pytest.raises(PythonException, match=message):
        pack_pairs(pairs=spark.createDataFrame(rows, PAIRS).coalesce(1), promotion_count=PROMOTIONS).collect()


def test_a_cell_that_the_problem_lacks_is_named(spark: SparkSession) -> None:
    packed = pack_pairs(pairs=spark.createDataFrame([("c1", 5, [0], [1.0], [1.0])], PAIRS), promotion_count=PROMOTIONS)
    with pytest.raises(ValueError, match="cell 5, but the problem has 2 cells"):
        allocate(packed=packed, problem=PROBLEM)

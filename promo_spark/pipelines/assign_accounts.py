"""What each limit came to, in numbers and in words, and what other budgets would earn."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import numpy as np
from pyspark.sql import DataFrame

from promo_spark.contracts.assignment import BUDGET_CURVE, CONSTRAINT_USE
from promo_spark.contracts.decision_settings import Limit
from promo_spark.contracts.rows import local_frame
from promo_spark.kernels.allocation_problem import AllocationProblem
from promo_spark.kernels.allocation_response import NOISE
from promo_spark.plans.allocation import Allocation, budget_curve
from promo_spark.plans.limits import BUDGET, Reserved
from promo_spark.runtime.stage import Stage

_BUDGETS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)


def account_for_limits(
    stage: Stage,
    *,
    limits: Sequence[Limit],
    problem: AllocationProblem,
    reserved: Reserved,
    allocation: Allocation | None,
    allowed_gap: float,
) -> None:
    """Write what each limit came to, and tell which are not met and how good the plan is.

    Args:
        stage: The running stage.
        limits: The limits, in the order of the problem's rows.
        problem: What was solved, what is reserved taken off its rows.
        reserved: What forced and drawn promotions use.
        allocation: The plan; None where nothing had a value.
        allowed_gap: Share of its worth that the plan should be within of the best.
    """
    taken = problem.usage(np.stack([reserved.cost, reserved.count, reserved.value]))
    rows = []
    for limit, row, extra in zip(limits, problem.rows, taken, strict=True):
        used = float(extra) + (allocation.usage[row.name] if allocation else 0.0)
        price = allocation.shadow_prices[row.name] if allocation else 0.0
        told = _words(limit, used, price, stage.settings.currency)
        rows.append((limit.name, stage.as_of_date, limit.measure, limit.at_least, limit.at_most, used, price, told))
        if allocation is None and row.low > 0:
            stage.limitation(f"{limit.name} is not met: nothing but what is forced or drawn is given. {told}.")
    stage.write(CONSTRAINT_USE, local_frame(stage.spark, rows, CONSTRAINT_USE.schema(all_nullable=True)))
    if allocation is None:
        return
    # Sharing out ties may cost twice the noise that breaks them.
    if allocation.gap > allowed_gap + 2 * NOISE:
        stage.limitation(
            f"a better plan may exist: this one is worth {allocation.value:,.2f} {stage.settings.currency}, none is "
            f"worth more than {allocation.upper_bound:,.2f} ({allocation.gap:.2%} apart; the aim is {allowed_gap:.3%})."
        )
    stage.metrics(
        {
            "assign_decided_value": allocation.value,
            "assign_value_bound": allocation.upper_bound,
            "assign_certified_gap": allocation.gap,
            "assign_budget_shadow_price": allocation.shadow_prices[BUDGET],
        }
    )


def _words(limit: Limit, used: float, price: float, currency: str) -> str:
    unit = {"cost": currency, "count": "customers", "return": "return"}[limit.measure]
    if limit.measure == "return":
        return f"{limit.name}: value is {used:,.2f} {currency} above {limit.at_least:g} times the cost"
    bounds = [f"at least {limit.at_least:,.0f}"] if limit.at_least is not None else []
    bounds += [f"at most {limit.at_most:,.0f}"] if limit.at_most is not None else []
    said = f"{limit.name}: {used:,.0f} {unit} of {' and '.join(bounds)}"
    if price > 0:
        return f"{said}; one more would add {price:,.2f} {currency} of value"
    if price < 0:
        return f"{said}; one less to ask for would add {-price:,.2f} {currency} of value"
    return f"{said}; it binds nothing"


def keep_budget_curve(stage: Stage, *, packed: DataFrame, problem: AllocationProblem, reserved: Reserved) -> None:
    """Write value by budget; what is reserved is part of each budget and of its cost.

    Args:
        stage: The running stage.
        packed: Pairs that were allocated.
        problem: What was solved.
        reserved: What forced and drawn promotions use.
    """
    spent, planned = float(reserved.cost.sum()), stage.settings.assign.budget_amount
    budgets = sorted({planned * share - spent for share in _BUDGETS if planned * share > spent})
    points = budget_curve(packed=packed, problem=problem, row=BUDGET, budgets=budgets)
    rows = [
        (
            point.budget + spent,
            stage.as_of_date,
            point.value + float(reserved.value.sum()),
            point.upper_bound + float(reserved.value.sum()),
            point.cost + spent,
            point.shadow_price,
            abs(point.budget + spent - planned) < 1e-9 * max(planned, 1.0),
        )
        for point in points
        if not isnan(point.value)  # the other limits cannot be met under so small a budget
    ]
    stage.write(BUDGET_CURVE, local_frame(stage.spark, rows, BUDGET_CURVE.schema(all_nullable=True)))

"""Allocate under the limits of the settings, and account for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import BUDGET_CURVE, CONSTRAINT_USE
from promo_spark.contracts.decision_settings import AssignSettings, Limit
from promo_spark.contracts.rows import contract_frame, local_frame
from promo_spark.contracts.silver import CUSTOMERS, OVERRIDES
from promo_spark.errors import SettingsError
from promo_spark.kernels.allocation_problem import AllocationProblem
from promo_spark.plans.allocation import Allocation, allocate, budget_curve, pack_pairs
from promo_spark.plans.limits import BUDGET, Cells, Reserved, all_limits, form_cells, form_problem
from promo_spark.plans.net_values import NET_VALUE, net_values
from promo_spark.plans.roles import DECIDED, draw_roles
from promo_spark.runtime.stage import Stage

_BUDGETS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
_PAIR = ("customer_id", "promotion_id")


@dataclass(frozen=True)
class Settled:
    """What was decided.

    Attributes:
        roles: plans.roles that the decision stands on.
        rates: The settings with the exploration rate that the limits allowed.
        choices: Pairs customer_id, promotion_id chosen among those decided for.
        priced: plans.offers with a value, and their net value.
    """

    roles: DataFrame
    rates: AssignSettings
    choices: DataFrame
    priced: DataFrame


def settle(stage: Stage, offers: DataFrame) -> Settled:
    """Draw the roles, allocate for those decided for, and keep what each limit came to.

    Args:
        stage: The running stage.
        offers: plans.offers that may be given, under the policy followed; persisted.

    Raises:
        SettingsError: Limits name what is not there, or forced promotions alone break one.
        AllocationInfeasible: The limits cannot be met together.
    """
    settings = stage.settings.assign
    limits = all_limits(settings)
    kinds = offers.select("promotion_id", "category").distinct().orderBy("promotion_id").collect()
    roles = _drawn(stage, offers, settings)
    if not kinds or offers.where("value_amount IS NOT NULL").isEmpty():
        stage.write(CONSTRAINT_USE, contract_frame(stage.spark, CONSTRAINT_USE))
        stage.write(BUDGET_CURVE, contract_frame(stage.spark, BUDGET_CURVE))
        unpriced = offers.withColumns({"cell": F.lit(0), NET_VALUE: F.lit(None).cast("double")})
        return Settled(roles, settings, offers.select(*_PAIR).limit(0), unpriced)
    promotions, categories = [row["promotion_id"] for row in kinds], [row["category"] for row in kinds]
    cells = form_cells(offers=offers, customers=stage.read(CUSTOMERS), limits=limits)

    def under(drawn: DataFrame) -> tuple[Reserved, AllocationProblem]:
        reserved = _reserve(offers, drawn, cells, promotions)
        return reserved, form_problem(
            limits=limits,
            cells=cells,
            promotions=promotions,
            categories=categories,
            reserved=reserved,
            settings=settings,
        )

    reserved, problem = under(roles)
    if _broken(problem) and settings.exploration_rate > 0:
        told = ", ".join(_broken(problem))
        stage.limitation(f"nobody is left to chance to learn from: that alone would break {told}.")
        settings = settings.model_copy(update={"exploration_rate": 0.0})
        roles = _drawn(stage, offers, settings)
        reserved, problem = under(roles)
    if _broken(problem):
        raise SettingsError(
            f"silver.overrides: what managers force breaks {', '.join(_broken(problem))}. Force fewer promotions, "
            "or raise the limit."
        )
    valued = offers.where(F.col("value_amount").isNotNull()).join(cells.customers, "customer_id", "inner")
    packed = _packed(valued, roles, promotions).persist()
    stage.progress(f"allocating {len(promotions)} promotions under {len(limits)} limits in {cells.count} cells")
    allocation = allocate(packed=packed, problem=problem)
    _account(stage, limits, problem, allocation, reserved)
    _keep_curve(stage, packed, problem, reserved)
    multipliers = np.array([allocation.shadow_prices[row.name] for row in problem.rows])
    priced = net_values(
        offers=valued.drop("cell"),
        cells=cells.customers,
        problem=problem,
        multipliers=multipliers,
        promotions=promotions,
    )
    names = F.array(*(F.lit(name) for name in promotions))
    chosen = allocation.choices.select(
        "customer_id", F.get(names, F.col("promotion").cast("int")).alias("promotion_id")
    )
    return Settled(roles, settings, chosen, priced)


def _drawn(stage: Stage, offers: DataFrame, settings: AssignSettings) -> DataFrame:
    return draw_roles(
        offers=offers,
        overrides=stage.read(OVERRIDES),
        as_of_date=stage.as_of_date,
        settings=settings,
        seed=stage.settings.seed,
    ).persist()


def _packed(valued: DataFrame, roles: DataFrame, promotions: Sequence[str]) -> DataFrame:
    decided = roles.where(F.col("role") == DECIDED).select("customer_id")
    number = F.array_position(F.array(*(F.lit(name) for name in promotions)), F.col("promotion_id")) - 1
    pairs = valued.join(decided, "customer_id", "left_semi").withColumn("_number", number.cast("int"))
    lists = pairs.groupBy("customer_id", "cell").agg(
        F.array_sort(F.collect_list(F.struct("_number", "value_amount", "cost_amount"))).alias("_pairs")
    )
    rows = lists.select(
        "customer_id",
        "cell",
        F.col("_pairs._number").alias("promotions"),
        F.col("_pairs.value_amount").alias("values"),
        F.col("_pairs.cost_amount").alias("costs"),
    )
    return pack_pairs(pairs=rows, promotion_count=len(promotions))


def _reserve(offers: DataFrame, roles: DataFrame, cells: Cells, promotions: Sequence[str]) -> Reserved:
    """What forced and drawn promotions use: a small table of cells and promotions."""
    given = roles.where(F.col("given").isNotNull()).select("customer_id", F.explode("given").alias("promotion_id"))
    used = (
        offers.join(given, list(_PAIR), "left_semi")
        .join(cells.customers, "customer_id", "inner")
        .groupBy("cell", "promotion_id")
        .agg(
            F.count("*").alias("count"),
            F.sum("cost_amount").alias("cost"),
            F.coalesce(F.sum("value_amount"), F.lit(0.0)).alias("value"),
        )
    )
    shape = (cells.count, len(promotions))
    reserved = Reserved(np.zeros(shape), np.zeros(shape), np.zeros(shape))
    for row in used.collect():
        place = row["cell"], promotions.index(row["promotion_id"])
        reserved.count[place], reserved.cost[place], reserved.value[place] = row["count"], row["cost"], row["value"]
    return reserved


def _broken(problem: AllocationProblem) -> list[str]:
    """Upper limits that what is reserved alone goes beyond."""
    return [row.name for row in problem.rows if row.high < 0]


def _account(
    stage: Stage, limits: Sequence[Limit], problem: AllocationProblem, allocation: Allocation, reserved: Reserved
) -> None:
    taken = problem.usage(np.stack([reserved.cost, reserved.count, reserved.value]))
    rows = []
    for limit, row, extra in zip(limits, problem.rows, taken, strict=True):
        used = allocation.usage[row.name] + float(extra)
        price = allocation.shadow_prices[row.name]
        told = _words(limit, used, price, stage.settings.currency)
        rows.append((limit.name, stage.as_of_date, limit.measure, limit.at_least, limit.at_most, used, price, told))
    stage.write(CONSTRAINT_USE, local_frame(stage.spark, rows, CONSTRAINT_USE.schema(all_nullable=True)))
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


def _keep_curve(stage: Stage, packed: DataFrame, problem: AllocationProblem, reserved: Reserved) -> None:
    """Value by budget; what is reserved is part of each budget and of its cost."""
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

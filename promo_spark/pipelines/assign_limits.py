"""Draw and allocate under the limits of the settings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import BUDGET_CURVE, CONSTRAINT_USE
from promo_spark.contracts.decision_settings import AssignSettings, Limit
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.silver import CUSTOMERS, OVERRIDES
from promo_spark.errors import SettingsError
from promo_spark.kernels.allocation_problem import AllocationProblem
from promo_spark.pipelines.assign_accounts import account_for_limits, keep_budget_curve
from promo_spark.plans.allocation import Allocation, allocate, pack_pairs
from promo_spark.plans.limits import (
    Cells,
    Reserved,
    all_limits,
    covered_by_floors,
    form_cells,
    form_problem,
    keep_known,
)
from promo_spark.plans.net_values import NET_VALUE, net_values
from promo_spark.plans.policy import assume_floors
from promo_spark.plans.roles import DECIDED, draw_roles
from promo_spark.runtime.stage import Stage

_ALLOWED_GAP = 5e-5
_PAIR = ("customer_id", "promotion_id")


@dataclass(frozen=True)
class Settled:
    """What was decided.

    Attributes:
        offers: plans.offers that it was decided on, with what was assumed of them for the sake of floors.
        roles: plans.roles that the decision stands on.
        rates: The settings with the exploration rate that the limits allowed.
        choices: Pairs customer_id, promotion_id chosen among those decided for.
        priced: plans.offers with a value, their ``cell``, and their net value.
    """

    offers: DataFrame
    roles: DataFrame
    rates: AssignSettings
    choices: DataFrame
    priced: DataFrame


@dataclass(frozen=True)
class _Frame:
    """What is decided on and within: offers, their promotions, limits and cells."""

    offers: DataFrame
    promotions: tuple[str, ...]
    categories: tuple[str, ...]
    limits: tuple[Limit, ...]
    cells: Cells


@dataclass(frozen=True)
class _Drawn:
    """Roles under some rates, what they use, and the problem that they leave."""

    settings: AssignSettings
    roles: DataFrame
    reserved: Reserved
    problem: AllocationProblem


def settle(stage: Stage, offers: DataFrame) -> Settled:
    """Draw the roles, allocate for those decided for, and keep what each limit came to.

    Args:
        stage: The running stage.
        offers: plans.offers that may be given, under the policy followed; persisted.

    Raises:
        SettingsError: A limit names an attribute of customers that is not there, or forced promotions alone break one.
        AllocationInfeasible: The limits cannot be met together.
    """
    settings = stage.settings.assign
    kinds = offers.select("promotion_id", "category").distinct().orderBy("promotion_id").collect()
    if not kinds:
        stage.write(CONSTRAINT_USE, contract_frame(stage.spark, CONSTRAINT_USE))
        stage.write(BUDGET_CURVE, contract_frame(stage.spark, BUDGET_CURVE))
        return Settled(offers, _roles(stage, offers, settings), settings, _no_choices(offers), _unpriced(offers))
    frame = _frame(stage, offers, kinds)
    drawn = _draw_within(stage, frame)
    valued = frame.offers.where(F.col("value_amount").isNotNull()).join(frame.cells.customers, "customer_id", "inner")
    if valued.isEmpty():
        _account(stage, frame, drawn, None)
        stage.write(BUDGET_CURVE, contract_frame(stage.spark, BUDGET_CURVE))
        return Settled(offers, drawn.roles, drawn.settings, _no_choices(offers), _unpriced(offers))
    packed = _packed(valued, drawn.roles, frame.promotions).persist()
    stage.progress(f"allocating {len(kinds)} promotions under {len(frame.limits)} limits in {frame.cells.count} cells")
    allocation = allocate(packed=packed, problem=drawn.problem, allowed_gap=_ALLOWED_GAP)
    _account(stage, frame, drawn, allocation)
    keep_budget_curve(stage, packed=packed, problem=drawn.problem, reserved=drawn.reserved)
    priced = net_values(
        offers=valued.drop("cell"),
        cells=frame.cells.customers,
        problem=drawn.problem,
        multipliers=np.array([allocation.shadow_prices[row.name] for row in drawn.problem.rows]),
        promotions=frame.promotions,
    )
    names = F.array(*(F.lit(name) for name in frame.promotions))
    chosen = allocation.choices.select(
        "customer_id", F.get(names, F.col("promotion").cast("int")).alias("promotion_id")
    )
    return Settled(frame.offers, drawn.roles, drawn.settings, chosen.persist(), priced)


def _frame(stage: Stage, offers: DataFrame, kinds: Sequence[Row]) -> _Frame:
    """Bring offers and limits together; what either lacks of the other is told."""
    promotions = tuple(row["promotion_id"] for row in kinds)
    named = all_limits(stage.settings.assign)
    cells = form_cells(offers=offers, customers=stage.read(CUSTOMERS), limits=named)
    limits, left_out = keep_known(named, promotions, cells.segments)
    for told in left_out:
        stage.limitation(f"assign.limits: {told}.")
    covered = covered_by_floors(limits, promotions)
    unknown = offers.where(F.col("promotion_id").isin(*covered) & F.col("value_amount").isNull())
    assumed = [row[0] for row in unknown.select("promotion_id").distinct().orderBy("promotion_id").collect()]
    if assumed:
        stage.limitation(
            f"{', '.join(assumed)}: of no known value, assumed to earn nothing and lose the cost; given as far as "
            "limits ask for it (at_least)."
        )
    floored = assume_floors(offers=offers, promotions=assumed)
    return _Frame(floored, promotions, tuple(row["category"] for row in kinds), limits, cells)


def _draw_within(stage: Stage, frame: _Frame) -> _Drawn:
    """Draw the roles such that what is left to chance breaks no limit: among promotions that have room."""
    settings, full = stage.settings.assign, set[str]()
    drawn = _drawn(stage, frame, settings, full)
    while (broken := _broken(drawn.problem)) and drawn.settings.exploration_rate > 0:
        concerned = {name for limit in _named(frame.limits, broken) for name in limit.promotions or frame.promotions}
        if concerned <= full:  # nothing of them is drawn any more
            break
        full |= concerned
        told = ", ".join(broken)
        drawn.roles.unpersist()
        if full >= set(frame.promotions):
            stage.limitation(f"nobody is left to chance to learn from: that alone would break {told}.")
            settings = settings.model_copy(update={"exploration_rate": 0.0})
        else:
            stage.limitation(f"nobody is given {', '.join(sorted(full))} by chance: that alone would break {told}.")
        drawn = _drawn(stage, frame, settings, full)
    if broken:
        raise SettingsError(
            f"silver.overrides: what managers force breaks {', '.join(broken)}. Force fewer promotions, or raise the "
            "limit."
        )
    return drawn


def _drawn(stage: Stage, frame: _Frame, settings: AssignSettings, full: Collection[str]) -> _Drawn:
    roles = _roles(stage, frame.offers, settings, full)
    reserved = _reserve(frame.offers, roles, frame.cells, frame.promotions)
    problem = form_problem(
        limits=frame.limits,
        cells=frame.cells,
        promotions=frame.promotions,
        categories=frame.categories,
        reserved=reserved,
        settings=settings,
    )
    return _Drawn(settings, roles, reserved, problem)


def _account(stage: Stage, frame: _Frame, drawn: _Drawn, allocation: Allocation | None) -> None:
    account_for_limits(
        stage,
        limits=frame.limits,
        problem=drawn.problem,
        reserved=drawn.reserved,
        allocation=allocation,
        allowed_gap=_ALLOWED_GAP,
    )


def _no_choices(offers: DataFrame) -> DataFrame:
    return offers.select(*_PAIR).limit(0)


def _unpriced(offers: DataFrame) -> DataFrame:
    return offers.withColumns({"cell": F.lit(0), NET_VALUE: F.lit(None).cast("double")})


def _roles(stage: Stage, offers: DataFrame, settings: AssignSettings, full: Collection[str] = ()) -> DataFrame:
    return draw_roles(
        offers=offers,
        overrides=stage.read(OVERRIDES),
        as_of_date=stage.as_of_date,
        settings=settings,
        seed=stage.settings.seed,
        without_room=tuple(sorted(full)),
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


def _named(limits: Sequence[Limit], names: Collection[str]) -> list[Limit]:
    return [limit for limit in limits if limit.name in names]


def _broken(problem: AllocationProblem) -> list[str]:
    """Upper limits that what is reserved alone goes beyond."""
    return [row.name for row in problem.rows if row.high < 0]

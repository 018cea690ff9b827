"""The limits of the settings as coupling rows over cells of customers and promotions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import AssignSettings, Limit
from promo_spark.errors import SettingsError
from promo_spark.kernels.allocation_problem import AllocationProblem, CouplingRow

BUDGET = "budget"
NO_SEGMENT = -1
_MOST_CELLS = 4096


@dataclass(frozen=True)
class Cells:
    """Customers that no limit tells apart share a cell.

    Attributes:
        customers: customer_id and ``cell``, one row per customer with an offer.
        segments: Segment of each cell, -1 for none.
        groups: Per attribute of the limits the value of each cell.
    """

    customers: DataFrame
    segments: tuple[int, ...]
    groups: dict[str, tuple[str | None, ...]]

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self.segments)


def all_limits(settings: AssignSettings) -> tuple[Limit, ...]:
    """The limits of the settings with the budget and the stocks that are named apart."""
    stocks = [
        Limit(name=f"stock_{promotion}", measure="count", at_most=float(units), promotions=(promotion,))
        for promotion, units in settings.stock_counts.items()
    ]
    return (Limit(name=BUDGET, measure="cost", at_most=settings.budget_amount), *stocks, *settings.limits)


def keep_known(
    limits: Sequence[Limit], promotions: Sequence[str], segments: Sequence[int]
) -> tuple[tuple[Limit, ...], list[str]]:
    """Leave out of the limits what they name and there is not.

    Args:
        limits: Of ``all_limits``.
        promotions: Those that may be given.
        segments: Those with customers who may be given something.

    Returns:
        The limits that concern anybody, and in words what was left out.
    """
    kept, told = [], []
    for limit in limits:
        named = tuple(name for name in limit.promotions if name in promotions)
        owned = tuple(number for number in limit.segments if number in segments)
        missing = [f"promotion {name}, which nobody may be given" for name in limit.promotions if name not in named]
        missing += [
            f"segment {number}, of whom nobody may be given anything"
            for number in limit.segments
            if number not in owned
        ]
        is_idle = (limit.promotions and not named) or (limit.segments and not owned)
        if missing:
            told.append(f"{limit.name} names {' and '.join(missing)}{': it limits nothing' if is_idle else ''}")
        if not is_idle:
            kept.append(limit.model_copy(update={"promotions": named, "segments": owned}))
    return tuple(kept), told


def covered_by_floors(limits: Sequence[Limit], promotions: Sequence[str]) -> list[str]:
    """Promotions of which limits ask that some be given, whatever they are worth."""
    floors = [limit for limit in limits if limit.at_least and limit.measure != "return"]
    return [name for name in promotions if any(not floor.promotions or name in floor.promotions for floor in floors)]


def form_cells(*, offers: DataFrame, customers: DataFrame, limits: Sequence[Limit]) -> Cells:
    """Group the customers by what the limits look at; runs one Spark job.

    Args:
        offers: plans.offers.
        customers: silver.customers, for the attributes of groups.
        limits: The limits.

    Raises:
        SettingsError: A limit names an attribute that silver.customers lacks, or cells are too many.
    """
    names = sorted({limit.group for limit in limits if limit.group is not None})
    unknown = [name for name in names if name not in customers.columns]
    if unknown:
        raise SettingsError(
            f"assign.limits: silver.customers has no {', '.join(unknown)}; groups are {', '.join(customers.columns)}."
        )
    # Values that no limit names need not be told apart.
    looked_at = {
        name: sorted({value for limit in limits if limit.group == name for value in limit.group_values})
        for name in names
    }
    segment = F.coalesce("segment_id", F.lit(NO_SEGMENT)).alias("_segment")
    owners = offers.groupBy("customer_id").agg(F.first("segment_id", ignorenulls=True).alias("segment_id"))
    values = [F.when(F.col(name).isin(looked_at[name]), F.col(name)).alias(name) for name in names]
    described = owners.join(customers.select("customer_id", *names), "customer_id", "left").select(
        "customer_id", segment, *values
    )
    keys = ["_segment", *names]
    found = described.select(*keys).distinct().limit(_MOST_CELLS + 1).toPandas()
    if len(found) > _MOST_CELLS:
        raise SettingsError(
            f"assign.limits: segments and groups together make more than {_MOST_CELLS} cells; name fewer group_values."
        )
    rows = sorted(found.itertuples(index=False, name=None), key=lambda row: tuple(str(value) for value in row))
    cell = F.lit(0)
    for number, row in enumerate(rows):
        matches = F.lit(True)
        for name, value in zip(keys, row, strict=True):
            matches &= F.col(name).eqNullSafe(F.lit(value))
        cell = F.when(matches, F.lit(number)).otherwise(cell)
    groups = {name: tuple(row[place] for row in rows) for place, name in enumerate(names, 1)}
    segments = tuple(int(row[0]) for row in rows)
    return Cells(described.select("customer_id", cell.cast("int").alias("cell")), segments, groups)


@dataclass(frozen=True)
class Reserved:
    """What those who are not decided for use already, per cell and promotion: arrays of shape (cells, promotions)."""

    count: np.ndarray
    cost: np.ndarray
    value: np.ndarray


def form_problem(
    *,
    limits: Sequence[Limit],
    cells: Cells,
    promotions: Sequence[str],
    categories: Sequence[str],
    reserved: Reserved,
    settings: AssignSettings,
) -> AllocationProblem:
    """Bring the limits into the form that the allocation solves, what is reserved taken off.

    Args:
        limits: Of ``all_limits``.
        cells: Of ``form_cells``.
        promotions: The promotions, in the order of the packed pairs.
        categories: Category of each.
        reserved: What is used by forced and drawn promotions.
        settings: Caps per customer.

    """
    numbers = {name: number for number, name in enumerate(dict.fromkeys(categories))}
    return AllocationProblem(
        promotion_count=len(promotions),
        cell_count=cells.count,
        customer_cap=settings.promotions_per_customer,
        categories=np.array([numbers[name] for name in categories], dtype=np.int64),
        category_caps=np.full(len(numbers), settings.per_category, dtype=np.int64),
        rows=tuple(_row(limit, cells, promotions, reserved) for limit in limits),
    )


def _row(limit: Limit, cells: Cells, promotions: Sequence[str], reserved: Reserved) -> CouplingRow:
    members, named = _members(limit, cells), _named(limit, promotions)
    weights = dict.fromkeys(("cost_weight", "count_weight", "value_weight"), np.zeros(len(promotions)))
    low = -np.inf if limit.at_least is None else limit.at_least
    high = np.inf if limit.at_most is None else limit.at_most
    if limit.measure == "return":
        weights |= {"value_weight": named, "cost_weight": -float(limit.at_least or 0.0) * named}
        low, high = 0.0, np.inf
    else:
        weights |= {f"{limit.measure}_weight": named}
    used = sum(
        float((getattr(reserved, name)[members] * weights[f"{name}_weight"]).sum())
        for name in ("cost", "count", "value")
    )
    return CouplingRow(name=limit.name, cells=members, low=low - used, high=high - used, **weights)


def _members(limit: Limit, cells: Cells) -> np.ndarray:
    members = np.ones(cells.count, dtype=bool)
    if limit.segments:
        members &= np.isin(cells.segments, limit.segments)
    if limit.group is not None:
        members &= np.array([value in limit.group_values for value in cells.groups[limit.group]], dtype=bool)
    return members


def _named(limit: Limit, promotions: Sequence[str]) -> np.ndarray:
    return np.array([not limit.promotions or name in limit.promotions for name in promotions], dtype=np.float64)

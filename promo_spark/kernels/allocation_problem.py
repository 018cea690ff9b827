"""Which promotion goes to which customer under shared limits: the problem, its prices and its accounts.

Customers fall into cells (a segment and an audit group, say). A limit that many customers share is a coupling row;
its coefficients depend on the customer only through the cell, the value and the cost of the pair. So what a plan
uses of every row follows from the cost, count and value summed by cell and promotion.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import inf, isfinite, isnan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class RowBounds(NamedTuple):
    """Between what the sums of rows must lie, each of shape (rows,)."""

    low: Floats
    high: Floats

    def violations(self, used: Floats) -> Floats:
        """How far each row is missed, shape (rows,).

        >>> RowBounds(np.array([2.0]), np.array([5.0])).violations(np.array([1.5])).tolist()
        [0.5]
        """
        excess: Floats = np.maximum(np.maximum(used - self.high, self.low - used), 0.0)
        return excess

    def support(self, multipliers: Floats) -> float:
        """The rows' part of the dual: what the limits are worth at the multipliers."""
        ends = np.where(multipliers > 0, self.high, self.low)
        own = multipliers != 0
        return float(multipliers[own] @ ends[own])


@dataclass(frozen=True, eq=False)
class CouplingRow:
    """A limit that many customers share.

    The coefficient of customer i and promotion k is
    ``cells[cell of i] * (cost_weight[k] * cost + count_weight[k] + value_weight[k] * value)``; summed over what is
    chosen it must lie from ``low`` to ``high``.

    Attributes:
        name: Named in messages and results; unique.
        cells: Whom it concerns, shape (cells,).
        cost_weight: Shape (promotions,), as the two that follow.
        count_weight: Per chosen pair.
        value_weight: Per unit of value.
        low: Least sum; -inf for none.
        high: Largest sum; inf for none.
    """

    name: str
    cells: Bools
    cost_weight: Floats
    count_weight: Floats
    value_weight: Floats
    low: float = -inf
    high: float = inf


@dataclass(frozen=True, eq=False)
class AllocationProblem:
    """Everything but the pairs.

    Attributes:
        promotion_count: Promotions are numbered from 0.
        cell_count: Cells are numbered from 0.
        rows: Limits shared by customers.
        customer_cap: Promotions a customer may get at most.
        categories: Category of each promotion, from 0, shape (promotions,); None when none is limited.
        category_caps: Promotions of each category a customer may get at most, shape (categories,).

    Raises:
        ValueError: Shapes do not fit, a weight is not finite, a bound is NaN, low exceeds high, or names repeat.
    """

    promotion_count: int
    cell_count: int = 1
    rows: tuple[CouplingRow, ...] = ()
    customer_cap: int = 1
    categories: Ints | None = None
    category_caps: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if min(self.promotion_count, self.cell_count, self.customer_cap) < 1:
            raise ValueError("promotion_count, cell_count and customer_cap must be at least 1")
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError(f"row names repeat: {sorted({name for name in names if names.count(name) > 1})}")
        for row in self.rows:
            _check_row(row, self.promotion_count, self.cell_count)
        if self.categories is not None and (
            self.categories.shape != (self.promotion_count,)
            or not 0 <= self.categories.min() <= self.categories.max() < len(self.category_caps)
            or self.category_caps.min() < 0
        ):
            raise ValueError("every promotion needs a category, and every category a cap of at least 0")

    @cached_property
    def bounds(self) -> RowBounds:
        """Between what the rows' sums must lie."""
        return RowBounds(
            np.array([row.low for row in self.rows], dtype=np.float64),
            np.array([row.high for row in self.rows], dtype=np.float64),
        )

    @cached_property
    def cells(self) -> Floats:
        """Whom each row concerns as 0 or 1, shape (rows, cells)."""
        return np.array([row.cells for row in self.rows], dtype=np.float64).reshape(-1, self.cell_count)

    @cached_property
    def weights(self) -> Floats:
        """Weights of cost, count and value, shape (3, rows, promotions)."""
        kinds = [[row.cost_weight, row.count_weight, row.value_weight] for row in self.rows]
        stacked = np.array(kinds, dtype=np.float64).reshape(-1, 3, self.promotion_count)
        return np.ascontiguousarray(stacked.transpose(1, 0, 2))

    @cached_property
    def pair_weights(self) -> tuple[sparse.csr_array, ...]:
        """Weights of cost, count and value by cell and promotion, each of shape (cells * promotions + 1, rows).

        The last line is of no promotion.
        """
        found = []
        for kind in self.weights:
            of_rows = [
                sparse.kron(sparse.csr_array(cells[:, None]), sparse.csr_array(own[:, None]), format="csc")
                for cells, own in zip(self.cells, kind, strict=True)
            ]
            height = self.cell_count * self.promotion_count
            table = sparse.hstack([sparse.csc_array((height, 0)), *of_rows], format="csc")
            found.append(sparse.csr_array(sparse.vstack([table, sparse.csc_array((1, len(self.rows)))])))
        return tuple(found)

    @cached_property
    def bans(self) -> tuple[Bools, Bools, Bools]:
        """What limits of nothing forbid: rows that only forbid, whole promotions by cell, and all but what is free.

        Rows of what cannot be negative that end at 0 need no price: shapes (rows,), (cells, promotions) twice.
        """
        cost, count, value = self.weights
        is_plain = (cost >= 0).all(axis=1) & (count >= 0).all(axis=1) & (value == 0).all(axis=1)
        only = is_plain & (self.bounds.high == 0) & (self.bounds.low <= 0)
        banned = (self.cells[only].T @ (count[only] > 0)) > 0
        return only, banned, (self.cells[only].T @ (cost[only] > 0)) > 0

    def usage(self, sums: Floats) -> Floats:
        """What is used of each row, shape (rows,), from cost, count and value, shape (3, cells, promotions)."""
        used: Floats = sum((self.cells @ sums[kind] * self.weights[kind]).sum(axis=1) for kind in range(3))
        return used + np.zeros(len(self.rows))


class PriceTables(NamedTuple):
    """Reduced value of a pair: ``value * value_factors - cost * cost_prices - flat_prices``, in the tables' precision.

    Attributes:
        value_factors: Shape (cells, promotions + 1), as the two that follow; the last column is of no promotion,
            whose reduced value is -inf.
        cost_prices: Per unit of cost.
        flat_prices: Per pair; inf where the promotion is banned.
        free_only: Where only pairs without cost may be chosen; None for nowhere.
    """

    value_factors: NDArray[Any]
    cost_prices: NDArray[Any]
    flat_prices: NDArray[Any]
    free_only: Bools | None

    def rounded(self) -> PriceTables:
        """The tables in float32, which is twice as quick."""
        values, costs, flats = (table.astype(np.float32) for table in self[:3])
        return PriceTables(values, costs, flats, self.free_only)


def price_tables(problem: AllocationProblem, multipliers: Floats) -> PriceTables:
    """Prices by cell and promotion under multipliers of the rows, shape (rows,).

    >>> each = np.ones(1)
    >>> row = CouplingRow("budget", np.ones(1, dtype=np.bool_), each, 0 * each, 0 * each, high=9.0)
    >>> price_tables(AllocationProblem(1, rows=(row,)), np.array([0.5])).cost_prices
    array([[0.5, 0. ]])
    """
    costs, counts, values = ((problem.cells.T * multipliers) @ problem.weights[kind] for kind in range(3))
    _, banned, free_only = problem.bans
    flat = np.where(banned, inf, counts)
    edge = np.zeros((problem.cell_count, 1))
    return PriceTables(
        np.hstack([1.0 - values, edge]),
        np.hstack([costs, edge]),
        np.hstack([flat, edge + inf]),
        np.hstack([free_only, edge > 0]) if free_only.any() else None,
    )


def _check_row(row: CouplingRow, promotions: int, cells: int) -> None:
    weights = (row.cost_weight, row.count_weight, row.value_weight)
    if row.cells.shape != (cells,) or any(weight.shape != (promotions,) for weight in weights):
        raise ValueError(f"row {row.name}: needs {cells} cells and {promotions} weights of each kind")
    if not all(np.isfinite(weight).all() for weight in weights):
        raise ValueError(f"row {row.name}: weights must be finite numbers")
    if isnan(row.low) or isnan(row.high) or row.low > row.high or row.low == inf or row.high == -inf:
        raise ValueError(f"row {row.name}: {row.low} to {row.high} is no range")
    if row.low == row.high and not isfinite(row.low):
        raise ValueError(f"row {row.name}: {row.low} to {row.high} is no range")

"""The best promotions of customers who may get several, under a cap in all and caps by category.

Such caps are laminar, so taking the best that is still allowed, one after another, is optimal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.allocation_problem import AllocationProblem, Bools, Floats, Ints

NONE = -1
"""In the place of a slot or promotion: there is none."""


class GreedyChoice(NamedTuple):
    """What customers take.

    Attributes:
        slots: Chosen slots, best first, ``NONE`` where there is no more, shape (customer_cap, customers).
        margins: By how much reduced values would have to change for another choice, shape (customers,).
        total: Sum of the reduced values of what is chosen.
        leaving: Slot that would go in the nearest other choice, shape (customers,).
        entering: Slot that would come.
    """

    slots: Ints
    margins: Floats
    total: float
    leaving: Ints
    entering: Ints


def take_best(reduced: NDArray[Any], problem: AllocationProblem, promotions: NDArray[Any]) -> GreedyChoice:
    """Take the best slot that is left while it is worth it.

    Args:
        reduced: Reduced values, shape (slots, customers); used up.
        problem: The caps.
        promotions: Of each slot, shape (slots, customers).

    Complexity: O(slots * customers * customer_cap).

    >>> values = np.array([[3.0], [2.0], [1.0]])
    >>> problem = AllocationProblem(3, customer_cap=2, categories=np.array([0, 0, 1]), category_caps=np.array([1, 1]))
    >>> choice = take_best(values, problem, np.arange(3)[:, None])
    >>> choice.slots.ravel().tolist(), choice.margins.tolist()
    ([0, 2], [1.0])
    """
    customers = np.arange(reduced.shape[1])
    caps = _Caps(problem, promotions)
    caps.close_empty(reduced)
    slots = np.full((problem.customer_cap, len(customers)), NONE)
    none, last, last_slot = np.full(len(customers), NONE), np.zeros(len(customers)), np.full(len(customers), NONE)
    nearest = (np.full(len(customers), np.inf), none.copy(), none.copy())
    total = 0.0
    for turn in range(problem.customer_cap + 1):
        own = reduced.argmax(axis=0)
        best = reduced[own, customers].astype(np.float64)
        if turn == problem.customer_cap:
            _nearer(nearest, (last - np.maximum(best, 0), last_slot, np.where(best > 0, own, NONE)))
            break
        taken = best > 0
        _nearer(nearest, (np.where(taken, np.inf, -best), none, own))
        _nearer(nearest, (np.where(taken, best, np.inf), own, none))
        slots[turn] = np.where(taken, own, NONE)
        total += float(best[taken].sum())
        last, last_slot = np.where(taken, best, np.inf), own
        reduced[own[taken], customers[taken]] = -np.inf
        blocked, blocked_slots = caps.take(reduced, own, taken)
        _nearer(nearest, (np.where(taken, best - np.maximum(blocked, 0), np.inf), own, blocked_slots))
        reduced[:, ~taken] = -np.inf
    return GreedyChoice(slots, nearest[0], total, nearest[1], nearest[2])


def _nearer(nearest: tuple[Floats, Ints, Ints], change: tuple[Floats, Ints, Ints]) -> None:
    """Keep the nearer of two changes: margin, slot that leaves, slot that enters."""
    is_nearer = change[0] < nearest[0]
    for kept, new in zip(nearest, change, strict=True):
        kept[is_nearer] = new[is_nearer]


class _Caps:
    """Counts of what customers have of each category."""

    def __init__(self, problem: AllocationProblem, promotions: NDArray[Any]) -> None:
        self._caps = problem.category_caps
        self._category = None
        if problem.categories is not None:
            self._category = np.append(problem.categories, NONE)[promotions]
            self._counts = np.zeros((len(self._caps), promotions.shape[1]), dtype=np.int64)

    def close_empty(self, reduced: NDArray[Any]) -> None:
        """Close categories of which nobody may get any."""
        if self._category is not None:
            for category in np.flatnonzero(self._caps == 0).tolist():
                reduced[self._category == category] = -np.inf

    def take(self, reduced: NDArray[Any], slots: Ints, taken: Bools) -> tuple[Floats, Ints]:
        """Count what was taken, close full categories, and say what this kept out: reduced value and slot."""
        blocked = np.full(len(slots), -np.inf)
        best_blocked = np.full(len(slots), NONE)
        if self._category is None:
            return blocked, best_blocked
        customers = np.flatnonzero(taken)
        own = self._category[slots[customers], customers]
        self._counts[own, customers] += 1
        is_full = self._counts[own, customers] >= self._caps[own]
        full = customers[is_full]
        closed = self._category[:, full] == own[is_full]
        values = np.where(closed, reduced[:, full], -np.inf)
        best_blocked[full] = values.argmax(axis=0)
        blocked[full] = values[best_blocked[full], np.arange(len(full))]
        reduced[:, full] = np.where(closed, -np.inf, reduced[:, full])
        return blocked, best_blocked

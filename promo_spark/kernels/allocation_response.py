"""What each customer gets under given prices, for a block of customers at a time.

Pairs lie slot by slot: slot s of all customers of a block is one run in memory, so that every step is an operation on
long arrays. Reduced values are float32 where pairs and prices are, sums float64. A tiny noise, drawn from the
customer's key and the promotion, breaks ties: ten million customers who are alike can then be split in any shares.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.allocation_greedy import NONE, take_best
from promo_spark.kernels.allocation_problem import AllocationProblem, Bools, Floats, Ints, PriceTables
from promo_spark.kernels.hash_draws import draw_uniform

TIES, SAMPLING, AROUND = 0, 1, 2
"""Streams of random numbers."""
NOISE = 2.0**-14
"""Largest noise, as a share of a typical value."""
_CHUNK = 8192
_SHORT_RUN = 1024
_ROUNDINGS = 4


class PairBlock(NamedTuple):
    """Customers and their pairs.

    Attributes:
        keys: Stable hashes of the customers, shape (customers,).
        cells: Shape (customers,); ascending cells make it quicker.
        promotions: Of each slot, shape (slots, customers), with the number of promotions where there is no pair; None
            when slot and promotion are the same.
        values: Float32 or float64, shape (slots, customers).
        costs: As values.
    """

    keys: Ints
    cells: Ints
    promotions: NDArray[Any] | None
    values: NDArray[Any]
    costs: NDArray[Any]

    def take(self, customers: Ints | Bools | slice) -> PairBlock:
        """The block of some of the customers."""
        promotions = None if self.promotions is None else self.promotions[:, customers]
        return PairBlock(
            self.keys[customers],
            self.cells[customers],
            promotions,
            self.values[:, customers],
            self.costs[:, customers],
        )

    def all_promotions(self) -> NDArray[Any]:
        """Of each slot, shape (slots, customers)."""
        if self.promotions is not None:
            return self.promotions
        return np.broadcast_to(np.arange(len(self.values))[:, None], self.values.shape)


class Response(NamedTuple):
    """The best a block's customers can do under prices.

    Attributes:
        slots: Chosen slots, best first, ``NONE`` where there is no more, shape (customer_cap, customers).
        margins: By how much reduced values would have to change for another choice, shape (customers,).
        best: Sum of the largest reduced values, without noise.
        leaving: Slot that would go in the nearest other choice, shape (customers,); ``NONE`` for none.
        entering: Slot that would come.
    """

    slots: Ints
    margins: Floats
    best: float
    leaving: Ints
    entering: Ints


def respond(block: PairBlock, problem: AllocationProblem, tables: PriceTables, noise: float) -> Response:
    """Choose what is best for each customer under prices.

    Args:
        block: Customers and pairs.
        problem: For how many promotions a customer may get.
        tables: Prices.
        noise: Largest noise taken from a reduced value.

    Returns:
        The choices; with a cap per category the greedy choice, which is optimal as the caps are laminar.

    Complexity: O(pairs), with more than one promotion per customer O(pairs * customer_cap).
    """
    customers = len(block.keys)
    response = Response(
        np.full((problem.customer_cap, customers), NONE, dtype=np.int64),
        np.full(customers, np.inf),
        0.0,
        *(np.full(customers, NONE, dtype=np.int64) for _ in range(2)),
    )
    best, dtype = 0.0, np.result_type(block.values, tables.value_factors)
    weights = noise_weights(problem.promotion_count) * noise
    for part, prices in _parts(block, tables):
        own = block.take(part)
        own = own._replace(values=own.values.astype(dtype, copy=False), costs=own.costs.astype(dtype, copy=False))
        uniform = draw_uniform(own.keys, TIES).astype(dtype)
        if problem.customer_cap == 1 and (problem.categories is None or problem.category_caps.min() > 0):
            best += _choose_one(own, prices, uniform, weights, _cut(response, part))
        else:
            best += _choose_many(own, problem, prices, (uniform, weights), _cut(response, part))
    return response._replace(best=best)


def chosen_sums(block: PairBlock, problem: AllocationProblem, slots: Ints, weights: Floats | None = None) -> Floats:
    """Cost, count and value of what is chosen, each customer as often as its weight, shape (3, cells, promotions)."""
    _, customers = places = np.nonzero(slots != NONE)
    chosen = slots[places]
    promotions = chosen if block.promotions is None else block.promotions[chosen, customers].astype(np.int64)
    groups = block.cells[customers] * problem.promotion_count + promotions
    shape = (problem.cell_count, problem.promotion_count)
    own = None if weights is None else weights[customers]
    costs, values = (part[chosen, customers] * (1.0 if own is None else own) for part in (block.costs, block.values))
    sums = [np.bincount(groups, weights=part, minlength=shape[0] * shape[1]) for part in (costs, own, values)]
    return np.array(sums, dtype=np.float64).reshape(3, *shape)


def rounding_error(problem: AllocationProblem, tables: PriceTables, totals: tuple[float, float, float]) -> float:
    """By how much rounding may have made the sum of best reduced values too small.

    Args:
        problem: For how many promotions a customer may get.
        tables: Prices.
        totals: Number of customers, and sums over customers of the largest absolute value and of the largest cost.
    """
    customers, values, costs = totals
    flat = np.abs(tables.flat_prices[np.isfinite(tables.flat_prices)]).max(initial=0.0)
    scale = np.abs(tables.value_factors).max() * values + np.abs(tables.cost_prices).max() * costs + flat * customers
    return float(_ROUNDINGS * np.finfo(tables.value_factors.dtype).eps / 2 * problem.customer_cap * scale)


def noise_weights(promotions: int) -> Floats:
    """One per promotion, all different, and one for no promotion.

    >>> noise_weights(2).tolist()
    [0.5, 1.0, 0.0]
    """
    return np.append((1 + np.arange(promotions)) / promotions, 0.0)


def _cut(response: Response, part: slice) -> Response:
    return Response(
        response.slots[:, part],
        response.margins[part],
        0.0,
        response.leaving[part],
        response.entering[part],
    )


class _Prices(NamedTuple):
    """Prices of each slot: numbers where customers share them, else arrays over customers."""

    value_factors: Any
    cost_prices: Any
    flat_prices: Any
    free_only: Any
    promotions: Any


def _parts(block: PairBlock, tables: PriceTables) -> Iterator[tuple[slice, _Prices]]:
    """Portions that fit the cache, and their prices."""
    factors, costs, flats = tables[:3]
    shared = tables if len(factors) == 1 else None
    edges = np.flatnonzero(np.diff(block.cells)) + 1
    starts = np.concatenate([[0], edges]) if len(edges) * _SHORT_RUN < len(block.keys) else np.array([0])
    is_shared = shared is not None or len(starts) == len(edges) + 1
    for first, end in zip(starts.tolist(), [*starts[1:].tolist(), len(block.keys)], strict=True):
        for start in range(first, end, _CHUNK):
            part = slice(start, min(start + _CHUNK, end))
            cells: Any = block.cells[start] if is_shared else block.cells[part]
            free = tables.free_only
            if block.promotions is None:
                slots: Any = np.arange(len(block.values))
                columns = slots if is_shared else slots[:, None]
            else:
                slots = columns = block.promotions[:, part]
            yield (
                part,
                _Prices(
                    factors[cells, columns],
                    costs[cells, columns],
                    flats[cells, columns],
                    None if free is None else free[cells, columns],
                    slots,
                ),
            )


def _reduced(own: PairBlock, prices: _Prices, slot: int, out: NDArray[Any], scratch: NDArray[Any]) -> None:
    """Reduced values of one slot, into ``out``."""
    np.multiply(own.values[slot], prices.value_factors[slot], out=out)
    np.multiply(own.costs[slot], prices.cost_prices[slot], out=scratch)
    out -= scratch
    out -= prices.flat_prices[slot]
    if prices.free_only is not None:
        out[prices.free_only[slot] & (own.costs[slot] > 0)] = -np.inf


def _choose_one(own: PairBlock, prices: _Prices, uniform: NDArray[Any], weights: Floats, into: Response) -> float:
    """The best slot of each customer, and the second best for the margin."""
    n, dtype = len(own.keys), own.values.dtype
    reduced, scratch, exact, best = (np.zeros(n, dtype=dtype) for _ in range(4))
    second, is_better, is_second = np.full(n, -np.inf, dtype=dtype), np.empty(n, np.bool_), np.empty(n, np.bool_)
    arg, runner_up = np.full(n, NONE, dtype=np.int32), np.full(n, NONE, dtype=np.int32)
    noise = weights.astype(dtype)[prices.promotions]
    for slot in range(len(own.values)):
        _reduced(own, prices, slot, reduced, scratch)
        np.maximum(exact, reduced, out=exact)
        np.multiply(uniform, noise[slot], out=scratch)
        reduced -= scratch
        np.greater(reduced, best, out=is_better)
        np.greater(reduced, second, out=is_second)
        np.putmask(runner_up, is_second, slot)
        np.copyto(runner_up, arg, where=is_better)
        np.putmask(arg, is_better, slot)
        np.minimum(best, reduced, out=scratch)
        np.maximum(second, scratch, out=second)
        np.maximum(best, reduced, out=best)
    into.slots[0], into.leaving[:], into.entering[:] = arg, arg, runner_up
    into.margins[:] = best.astype(np.float64) - second
    return float(exact.sum(dtype=np.float64))


def _choose_many(
    own: PairBlock, problem: AllocationProblem, prices: _Prices, noise: tuple[NDArray[Any], Floats], into: Response
) -> float:
    """The best slots of each customer in turn, under its caps."""
    reduced = np.empty(own.values.shape, dtype=own.values.dtype)
    scratch = np.empty(len(own.keys), dtype=own.values.dtype)
    for slot in range(len(reduced)):
        _reduced(own, prices, slot, reduced[slot], scratch)
    exact = reduced.copy()
    promotions = own.all_promotions()
    reduced -= noise[0] * noise[1].astype(reduced.dtype)[promotions]
    found = take_best(reduced, problem, promotions)
    into.slots[:], into.margins[:] = found.slots, found.margins
    into.leaving[:], into.entering[:] = found.leaving, found.entering
    return take_best(exact, problem, promotions).total

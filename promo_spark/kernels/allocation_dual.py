"""Shadow prices of the rows: the lowest point of the exact dual over a bounded, weighted sample of customers.

The dual is convex and, over many customers, all but smooth. L-BFGS-B comes near its lowest point; Newton's method goes
on from there, with the second derivative estimated from customers who are near a tie: each says
what moves from row to row when a price crosses the tie, and how close such ties lie says how often that happens. Every
step must lower the exact dual, so the estimate decides about speed only.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, minimize

from promo_spark.kernels.allocation_greedy import NONE
from promo_spark.kernels.allocation_problem import AllocationProblem, Floats, Ints, RowBounds, price_tables
from promo_spark.kernels.allocation_response import TIES, noise_weights, respond
from promo_spark.kernels.allocation_sample import HIGHEST, Sample, Scales, coefficients, thin, weighted_sums
from promo_spark.kernels.hash_draws import draw_uniform

_FIRST_PAIRS = 400_000
_STEPS = 60
_NEWTON_STEPS = 25
_NEWTON_ROWS = 1500
_SHARES = (0.2, 0.07, 0.02, 0.007, 0.002)
_LEAST_TIES = 20
_MOST_TIES = 40_000
_FLAT = 1e-9
_FEW = 1.5
_REACH = 4.0
_SETTLED = 1e-11


def minimise_dual(
    sample: Sample, problem: AllocationProblem, bounds: RowBounds, scales: Scales, start: Floats | None = None
) -> Floats:
    """Multipliers of the rows that make the dual of a sample lowest.

    Args:
        sample: Customers and their weights.
        problem: The problem.
        bounds: Of the rows, for the weighted sample.
        scales: See ``measure_scales``.
        start: Multipliers to begin with; zeros when None.

    Returns:
        Shape (rows,): at least 0 where only the upper bound is finite, at most 0 where only the lower is.

    Complexity: O(pairs) per step, some dozens of steps; Newton's also O(ties * rows^2).
    """
    descent = _Descent(sample, problem, bounds, scales)
    if not len(descent.upper) or len(sample.weights) == 0:
        return np.zeros(len(problem.rows))
    point = descent.point(np.zeros(len(problem.rows)) if start is None else start)
    is_many = len(point) > _NEWTON_ROWS
    few = thin(sample, sample.block.values.size if is_many else _FIRST_PAIRS)
    coarse = descent if few is sample else _Descent(few, problem, bounds, scales)
    point = minimize(
        coarse.value_and_slope,
        point,
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(0.0, descent.upper),
        options={"maxiter": _STEPS, "maxfun": 2 * _STEPS, "ftol": _FLAT, "gtol": 1e-9, "maxcor": 20},
    ).x
    return descent.multipliers(point if is_many else descent.polish(point))


_Ties = tuple[Floats, Ints, Ints]
"""Margins of a response, and the slots that would leave and enter."""


class _Descent:
    """The dual in scaled prices of the finite bounds, each at least 0."""

    def __init__(self, sample: Sample, problem: AllocationProblem, bounds: RowBounds, scales: Scales) -> None:
        self._sample, self._problem, self._bounds, self._scales = sample, problem, bounds, scales
        priced = ~problem.bans[0]
        self._uppers = np.flatnonzero(priced & np.isfinite(bounds.high))
        self._lowers = np.flatnonzero(priced & np.isfinite(bounds.low))
        self._rows: Ints = np.concatenate([self._uppers, self._lowers])
        self._signs = np.repeat([1.0, -1.0], [len(self._uppers), len(self._lowers)])
        self._ends = np.concatenate([bounds.high[self._uppers], bounds.low[self._lowers]])
        self._units = scales.value / scales.rows[self._rows]
        self._total = scales.value * max(float(sample.weights.sum()), 1e-300)
        self._uniform = draw_uniform(sample.block.keys, TIES)
        self.upper = np.full(len(self._rows), HIGHEST)

    def point(self, multipliers: Floats) -> Floats:
        """Scaled prices of multipliers."""
        scaled = np.maximum(multipliers[self._rows] * self._signs, 0.0) / self._units
        point: Floats = np.minimum(scaled, self.upper)
        return point

    def multipliers(self, point: Floats) -> Floats:
        """Multipliers of scaled prices."""
        return np.bincount(self._rows, self._signs * point * self._units, len(self._problem.rows)).astype(np.float64)

    def value_and_slope(self, point: Floats) -> tuple[float, Floats]:
        """The dual and its slope, per customer and typical value."""
        value, slope, _ = self._look(point)
        return value, slope

    def polish(self, point: Floats) -> Floats:
        """Newton's method within a region that it trusts, with fewer and fewer ties: the nearest tell most."""
        value, slope, look = self._look(point)
        level, reach = 0, 1.0
        for _ in range(_NEWTON_STEPS):
            if self._misses(point, slope) <= _FEW:
                break
            curve, width = self._curvature(look, _SHARES[level])
            radius = reach * _REACH * width / self._scales.value
            model = (curve, slope - curve @ point)
            within = (np.maximum(point - radius, 0.0), np.minimum(point + radius, self.upper))
            reached = lowest_in_box(*model, *within, point)
            found = self._search(point, value, reached - point)
            if found is None:
                reach *= 0.1
            else:
                gained = value - found[1][0]
                point, (value, slope, look) = found
                reach = min(reach * 2, 1e6)
            if found is None or gained < _SETTLED * abs(value):
                level += 1
                if level == len(_SHARES):
                    break
        return point

    def _look(self, point: Floats) -> tuple[float, Floats, _Ties]:
        sample, problem = self._sample, self._problem
        tables = price_tables(problem, self.multipliers(point))
        reply = respond(sample.block, problem, tables, self._scales.noise)
        used = problem.usage(weighted_sums(sample, problem, reply.slots))
        best = self._reduced_sum(reply.slots, used, point)
        value = best + float(self._ends @ (self._signs * point * self._units))
        slope = self._signs * (self._ends - used[self._rows]) * self._units / self._total
        return value / self._total, slope, (reply.margins, reply.leaving, reply.entering)

    def _reduced_sum(self, slots: Ints, used: Floats, point: Floats) -> float:
        """Value less noise and prices paid of what is chosen."""
        chosen, customers = np.nonzero(slots != NONE)
        chosen, block = slots[chosen, customers], self._sample.block
        values = block.values[chosen, customers].astype(np.float64)
        promotions = chosen if block.promotions is None else block.promotions[chosen, customers]
        values -= (
            self._scales.noise * self._uniform[customers] * noise_weights(self._problem.promotion_count)[promotions]
        )
        return float(values @ self._sample.weights[customers]) - float(used @ self.multipliers(point))

    def _misses(self, point: Floats, slope: Floats) -> float:
        """By how many pairs of the sample a row is missed, or a priced row is not used up."""
        missed = np.where(point > 0, np.abs(slope), np.maximum(-slope, 0.0))
        return float(missed.max()) * self._total / self._scales.value / float(self._sample.weights.max())

    def _curvature(self, look: _Ties, share: float) -> tuple[Floats, float]:
        """Second derivative as the nearest ties tell it, and the margin up to which they were taken."""
        margins, leaving, entering = look
        wanted = min(max(_LEAST_TIES * len(self._rows), int(share * len(margins))), _MOST_TIES, len(margins) - 1)
        width = float(np.partition(margins, wanted)[wanted])
        near = np.flatnonzero(margins <= width) if np.isfinite(width) else np.flatnonzero(np.isfinite(margins))
        near = near[: 2 * _MOST_TIES]
        width = max(float(margins[near].max(initial=0.0)), 1e-3 * self._scales.noise)
        block, weights = self._sample.block.take(near), self._sample.weights[near] / (2 * width)
        moved = coefficients(block, self._problem, entering[near]) - coefficients(block, self._problem, leaving[near])
        moved = moved[:, self._rows] @ sparse.diags_array(self._signs * self._units)
        curve: Floats = (moved.T @ sparse.diags_array(weights / self._total) @ moved).toarray()
        sizes = np.diag(curve)
        return curve + np.diag(1e-6 * sizes + 1e-9 * sizes.mean() + 1e-15), width

    def _search(self, point: Floats, value: float, step: Floats) -> tuple[Floats, tuple[float, Floats, _Ties]] | None:
        """The first of ever shorter steps that lowers the dual, lengthened while that helps."""
        best = None
        for length in (1.0, 0.5, 0.25, 0.1, 0.03, 0.01):
            reached = np.clip(point + length * step, 0.0, self.upper)
            look = self._look(reached)
            if look[0] < (value if best is None else best[1][0]):
                best = (reached, look)
            elif best is not None:
                break
        return best


def lowest_in_box(curve: Floats, slope: Floats, low: Floats, high: Floats, start: Floats) -> Floats:
    """Where ``x @ curve @ x / 2 + slope @ x`` is lowest between bounds, shape (n,).

    Projected Newton steps (Bertsekas 1982) on a positive definite matrix; coordinate by coordinate where none helps.

    >>> lowest_in_box(np.eye(2), np.array([-3.0, 1.0]), np.zeros(2), np.full(2, 2.0), np.zeros(2)).tolist()
    [2.0, 0.0]
    """
    x = np.clip(start, low, high)
    for _ in range(50):
        grade = curve @ x + slope
        free = ~(((x <= low) & (grade > 0)) | ((x >= high) & (grade < 0)))
        if not free.any() or np.abs(grade[free]).max() <= _SETTLED * np.abs(slope).max(initial=0.0):
            break
        step = np.zeros(len(x))
        step[free] = -np.linalg.solve(curve[np.ix_(free, free)], grade[free])
        for length in (1.0, 0.5, 0.2, 0.05, 0.01, 0.001):
            reached = np.clip(x + length * step, low, high)
            moved = reached - x
            if grade @ moved + 0.5 * moved @ curve @ moved < 0:
                x = reached  # not x + moved: rounding would leave the box by one unit in the last place
                break
        else:
            x = _one_by_one(curve, slope, (low, high), x)
    return x


def _one_by_one(curve: Floats, slope: Floats, box: tuple[Floats, Floats], x: Floats) -> Floats:
    """Each coordinate in turn where it is lowest: always leads down, where Newton's step clipped to the box may not."""
    x = x.copy()
    for place in range(len(x)):
        grade = curve[place] @ x + slope[place]
        x[place] = np.clip(x[place] - grade / curve[place, place], box[0][place], box[1][place])
    return x

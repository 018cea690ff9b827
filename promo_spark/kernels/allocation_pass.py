"""Passes over everyone: what is asked of them, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from promo_spark.kernels.allocation_problem import AllocationProblem, Floats, Ints, PriceTables
from promo_spark.kernels.allocation_response import PairBlock, chosen_sums, respond


class Everyone(NamedTuple):
    """Who takes part.

    Attributes:
        members: Customers of each cell, shape (cells,).
        pairs: Number of pairs.
        values: Sum over customers of the largest absolute value of a pair.
        costs: The same of costs.
    """

    members: Ints
    pairs: int
    values: float
    costs: float


class PassResult(NamedTuple):
    """What a pass over everyone finds under given prices.

    Attributes:
        best: Sum of the largest reduced values.
        sums: Cost, count and value of the best responses, shape (3, cells, promotions).
        near: Customers whose margin is at most their cell's threshold.
    """

    best: float
    sums: Floats
    near: PairBlock


class Look(NamedTuple):
    """What a pass is asked.

    Attributes:
        tables: Prices.
        noise: Largest noise that breaks ties.
        thresholds: Margins up to which customers of a cell are handed over, negative for nobody, shape (cells,).
    """

    tables: PriceTables
    noise: float
    thresholds: Floats


RunPass = Callable[[Sequence[Look]], list[PassResult]]
"""Goes through everyone once, and answers each look."""


def run_block(block: PairBlock, problem: AllocationProblem, look: Look) -> PassResult:
    """One block's part of a pass; of the problem, rows are not asked for.

    >>> from promo_spark.kernels.allocation_problem import price_tables
    >>> problem, one = AllocationProblem(1), np.zeros(1, dtype=np.int64)
    >>> block = PairBlock(one, one, None, np.array([[5.0]]), np.array([[2.0]]))
    >>> run_block(block, problem, Look(price_tables(problem, np.empty(0)), 0.0, np.zeros(1))).sums.ravel().tolist()
    [2.0, 1.0, 5.0]
    """
    reply = respond(block, problem, look.tables, look.noise)
    near = block.take(np.flatnonzero(reply.margins <= look.thresholds[block.cells]))
    return PassResult(reply.best, chosen_sums(block, problem, reply.slots), near)

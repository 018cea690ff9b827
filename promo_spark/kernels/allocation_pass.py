"""Passes over everyone: what is asked of them, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from promo_spark.kernels.allocation_problem import AllocationProblem, Bools, Floats, Ints, PriceTables
from promo_spark.kernels.allocation_response import AROUND, PairBlock, Response, chosen_sums, respond
from promo_spark.kernels.allocation_sample import Sample, weighted_sums
from promo_spark.kernels.hash_draws import draw_uniform


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
        near: Customers whose margin is at most their cell's threshold, and a sample of those around them.
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
        reaches: Margins up to which a share of the customers of a cell is handed over, shape (cells,).
        shares: That share, shape (cells,).
    """

    tables: PriceTables
    noise: float
    thresholds: Floats
    reaches: Floats
    shares: Floats

    @classmethod
    def at(cls, tables: PriceTables, noise: float, thresholds: Floats) -> Look:
        """Without a sample of those around."""
        return cls(tables, noise, thresholds, thresholds, np.zeros(len(thresholds)))


RunPass = Callable[[Sequence[Look]], list[PassResult]]
"""Goes through everyone once, and answers each look; customers handed over come by cell and key."""


def run_block(block: PairBlock, problem: AllocationProblem, look: Look) -> PassResult:
    """One block's part of a pass; of the problem, rows are not asked for.

    >>> from promo_spark.kernels.allocation_problem import price_tables
    >>> problem, one = AllocationProblem(1), np.zeros(1, dtype=np.int64)
    >>> block = PairBlock(one, one, None, np.array([[5.0]]), np.array([[2.0]]))
    >>> run_block(block, problem, Look.at(price_tables(problem, np.empty(0)), 0.0, np.zeros(1))).sums.ravel().tolist()
    [2.0, 1.0, 5.0]
    """
    reply = respond(block, problem, look.tables, look.noise)
    handed = np.flatnonzero(reply.margins <= np.maximum(look.reaches, look.thresholds)[block.cells])
    is_near = reply.margins[handed] <= look.thresholds[block.cells[handed]]
    drawn = draw_uniform(block.keys[handed], AROUND) < look.shares[block.cells[handed]]
    near = block.take(handed[is_near | drawn])
    return PassResult(reply.best, chosen_sums(block, problem, reply.slots), near)


class Ties(NamedTuple):
    """Customers whom a pass handed over, as they answer the same prices.

    Attributes:
        near: Those near a tie, everyone of them.
        reply: Their best responses.
        around: They and the sample of those around them, weighted to stand for all of these.
        sums: Cost, count and value of these, as their best responses go, shape (3, cells, promotions).
    """

    near: PairBlock
    reply: Response
    around: Sample
    sums: Floats


def find_ties(block: PairBlock, problem: AllocationProblem, look: Look) -> Ties:
    """Tell the customers near a tie from the sample of those around them.

    Args:
        block: What a pass handed over, by cell and key.
        problem: For how many promotions a customer may get.
        look: What the pass was asked.

    Returns:
        Both; a customer of the sample stands for one over the share that was drawn.
    """
    reply = respond(block, problem, look.tables, look.noise)
    is_near: Bools = reply.margins <= look.thresholds[block.cells]
    shares = np.where(is_near, 1.0, np.minimum(look.shares[block.cells], 1.0))
    around = Sample(block, 1 / shares)
    near = Response(
        reply.slots[:, is_near], reply.margins[is_near], 0.0, reply.leaving[is_near], reply.entering[is_near]
    )
    return Ties(block.take(is_near), near, around, weighted_sums(around, problem, reply.slots))

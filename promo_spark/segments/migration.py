"""How customers moved between segments since the date before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.kernels.agreement import match_groups

ABSENT = -1


@dataclass(frozen=True)
class Move:
    """Customers of one segment before and one now, as segments.migration tells it."""

    previous_segment_id: int
    segment_id: int
    customer_count: int
    customer_rate: float
    is_match: bool


def count_moves(*, previous: DataFrame, segments: DataFrame) -> DataFrame:
    """Count customers by their segment before and now.

    Args:
        previous: segments.customers of the date before.
        segments: segments.customers of this date.

    Returns:
        previous_segment_id, segment_id and customer_count; -1 where a customer has no segment at one of the dates.
    """
    before = previous.select("customer_id", F.col("segment_id").alias("previous_segment_id"))
    sides = [F.coalesce(name, F.lit(ABSENT)).alias(name) for name in ("previous_segment_id", "segment_id")]
    return (
        before.join(segments.select("customer_id", "segment_id"), "customer_id", "full")
        .groupBy(*sides)
        .agg(F.count("*").alias("customer_count"))
    )


def match_moves(counts: Mapping[tuple[int, int], int]) -> list[Move]:
    """Shares of each previous segment, and which segment now carries it on.

    Args:
        counts: Customers by segment before and now, -1 where they have none.

    Returns:
        Moves in the order of the segments.
    """
    known = ((*pair, count) for pair, count in counts.items() if ABSENT not in pair)
    matched = match_groups(known)
    totals: dict[int, int] = {}
    for (before, _), count in counts.items():
        totals[before] = totals.get(before, 0) + count
    return [
        Move(before, now, counts[before, now], counts[before, now] / totals[before], matched.get(before) == now)
        for before, now in sorted(counts)
    ]


def stayed_rate(moves: Iterable[Move]) -> float | None:
    """Share of the customers known at both dates whose segment is the one that carries on theirs."""
    both = [move for move in moves if ABSENT not in (move.previous_segment_id, move.segment_id)]
    total = sum(move.customer_count for move in both)
    return sum(move.customer_count for move in both if move.is_match) / total if total else None

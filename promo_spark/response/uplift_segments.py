"""Mean uplift of segments with honest errors: doubly robust scores, summed by customer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from threadpoolctl import threadpool_limits

from promo_spark.contracts.arrow_matrices import lists_of
from promo_spark.kernels.doubly_robust import cluster_sums, normal_quantile
from promo_spark.kernels.gram_regression import Floats, Standardiser
from promo_spark.kernels.uplift_folds import score_rows
from promo_spark.response.uplift_blocks import to_block, whole_customers
from promo_spark.response.uplift_learners import Prepared

_Maker = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class SegmentUplift:
    """What an arm adds to an outcome in a segment, per decision.

    Attributes:
        segment: The segment.
        arm: The arm, against the control.
        outcome: The outcome.
        customers: Customers of the segment with a decision.
        uplift: Mean doubly robust score.
        standard_error: Cluster-robust.
        low: Of the interval.
        high: Of the interval.
    """

    segment: str
    arm: str
    outcome: str
    customers: int
    uplift: float
    standard_error: float
    low: float
    high: float


def estimate_segment_uplift(
    *, learning: Prepared, members: DataFrame, segment: str, least_customers: int = 2, interval_level: float = 0.9
) -> list[SegmentUplift]:
    """Average cross-fitted doubly robust scores over the customers of each segment.

    Args:
        learning: Of ``prepare_learning``.
        members: customer_id and the segment, one row per customer.
        segment: Column of the segment; few values.
        least_customers: Nothing is told of segments with fewer who had a decision: few scores say little of their own
            spread.
        interval_level: Of the intervals.

    Returns:
        One entry per segment, arm and outcome, in that order.
    """
    prepared, levels = learning.rows, learning.own_levels
    schema = "customer_id string, decisions double, scores array<double>"
    scored = prepared.frame.mapInArrow(_scorer(prepared.standardiser, levels), schema)
    cells = [(arm, outcome) for arm in prepared.arms[1:] for outcome in prepared.outcomes]
    count, figures = F.col("decisions"), []
    for place in range(len(cells)):
        score = F.col("scores")[place]
        figures.append(F.array(F.sum(score), F.sum(score * score), F.sum(score * count)).alias(f"cell{place}"))
    told = (
        scored.join(members.select("customer_id", F.col(segment).cast("string").alias("segment")), "customer_id")
        .groupBy("segment")
        .agg(F.count("*").alias("customers"), F.sum(count).alias("n"), F.sum(count * count).alias("nn"), *figures)
        .where(F.col("customers") >= least_customers)
        .orderBy("segment")
        .collect()
    )
    reach = normal_quantile(interval_level)
    return [_entry(row, place, *cell, reach) for row in told for place, cell in enumerate(cells)]


def _entry(row: Row, place: int, arm: str, outcome: str, reach: float) -> SegmentUplift:
    total, squares, crossed = row[f"cell{place}"]
    mean = total / row["n"]
    error = sqrt(max(squares - 2 * mean * crossed + mean**2 * row["nn"], 0.0)) / row["n"]
    return SegmentUplift(
        row["segment"], arm, outcome, row["customers"], mean, error, mean - reach * error, mean + reach * error
    )


def _scorer(standardiser: Standardiser, levels: Floats) -> _Maker:
    """Make the function that sums each customer's scores."""

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with threadpool_limits(limits=1, user_api="blas"):
            for rows in whole_customers(batches):
                block = to_block(rows, standardiser)
                scores = score_rows(block, levels).reshape(len(block.arms), -1)
                sums = cluster_sums(scores, block.clusters)
                starts = np.concatenate([[0], np.flatnonzero(np.diff(block.clusters)) + 1])
                counts = cluster_sums(np.ones(len(block.arms)), block.clusters)
                customers = rows.column("customer_id").combine_chunks().take(pa.array(starts))
                yield pa.RecordBatch.from_arrays(
                    [customers, pa.array(counts), lists_of(sums)], names=["customer_id", "decisions", "scores"]
                )

    return score

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

from promo_spark.kernels.doubly_robust import cluster_sums, normal_quantile
from promo_spark.kernels.gram_regression import Floats, Standardiser
from promo_spark.kernels.uplift_folds import score_rows
from promo_spark.response.uplift_blocks import to_block, whole_customers
from promo_spark.response.uplift_learners import prepare_learning
from promo_spark.response.uplift_rows import prepare_rows

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
    *,
    rows: DataFrame,
    members: DataFrame,
    segment: str,
    outcomes: tuple[str, ...],
    covariate_names: tuple[str, ...],
    folds: int = 3,
    propensity_floor: float = 0.02,
    ridge: float = 1.0,
    interval_level: float = 0.9,
    seed: int = 0,
) -> list[SegmentUplift]:
    """Average cross-fitted doubly robust scores over the customers of each segment.

    Args:
        rows: Decisions, see ``prepare_rows``.
        members: customer_id and the segment, one row per customer.
        segment: Column of the segment; few values.
        outcomes: Columns of outcomes.
        covariate_names: One per covariate.
        folds: Parts of the customers for cross-fitting; at least 3 are made.
        propensity_floor: See ``prepare_rows``.
        ridge: Least penalty of the nuisances, in rows.
        interval_level: Of the intervals.
        seed: Of the folds.

    Returns:
        One entry per segment, arm and outcome, in that order.

    Raises:
        ValueError: The rows are at fault.
    """
    with prepare_rows(
        rows=rows,
        outcomes=outcomes,
        covariate_names=covariate_names,
        folds=folds,
        propensity_floor=propensity_floor,
        seed=seed,
    ) as prepared:
        levels = prepare_learning(rows=prepared, ridge=ridge, depths=None).own_levels
        schema = "customer_id string, decisions double, scores array<double>"
        scored = prepared.frame.mapInArrow(_scorer(prepared.standardiser, levels), schema)
        cells = [(arm, outcome) for arm in prepared.arms[1:] for outcome in outcomes]
        count, figures = F.col("decisions"), []
        for place in range(len(cells)):
            score = F.col("scores")[place]
            figures.append(F.array(F.sum(score), F.sum(score * score), F.sum(score * count)).alias(f"cell{place}"))
        told = (
            scored.join(members.select("customer_id", F.col(segment).cast("string").alias("segment")), "customer_id")
            .groupBy("segment")
            .agg(F.count("*").alias("customers"), F.sum(count).alias("n"), F.sum(count * count).alias("nn"), *figures)
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
                offsets = pa.array(np.arange(len(sums) + 1, dtype=np.int32) * sums.shape[1])
                customers = rows.column("customer_id").combine_chunks().take(pa.array(starts))
                lists = pa.ListArray.from_arrays(offsets, pa.array(sums.ravel()))
                yield pa.RecordBatch.from_arrays(
                    [customers, pa.array(counts), lists], names=["customer_id", "decisions", "scores"]
                )

    return score

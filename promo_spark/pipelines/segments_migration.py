"""The part of the segments stage that looks back: who moved between segments since the date before."""

from __future__ import annotations

from pyspark.sql import DataFrame

from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS, SEGMENT_MIGRATION, SEGMENT_PROFILES
from promo_spark.runtime import Stage
from promo_spark.segments.migration import ABSENT, count_moves, match_moves, stayed_rate


def tell_migration(stage: Stage) -> None:
    """Write how customers moved since the newest date before this one that has segments; nothing where none has."""
    previous = stage.read_before(SEGMENT_CUSTOMERS)
    day = previous.select("as_of_date").first()
    if day is None:
        stage.write(SEGMENT_MIGRATION, contract_frame(stage.spark, SEGMENT_MIGRATION))
        return
    counted = count_moves(previous=previous, segments=stage.read(SEGMENT_CUSTOMERS)).collect()
    moves = match_moves({(row["previous_segment_id"], row["segment_id"]): row["customer_count"] for row in counted})
    before, now = _names(stage.read_before(SEGMENT_PROFILES)), _names(stage.read(SEGMENT_PROFILES))
    rows = [
        (
            move.previous_segment_id,
            move.segment_id,
            stage.as_of_date,
            day["as_of_date"],
            before.get(move.previous_segment_id),
            now.get(move.segment_id),
            move.customer_count,
            move.customer_rate,
            move.is_match,
        )
        for move in moves
    ]
    stage.write(SEGMENT_MIGRATION, contract_frame(stage.spark, SEGMENT_MIGRATION, rows))
    for move in moves:
        if move.is_match:
            stage.progress(
                f"segment {move.previous_segment_id} of {day['as_of_date']} is now {move.segment_id}: "
                f"{move.customer_rate:.0%} of its customers stayed"
            )
    new = sum(move.customer_count for move in moves if move.previous_segment_id == ABSENT)
    stage.metrics({"migration_new_customers": new, "migration_stayed_rate": stayed_rate(moves) or 0.0})


def _names(profiles: DataFrame) -> dict[int, str]:
    return {row["segment_id"]: row["segment_name"] for row in profiles.select("segment_id", "segment_name").collect()}

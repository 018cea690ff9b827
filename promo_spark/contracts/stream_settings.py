"""How feedback that arrives as files is taken in while it arrives."""

from __future__ import annotations

from pydantic import Field

from promo_spark.contracts.source_settings import Frozen


class StreamSettings(Frozen):
    """Of jobs/stream_feedback.py; decides when rows arrive, never which."""

    files_per_batch: int = Field(default=500, ge=1, description="New files of one table that are taken in together")

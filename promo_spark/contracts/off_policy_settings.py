"""How policies are valued on past decisions, and when nothing is concluded."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from promo_spark.contracts.source_settings import Frozen


class OffPolicySettings(Frozen):
    """Limits of the weights, intervals, and what it takes to conclude."""

    clips: tuple[Annotated[float, Field(ge=1)], ...] = Field(
        default=(10.0,), description="Weights above are cut to it (clipped) or left to the model (switch)"
    )
    bootstraps: int = Field(default=400, ge=50, description="Resamples of customers")
    interval_level: float = Field(default=0.95, gt=0, lt=1)
    min_effective: float = Field(default=100.0, gt=0, description="Fewer decisions of equal weight conclude nothing")
    min_support_rate: float = Field(
        default=0.95, gt=0, le=1, description="Least share of what a policy does that the log could have done"
    )

    @model_validator(mode="after")
    def _limits_differ(self) -> OffPolicySettings:
        if len(set(self.clips)) < len(self.clips):
            raise ValueError("clips names a limit twice")
        return self

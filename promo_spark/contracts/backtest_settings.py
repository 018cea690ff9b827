"""Which days after a date judge what was predicted and recommended on it, and which earlier dates are replayed."""

from __future__ import annotations

from datetime import date, timedelta

from pydantic import Field

from promo_spark.contracts.source_settings import Frozen


class BacktestSettings(Frozen):
    """What is looked at once the weeks after the date are there."""

    days: int = Field(default=28, ge=7, description="Days after the date in which recommendations are judged")
    weeks: int = Field(default=9, ge=1, description="Weeks after the date in which forecasts are judged")
    list_length: int = Field(default=10, ge=1)
    bootstraps: int = Field(default=200, ge=50)
    origins: tuple[date, ...] = Field(
        default=(), description="Earlier dates that jobs/backtest.py replays as a whole before the as_of_date"
    )
    origin_count: int = Field(default=1, ge=1, description="Dates in all, the as_of_date the last of them")
    origin_step_weeks: int = Field(default=4, ge=1, description="Weeks from one of them to the next")

    def replayed(self, as_of_date: date) -> tuple[date, ...]:
        """The earlier dates, in order, named by either setting."""
        steps = (as_of_date - timedelta(weeks=self.origin_step_weeks * back) for back in range(1, self.origin_count))
        return tuple(sorted({*self.origins, *steps}))

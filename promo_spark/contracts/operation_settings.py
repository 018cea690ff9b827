"""How long what tables no longer need is kept."""

from __future__ import annotations

from pydantic import Field, model_validator

from promo_spark.contracts.source_settings import Frozen

SAFE_DAYS = 7.0


class MaintenanceSettings(Frozen):
    """What ``jobs/maintain.py`` keeps of earlier versions of the tables."""

    retention_days: float = Field(
        default=SAFE_DAYS, ge=0, description="Files that no version of these last days needs are removed"
    )
    table_retention_days: dict[str, float] = Field(
        default_factory=dict, description="The same for single tables, by name (silver.order_lines)"
    )
    allow_short_retention: bool = Field(
        default=False, description="Say true to keep less than 7 days, and only while no run is going on"
    )

    @model_validator(mode="after")
    def _keeps_what_runs_may_read(self) -> MaintenanceSettings:
        given = {"retention_days": self.retention_days, **self.table_retention_days}
        short = [f"{name} {days:g}" for name, days in given.items() if days < SAFE_DAYS]
        if short and not self.allow_short_retention:
            raise ValueError(
                f"less than {SAFE_DAYS:g} days are kept ({', '.join(short)}): a run that reads or writes would lose "
                "its files. Keep more, or set maintenance.allow_short_retention: true and let no run go on meanwhile"
            )
        negative = [name for name, days in self.table_retention_days.items() if days < 0]
        if negative:
            raise ValueError(f"table_retention_days are below 0: {', '.join(negative)}")
        return self

    def days_of(self, table: str) -> float:
        """Days kept of a table; of its refused rows as many as of itself."""
        return self.table_retention_days.get(table.removesuffix("_rejected"), self.retention_days)

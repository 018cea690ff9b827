"""What the key figures look back on, and what the audit of fairness watches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from promo_spark.contracts.source_settings import Frozen

Attribute = Literal[
    "age_band",
    "gender",
    "income_band",
    "occupation",
    "marital_status",
    "home_ownership",
    "household_size",
    "kids_count",
    "region",
]


class KpiSettings(Frozen):
    """Periods and promotions that ``measurement.kpis`` tells of."""

    days: int = Field(default=28, ge=1, description="The period before the date; compared with as many days before it")
    promotion_days: int = Field(default=182, ge=1, description="Promotions that began in these days are told of")
    interval_level: float = Field(default=0.95, gt=0, lt=1)


class FairnessSettings(Frozen):
    """Which groups are compared, when a difference counts, and whether it stops the run."""

    attributes: tuple[Attribute, ...] = Field(
        default=("age_band", "gender", "income_band", "household_size"),
        description="Columns of silver.customers whose groups are compared",
    )
    least_customers: int = Field(
        default=20, ge=2, description="Figures that rest on fewer customers of a group are not told"
    )
    days: int = Field(default=91, ge=1, description="Past promotions, contacts and discounts of these days count")
    least_ratio: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="A group fails where its figure over that of all others is below this, or above its inverse",
    )
    false_discovery_rate: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.05, description="And only where the difference is more than chance, corrected for all that are tested"
    )
    interval_level: float = Field(default=0.95, gt=0, lt=1)
    over_cap_rate: float = Field(
        default=0.0, ge=0, le=1, description="Most customers contacted more often than assign.contact_cap"
    )
    fail_run: bool = Field(default=False, description="A failed group, or too many above the cap, ends the run")

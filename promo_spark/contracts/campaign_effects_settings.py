"""How the effect of campaigns that nobody drew at random is measured, and how much their assumptions may be off."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from promo_spark.contracts.source_settings import Frozen

CampaignMetric = Literal["sales_amount", "margin_amount", "visit_count", "covered_sales_amount", "discount_amount"]
CampaignMethod = Literal["difference_in_differences", "propensity_weighting", "doubly_robust"]
CampaignCheck = Literal[
    "pre_trend",
    "placebo_date",
    "weighted_trend",
    "weighted_placebo_date",
    "negative_control",
    "other_campaigns",
    "trimmed_rate",
    "effective_controls",
    "balance_after",
]
Unit = Literal["category", "department", "store", "none"]
Share = Annotated[float, Field(gt=0, lt=1)]


class CampaignEffectSettings(Frozen):
    """Windows around a campaign, what is measured in them, and what stops a conclusion."""

    metrics: tuple[CampaignMetric, ...] = Field(
        default=("sales_amount", "margin_amount", "visit_count", "covered_sales_amount"), min_length=1
    )
    before_days: int = Field(default=84, ge=2, description="Days before the campaign that it is held against")
    after_days: int = Field(default=42, ge=1, description="Days from its first on in which it counts")
    period_days: int = Field(default=14, ge=1, description="Both are cut into periods of so many days")
    headline_method: CampaignMethod = "doubly_robust"
    interval_level: Share = 0.95
    alpha: Share = Field(default=0.05, description="False discovery rate over the campaigns that can be told")
    required_checks: tuple[CampaignCheck, ...] = Field(
        default=(
            *("pre_trend", "placebo_date", "weighted_trend", "negative_control", "other_campaigns"),
            *("trimmed_rate", "effective_controls", "balance_after"),
        ),
        description="Where one that a method stands on fails nothing is concluded by it; the others are shown all the "
        "same. weighted_placebo_date is the strictest: targeting by recent purchases alone fails it",
    )
    check_alpha: Share = Field(default=0.05, description="Tests of assumptions fail below this p-value")
    min_targeted: int = Field(default=50, ge=2, description="Campaigns with fewer targeted customers are not told")
    min_controls: int = Field(default=50, ge=2, description="The same for customers who were not targeted")
    min_effective_controls: float = Field(default=50, gt=0, description="The same, weighted")
    propensity_ceiling: Share = Field(
        default=0.95, description="Who was more likely than this to be targeted has nobody to be compared with"
    )
    max_trimmed_rate: Share = Field(default=0.1, description="Largest share of the targeted left out for it")
    max_difference: float = Field(default=0.1, gt=0, description="Largest standardised difference once weighted")
    max_campaign_difference: Share = Field(
        default=0.2,
        description="Largest difference in the share whom another campaign reached meanwhile: so much of that one's "
        "effect may be taken for this one's",
    )
    ridge: float = Field(default=0.1, ge=0, description="Penalty of the propensity model, in customers")
    max_customers: int = Field(
        default=100_000, ge=100, description="Of each side of a campaign; of more a sample is drawn by hash"
    )
    synthetic_unit: Unit = Field(
        default="category", description="What a synthetic control is made of; none leaves it out"
    )
    treated_rate: Share = Field(
        default=0.3, description="A unit is touched where this share of its sales before is of what the campaign covers"
    )
    donor_rate: float = Field(default=0.01, ge=0, lt=1, description="It may stand in for those where at most this is")
    min_donors: int = Field(default=19, ge=2, description="Its p-value cannot be less than 1 / (donors + 1)")
    min_unit_amount: float = Field(
        default=100.0, gt=0, description="Sales per week that a unit needs; smaller ones are left out"
    )
    max_fit_error_rate: float = Field(
        default=0.1, gt=0, description="Largest root mean squared error of the fit before, as a share of the sales"
    )

    @model_validator(mode="after")
    def _periods_fit(self) -> CampaignEffectSettings:
        for name, days in (("before_days", self.before_days), ("after_days", self.after_days)):
            if days % self.period_days:
                raise ValueError(f"{name} {days} is no multiple of period_days {self.period_days}")
        if self.before_days <= self.after_days:
            raise ValueError(
                f"before_days {self.before_days} must exceed after_days {self.after_days}: a placebo date needs both"
            )
        doubled = sorted({name for name in self.metrics if self.metrics.count(name) > 1})
        if doubled:
            raise ValueError(f"metrics names twice: {', '.join(doubled)}")
        return self

    @property
    def periods_before(self) -> int:
        """Number of periods before."""
        return self.before_days // self.period_days

    @property
    def periods(self) -> int:
        """Number of periods in all."""
        return (self.before_days + self.after_days) // self.period_days

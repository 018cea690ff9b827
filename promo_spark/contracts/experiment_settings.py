"""Experiments to design, and how experiments are analysed."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from promo_spark.contracts.silver import CUSTOMERS
from promo_spark.contracts.source_settings import Frozen, TableMapping
from promo_spark.contracts.table import LINEAGE

Share = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
Level = Annotated[float, Field(gt=0, lt=1)]
LedgerMetric = Literal[
    "sales_amount",
    "margin_amount",
    "discount_amount",
    "order_count",
    "is_buyer",
    "is_redeemed",
    "basket_amount",
]
_DRAWN_BY = ("customer", "store")
_BANDS = ("segment_id", "value_tier", "spend_band", "home_store_id")
_CUSTOMER_COLUMNS = tuple(
    column.name for column in CUSTOMERS.columns if column not in LINEAGE and column.name != "customer_id"
)
_ROUNDING = 1e-6


class ExperimentDesign(Frozen):
    """One experiment: who is drawn into what, for how long, and to find what.

    ``arms`` are promotion ids, or ``none``, with their shares of those who are not held out. ``unit`` is what is drawn:
    ``customer``, ``store`` (all whose home store it is) or a column of silver.customers, all who share its value.
    """

    name: Name
    arms: dict[str, Share] = Field(min_length=2)
    control: str = "none"
    holdout_rate: float = Field(default=0.0, ge=0, lt=1, description="Kept out of every arm, beside the control")
    unit: str = "customer"
    strata: tuple[str, ...] = Field(
        default=(),
        description="The draw is balanced in each combination of segment_id, value_tier, spend_band (fifths of earlier "
        "spend), home_store_id or columns of silver.customers; without, each unit is drawn by itself",
    )
    salt: str | None = Field(default=None, description="Of the hash that draws; the name unless said")
    metrics: tuple[LedgerMetric, ...] = Field(default=("sales_amount",), min_length=1, description="The first decides")
    guardrails: tuple[LedgerMetric, ...] = ()
    minimum_effect_rate: float = Field(default=0.05, gt=0, description="Effect worth finding, of the control's mean")
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    power: Level = 0.8
    start_date: date
    end_date: date
    variants: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=lambda: {"a": 1.0},
        min_length=1,
        description="Variants of the message and their weights, drawn apart from the arm",
    )
    draws: bool = Field(default=True, description="Draw customers; false works out power and leaves it at that")

    @model_validator(mode="after")
    def _holds_together(self) -> ExperimentDesign:
        faults = []
        if abs(sum(self.arms.values()) - 1.0) > _ROUNDING:
            faults.append(f"shares of arms sum to {sum(self.arms.values()):g}, not 1 (the holdout comes on top)")
        if self.control not in self.arms:
            faults.append(f"control {self.control} is none of the arms {', '.join(self.arms)}")
        if self.end_date < self.start_date:
            faults.append(f"end_date {self.end_date} comes before start_date {self.start_date}")
        allowed = (*_DRAWN_BY, *_CUSTOMER_COLUMNS)
        if self.unit not in allowed:
            faults.append(f"unit {self.unit} is none of {', '.join(allowed)}")
        known = (*_BANDS, *_CUSTOMER_COLUMNS)
        faults += [f"stratum {name} is none of {', '.join(known)}" for name in self.strata if name not in known]
        if self.unit != "customer" and self.strata:
            faults.append("strata describe customers: give none where the unit is larger")
        if faults:
            raise ValueError(f"experiment {self.name}: " + "; ".join(faults))
        return self

    @property
    def days(self) -> int:
        """Days whose outcomes count."""
        return (self.end_date - self.start_date).days + 1

    @property
    def shares(self) -> dict[str, float]:
        """Share of each arm among all units; the holdout counts to the arm none."""
        drawn = {arm: share * (1.0 - self.holdout_rate) for arm, share in self.arms.items()}
        if self.holdout_rate:
            drawn["none"] = drawn.get("none", 0.0) + self.holdout_rate
        return drawn


class ExperimentTable(Frozen):
    """Any table of customers, arms and what they did: a file or folder, and which of its columns is what.

    Customers are compared only with each other and their ids are kept nowhere. A record whose outcome cannot be read
    counts as missing.
    """

    name: Name
    format: Literal["csv", "json", "parquet", "delta"]
    path: str
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    customer: str = Field(description="Column of the customer")
    arm: str = Field(description="Column of the arm")
    control: str = Field(default="none", description="Value of it that all other arms are held against")
    shares: dict[str, Share] = Field(default_factory=dict, description="Designed shares by arm; equal unless said")
    outcomes: dict[str, str] = Field(min_length=1, description="Metrics, and the column of each; the first decides")
    ratios: dict[str, tuple[str, str]] = Field(
        default_factory=dict, description="Metrics that are ratios of sums of two others, as basket: [sales, orders]"
    )
    guardrails: tuple[str, ...] = ()
    covariates: tuple[str, ...] = Field(default=(), description="Columns known before the assignment")
    stratum: str | None = None
    segment: str | None = None
    cluster: str | None = Field(default=None, description="Column of what was drawn, where it was not the customer")
    assigned_date: str | None = Field(default=None, description="Column of the day of the assignment")
    outcome_date: str | None = Field(default=None, description="Column of the first day whose outcomes count")

    @model_validator(mode="after")
    def _names_metrics(self) -> ExperimentTable:
        known = {*self.outcomes, *self.ratios}
        parts = {part for pair in self.ratios.values() for part in pair}
        unknown = sorted({*self.guardrails} - known) + sorted(parts - {*self.outcomes})
        doubled = sorted({*self.outcomes} & {*self.ratios})
        if unknown or doubled:
            raise ValueError(f"table {self.name}: no outcomes, or named twice: {', '.join([*unknown, *doubled])}")
        return self

    @property
    def mapping(self) -> TableMapping:
        """Where its records are."""
        return TableMapping(format=self.format, path=self.path, delimiter=self.delimiter, columns={})

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are read, each once."""
        single = (self.stratum, self.segment, self.cluster, self.assigned_date, self.outcome_date)
        named = (self.customer, self.arm, *self.outcomes.values(), *self.covariates, *single)
        return tuple(dict.fromkeys(name for name in named if name is not None))


class ExperimentSettings(Frozen):
    """Designs, tables to analyse beside the ledger, and the analysis."""

    designs: tuple[ExperimentDesign, ...] = ()
    tables: tuple[ExperimentTable, ...] = ()
    metrics: tuple[LedgerMetric, ...] = Field(
        default=("sales_amount", "margin_amount", "order_count", "is_buyer", "is_redeemed", "basket_amount"),
        min_length=1,
        description="Of randomised decisions that were not designed here; the first decides",
    )
    guardrails: tuple[LedgerMetric, ...] = Field(default=("discount_amount",), description="Watched for harm")
    outcome_days: int = Field(default=28, ge=1, description="Days from such a decision on whose outcomes count")
    lookback_days: int = Field(default=182, ge=1, description="Decisions that began earlier are not analysed again")
    covariate_days: int = Field(default=91, ge=1, description="Days before the start that adjust for who customers are")
    level: Level = Field(default=0.95, description="Of the intervals")
    winsorise_quantile: float = Field(
        default=0.99, gt=0.5, le=1, description="Of an outcome over all arms; beside the raw one, never instead"
    )
    quantiles: tuple[Level, ...] = Field(default=(0.5, 0.9), description="Whose effects are told")
    multiple_testing: Literal["holm", "benjamini_hochberg"] = Field(
        default="holm", description="Over the arms and metrics of an experiment; guardrails among themselves"
    )
    sequential: bool = Field(default=True, description="Tell intervals that may be looked at again and again, too")
    sequential_customers: float = Field(
        default=10_000, gt=0, description="Size at which they are narrowest; settle it before the first look"
    )
    sample_ratio_alpha: float = Field(default=0.001, gt=0, lt=0.5, description="Below it a draw is taken for broken")
    min_arm_units: int = Field(default=30, ge=2, description="Fewer customers, or clusters, in an arm say nothing")
    min_clusters: int = Field(default=10, ge=2, description="Per arm; with fewer, intervals are told with a warning")

    @model_validator(mode="after")
    def _names_differ(self) -> ExperimentSettings:
        names = [design.name for design in self.designs] + [table.name for table in self.tables]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"experiments use a name twice: {', '.join(doubled)}")
        return self

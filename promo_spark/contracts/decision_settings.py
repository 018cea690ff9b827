"""How the response to promotions is learnt, and under which limits customers are given them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from promo_spark.contracts.source_settings import Frozen

RedemptionModel = Literal["logistic", "tree", "forest", "gbt", "blend", "xgboost"]
Learner = Literal[
    "s_linear",
    "t_linear",
    "x_linear",
    "r_linear",
    "dr_linear",
    "s_gbt",
    "t_gbt",
    "x_gbt",
    "r_gbt",
    "dr_gbt",
    "dr_xgboost",
    "t_xgboost",
]
Objective = Literal["incremental_margin", "incremental_sales", "retention", "acquisition"]
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]


class UpliftSettings(Frozen):
    """What past decisions teach of redemption and of what a promotion changes."""

    arm_level: Literal["promotion_type", "promotion_id", "mechanic"] = Field(
        default="promotion_type",
        description="Past promotions of one kind share an arm, so that a new one of that kind can be valued",
    )
    attribution_days: int = Field(default=28, ge=1, description="Outcomes count from the day of the decision on")
    attribution_days_by_promotion: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    carry_over_days: int = Field(
        default=14,
        ge=0,
        description="Further days in which sales and margin count: what was bought early is missed then",
    )
    unlisted_are_controls: bool = Field(
        default=True,
        description="In decisions that log no arm none, customers of the time who were not chosen stand for it: an "
        "observational comparison",
    )
    redemption_models: tuple[RedemptionModel, ...] = Field(
        default=("blend",), min_length=1, description="Tried on the newest decisions; the best is used"
    )
    learners: tuple[Learner, ...] = Field(
        default=("dr_linear",), min_length=1, description="Tried out of fold; the best doubly robust score is used"
    )
    folds: int = Field(default=3, ge=2, le=20)
    ridge: float = Field(default=1.0, ge=0, description="Penalty of linear models, in customers")
    propensity_floor: float = Field(default=0.02, gt=0, lt=0.5, description="Estimated propensities below are trimmed")
    interval_level: float = Field(default=0.9, gt=0, lt=1)
    min_arm_customers: int = Field(
        default=50, ge=2, description="Arms with fewer past customers are not learnt, segments with fewer not told of"
    )


class Limit(Frozen):
    """One limit on the assignment as a whole, over some customers and some promotions.

    ``cost`` is discount and contact cost in currency, ``count`` customers told, ``return`` value over cost
    (``at_least`` only: an ROI floor).
    """

    name: str = Field(pattern="^[a-z0-9_]+$")
    measure: Literal["cost", "count", "return"]
    at_most: float | None = Field(default=None, ge=0)
    at_least: float | None = Field(default=None, ge=0)
    promotions: tuple[str, ...] = Field(default=(), description="Only these; all where none is named")
    segments: tuple[int, ...] = Field(default=(), description="Only these segments; all where none is named")
    group: str | None = Field(default=None, description="Attribute of silver.customers, such as age_band")
    group_values: tuple[str, ...] = Field(default=(), description="Only customers with one of these values of it")

    @model_validator(mode="after")
    def _limits_something(self) -> Limit:
        if self.at_most is None and self.at_least is None:
            raise ValueError(f"limit {self.name}: give at_most, at_least or both")
        if self.at_most is not None and self.at_least is not None and self.at_least > self.at_most:
            raise ValueError(f"limit {self.name}: at_least {self.at_least:g} is above at_most {self.at_most:g}")
        if self.measure == "return" and self.at_most is not None:
            raise ValueError(f"limit {self.name}: a return has a floor, at_least, and no at_most")
        if (self.group is None) != (not self.group_values):
            raise ValueError(f"limit {self.name}: group and group_values go together")
        return self


class AssignSettings(Frozen):
    """Who may be given what, for how much in all, and how much is left to chance to learn from."""

    objective: Objective = Field(
        default="incremental_margin",
        description="retention counts visits of customers who shop, acquisition of those who lapsed, at visit_amount",
    )
    visit_amount: Amount = Field(default=5.0, description="What one more visiting customer is worth")
    lapsed_days: int = Field(default=56, ge=1, description="Without a purchase for so long a customer has lapsed")
    risk: Literal["expected", "lower"] = Field(default="expected", description="lower: the interval's lower end counts")
    budget_amount: Amount = 5000.0
    promotions: tuple[str, ...] = Field(
        default=(), description="Promotions to assign; those that start within planning_days where none is named"
    )
    planning_days: int = Field(default=7, ge=1)
    eligibility: Literal["all", "listed"] = Field(
        default="all", description="listed: only customers on the retailer's own list for the promotion"
    )
    excluded_segments: tuple[int, ...] = ()
    promotions_per_customer: int = Field(default=1, ge=1)
    per_category: int = Field(default=1, ge=1, description="Promotions of one mechanic per customer")
    cool_down_days: int = Field(default=0, ge=0, description="Days without a new promotion after the last")
    contact_cap: int | None = Field(default=None, ge=1, description="Promotions in contact_cap_days, this one included")
    contact_cap_days: int = Field(default=91, ge=1)
    contact_cost_amount: Amount = Field(default=0.5, description="Of telling one customer of one promotion")
    contact_cost_amounts: dict[str, Amount] = Field(default_factory=dict, description="The same by channel")
    unit_cost_amounts: dict[str, Amount] = Field(
        default_factory=dict,
        description="What one redemption of a promotion costs that is on no receipt: a gift, points, cashback. Where a "
        "promotion is a gift of promotions.yaml (same offer_id), its gift_unit_cost_amount counts unless named here",
    )
    vendor_share_rates: dict[str, Share] = Field(
        default_factory=dict, description="Share of a promotion's discount that its vendor bears"
    )
    stock_counts: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict,
        description="Units there are of what a promotion gives away: no more customers are told than there are units",
    )
    limits: tuple[Limit, ...] = ()
    holdout_rate: float = Field(default=0.1, ge=0, lt=1)
    exploration_rate: float = Field(default=0.02, ge=0, lt=1, description="Drawn at random among eligible promotions")
    alpha: float = Field(default=0.025, gt=0, lt=0.5, description="Of a personalised policy's lead; one-sided")
    shrink: bool = Field(default=False, description="Pull each customer's uplift towards the mean as far as data ask")
    fall_back: bool = Field(default=True, description="Give up personalising where its lead is not significant")
    variants: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=lambda: {"a": 1.0}, min_length=1, description="Variants of the message and their weights"
    )

    @model_validator(mode="after")
    def _draws_fit(self) -> AssignSettings:
        if self.holdout_rate + self.exploration_rate >= 1:
            raise ValueError("holdout_rate and exploration_rate leave nobody to decide for: together below 1, please")
        if self.risk == "lower" and self.objective != "incremental_margin":
            raise ValueError("risk lower needs objective incremental_margin: only margins come with an interval")
        names = ["budget", *(f"stock_{promotion}" for promotion in self.stock_counts)]
        names += [limit.name for limit in self.limits]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"limits use a name twice (budget and stock_… are taken): {', '.join(doubled)}")
        return self


class IdeaSettings(Frozen):
    """Bundles and triggers."""

    bundle_count: int = Field(default=100, ge=1)
    bundles_per_anchor: int = Field(default=5, ge=1, description="Most bundles around one product bought anyway")
    bundle_min_baskets: int = Field(default=30, ge=1)
    bundle_min_lift: float = Field(default=1.5, ge=1)
    bundle_baskets: int = Field(default=200_000, ge=1, description="Baskets mined; all where there are fewer")
    bundle_days: int = Field(default=182, ge=1)
    bundle_discount_rate: float = Field(default=0.1, gt=0, lt=1)
    bundle_elasticity: float = Field(
        default=2.6,
        gt=0,
        description="How sales of the added product answer its price, as a positive number; assumed, the mean of "
        "published ones (Bijmolt, van Heerde and Pieters 2005)",
    )
    partner_share_rate: Share = Field(default=0.5, description="Of a joint promotion's discount")
    lapsed_days: int = Field(default=56, ge=1)
    overdue_gaps: float = Field(default=2.0, gt=0, description="Overdue after so many of the customer's usual gaps")
    churn_prob: float = Field(default=0.5, gt=0, lt=1)
    browsed_days: int = Field(default=7, ge=1, description="Looked at in these days without buying")
    subjects_per_customer: int = Field(
        default=3, ge=1, description="Most products browsed, and categories to replenish, that one customer is told of"
    )

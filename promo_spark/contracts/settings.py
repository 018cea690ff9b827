"""What a user may set. Every section is frozen; unknown keys are refused; defaults are settled values.

``conf/base.yaml`` sets those that users change first. Fitting uses settled settings; nothing here is searched.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field, model_validator

from promo_spark.contracts.backtest_settings import BacktestSettings
from promo_spark.contracts.campaign_effects_settings import CampaignEffectSettings
from promo_spark.contracts.consent import ConsentSettings
from promo_spark.contracts.decision_settings import AssignSettings, IdeaSettings, UpliftSettings
from promo_spark.contracts.erase_settings import EraseSettings
from promo_spark.contracts.experiment_settings import ExperimentSettings
from promo_spark.contracts.kpi_settings import FairnessSettings, KpiSettings
from promo_spark.contracts.masked_views import ViewSettings
from promo_spark.contracts.off_policy_settings import OffPolicySettings
from promo_spark.contracts.offers import Promotions
from promo_spark.contracts.operation_settings import MaintenanceSettings
from promo_spark.contracts.source_settings import Frozen, SourceSettings
from promo_spark.contracts.spark_tuning import SparkTuning
from promo_spark.contracts.stream_settings import StreamSettings
from promo_spark.contracts.tune_settings import ChurnModel, ItemWeighting, SpendModel, TuneSettings


class Places(Frozen):
    """Where things are kept: local paths or URIs the cluster can reach."""

    warehouse: str = "./warehouse"
    identity: str = "./identity"
    key_file: str = Field(default="./identity/pseudonym.key", description="Made with mode 0600 on the first local run")
    key_version: int = Field(default=1, ge=1)
    lock_wait_seconds: float = Field(default=10.0, ge=0)
    least_free_mb: float = Field(
        default=256.0,
        ge=0,
        description="Free on local disks before a run and, beside what a table's last write took, before each write",
    )


class Tracking(Frozen):
    """The MLflow server or database, and where new experiments keep artifacts."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str = Field(
        default="promo_spark",
        max_length=200,
        pattern=r"^\w([\w .@-]*\w)?$",
        description="Its name also begins the names of registered models",
    )
    artifacts: str | None = "./mlartifacts"


Imputation = Literal["mean", "median", "mode", "neighbours", "regression"]


class FeatureSettings(Frozen):
    """Look-backs, imputation and winsorising; both fitted on rows before the date."""

    lookback_days: int = Field(default=364, ge=28, description="Events further back are left out of rates")
    winsorise_quantile: float = Field(default=0.995, gt=0.5, le=1)
    imputation: dict[str, Imputation] = Field(
        default={"order_gap_days": "median", "redemption_rate": "mean"},
        description="One value for everyone, or one for each: from the customers most alike, or from the other columns",
    )
    imputation_neighbours: int = Field(default=20, ge=1, description="Customers most alike whose mean fills a gap")
    demographics_allowed: bool = Field(
        default=True, description="Copy demographics into features for audits and profiles"
    )
    margin_rate: float = Field(
        default=0.28, gt=0, lt=1, description="Assumed margin at regular price without a unit cost"
    )
    margin_rates: dict[str, float] = Field(default_factory=dict, description="The same by department")


ClusterMethod = Literal["k_means", "bisecting_k_means", "gaussian_mixture", "hdbscan"]
Reduction = Literal["none", "pca", "lda"]


class SegmentSettings(Frozen):
    """Clustering of customers."""

    methods: tuple[ClusterMethod, ...] = Field(
        default=("k_means",),
        min_length=1,
        description="Tried on a sample; the first gives way to one that explains more of what customers do later",
    )
    cluster_counts: tuple[int, ...] = Field(
        default=(4, 5, 6, 7, 8), description="Tried; hdbscan finds the number itself, up to the largest of these"
    )
    resamples: int = Field(default=4, ge=2)
    resample_rate: float = Field(default=0.7, gt=0, lt=1)
    smallest_rate: float = Field(default=0.02, ge=0, lt=0.5, description="No segment below this share of customers")
    reduction: Reduction = Field(
        default="none",
        description="Cluster along the directions in which customers vary most (pca), or value tiers lie apart (lda)",
    )
    components: int = Field(default=3, ge=1, description="Directions kept by a reduction; lda has at most three")
    columns: tuple[str, ...] = (
        "recency_days",
        "order_91d_count",
        "weekly_spend_amount",
        "basket_spend_amount",
        "basket_category_count",
        "category_entropy_rate",
        "private_brand_rate",
        "display_spend_rate",
        "mailer_spend_rate",
        "discount_depth_rate",
        "coupon_line_rate",
        "price_sensitivity_rate",
        "evening_order_rate",
        "weekend_order_rate",
    )
    max_iterations: int = Field(default=30, ge=1)
    horizon_days: int = Field(default=91, ge=7, description="How far ahead churn and spend are predicted")
    churn_models: tuple[ChurnModel, ...] = Field(
        default=("logistic",), min_length=1, description="Tried on the last horizon before the date; the best is used"
    )
    spend_models: tuple[SpendModel, ...] = Field(
        default=("linear",),
        min_length=1,
        description="Tried on the last horizon before the date; blend is the mean of linear and gbt",
    )
    product_cluster_counts: tuple[int, ...] = (3, 4, 5, 6, 7, 8)
    promotion_cluster_counts: tuple[int, ...] = (2, 3, 4)
    lifetime_days: int = Field(default=364, ge=7, le=1092, description="How far ahead lifetime value looks")
    discount_rate: float = Field(
        default=0.0, ge=0, description="Of lifetime value: what comes a year later counts 1 / (1 + rate)"
    )


ProductModel = Literal[
    "hybrid",
    "neighbours",
    "als",
    "explicit_als",
    "item_neighbours",
    "association_rules",
    "content",
    "segment_popularity",
]


class RecommendSettings(Frozen):
    """Models of what customers buy, and the lists made from them."""

    models: tuple[ProductModel, ...] = Field(
        default=("hybrid", "neighbours", "segment_popularity", "als", "content"),
        description="Models that make lists, the most trusted first: recommend.served takes from the first with any "
        "product left. Own habits and what is popular always come after them",
    )
    rank: int = Field(default=64, ge=1)
    iterations: int = Field(default=4, ge=1)
    regularisation: float = Field(default=0.05, ge=0)
    confidence_alpha: float = Field(default=0.3, gt=0)
    list_length: int = Field(default=20, ge=1)
    min_customers: int = Field(default=5, ge=1, description="Products bought by fewer customers are not recommended")
    half_life_days: float = Field(default=112.0, gt=0, description="Decay of personal frequency and of confidence")
    popularity_days: int = Field(default=28, ge=1)
    neighbours: int = Field(default=300, ge=1, description="Most similar customers that each is told of")
    neighbour_power: float = Field(default=2.0, ge=0, description="A neighbour weighs its similarity to this power")
    neighbour_weight: float = Field(default=0.2, ge=0, description="Neighbours' habits beside the customer's own")
    reference_customers: int = Field(
        default=5000, ge=2, description="Customers among whom neighbours are looked for; all where there are fewer"
    )
    item_weighting: ItemWeighting = Field(default="tfidf", description="How alike two products are by their buyers")
    item_neighbours: int = Field(default=100, ge=1, description="Products that each product is linked to")
    rule_baskets: int = Field(
        default=200_000, ge=1, description="Baskets that rules are mined from; all where there are fewer"
    )
    rule_min_baskets: int = Field(default=10, ge=1, description="Baskets that must hold both products of a rule")
    rating_rank: int = Field(default=16, ge=1, description="Factors learnt from ratings, by model explicit_als")
    rating_iterations: int = Field(default=10, ge=1)
    rating_regularisation: float = Field(default=0.1, ge=0)
    rating_prior: float = Field(
        default=10.0, ge=0, description="Ratings at the mean lent to each customer and product before its own count"
    )
    cold_days: int = Field(
        default=28, ge=1, description="A product first bought in these last days, by few customers, is cold"
    )
    ranker_windows: int = Field(default=2, ge=1, description="Earlier windows that the second stage learns from")
    ranker_days: int = Field(default=28, ge=7, description="Length of such a window, and of what is predicted")
    ranker_customers: int = Field(
        default=5000, ge=100, description="Customers that the second stage learns from; all where there are fewer"
    )
    excluded_departments: tuple[str, ...] = ()
    excluded_categories: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _lists_each_model_once(self) -> RecommendSettings:
        doubled = sorted({model for model in self.models if self.models.count(model) > 1})
        if doubled:
            raise ValueError(f"models names twice: {', '.join(doubled)}")
        return self


class ResponseSettings(Frozen):
    """The effect of promotions on what a segment buys in a category in a week."""

    categories: int = Field(default=60, ge=1, description="Best-selling categories that are planned")
    excluded_departments: tuple[str, ...] = ()
    excluded_categories: tuple[str, ...] = ()
    horizons_weeks: tuple[int, ...] = (1, 4, 9)
    trees: int = Field(default=25, ge=1)
    depth: int = Field(default=4, ge=1, le=12)
    step_size: float = Field(default=0.15, gt=0, le=1)
    ridge: float = Field(default=0.1, ge=0)
    calibration_weeks: int = Field(default=9, ge=1, description="Last weeks before the date that size the intervals")
    interval_level: float = Field(default=0.8, gt=0, lt=1)


class PlanSettings(Frozen):
    """The budget, its limits, and how much evidence a promotion needs."""

    promotions_file: str = "promotions.yaml"
    objective: Literal["incremental_margin", "incremental_sales"] = "incremental_margin"
    weeks: int = Field(default=4, ge=1, description="Length of the planned promotions")
    lead_days: int = Field(default=0, ge=0, description="Days from the as_of_date to the first day")
    budget_amount: float = Field(default=5000.0, ge=0)
    segment_budget_rate: float = Field(
        default=0.5, gt=0, le=1, description="Most of the budget one segment may take; never less than an equal share"
    )
    segment_max_offers: int = Field(default=5, ge=1)
    holdout_rate: float = Field(default=0.1, ge=0, lt=1)
    bootstraps: int = Field(default=400, ge=50)
    block_weeks: int = Field(default=4, ge=1)
    interval_level: float = Field(default=0.9, gt=0, lt=1)
    false_discovery_rate: float = Field(default=0.1, gt=0, lt=1)
    test_power: float = Field(default=0.8, gt=0, lt=1)
    max_tests_per_segment: int = Field(default=2, ge=0, description="Unproven offers proposed for a test")


class ReportSettings(Frozen):
    """The manager's page."""

    title: str = "Promotion plan"
    weeks_shown: int = Field(default=8, ge=1, description="Weeks before the date shown beside the plan")


class Settings(Frozen):
    """All settings of a run, resolved from files and ``--set``."""

    as_of_date: date
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$")
    seed: int = Field(default=20171030, ge=0)
    source: SourceSettings
    places: Places = Places()
    tracking: Tracking = Tracking()
    consent: ConsentSettings = ConsentSettings()
    stages_at_once: int = Field(default=2, ge=1, description="Stages that run side by side once their inputs are there")
    spark: SparkTuning = Field(default_factory=dict)
    features: FeatureSettings = FeatureSettings()
    segments: SegmentSettings = SegmentSettings()
    recommend: RecommendSettings = RecommendSettings()
    response: ResponseSettings = ResponseSettings()
    uplift: UpliftSettings = UpliftSettings()
    plan: PlanSettings = PlanSettings()
    assign: AssignSettings = AssignSettings()
    ideas: IdeaSettings = IdeaSettings()
    experiments: ExperimentSettings = ExperimentSettings()
    backtest: BacktestSettings = BacktestSettings()
    kpis: KpiSettings = KpiSettings()
    fairness: FairnessSettings = FairnessSettings()
    campaign_effects: CampaignEffectSettings = CampaignEffectSettings()
    off_policy: OffPolicySettings = OffPolicySettings()
    report: ReportSettings = ReportSettings()
    views: ViewSettings = ViewSettings()
    stream: StreamSettings = StreamSettings()
    tune: TuneSettings = TuneSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()
    erase: EraseSettings = EraseSettings()
    promotions: Promotions

    @model_validator(mode="after")
    def _replays_the_past(self) -> Settings:
        late = [origin.isoformat() for origin in self.backtest.origins if origin >= self.as_of_date]
        if late:
            raise ValueError(f"backtest.origins come before as_of_date {self.as_of_date}: {', '.join(late)} do not")
        return self

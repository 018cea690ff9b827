"""Past decisions as policies are compared and valued on them: one rule for whose they are and what they earned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import DECISIONS, NO_ARM, SCORES
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import PROMOTIONS
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES
from promo_spark.plans.offers import value_offers
from promo_spark.runtime.stage import Stage

_HALF_A_DAY = 0.5


@dataclass(frozen=True)
class PastChoices:
    """Past decisions between the arms that are planned and none.

    Attributes:
        rows: response.decisions with earned_amount (what the objective counts, before contact cost) and paid_amount,
            vendors' shares taken off.
        contact_costs: Mean cost of telling one customer, by arm.
        budget_per_customer: Of the budget, for each customer whom the objective counts.
    """

    rows: DataFrame
    contact_costs: dict[str, float]
    budget_per_customer: float


@dataclass(frozen=True)
class _Arm:
    """What an arm's promotions come to on average over the customers who may be given one.

    Attributes:
        contact_amount: What one costs that is on no receipt.
        vendor_share: Share of the discount that vendors bear.
    """

    contact_amount: float
    vendor_share: float


def planned_offers(stage: Stage) -> DataFrame:
    """plans.offers of everybody: what each planned promotion is worth, and costs, before anything rules it out."""
    return value_offers(
        scores=stage.read(SCORES),
        promotions=stage.read(PROMOTIONS),
        segment_customers=stage.read(SEGMENT_CUSTOMERS),
        customer_features=stage.read(CUSTOMER_FEATURES),
        as_of_date=stage.as_of_date,
        settings=_with_gifts(stage),
    )


def find_past_choices(stage: Stage, offers: DataFrame) -> PastChoices | None:
    """Find the decisions on customers whom the objective counts, between arms of these offers that are well known.

    Args:
        stage: The running stage.
        offers: plans.offers that count.

    Returns:
        None where no arm, or not what happens without one, is known of enough customers.
    """
    settings = stage.settings.assign
    arms = _learnt_arms(offers, settings.vendor_share_rates)
    past = _choices(_counted(stage.read(DECISIONS), settings), arms)
    enough = _well_known(past, stage.settings.uplift.min_arm_customers)
    arms = {name: arm for name, arm in arms.items() if name in enough}
    if not arms or NO_ARM not in enough:
        return None
    customers = offers.where("is_counted").select("customer_id").distinct().count()
    return PastChoices(
        rows=_with_money(_choices(past, arms), arms, settings),
        contact_costs={name: arm.contact_amount for name, arm in arms.items()},
        budget_per_customer=settings.budget_amount / max(customers, 1),
    )


def _with_gifts(stage: Stage) -> AssignSettings:
    """The settings with what gifts of promotions.yaml cost, where the settings do not say it themselves."""
    settings = stage.settings.assign
    gifts = {o.offer_id: o.gift_unit_cost_amount for o in stage.settings.promotions.offers if o.mechanic == "gift"}
    return settings.model_copy(update={"unit_cost_amounts": gifts | settings.unit_cost_amounts})


def _learnt_arms(offers: DataFrame, vendor_shares: Mapping[str, float]) -> dict[str, _Arm]:
    """Arms that may be given to customers whom the objective counts, and whose effect was learnt."""
    known = offers.where(F.col("is_counted") & F.col("value_amount").isNotNull())
    contact = F.avg("contact_amount").alias("contact")
    rows = known.groupBy("arm", "promotion_id").agg(F.count("*").alias("count"), contact).collect()
    arms = {}
    for arm in sorted({row["arm"] for row in rows}):
        own = [row for row in rows if row["arm"] == arm]
        size = sum(row["count"] for row in own)
        arms[arm] = _Arm(
            sum(row["count"] * row["contact"] for row in own) / size,
            sum(row["count"] * vendor_shares.get(row["promotion_id"], 0.0) for row in own) / size,
        )
    return arms


def _counted(decisions: DataFrame, settings: AssignSettings) -> DataFrame:
    """Decisions on customers whom the objective counts: those who shopped, or had lapsed, when it was made."""
    if settings.objective not in ("retention", "acquisition"):
        return decisions
    places = {name: place for place, name in enumerate(DECISION_COVARIATES)}
    away = F.expm1(F.get("covariates", F.lit(places["recency_log"])))
    has_lapsed = (F.get("covariates", F.lit(places["is_new"])) > 0) | (away > settings.lapsed_days + _HALF_A_DAY)
    return decisions.where(has_lapsed if settings.objective == "acquisition" else ~has_lapsed)


def _choices(decisions: DataFrame, arms: Iterable[str]) -> DataFrame:
    """Rows of these arms and none in decisions that gave one of these arms: others offered no choice of them."""
    names = list(arms)
    offered = decisions.where(F.col("arm").isin(names)).select("decision_id").distinct()
    wanted = decisions.where(F.col("arm").isin([NO_ARM, *names]))
    return wanted.join(F.broadcast(offered), "decision_id", "left_semi")


def _well_known(past: DataFrame, least: int) -> set[str]:
    counted = past.groupBy("arm").agg(F.countDistinct("customer_id").alias("customers"))
    return {row["arm"] for row in counted.where(F.col("customers") >= least).collect()}


def _with_money(past: DataFrame, arms: Mapping[str, _Arm], settings: AssignSettings) -> DataFrame:
    """Past decisions with what they earned under the objective and what they cost, the vendors' share of each arm off.

    Vendors bear the share s of what an arm adds to discounts. Customers without a promotion got discounts too, d0 on
    average; they stand against every arm, at the mean share m. So an arm's rows have m d + (s - m) (d - d0): what is
    added comes out right on average, and customer by customer where all arms have one share.
    """
    mean = sum(arm.vendor_share for arm in arms.values()) / len(arms)
    discount = F.coalesce("discount_amount", F.lit(0.0))
    own = F.lit(0.0)
    if any(arm.vendor_share != mean for arm in arms.values()):
        weight = 1.0 / F.coalesce("propensity", F.lit(1.0))
        of_none = past.where(F.col("arm") == NO_ARM).agg(F.sum(weight * discount) / F.sum(weight)).collect()[0][0]
        for name, arm in arms.items():
            extra = (arm.vendor_share - mean) * (discount - F.lit(of_none))
            own = F.when(F.col("arm") == name, extra).otherwise(own)
    funded = mean * discount + own
    earned = {
        "incremental_margin": F.col("margin_amount") + funded,
        "incremental_sales": F.col("sales_amount"),
        # Visits are counted in currency, as contacts and discounts are.
        "retention": F.col("is_visited") * settings.visit_amount,
        "acquisition": F.col("is_visited") * settings.visit_amount,
    }
    return past.withColumns({"earned_amount": earned[settings.objective], "paid_amount": discount - funded})

"""Compare the policies that past decisions support, and choose the one to follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import DECISIONS, NO_ARM, SCORES
from promo_spark.contracts.measurement import POLICY_VALUES
from promo_spark.contracts.rows import contract_frame, local_frame
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES
from promo_spark.kernels.doubly_robust import normal_quantile
from promo_spark.kernels.safe_policy import PolicyComparison
from promo_spark.plans.policy import Constant, Verdict
from promo_spark.response.safe_policy import compare_policies
from promo_spark.runtime.stage import Stage

_LEAST_SHARE = 1e-9
_PERSONALISED: Verdict = "personalised"
OUTCOMES = {
    "incremental_margin": "margin_amount",
    "incremental_sales": "sales_amount",
    "retention": "is_visited",
    "acquisition": "is_visited",
}
_HALF_A_DAY = 0.5


@dataclass(frozen=True)
class Policy:
    """What the assignment follows.

    Attributes:
        verdict: personalised, constant or none.
        constant: The arm of a constant policy and what it is worth.
        words: Why, in a sentence.
    """

    verdict: Verdict
    constant: Constant | None
    words: str


def choose_policy(stage: Stage, offers: DataFrame) -> Policy:
    """Compare the policies on past decisions, keep the comparison, and choose.

    Args:
        stage: The running stage.
        offers: plans.offers that may be given.
    """
    learnt = stage.read(SCORES).where(F.col("learner").isNotNull()).select("learner", "learnt_from").first()
    if learnt is None:
        return _give_up(
            stage,
            "nothing is known of what these promotions change: only those drawn at random are given any, to learn it",
        )
    arms = _learnt_arms(stage, offers)
    past = _counted(stage, stage.read(DECISIONS).where(F.col("arm").isin(NO_ARM, *arms)))
    enough = _well_known(stage, past)
    arms = {name: arm for name, arm in arms.items() if name in enough}
    if not arms or NO_ARM not in enough:
        return _give_up(
            stage,
            "no promotion that may still be given to a customer whom the objective counts is known well enough: only "
            "those drawn at random are given any",
        )
    if stage.settings.assign.shrink:
        stage.limitation("assign.shrink pulls uplifts towards their mean in the comparison of policies only.")
    try:
        comparison = _compare(stage, past.where(F.col("arm").isin(NO_ARM, *arms)), arms, offers, learnt["learner"])
    except ValueError as fault:
        return _give_up(stage, f"policies cannot be compared on past decisions: {fault}")
    followed: Verdict = comparison.verdict if stage.settings.assign.fall_back else _PERSONALISED
    _keep(stage, comparison, learnt["learnt_from"], followed)
    if stage.settings.assign.fall_back:
        return Policy(comparison.verdict, _constant(stage, comparison), comparison.words)
    words = (
        f"personalised because assign.fall_back is off; compared, it would be {comparison.verdict}: {comparison.words}"
    )
    stage.limitation(f"{words}.")
    return Policy("personalised", None, words)


def _give_up(stage: Stage, words: str) -> Policy:
    stage.limitation(f"{words}.")
    stage.write(POLICY_VALUES, contract_frame(stage.spark, POLICY_VALUES))
    return Policy("none", None, words)


@dataclass(frozen=True)
class _Arm:
    """What an arm's promotions come to on average over the customers who may be given one.

    Attributes:
        contact_amount: What one costs that is on no receipt.
        vendor_share: Share of the discount that vendors bear.
    """

    contact_amount: float
    vendor_share: float


def _learnt_arms(stage: Stage, offers: DataFrame) -> dict[str, _Arm]:
    """Arms that may still be given to customers whom the objective counts, and whose effect was learnt."""
    known = offers.where(F.col("is_counted") & F.col("value_amount").isNotNull())
    contact = F.avg("contact_amount").alias("contact")
    rows = known.groupBy("arm", "promotion_id").agg(F.count("*").alias("count"), contact).collect()
    shares = stage.settings.assign.vendor_share_rates
    arms = {}
    for arm in sorted({row["arm"] for row in rows}):
        own = [row for row in rows if row["arm"] == arm]
        size = sum(row["count"] for row in own)
        arms[arm] = _Arm(
            sum(row["count"] * row["contact"] for row in own) / size,
            sum(row["count"] * shares.get(row["promotion_id"], 0.0) for row in own) / size,
        )
    return arms


def _counted(stage: Stage, decisions: DataFrame) -> DataFrame:
    """Decisions on customers whom the objective counts: those who shopped, or had lapsed, when it was made."""
    settings = stage.settings.assign
    if settings.objective not in ("retention", "acquisition"):
        return decisions
    places = {name: place for place, name in enumerate(DECISION_COVARIATES)}
    away = F.expm1(F.get("covariates", F.lit(places["recency_log"])))
    has_lapsed = (F.get("covariates", F.lit(places["is_new"])) > 0) | (away > settings.lapsed_days + _HALF_A_DAY)
    return decisions.where(has_lapsed if settings.objective == "acquisition" else ~has_lapsed)


def _well_known(stage: Stage, past: DataFrame) -> set[str]:
    least = stage.settings.uplift.min_arm_customers
    counted = past.groupBy("arm").agg(F.countDistinct("customer_id").alias("customers"))
    return {row["arm"] for row in counted.where(F.col("customers") >= least).collect()}


def _compare(
    stage: Stage, past: DataFrame, arms: Mapping[str, _Arm], offers: DataFrame, learner: str
) -> PolicyComparison:
    """Policies are compared at the costs, and under the budget, that the customers whom the objective counts face."""
    settings, uplift = stage.settings.assign, stage.settings.uplift
    customers = offers.where("is_counted").select("customer_id").distinct().count()
    return compare_policies(
        rows=_with_money(past, arms, settings),
        objective="earned_amount",
        cost="paid_amount",
        contact_costs={name: arm.contact_amount for name, arm in arms.items()},
        covariate_names=DECISION_COVARIATES,
        learner=learner,
        folds=uplift.folds,
        budget_per_customer=settings.budget_amount / max(customers, 1),
        alpha=settings.alpha,
        shrink=settings.shrink,
        propensity_floor=uplift.propensity_floor,
        ridge=uplift.ridge,
        seed=stage.settings.seed,
    )


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


def _constant(stage: Stage, comparison: PolicyComparison) -> Constant:
    """The best constant arm per customer given it; compared, values are per decision at the share that has it."""
    row = next(row for row in comparison.table if row.policy == comparison.constant_arm)
    share = max(row.share, _LEAST_SHARE)
    half = normal_quantile(stage.settings.uplift.interval_level) * row.standard_error
    return Constant(comparison.constant_arm, row.value / share, (row.value - half) / share, (row.value + half) / share)


def _keep(stage: Stage, comparison: PolicyComparison, learnt_from: str, followed: Verdict) -> None:
    """Write the comparison down; the gain is that over the best simple policy."""
    simple = max(row.value for row in comparison.table if row.policy != _PERSONALISED)
    rows = []
    for row in comparison.table:
        is_own = row.policy == _PERSONALISED
        is_constant = row.policy not in (_PERSONALISED, NO_ARM)
        name = f"constant:{row.policy}" if is_constant else row.policy
        chosen = row.policy == (comparison.constant_arm if followed == "constant" else followed)
        rows.append(
            (
                *(name, stage.as_of_date, row.value, row.standard_error, row.cost),
                comparison.gain if is_own else row.value - simple,
                *((comparison.gain_se, comparison.p_value) if is_own else (None, None)),
                *(chosen, comparison.words, learnt_from),
            )
        )
    stage.write(POLICY_VALUES, local_frame(stage.spark, rows, POLICY_VALUES.schema(all_nullable=True)))
    stage.metrics(
        {
            "policy_gain": comparison.gain,
            "policy_gain_standard_error": comparison.gain_se,
            "policy_gain_p_value": comparison.p_value,
        }
    )

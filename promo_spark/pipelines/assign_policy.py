"""Compare the policies that past decisions support, and choose the one to follow."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decisions import NO_ARM, SCORES
from promo_spark.contracts.measurement import POLICY_VALUES
from promo_spark.contracts.rows import contract_frame, local_frame
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES
from promo_spark.kernels.doubly_robust import normal_quantile
from promo_spark.kernels.safe_policy import PolicyComparison
from promo_spark.pipelines.past_choices import PastChoices, find_past_choices
from promo_spark.plans.policy import Constant, Verdict
from promo_spark.response.safe_policy import compare_policies
from promo_spark.runtime.stage import Stage

_LEAST_SHARE = 1e-9
_PERSONALISED: Verdict = "personalised"


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
    past = find_past_choices(stage, offers)
    if past is None:
        return _give_up(
            stage,
            "no promotion that may still be given to a customer whom the objective counts is known well enough: only "
            "those drawn at random are given any",
        )
    if stage.settings.assign.shrink:
        stage.limitation("assign.shrink pulls uplifts towards their mean in the comparison of policies only.")
    try:
        comparison = _compare(stage, past, learnt["learner"])
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


def _compare(stage: Stage, past: PastChoices, learner: str) -> PolicyComparison:
    """Policies are compared at the costs, and under the budget, that the customers whom the objective counts face."""
    settings, uplift = stage.settings.assign, stage.settings.uplift
    return compare_policies(
        rows=past.rows,
        objective="earned_amount",
        cost="paid_amount",
        contact_costs=past.contact_costs,
        covariate_names=DECISION_COVARIATES,
        learner=learner,
        folds=uplift.folds,
        budget_per_customer=past.budget_per_customer,
        alpha=settings.alpha,
        shrink=settings.shrink,
        propensity_floor=uplift.propensity_floor,
        ridge=uplift.ridge,
        seed=stage.settings.seed,
    )


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

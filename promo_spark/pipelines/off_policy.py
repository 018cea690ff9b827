"""Value policies, the plan's among them, on decisions that were made before."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT
from promo_spark.contracts.decisions import DECISIONS, SCORES
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.measurement import POLICY_VALUES
from promo_spark.contracts.off_policy import OFF_POLICY
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import PROMOTIONS
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES
from promo_spark.measurement.off_policy import value_policies
from promo_spark.measurement.policy_log import lay_out_policies, policy_names
from promo_spark.pipelines.past_choices import find_past_choices, planned_offers
from promo_spark.response.valued_decisions import ValuedDecisions, value_decisions
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage


def run(stage: Stage) -> None:
    """Lay out the log, what every policy would have done in it, and what that would have earned."""
    log = _log(stage)
    if log is None:
        stage.write(OFF_POLICY, contract_frame(stage.spark, OFF_POLICY))
        return
    try:
        stage.write(OFF_POLICY, _values(stage, log))
    finally:
        log.release()
    _tell(stage)


def _values(stage: Stage, log: ValuedDecisions) -> DataFrame:
    settings = stage.settings
    chosen = stage.read(POLICY_VALUES).where("is_chosen").select("policy").first()
    rows = lay_out_policies(
        log=log.frame,
        decisions=stage.read(DECISIONS),
        assignment=stage.read(ASSIGNMENT),
        promotions=stage.read(PROMOTIONS),
        arms=log.arms,
        arm_level=settings.uplift.arm_level,
        as_of_date=stage.as_of_date,
    )
    return value_policies(
        policy_log=rows,
        policies=policy_names(log.arms),
        followed=chosen["policy"] if chosen else None,
        learnt_from=log.learnt_from,
        trimmed_rate=log.trimmed_rate,
        as_of_date=stage.as_of_date,
        currency=settings.currency,
        settings=settings.off_policy,
        seed=settings.seed,
    )


def _log(stage: Stage) -> ValuedDecisions | None:
    """The decisions of the arms that are planned; None where nothing can be learnt from them, which is said."""
    settings = stage.settings
    learnt = stage.read(SCORES).where(F.col("learner").isNotNull()).select("learner").first()
    if learnt is None:
        stage.limitation("nothing is known of what the planned promotions change: no policy can be valued.")
        return None
    past = find_past_choices(stage, planned_offers(stage))
    if past is None:
        stage.limitation("no planned promotion is known of enough customers: no policy can be valued.")
        return None
    try:
        return value_decisions(
            rows=past.rows,
            objective="earned_amount",
            cost="paid_amount",
            contact_costs=past.contact_costs,
            covariate_names=DECISION_COVARIATES,
            learner=learnt["learner"],
            folds=settings.uplift.folds,
            budget_per_customer=past.budget_per_customer,
            shrink=settings.assign.shrink,
            propensity_floor=settings.uplift.propensity_floor,
            ridge=settings.uplift.ridge,
            seed=settings.seed,
        )
    except ValueError as fault:
        stage.limitation(f"policies cannot be valued on past decisions: {fault}.")
        return None


def _tell(stage: Stage) -> None:
    rows = stage.read(OFF_POLICY).where("estimator = 'doubly_robust'").orderBy("policy").collect()
    valued = {row["policy"].replace(":", "_"): row["value_amount"] for row in rows if row["value_amount"] is not None}
    stage.metrics({f"off_policy_{policy}": value for policy, value in valued.items()})
    refused = [row["policy"] for row in rows if not row["is_concluded"]]
    if refused:
        stage.limitation(f"nothing can be concluded from past decisions on what these are worth: {', '.join(refused)}.")
    if rows:
        stage.limitation(
            "the plan was learnt from the very decisions it is valued on, which favours it; the policy personalised is "
            "valued by models that have not seen the customer."
        )


PIPELINE = Pipeline(
    name="off_policy",
    summary="Value the plan, the best simple policies and none on past decisions, before anything is sent.",
    reads=(DECISIONS, SCORES, PROMOTIONS, SEGMENT_CUSTOMERS, CUSTOMER_FEATURES, ASSIGNMENT, POLICY_VALUES),
    writes=(OFF_POLICY,),
    run=run,
    settings=("off_policy", "uplift", "assign", "promotions", "seed", "currency"),
    headlines=("off_policy_plan", "off_policy_personalised", "off_policy_none"),
    purpose="measurement",
)

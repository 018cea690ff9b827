"""Decide which customer gets which promotion."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import (
    ASSIGNED_PROMOTIONS,
    ASSIGNMENT,
    BUDGET_CURVE,
    CONSTRAINT_USE,
    DECISION_LOG,
)
from promo_spark.contracts.decisions import CANDIDATES, DECISIONS, SCORES
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.measurement import POLICY_VALUES
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ASSIGNMENTS, CONSENTS, CUSTOMERS, EXPOSURES, OVERRIDES, PROMOTIONS
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES
from promo_spark.pipelines.assign_limits import settle
from promo_spark.pipelines.assign_policy import choose_policy
from promo_spark.pipelines.past_choices import planned_offers
from promo_spark.plans.assignment import assemble_assignment, sum_up_segments
from promo_spark.plans.decision_log import log_decisions
from promo_spark.plans.eligibility import current_overrides, keep_eligible
from promo_spark.plans.policy import follow_policy
from promo_spark.plans.responses import share_decisions
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage

_HEADLINES = {
    "assign_customers": "customer_count",
    "assign_value": "value_amount",
    "assign_cost": "cost_amount",
    "assign_expected_redemptions": "expected_redemption_count",
}


def run(stage: Stage) -> None:
    """Value the offers, choose the policy, draw who is left to chance, and allocate the rest under the limits."""
    settings, day = stage.settings.assign, stage.as_of_date
    if not stage.has(SCORES):
        stage.limitation(
            "no promotion is planned that customers could be given one by one (assign.promotions, or promotions that "
            "start within assign.planning_days): nothing is assigned."
        )
    offers = planned_offers(stage)
    _tell_of_forced(stage, offers)
    eligible = keep_eligible(
        offers=offers,
        customers=stage.read(CUSTOMERS),
        consents=stage.read(CONSENTS),
        overrides=stage.read(OVERRIDES),
        assignments=stage.read(ASSIGNMENTS),
        exposures=stage.read(EXPOSURES),
        handed_over=stage.read(FEEDBACK),
        as_of_date=day,
        time_zone=stage.settings.source.time_zone,
        settings=settings,
        consent=stage.settings.consent,
    ).persist()
    policy = choose_policy(stage, eligible)
    followed = follow_policy(offers=eligible, verdict=policy.verdict, constant=policy.constant).persist()
    settled = settle(stage, followed)
    assignment = assemble_assignment(
        offers=settled.offers,
        roles=settled.roles,
        choices=settled.choices,
        responses=share_decisions(
            priced=settled.priced, roles=settled.roles, choices=settled.choices, settings=settings
        ),
        customer_features=stage.read(CUSTOMER_FEATURES),
        as_of_date=day,
        settings=settled.rates,
    )
    stage.write(ASSIGNMENT, assignment)
    log = log_decisions(
        assignment=stage.read(ASSIGNMENT),
        priced=settled.priced,
        candidates=stage.read(CANDIDATES),
        covariate_names=DECISION_COVARIATES,
        policy=policy.verdict,
        verdict=policy.words,
        as_of_date=day,
        currency=stage.settings.currency,
        objective=settings.objective,
    )
    stage.write(DECISION_LOG, log)
    stage.write(ASSIGNED_PROMOTIONS, sum_up_segments(assignment=stage.read(ASSIGNMENT), as_of_date=day))
    _account(stage)


def _tell_of_forced(stage: Stage, offers: DataFrame) -> None:
    forced = current_overrides(stage.read(OVERRIDES), stage.as_of_date).where(F.col("action") == "force")
    unplanned = forced.join(F.broadcast(offers.select("promotion_id").distinct()), "promotion_id", "left_anti")
    counted = unplanned.groupBy("promotion_id").count().orderBy("promotion_id").collect()
    for promotion, count in counted:
        stage.limitation(
            f"silver.overrides force {promotion} on {count:,} customers, but it is not planned: they are decided for "
            "like all others."
        )


def _account(stage: Stage) -> None:
    rows = stage.read(ASSIGNED_PROMOTIONS).orderBy("segment_id", "promotion_id").toPandas()
    given = rows[rows["promotion_id"] != "none"]
    stage.metrics({name: float(given[column].sum()) for name, column in _HEADLINES.items()})
    stage.metrics({"assign_holdout_customers": float(rows["holdout_count"].sum())})
    stage.table("segment_promotions", rows)


PIPELINE = Pipeline(
    name="assign",
    summary="Decide which customer gets which promotion, under budgets and limits.",
    reads=(
        *(DECISIONS, CANDIDATES, SCORES, PROMOTIONS, CUSTOMERS, CONSENTS, CUSTOMER_FEATURES, SEGMENT_CUSTOMERS),
        *(OVERRIDES, ASSIGNMENTS, EXPOSURES, FEEDBACK),
    ),
    writes=(ASSIGNMENT, DECISION_LOG, CONSTRAINT_USE, BUDGET_CURVE, ASSIGNED_PROMOTIONS, POLICY_VALUES),
    run=run,
    settings=("assign", "promotions", "uplift", "currency", "seed", "source.time_zone", "consent.missing.contact"),
    headlines=tuple(_HEADLINES),
    purpose="personalisation",
)

"""Learn what being given a promotion changes, keep the model and what is known of it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decisions import LEARNERS, NO_ARM, SEGMENT_UPLIFTS
from promo_spark.contracts.rows import contract_frame, local_frame
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.kernels.decision_covariates import DECISION_COVARIATES
from promo_spark.response.scores import OUTCOMES
from promo_spark.response.uplift_choice import LearnerChoice, choose_learner
from promo_spark.response.uplift_learners import Prepared, prepare_learning
from promo_spark.response.uplift_model import UpliftModel, make_model
from promo_spark.response.uplift_rows import prepare_rows
from promo_spark.response.uplift_segments import estimate_segment_uplift
from promo_spark.runtime.stage import Stage

MODEL = "uplift"
_LEFT_OUT = {
    "certain_rows": "of past decisions left no choice (propensity 1)",
    "uncompared_rows": "are of decisions that gave everybody a promotion, or nobody",
    "one_armed_rows": "without a logged propensity all have one arm",
}


@dataclass(frozen=True)
class Effects:
    """What was learnt.

    Attributes:
        candidates: The candidates with what the model adds; as they were where nothing could be learnt.
        learner: What learnt it; None where nothing did.
        learnt_from: randomised or observational.
        figures: Rows of response.learners.
    """

    candidates: DataFrame
    learner: str | None
    learnt_from: str | None
    figures: DataFrame


def learn_effects(stage: Stage, decisions: DataFrame, candidates: DataFrame) -> Effects:
    """Fit on past decisions and predict for the candidates.

    Args:
        stage: The running stage.
        decisions: response.decisions.
        candidates: response.candidates, with whatever columns they have by now.
    """
    settings = stage.settings.uplift
    counted = decisions.groupBy("arm").agg(F.countDistinct("customer_id").alias("customers")).collect()
    sizes = {row["arm"]: row["customers"] for row in counted}
    few = sorted(arm for arm, size in sizes.items() if size < settings.min_arm_customers)
    usable = sorted(arm for arm in sizes if arm not in few and arm != NO_ARM)
    if few:
        stage.limitation(
            f"fewer than {settings.min_arm_customers} customers were given, or kept from, {', '.join(few)}."
        )
    if NO_ARM not in sizes or NO_ARM in few or not usable:
        return _give_up(stage, candidates, "no promotion can be compared with giving nothing")
    rows = decisions.where(F.col("arm").isin([NO_ARM, *usable]))
    with ExitStack() as held:
        try:
            stage.progress(f"judging {', '.join(settings.learners)} of what {', '.join(usable)} change, out of fold")
            prepared = prepare_rows(
                rows=rows,
                outcomes=OUTCOMES,
                covariate_names=DECISION_COVARIATES,
                folds=settings.folds,
                propensity_floor=settings.propensity_floor,
                seed=stage.settings.seed,
            )
            learning = prepare_learning(rows=held.enter_context(prepared), ridge=settings.ridge, depths=None)
            choice = choose_learner(learning=learning, learners=settings.learners, seed=stage.settings.seed)
            model = make_model(rows=prepared, learnt=choice.learnt, interval_level=settings.interval_level)
        except ValueError as fault:
            return _give_up(stage, candidates, str(fault))
        _keep(stage, model, rows)
        _tell_segments(stage, learning)
    return Effects(model.transform(candidates), choice.learnt.learner, model.learnt_from, _figures(stage, choice))


def _give_up(stage: Stage, candidates: DataFrame, why: str) -> Effects:
    stage.limitation(f"{why}: what promotions change is not known.")
    stage.write(SEGMENT_UPLIFTS, contract_frame(stage.spark, SEGMENT_UPLIFTS))
    return Effects(candidates, None, None, contract_frame(stage.spark, LEARNERS))


def _figures(stage: Stage, choice: LearnerChoice) -> DataFrame:
    """How each learner did out of fold, rows of response.learners."""
    told = [
        (one.learner, one.outcome, f"{one.metric}_{one.arm}", stage.as_of_date, one.value, one.standard_error)
        for one in choice.figures
    ]
    return local_frame(stage.spark, told, LEARNERS.schema(all_nullable=True))


def _keep(stage: Stage, model: UpliftModel, rows: DataFrame) -> None:
    sample = rows.select("arm", "covariates").limit(5)
    added = [f"uplift_{name}{end}" for name in OUTCOMES for end in ("", "_low", "_high")]
    stage.save_model(MODEL, model, sample, model.transform(sample).select(*added))
    stage.metrics({f"uplift_{name}": value for name, value in model.diagnostics.items()})
    for name, told in _LEFT_OUT.items():
        if model.diagnostics.get(name):
            stage.limitation(
                f"{model.diagnostics[name]:,.0f} rows {told}: they are left out of what promotions change."
            )
    if model.learnt_from == "observational":
        stage.limitation(
            "what promotions change is learnt from decisions that were not randomised: customers who were chosen may "
            "differ in ways that the data do not show."
        )


def _tell_segments(stage: Stage, learning: Prepared) -> None:
    """Write what each arm changes on average in each segment of today."""
    settings, learnt_from = stage.settings.uplift, learning.rows.learnt_from
    found = estimate_segment_uplift(
        learning=learning,
        members=stage.read(SEGMENT_CUSTOMERS),
        segment="segment_id",
        least_customers=settings.min_arm_customers,
        interval_level=settings.interval_level,
    )
    told = [
        (
            *(int(one.segment), one.arm, one.outcome, stage.as_of_date),
            *(one.customers, one.uplift, one.standard_error, one.low, one.high, learnt_from),
        )
        for one in found
    ]
    stage.write(SEGMENT_UPLIFTS, local_frame(stage.spark, told, SEGMENT_UPLIFTS.schema(all_nullable=True)))

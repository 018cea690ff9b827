"""Who redeems what they are given: learnt from past decisions, judged on later ones, calibrated out of fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import UpliftSettings
from promo_spark.contracts.decisions import NO_ARM
from promo_spark.response.redemption_folds import LEAST_CASES, RedemptionJudgement, judge_models
from promo_spark.response.redemption_models import (
    PROBABILITY,
    REDEEMED,
    BlendedBelief,
    DecisionVector,
    RedemptionProbability,
    classifier,
    parts_of,
)

FIT_ROWS = 50_000
PRIOR_RATE, PRIOR_CUSTOMERS = 0.05, 50.0
"""One in twenty redeems before anything is known; it takes as many customers to move halfway from that."""
LEARNT, CLASS_RATE, OVERALL_RATE = "redemption", "class_rate", "overall_rate"
SOURCE = "redemption_model"
USED_FOR = "used_for_"


@dataclass(frozen=True)
class RedemptionModels:
    """What past decisions teach of redemption.

    Attributes:
        model: From rows with covariates and arm to redemption_prob; none where too few redeemed.
        class_rates: Rate of each arm that was given before, pulled towards that of all.
        overall_rate: Rate of all; none where nothing was ever given.
        judged: Every model tried.
    """

    model: PipelineModel | None
    class_rates: Mapping[str, float]
    overall_rate: float | None
    judged: tuple[RedemptionJudgement, ...] = ()

    def source_of(self, arm: str) -> str | None:
        """What a candidate of an arm is scored by: redemption, class_rate or overall_rate; none knows nothing."""
        if self.overall_rate is None:
            return None
        if self.model is not None:
            return LEARNT
        return CLASS_RATE if arm in self.class_rates else OVERALL_RATE


def fit_redemption(*, decisions: DataFrame, settings: UpliftSettings, seed: int) -> RedemptionModels:
    """Learn P(redeemed | given), pooled over promotions.

    Folds follow each other in time where decisions were made on several days, else they part customers. Each model
    is judged by its log loss on the folds after the first, the best is fitted again on all rows, and its curve from
    score to probability comes from the folds.

    Args:
        decisions: response.decisions; rows of the arm none are left out.
        settings: Models that are tried, folds, and the fewest customers that an arm needs for an indicator.
        seed: Seed of the trees.

    Returns:
        The models; rates alone where fewer than ``LEAST_CASES`` redeemed or did not.

    Raises:
        SettingsError: A model asks for a package that is not installed.
    """
    given = decisions.where(F.col("arm") != NO_ARM)
    rows = given.orderBy(F.xxhash64("customer_id", F.lit(seed)), "customer_id", "decision_id").limit(FIT_ROWS)
    counts = _counts(given)
    rates, overall = _rates(counts)
    told, used = (sum(row[name] for row in counts) for name in ("told", "used"))
    if min(used, told - used) < LEAST_CASES or told < settings.min_arm_customers:
        return RedemptionModels(None, rates, overall)
    arms = sorted(row["arm"] for row in counts if row["customers"] >= settings.min_arm_customers)
    vector = DecisionVector(arms)
    keys = ("customer_id", "decision_id", "arm", "decided_date", REDEEMED, "covariates")
    # One part in an order that the rows' own values settle: trees draw rows by their place.
    packed = vector.transform(rows.select(*keys)).repartition(1)
    packed = packed.sortWithinPartitions("decided_date", "customer_id", "decision_id").persist()
    judged, curves = judge_models(packed, settings.redemption_models, settings.folds, seed)
    if not judged:
        packed.unpersist()
        return RedemptionModels(None, rates, overall)
    best = next(one for one in judged if one.is_chosen).model
    fitted = [classifier(part, seed).fit(packed) for part in parts_of(best)]
    packed.unpersist()
    knots, logits, slope = curves[best]
    last = RedemptionProbability(knots.tolist(), logits.tolist(), slope)
    model = PipelineModel([vector, *fitted, BlendedBelief(parts_of(best)), last])
    return RedemptionModels(model, rates, overall, judged)


def predict_redemption(*, rows: DataFrame, models: RedemptionModels) -> DataFrame:
    """P(redeemed | given) of each row.

    Args:
        rows: Rows with arm and covariates, such as response.candidates.
        models: What `fit_redemption` returned.

    Returns:
        The rows with redemption_prob and redemption_model, what told it; no rows where nothing was ever given.
    """
    if models.overall_rate is None:
        return rows.withColumns({PROBABILITY: F.lit(0.0), SOURCE: F.lit(OVERALL_RATE)}).limit(0)
    if models.model is not None:
        told = models.model.transform(rows).select(*rows.columns, PROBABILITY)
        return told.withColumn(SOURCE, F.lit(LEARNT))
    rate, source = F.lit(models.overall_rate), F.lit(OVERALL_RATE)
    for arm, own in sorted(models.class_rates.items()):
        rate = F.when(F.col("arm") == arm, F.lit(own)).otherwise(rate)
        source = F.when(F.col("arm") == arm, F.lit(CLASS_RATE)).otherwise(source)
    return rows.withColumns({PROBABILITY: rate, SOURCE: source})


def learner_figures(models: RedemptionModels, as_of_date: date) -> list[tuple[Any, ...]]:
    """Rows of response.learners: how each model did, and what each arm is scored by (the metric used_for_<arm>).

    The value of used_for_<arm> is the arm's own past rate, pulled towards that of all; of used_for_ without an arm
    that of all, and it stands for arms never seen.
    """
    rows: list[tuple[Any, ...]] = []
    for one in models.judged:
        figures = {
            "auc": one.auc,
            "average_precision": one.average_precision,
            "log_loss": one.log_loss,
            "ece_shift": one.ece_shift,
            "ece_shape": one.ece_shape,
            "is_chosen": float(one.is_chosen),
            "customers": float(one.customers),
        }
        rows += [(one.model, REDEEMED, name, as_of_date, value, None) for name, value in figures.items()]
    for arm, rate in sorted(models.class_rates.items()):
        rows.append((models.source_of(arm), REDEEMED, f"{USED_FOR}{arm}", as_of_date, rate, None))
    if models.overall_rate is not None:
        unseen = LEARNT if models.model is not None else OVERALL_RATE
        rows.append((unseen, REDEEMED, USED_FOR, as_of_date, models.overall_rate, None))
    return rows


def _counts(given: DataFrame) -> list[Any]:
    """Per arm the rows, those redeemed and the customers; there are few arms."""
    return (
        given.groupBy("arm")
        .agg(
            F.count("*").alias("told"),
            F.sum(REDEEMED).alias("used"),
            F.count_distinct("customer_id").alias("customers"),
        )
        .orderBy("arm")
        .collect()
    )


def _rates(counts: Sequence[Any]) -> tuple[dict[str, float], float | None]:
    told, used = (sum(row[name] for row in counts) for name in ("told", "used"))
    if not told:
        return {}, None
    overall = (used + PRIOR_RATE * PRIOR_CUSTOMERS) / (told + PRIOR_CUSTOMERS)
    own = {row["arm"]: (row["used"] + overall * PRIOR_CUSTOMERS) / (row["told"] + PRIOR_CUSTOMERS) for row in counts}
    return own, overall

"""The part of the search that is about learners of churn and spend, judged by the last horizon before the date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

import numpy as np
from pyspark.sql import DataFrame

from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.kernels.paired_differences import area_difference, mean_difference
from promo_spark.kernels.shopping_history import HISTORY_FEATURES
from promo_spark.learning.trials import Trial
from promo_spark.pipelines.segments_behaviour import learn_behaviour, measure
from promo_spark.pipelines.tune_trials import TrialBook
from promo_spark.runtime import Stage
from promo_spark.segments.behaviour import Judgement
from promo_spark.segments.histories import gather_histories

Behaviour = Literal["churn", "spend"]
_METRICS = {"churn": "churn_auc", "spend": "spend_mae"}


def search_learners(stage: Stage, book: TrialBook, subject: Behaviour) -> list[Trial]:
    """Try the learners in force and each of the space; none where orders do not go back far enough.

    All are learnt from the same customers of one horizon, in one pass, and judged on the next.

    Args:
        stage: The stage that searches.
        book: Keeps the trials.
        subject: What is predicted.
    """
    key, in_force = _learners_in_force(stage, subject)
    wanted = [name for name in getattr(stage.settings.tune, f"{subject}_models") if [name] != in_force]
    known = [book.find(subject, {key: learners}) for learners in (in_force, *([name] for name in wanted))]
    if all(known):
        return [trial for trial in known if trial is not None]
    learners = tuple(dict.fromkeys([*in_force, *wanted]))
    stage.progress(f"{subject}: learning by {', '.join(learners)}")
    tried = {f"{subject}_models": learners}
    with _histories(stage) as histories:
        models = learn_behaviour(stage, histories, stage.settings.segments.model_copy(update=tried))
    if models is None:
        return []
    judged = {own.model: own for own in models.judged if own.subject == subject}
    if not set(learners) <= set(judged):
        stage.limitation(f"{subject} could not be judged on the last horizon before the date: it is not searched.")
        return []
    settled = max((judged[name] for name in in_force), key=_goodness)
    trials = [_trial(stage, {key: in_force}, settled, None)]
    trials += [_trial(stage, {key: [name]}, judged[name], settled) for name in wanted]
    return [book.keep(trial, tries=len(wanted)) for trial in trials]


def register_learner(stage: Stage, subject: Behaviour, winner: Trial) -> None:
    """Learn the winner from both horizons before the date, and register it as challenger."""
    key, _ = _learners_in_force(stage, subject)
    chosen = {f"{subject}_models": tuple(winner.settings[key])}
    with _histories(stage) as histories:
        models = learn_behaviour(stage, histories, stage.settings.segments.model_copy(update=chosen))
        model = None if models is None else getattr(models, subject)
        if model is None:
            return
        sample = measure(stage, histories, [stage.as_of_date]).select(*HISTORY_FEATURES).limit(5)
        told = model.transform(sample).select("churn_prob" if subject == "churn" else "expected_spend")
        stage.register_challenger(f"customer_{subject}", model, sample, told)


def _learners_in_force(stage: Stage, subject: Behaviour) -> tuple[str, list[str]]:
    name = f"{subject}_models"
    return f"segments.{name}", list(getattr(stage.settings.segments, name))


@contextmanager
def _histories(stage: Stage) -> Iterator[DataFrame]:
    histories = gather_histories(order_lines=stage.read(ORDER_LINES), as_of_date=stage.as_of_date).persist()
    try:
        yield histories
    finally:
        histories.unpersist()


def _goodness(judged: Judgement) -> float:
    return judged.auc if judged.auc is not None else -float(judged.mae or 0.0)


def _trial(stage: Stage, settings: Mapping[str, Any], judged: Judgement, settled: Judgement | None) -> Trial:
    horizon = timedelta(days=stage.settings.segments.horizon_days)
    gain, gain_error = (0.0, 0.0) if settled is None else _gain(judged, settled.told)
    # The area of a score that says nothing is a half, and the error of nothing is nothing.
    _, error = _gain(judged, judged.happened if judged.subject == "spend" else np.zeros(len(judged.told)))
    told = {"auc": judged.auc, "log_loss": judged.log_loss, "mae": judged.mae}
    return Trial(
        subject=judged.subject,
        settings=settings,
        is_settled=settled is None,
        metric=_METRICS[judged.subject],
        value=float(judged.auc if judged.auc is not None else judged.mae or 0.0),
        standard_error=error,
        gain=gain,
        gain_error=gain_error,
        customers=judged.customers,
        first_date=stage.as_of_date - horizon,
        last_date=stage.as_of_date - timedelta(days=1),
        figures={name: value for name, value in told.items() if value is not None},
    )


def _gain(judged: Judgement, others: np.ndarray) -> tuple[float, float]:
    """How much better than what others say of the same customers, and its standard error."""
    if judged.subject == "churn":
        return area_difference(judged.happened, judged.told, others)
    return mean_difference(np.abs(others - judged.happened), np.abs(judged.told - judged.happened))

"""The trials of one run of the search: taken over where a run was interrupted, else written one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F

from promo_spark.contracts.learning import TRIALS
from promo_spark.contracts.rows import contract_frame
from promo_spark.learning.trials import Trial, is_ahead, trial_id
from promo_spark.runtime import Stage


class TrialBook:
    """Trials by subject and settings.

    Args:
        stage: The stage that searches; trials that its run wrote before it was interrupted are known.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        written = stage.read(TRIALS).where(F.col("run_id") == F.lit(stage.run_id)).collect()
        self._known = {(row.subject, row.trial_id): _trial(row) for row in written}

    def find(self, subject: str, settings: Mapping[str, Any]) -> Trial | None:
        """The trial of these settings, where it was finished."""
        found = self._known.get((subject, trial_id(settings)))
        if found is not None:
            self._stage.progress(f"{subject}: {told(settings)} was tried before")
        return found

    def keep(self, trial: Trial, *, tries: int) -> Trial:
        """Write a trial to the table and as a run of its own to MLflow, and say how it did.

        Args:
            trial: Just finished.
            tries: How many settings of its subject are compared with the settled ones.
        """
        ahead = not trial.is_settled and is_ahead(
            trial.gain, trial.gain_error, tries=tries, false_win_rate=self._stage.settings.tune.false_win_rate
        )
        kept = replace(trial, is_ahead=ahead)
        with self._stage.trial(f"{kept.subject} {kept.trial_id}") as tracker:
            tracker.tags({"promo_spark.subject": kept.subject, "promo_spark.is_settled": str(kept.is_settled)})
            tracker.parameters(kept.settings)
            own = {kept.metric: kept.value, "gain": kept.gain, "gain_error": kept.gain_error}
            tracker.metrics({**kept.figures, **own, "is_ahead": float(kept.is_ahead)})
        self._stage.append_missing(TRIALS, contract_frame(self._stage.spark, TRIALS, [self._row(kept)]))
        self._known[kept.subject, kept.trial_id] = kept
        compared = (
            "the settled settings"
            if kept.is_settled
            else f"{kept.gain:+.4f} ± {kept.gain_error:.4f}" + (", ahead" if kept.is_ahead else "")
        )
        self._stage.progress(f"{kept.subject}: {told(kept.settings)}: {kept.metric} {kept.value:.4f} ({compared})")
        return kept

    def _row(self, trial: Trial) -> tuple[Any, ...]:
        values = {
            **{name: getattr(trial, name) for name in TRIALS.column_names if hasattr(trial, name)},
            "run_id": self._stage.run_id,
            "as_of_date": self._stage.as_of_date,
            "settings": {name: json.dumps(value) for name, value in trial.settings.items()},
            "observation_count": trial.customers,
        }
        return tuple(values[name] for name in TRIALS.column_names)


def told(settings: Mapping[str, Any]) -> str:
    """Settings in few words."""
    return ", ".join(f"{name.partition('.')[2]} {_plain(value)}" for name, value in settings.items())


def _plain(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _trial(row: Row) -> Trial:
    return Trial(
        subject=row.subject,
        settings={name: json.loads(value) for name, value in row.settings.items()},
        is_settled=row.is_settled,
        metric=row.metric,
        value=row.value,
        standard_error=row.standard_error,
        gain=row.gain,
        gain_error=row.gain_error,
        customers=row.observation_count,
        first_date=row.first_date,
        last_date=row.last_date,
        is_ahead=row.is_ahead,
    )

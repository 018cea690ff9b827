"""Trials of settings: what one was like, whether it is ahead, and which of several wins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import yaml

from promo_spark.kernels.paired_differences import winning_errors


@dataclass(frozen=True)
class Trial:
    """Settings of one subject, tried on the days before a date.

    Attributes:
        subject: What was searched.
        settings: By dotted name; values as in a settings file.
        is_settled: The settings in force, which all others are compared with.
        metric: What it is judged by.
        value: The figure.
        standard_error: Its error over customers; none where it was not estimated.
        gain: How much better than the settled settings on the same customers, positive is better; 0 for themselves.
        gain_error: The gain's standard error.
        customers: How many were judged.
        first_date: First day by which it is judged.
        last_date: Last one.
        is_ahead: By more than chance among the trials of its subject.
        figures: What else was measured, for MLflow.
    """

    subject: str
    settings: Mapping[str, Any]
    is_settled: bool
    metric: str
    value: float
    standard_error: float | None
    gain: float
    gain_error: float
    customers: int
    first_date: date
    last_date: date
    is_ahead: bool = False
    figures: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def trial_id(self) -> str:
        """Hash of the settings."""
        return trial_id(self.settings)


def trial_id(settings: Mapping[str, Any]) -> str:
    """Hash of settings, whatever their order."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:12]


def is_ahead(gain: float, gain_error: float, *, tries: int, false_win_rate: float) -> bool:
    """Whether a gain is larger than the best of so many tries would show by chance.

    Args:
        gain: Positive is better.
        gain_error: Its standard error.
        tries: Settings compared with the settled ones.
        false_win_rate: Probability of one ahead where none is better, at most.
    """
    return gain > winning_errors(max(tries, 1), false_win_rate) * gain_error


def best_ahead(trials: Sequence[Trial]) -> Trial | None:
    """The trial that gains most among those ahead; the earlier one of equals, none where none is ahead."""
    return max((trial for trial in trials if trial.is_ahead), key=lambda trial: trial.gain, default=None)


def overlay(winners: Sequence[Trial], *, as_of_date: date) -> str:
    """The winners' settings as a settings file, with what speaks for them.

    >>> print(overlay([], as_of_date=date(2024, 6, 3)))
    # Searched on days before 2024-06-03. Nothing did better than the settled settings by more than chance.
    <BLANKLINE>
    """
    if not winners:
        told = "Nothing did better than the settled settings by more than chance."
        return f"# Searched on days before {as_of_date}. {told}\n"
    lines = [f"# Searched on days before {as_of_date}. Use it as the last --config, or copy what you want."]
    tree: dict[str, dict[str, Any]] = {}
    for trial in winners:
        lines.append(
            f"# {trial.subject}: {trial.metric} {trial.value:.4f}, better than the settled settings by "
            f"{trial.gain:.4f} ± {trial.gain_error:.4f} ({trial.customers:,} customers, {trial.first_date} to "
            f"{trial.last_date})"
        )
        for name, value in trial.settings.items():
            section, _, key = name.partition(".")
            tree.setdefault(section, {})[key] = value
    return "\n".join(lines) + "\n" + yaml.safe_dump(tree, sort_keys=False, default_flow_style=None)

"""Assumptions of the methods that measure a campaign, and which of them stop a conclusion."""

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

DIFFERENCE, WEIGHTED, DOUBLY_ROBUST = "difference_in_differences", "propensity_weighting", "doubly_robust"
METHODS = (DIFFERENCE, WEIGHTED, DOUBLY_ROBUST)
OF_METRICS = ("pre_trend", "placebo_date", "weighted_trend", "weighted_placebo_date")
WHOLE = "all"
"""What a check that is about no covariate or metric is about."""
_ALWAYS = ("targeted", "controls", "history", "over", "other_campaigns")
_COMPARED = (
    *("trimmed_rate", "effective_controls", "balance_after"),
    *("weighted_trend", "weighted_placebo_date", "negative_control"),
)
CHECKS_OF = {
    DIFFERENCE: (*_ALWAYS, "pre_trend", "placebo_date"),
    WEIGHTED: (*_ALWAYS, *_COMPARED),
    DOUBLY_ROBUST: (*_ALWAYS, *_COMPARED),
}
"""The checks that each method stands on."""


class Check(NamedTuple):
    """One assumption: ``passed`` is None where the data cannot test it."""

    check: str
    covariate: str
    value: float
    threshold: float
    passed: bool | None


def at_least(check: str, covariate: str, value: float, threshold: float) -> Check:
    """A check that passes from a threshold on."""
    return Check(check, covariate, float(value), float(threshold), bool(value >= threshold))


def at_most(check: str, covariate: str, value: float, threshold: float) -> Check:
    """A check that passes up to a threshold, in either direction."""
    return Check(check, covariate, float(value), float(threshold), bool(abs(value) <= threshold))


def tested(check: str, metric: str, p_value: float, alpha: float) -> Check:
    """A test that passes unless its p-value is below alpha; NaN cannot be tested."""
    passed = None if isnan(p_value) else bool(p_value >= alpha)
    return Check(check, metric, float(p_value), alpha, passed)


def failed_checks(checks: Sequence[Check], metric: str, method: str, required: Sequence[str]) -> list[str]:
    """Names of the checks that stop a conclusion, in order; those of another metric do not count.

    >>> checks = [Check("pre_trend", "visit_count", 0.01, 0.05, False), Check("controls", "all", 9.0, 50.0, False)]
    >>> failed_checks(checks, "sales_amount", "difference_in_differences", ("pre_trend", "controls"))
    ['controls']
    """
    stopped = [
        check.check
        for check in checks
        if check.passed is False
        and check.check in CHECKS_OF[method]
        and check.check in required
        and (check.check not in OF_METRICS or check.covariate == metric)
    ]
    return list(dict.fromkeys(stopped))

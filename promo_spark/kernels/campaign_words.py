"""What was found of a campaign, in plain words."""

from collections.abc import Sequence
from typing import NamedTuple

EFFECT_SHOWN, NO_EFFECT_SHOWN, CANNOT_BE_TOLD = "effect_shown", "no_effect_shown", "cannot_be_told"
_FAULTS = {
    "history": "the time before it is not wholly known",
    "over": "it has not run its course yet",
    "targeted": "too few customers were targeted",
    "controls": "too few customers were not targeted",
    "trimmed_rate": "many targeted customers have nobody like them",
    "effective_controls": "few others are like the targeted",
    "balance_after": "targeted and others differ even when weighted",
    "other_campaigns": "other campaigns reached the targeted more than the others",
    "pre_trend": "targeted and others moved apart before it",
    "placebo_date": "an effect shows at a date on which nothing happened",
    "weighted_trend": "targeted and weighted others moved apart before it",
    "weighted_placebo_date": "an effect on the weighted shows at a date on which nothing happened",
    "negative_control": "sales that it does not touch moved too",
    "donors": "too few units are left to stand in for those it touches",
    "fit_before": "no mix of other units follows those it touches",
}
_CHECKED = {
    "history": "days known before it",
    "over": "days of its window that are known",
    "targeted": "targeted customers with a purchase in the time before",
    "controls": "other customers with a purchase in the time before",
    "trimmed_rate": "share of the targeted left out: nobody like them was not targeted",
    "effective_controls": "others of equal weight",
    "balance_before": "standardised difference of the groups",
    "balance_after": "standardised difference, the others weighted",
    "other_campaigns": "difference in the share that another campaign reached meanwhile",
    "pre_trend": "p-value of both having moved alike before",
    "placebo_date": "p-value of no effect at a date on which nothing happened",
    "weighted_trend": "p-value of both having moved alike before, the others weighted",
    "weighted_placebo_date": "p-value of no effect at a date on which nothing happened, the others weighted",
    "negative_control": "p-value of no effect on sales it does not touch",
    "donors": "units that stand in for those it touches",
    "fit_before": "error of the fit before, as a share of the sales",
}


class Verdict(NamedTuple):
    """A verdict, and the same in words."""

    verdict: str
    told: str


def judge_effect(
    effect: float | None,
    standard_error: float | None,
    p_value: float | None,
    failed: Sequence[str],
    *,
    metric: str,
    currency: str,
    alpha: float,
) -> Verdict:
    """Say what an estimate shows.

    Args:
        effect: Per targeted customer and week; None where nothing was estimated.
        standard_error: None where the method has none.
        p_value: Adjusted for the number of campaigns; None where nothing varies.
        failed: Checks that stop a conclusion.
        metric: What was measured.
        currency: Of amounts.
        alpha: An effect is shown below this p-value.

    >>> judge_effect(3.1, 1.2, 0.01, [], metric="sales_amount", currency="USD", alpha=0.05).told
    'an effect is shown: +3.1 ± 1.2 USD of sales per targeted customer a week (adjusted p = 0.01), its checks passed'
    >>> judge_effect(3.1, 1.2, 0.01, ["pre_trend"], metric="visit_count", currency="USD", alpha=0.05).told[:57]
    'cannot be told: targeted and others moved apart before it'
    >>> judge_effect(None, None, None, ["over"], metric="sales_amount", currency="USD", alpha=0.05).verdict
    'cannot_be_told'
    """
    if effect is None:
        faults = "; ".join(_FAULTS[one] for one in failed) or "there is nothing to compare"
        return Verdict(CANNOT_BE_TOLD, f"cannot be told: {faults}")
    size = _size(effect, standard_error, metric, currency)
    if failed:
        return Verdict(CANNOT_BE_TOLD, f"cannot be told: {'; '.join(_FAULTS[one] for one in failed)}; estimated {size}")
    if p_value is None:
        return Verdict(CANNOT_BE_TOLD, "cannot be told: what is measured is the same for everybody")
    if p_value <= alpha:
        return Verdict(EFFECT_SHOWN, f"an effect is shown: {size} (adjusted p = {p_value:.2g}), its checks passed")
    return Verdict(NO_EFFECT_SHOWN, f"no effect is shown: {size} (adjusted p = {p_value:.2g}), its checks passed")


def tell_check(check: str, value: float | None, threshold: float, passed: bool | None) -> str:
    """Say what a check found.

    >>> tell_check("targeted", 3.0, 50.0, False)
    'targeted customers with a purchase in the time before: 3, held against 50: failed'
    >>> tell_check("pre_trend", None, 0.05, None)
    'p-value of both having moved alike before: the data cannot test it'
    """
    if passed is None or value is None:
        return f"{_CHECKED[check]}: the data cannot test it"
    return f"{_CHECKED[check]}: {value:.3g}, held against {threshold:.3g}: {'passed' if passed else 'failed'}"


def _size(effect: float, standard_error: float | None, metric: str, currency: str) -> str:
    noun = metric.removesuffix("_amount").removesuffix("_count").replace("_", " ")
    unit = f"{currency} of {noun}" if metric.endswith("_amount") else f"{noun}s"
    error = "" if standard_error is None else f" ± {standard_error:.2g}"
    return f"{effect:+.3g}{error} {unit} per targeted customer a week"

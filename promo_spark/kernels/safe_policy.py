"""Personalise only where that is significantly better than the best simple policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from promo_spark.kernels.policy_value import PolicyValues

Floats = NDArray[np.float64]
Verdict = Literal["personalised", "constant", "none"]
PERSONALISED = "personalised"


@dataclass(frozen=True)
class PolicyRow:
    """One policy. Value and cost are per decision, over no promotion.

    Attributes:
        policy: ``personalised``, ``none`` or the arm that everybody gets.
        value: Doubly robust value of the objective less contact cost, currency or units of the objective.
        standard_error: Cluster-robust.
        cost: Doubly robust cost, contact cost included.
        share: Of customers that the budget stretches to; 1 where it does not bind, NaN where personalised.
    """

    policy: str
    value: float
    standard_error: float
    cost: float
    share: float


@dataclass(frozen=True)
class PolicyComparison:
    """What was compared and what follows.

    Attributes:
        table: The personalised policy, every constant arm, none.
        constant_arm: The constant arm of most value under the same budget.
        gain: The personalised policy's value over the best simple policy.
        gain_se: Its cluster-robust standard error.
        p_value: One-sided, of no gain.
        constant_p_value: One-sided, of the constant arm adding nothing, times the arms it was picked from.
        verdict: What to do.
        words: The same in words.
    """

    table: tuple[PolicyRow, ...]
    constant_arm: str
    gain: float
    gain_se: float
    p_value: float
    constant_p_value: float
    verdict: Verdict
    words: str


def compare_values(
    values: PolicyValues, treated: Sequence[str], budget: float | None, alpha: float
) -> PolicyComparison:
    """Hold the personalised policy against the constant arms under the same budget, and against none.

    The constant arm is the best on the very rows that judge it, which favours it: falling back is the safe side.

    Args:
        values: Of models that have not seen the rows.
        treated: Names of the treated arms.
        budget: Cost per decision that no policy may exceed; None does not bind.
        alpha: One-sided error rate of either step.

    >>> from promo_spark.kernels.policy_value import gather_policy_values
    >>> draws = np.random.default_rng(1).normal(1.0, 0.1, (100, 1))
    >>> own = gather_policy_values(draws, np.ones((100, 1)), np.ones(100, dtype=int), np.arange(100))
    >>> compare_values(own, ["mailer"], None, 0.025).verdict
    'constant'
    """
    shares = [_affordable(values.mean(values.cost(arm))[0], budget) for arm in range(len(treated))]
    constants = [_row(values, name, arm, shares[arm]) for arm, name in enumerate(treated)]
    best = int(np.argmax([row.value for row in constants]))
    personal = _row(values, PERSONALISED, None, 1.0)
    rival = values.value(best, shares[best]) if constants[best].value > 0 else 0 * values.value(best)
    gain, gain_se = values.mean(values.value(None) - rival)
    p_value = _one_sided(gain, gain_se)
    # The best of several is best by luck too: Bonferroni.
    constant_p = min(1.0, len(treated) * _one_sided(constants[best].value, constants[best].standard_error))
    verdict: Verdict = "personalised" if p_value < alpha else "constant" if constant_p < alpha else "none"
    rival_name = treated[best] if constants[best].value > 0 else "no promotion"
    return PolicyComparison(
        table=(personal, *constants, PolicyRow("none", 0.0, 0.0, 0.0, 1.0)),
        constant_arm=treated[best],
        gain=gain,
        gain_se=gain_se,
        p_value=p_value,
        constant_p_value=constant_p,
        verdict=verdict,
        words=_words(verdict, rival_name, treated[best], (gain, gain_se, p_value), constant_p),
    )


def _row(values: PolicyValues, name: str, arm: int | None, share: float) -> PolicyRow:
    value, error = values.mean(values.value(arm, share))
    cost, _ = values.mean(values.cost(arm, share))
    return PolicyRow(name, value, error, cost, float("nan") if arm is None else share)


def _affordable(cost: float, budget: float | None) -> float:
    return 1.0 if budget is None or cost <= budget else max(budget, 0.0) / cost


def _one_sided(value: float, error: float) -> float:
    """P-value of a mean that is not above 0; without spread there is nothing to be sure of but the value itself."""
    if error > 0:
        return float(ndtr(-value / error))
    return 0.0 if value > 0 else 1.0


def _words(verdict: Verdict, rival: str, constant: str, lead: tuple[float, float, float], constant_p: float) -> str:
    gain, error, p_value = lead
    found = f"{gain:.4g} ± {error:.2g} per decision over the best simple policy ({rival}), p = {p_value:.3g}"
    if verdict == "personalised":
        return f"Personalised: it earns {found}."
    kept = f"Not personalised: it earns {found}, which is not significant."
    if verdict == "constant":
        return f"{kept} Everybody the budget reaches gets {constant}, which beats no promotion, p = {constant_p:.3g}."
    return f"{kept} No arm significantly beats no promotion ({constant}: p = {constant_p:.3g}), so nobody gets one."

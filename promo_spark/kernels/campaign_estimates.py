"""What a campaign that nobody drew at random changed, by several methods, and whether their assumptions hold."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.campaign_checks import (
    DIFFERENCE,
    DOUBLY_ROBUST,
    WEIGHTED,
    WHOLE,
    Check,
    at_least,
    at_most,
    tested,
)
from promo_spark.kernels.campaign_history import COVARIATES, MEASURES, describe_before, plain_design
from promo_spark.kernels.difference_in_differences import (
    Effect,
    difference_in_differences,
    pre_trend,
    weighted_difference,
    weighted_trend,
)
from promo_spark.kernels.targeting_weights import (
    Propensities,
    effective_count,
    fit_propensities,
    odds_weights,
    standardised_differences,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NEGATIVE_CONTROL = "untouched_sales_amount"


@dataclass(frozen=True)
class Rules:
    """How a campaign is measured.

    Attributes:
        metrics: Outcomes, of ``MEASURES``.
        periods_before: Periods before the campaign; more than ``periods_after``, so that a placebo has a history.
        weeks_per_period: Length of a period.
        level: Of the intervals.
        min_targeted: Fewer targeted customers with a history tell nothing.
        min_controls: The same for the others.
        min_effective_controls: Fewer others of equal weight tell nothing.
        propensity_ceiling: Customers more likely than this to be targeted have nobody to be compared with.
        max_trimmed_rate: Largest share of the targeted that may be left out for it.
        max_difference: Largest standardised difference that counts as alike.
        max_campaign_difference: Largest difference in the share that another campaign reached meanwhile.
        check_alpha: A test of an assumption fails below this p-value.
        ridge: Of the propensities, in customers.
    """

    metrics: tuple[str, ...]
    periods_before: int
    weeks_per_period: float
    level: float = 0.95
    min_targeted: int = 50
    min_controls: int = 50
    min_effective_controls: float = 50.0
    propensity_ceiling: float = 0.95
    max_trimmed_rate: float = 0.1
    max_difference: float = 0.1
    max_campaign_difference: float = 0.2
    check_alpha: float = 0.05
    ridge: float = 0.1


class Estimate(NamedTuple):
    """One effect, per targeted customer and week, with the customers it comes from."""

    metric: str
    method: str
    effect: Effect
    targeted_count: int
    control_count: int
    effective_controls: float


class Campaign(NamedTuple):
    """All that was found of a campaign."""

    estimates: tuple[Estimate, ...]
    checks: tuple[Check, ...]


class _Comparison(NamedTuple):
    """The customers who can be compared, and how."""

    kept: Bools
    targeted: Bools
    design: Floats
    propensities: Propensities

    @property
    def weights(self) -> Floats:
        return odds_weights(self.propensities.chances, self.targeted)


def measure_campaign(periods: Floats, targeted: Bools, rules: Rules) -> Campaign:
    """Estimate what a campaign changed and check what the estimates assume.

    Args:
        periods: What each customer did in each period, those before first, shape (n_rows, len(MEASURES), n_periods).
        targeted: Shape (n_rows,).
        rules: How.

    Returns:
        With too few customers on either side the failed checks alone.

    Complexity: O(n_rows * (covariates^2 + metrics)) for each of at most 100 Newton steps.

    >>> three = measure_campaign(np.ones((9, len(MEASURES), 9)), np.arange(9) < 3, Rules(("sales_amount",), 6, 2.0))
    >>> three.estimates, three.checks[0]
    ((), Check(check='targeted', covariate='all', value=3.0, threshold=50.0, passed=False))
    """
    sizes = (int(targeted.sum()), int((~targeted).sum()))
    enough = [
        at_least("targeted", WHOLE, sizes[0], rules.min_targeted),
        at_least("controls", WHOLE, sizes[1], rules.min_controls),
    ]
    if not all(check.passed for check in enough) or min(sizes) < 2:  # noqa: PLR2004  (a variance needs two)
        return Campaign((), tuple(enough))
    before = periods[:, :, : rules.periods_before]
    comparison = _compare(before, targeted, rules)
    if comparison is None:
        return Campaign((), (*enough, Check("trimmed_rate", WHOLE, 1.0, rules.max_trimmed_rate, passed=False)))
    estimates = tuple(_estimates(periods, targeted, comparison, rules))
    checks = (*_group_checks(periods, targeted, comparison, rules), *_trends(before, comparison, targeted, rules))
    tests = (*_placebos(before, targeted, periods.shape[2], rules), _negative_control(periods, comparison, rules))
    return Campaign(estimates, (*enough, *checks, *tests))


def _compare(before: Floats, targeted: Bools, rules: Rules) -> _Comparison | None:
    """Fit propensities, leave out who is all but sure to be targeted, and fit again; None where too few are left."""
    design = plain_design(describe_before(before))
    first = fit_propensities(design, targeted, rules.ridge)
    kept = first.chances <= rules.propensity_ceiling
    left = targeted[kept]
    if min(int(left.sum()), int((~left).sum())) < 2:  # noqa: PLR2004  (a variance needs two)
        return None
    again = first if kept.all() else fit_propensities(design[kept], left, rules.ridge)
    return _Comparison(kept, left, design[kept], again)


def _estimates(periods: Floats, targeted: Bools, comparison: _Comparison, rules: Rules) -> Iterator[Estimate]:
    sizes = (int(targeted.sum()), int((~targeted).sum()))
    kept = (int(comparison.targeted.sum()), int((~comparison.targeted).sum()))
    effective = effective_count(comparison.weights[~comparison.targeted])
    for metric in rules.metrics:
        changes = _changes(_of(periods, metric), rules)
        yield Estimate(metric, DIFFERENCE, difference_in_differences(changes, targeted), *sizes, float(sizes[1]))
        for method in (WEIGHTED, DOUBLY_ROBUST):
            effect = _weighted(changes, comparison, expected=method == DOUBLY_ROBUST)
            yield Estimate(metric, method, effect, *kept, effective)


def _group_checks(periods: Floats, targeted: Bools, comparison: _Comparison, rules: Rules) -> Iterator[Check]:
    trimmed = 1 - int(comparison.targeted.sum()) / int(targeted.sum())
    yield at_most("trimmed_rate", WHOLE, trimmed, rules.max_trimmed_rate)
    effective = effective_count(comparison.weights[~comparison.targeted])
    yield at_least("effective_controls", WHOLE, effective, rules.min_effective_controls)
    before = describe_before(periods[:, :, : rules.periods_before])
    even = np.ones(len(targeted))
    after = standardised_differences(before[comparison.kept], comparison.targeted, comparison.weights)
    for check, gaps in (("balance_before", standardised_differences(before, targeted, even)), ("balance_after", after)):
        for name, gap in zip(COVARIATES, gaps.tolist(), strict=True):
            yield at_most(check, name, gap, rules.max_difference)
    others = _of(periods, "campaign_count")[comparison.kept, rules.periods_before :]
    reached = (others.sum(axis=1) > 0).astype(np.float64)
    own, weights = comparison.targeted, comparison.weights
    gap = reached[own].mean() - np.average(reached[~own], weights=weights[~own])
    yield at_most("other_campaigns", WHOLE, float(gap), rules.max_campaign_difference)


def _trends(before: Floats, comparison: _Comparison, targeted: Bools, rules: Rules) -> Iterator[Check]:
    """Whether the groups, and the weighted groups, moved alike before."""
    for metric in rules.metrics:
        yield tested("pre_trend", metric, pre_trend(_of(before, metric), targeted).p_value, rules.check_alpha)
        own = _of(before, metric)[comparison.kept]
        found = weighted_trend(own, comparison.targeted, comparison.design, comparison.propensities)
        yield tested("weighted_trend", metric, found.p_value, rules.check_alpha)


def _placebos(before: Floats, targeted: Bools, periods: int, rules: Rules) -> Iterator[Check]:
    """What the methods find at a date on which nothing happened, from what was known before it.

    Who is targeted for what was bought after that date fails the weighted one, whatever follows the campaign.
    """
    after = periods - rules.periods_before
    early = rules.periods_before - after
    comparison = _compare(before[:, :, :early], targeted, rules) if early > 0 else None
    for metric in rules.metrics:
        plain = weighted = float("nan")
        if early > 0:
            own = _of(before, metric)
            moved = own[:, early:].mean(axis=1) - own[:, :early].mean(axis=1)
            plain = difference_in_differences(moved, targeted).p_value
            if comparison is not None:
                weighted = _weighted(moved, comparison, expected=True).p_value
        yield tested("placebo_date", metric, plain, rules.check_alpha)
        yield tested("weighted_placebo_date", metric, weighted, rules.check_alpha)


def _negative_control(periods: Floats, comparison: _Comparison, rules: Rules) -> Check:
    changes = _changes(_of(periods, NEGATIVE_CONTROL), rules)
    return tested(
        "negative_control", NEGATIVE_CONTROL, _weighted(changes, comparison, expected=True).p_value, rules.check_alpha
    )


def _weighted(changes: Floats, comparison: _Comparison, *, expected: bool) -> Effect:
    return weighted_difference(
        changes[comparison.kept], comparison.targeted, comparison.design, comparison.propensities, expected=expected
    )


def _of(periods: Floats, measure: str) -> Floats:
    own: Floats = periods[:, MEASURES.index(measure)]
    return own


def _changes(values: Floats, rules: Rules) -> Floats:
    """Mean after less mean before, per week, shape (n_rows,)."""
    before, after = values[:, : rules.periods_before], values[:, rules.periods_before :]
    changes: Floats = (after.mean(axis=1) - before.mean(axis=1)) / rules.weeks_per_period
    return changes

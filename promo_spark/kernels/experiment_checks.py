"""What may be wrong with an experiment, told before its effects are believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.arm_effects import compare_arms, measure_arms
from promo_spark.kernels.experiment_cells import Cells, Plan, stratified
from promo_spark.kernels.sample_ratio import balance, missing_rate_p, sample_ratio_p

Floats = NDArray[np.float64]
ALL = "all"
_FEWEST = 2
_MANY_REPEATED = 0.01
_UNEQUAL = 1e-6


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        check: Name of the check.
        result: passed, warning or failed.
        told: The finding in words.
        statistic: What it looks at.
        metric: Metric it is about, or all.
        arm: Arm it is about, or all.
        stops_headline: No effect of the metric may be quoted.
    """

    check: str
    result: Literal["passed", "warning", "failed"]
    told: str
    statistic: float = float("nan")
    metric: str = ALL
    arm: str = ALL
    stops_headline: bool = False


def check_experiment(cells: Cells, plan: Plan) -> list[Check]:
    """Look for all that makes a comparison of arms mislead.

    Args:
        cells: Its sums.
        plan: Arms that there should be, their shares, and thresholds.

    Returns:
        The checks that apply, passed ones too; those that failed stop the headline.

    >>> nobody = Cells(("none",), ("all",), False, np.zeros((1, 7)), np.zeros((1, 3)), np.zeros((1, 1, 1, 3, 3)),
    ...     np.zeros((1, 1, 1, 3)), np.zeros(1))
    >>> found = check_experiment(nobody, Plan("none", ("sales",)))
    >>> [one.told for one in found if one.check == "arms"][-1]
    'there are not two arms with customers: there is nothing to compare.'
    """
    checks = [*_check_arms(cells, plan), *_check_records(cells), *_check_missing(cells, plan)]
    present = [arm for arm, count in enumerate(cells.count("customers")) if count > 0]
    if len(present) >= _FEWEST:
        checks += [_check_ratio(cells, plan, present), *_check_propensities(cells)]
    checks += [*_check_sizes(cells, plan)]
    usable = [arm for arm in present if cells.whole[arm, 0, 0, 0] >= _FEWEST]
    names = [cells.arms[arm] for arm in usable]
    if plan.control in names and len(usable) >= _FEWEST:
        own = cells.only(usable)
        checks += [*_check_balance(own, plan), *_check_variance(own, plan)]
    return checks


def _failed(check: str, told: str, statistic: float, *, metric: str = ALL, arm: str = ALL) -> Check:
    return Check(check, "failed", told, statistic, metric, arm, stops_headline=True)


def _check_arms(cells: Cells, plan: Plan) -> Iterator[Check]:
    found = {arm for arm, count in zip(cells.arms, cells.count("customers"), strict=True) if count > 0}
    wanted = {*plan.shares, plan.control}
    for arm in sorted(wanted - found):
        what = "the control, which the others are held against," if arm == plan.control else "an arm of the design,"
        yield _failed("arms", f"{arm}, {what} has no customer: it was lost, or the table is cut off.", 0.0, arm=arm)
    for arm in sorted(found - wanted) if plan.shares else ():
        yield _failed("arms", f"{arm} has customers and is no arm of the design.", 1.0, arm=arm)
    if len(found) < _FEWEST:
        yield _failed("arms", "there are not two arms with customers: there is nothing to compare.", len(found))
    elif wanted <= found and (found <= wanted or not plan.shares):
        yield Check("arms", "passed", "every arm has customers.", float(len(found)))


def _check_records(cells: Cells) -> Iterator[Check]:
    customers = max(float(cells.count("customers").sum()), 1.0)
    both = float(cells.count("two_arms").sum())
    what = "clusters or customers" if cells.is_clustered else "customers"
    if both:
        told = f"{both:,.0f} {what} are in more than one arm: they were left out, and the draw cannot be trusted."
        yield _failed("two_arms", told, both)
    else:
        yield Check("two_arms", "passed", f"no {what} are in two arms.", 0.0)
    repeated = float(cells.count("duplicates").sum())
    if repeated / customers > _MANY_REPEATED:
        told = f"{repeated:,.0f} customers come up more than once ({repeated / customers:.1%}): one record each counts."
        yield _failed("duplicates", f"{told} Sum them up per customer, or find out why they repeat.", repeated)
    elif repeated:
        told = f"{repeated:,.0f} customers come up more than once; one record each counts."
        yield Check("duplicates", "warning", told, repeated)
    else:
        yield Check("duplicates", "passed", "every customer comes up once.", 0.0)
    early = float(cells.count("early").sum())
    if early:
        told = f"outcomes of {early:,.0f} customers begin before they were assigned: what they did then is no effect."
        yield _failed("outcome_dates", told, early)
    else:
        yield Check("outcome_dates", "passed", "outcomes begin with the assignment.", 0.0)


def _check_missing(cells: Cells, plan: Plan) -> Iterator[Check]:
    missing, customers = cells.count("missing"), cells.count("customers")
    if not missing.sum():
        yield Check("missing_outcomes", "passed", "no outcome is missing.", 0.0)
        return
    some = customers > 0
    p_value = missing_rate_p(missing[some], customers[some])
    rates = ", ".join(f"{arm} {rate:.2%}" for arm, rate in _rates(cells, missing, customers))
    if p_value < plan.alarm:
        told = (
            f"customers without outcomes differ between arms ({rates}; p = {p_value:.2g}): those left are no fair draw."
        )
        yield _failed("missing_outcomes", told, p_value)
    else:
        told = f"{missing.sum():,.0f} customers have no outcome, as often in each arm ({rates}); they were left out."
        yield Check("missing_outcomes", "warning", told, p_value)


def _rates(cells: Cells, part: Floats, whole: Floats) -> list[tuple[str, float]]:
    return [(arm, one / total) for arm, one, total in zip(cells.arms, part, whole, strict=True) if total > 0]


def _check_ratio(cells: Cells, plan: Plan, present: list[int]) -> Check:
    counted = cells.count("units") if cells.is_clustered else cells.count("customers")
    known = [arm for arm in present if not plan.shares or cells.arms[arm] in plan.shares]
    shares = np.array([plan.shares.get(cells.arms[arm]) or _logged_share(cells, arm) for arm in known])
    if len(known) < _FEWEST or not np.isfinite(shares).all():
        return Check("sample_ratio", "warning", "shares of the arms are not known: their sizes cannot be checked.")
    p_value = sample_ratio_p(counted[known], shares)
    total = counted[known].sum()
    told = ", ".join(
        f"{cells.arms[arm]} {counted[arm]:,.0f} where {total * share:,.0f} were due"
        for arm, share in zip(known, shares / shares.sum(), strict=True)
    )
    if p_value < plan.alarm:
        return _failed(
            "sample_ratio",
            f"arms are not of the sizes drawn ({told}; p = {p_value:.2g}): customers were lost or added in one.",
            p_value,
        )
    return Check("sample_ratio", "passed", f"arms are of the sizes drawn ({told}; p = {p_value:.2g}).", p_value)


def _logged_share(cells: Cells, arm: int) -> float:
    logged, total, _ = cells.propensities[arm]
    return float(total / logged) if logged else float("nan")


def _check_propensities(cells: Cells) -> Iterator[Check]:
    logged, total, squares = cells.propensities.T
    if not logged.sum():
        return
    some = logged > 0
    means = total[some] / logged[some]
    spread = np.maximum(squares[some] / logged[some] - means**2, 0.0)
    worst = float(spread.max() ** 0.5)
    if worst > _UNEQUAL**0.5:
        told = "customers of one arm were drawn with different probabilities: arms are not alike, and need weights."
        yield _failed("propensities", told, worst)
    else:
        yield Check("propensities", "passed", "every customer of an arm was drawn with the same probability.", worst)


def _check_sizes(cells: Cells, plan: Plan) -> Iterator[Check]:
    units = cells.whole[:, 0, 0, 0]
    check, what, fewest = "sizes", "customers", plan.min_units
    if cells.is_clustered:
        check, what, fewest = "clusters", "clusters", plan.min_clusters
    for arm, count in zip(cells.arms, units.tolist(), strict=True):
        if cells.is_clustered and _FEWEST <= count < fewest:
            told = (
                f"{arm} has {count:.0f} clusters: intervals are Student's, and still too narrow where clusters differ."
            )
            yield Check(check, "warning", told, count, arm=arm)
        elif count < fewest:
            told = f"{arm} has {count:.0f} {what} of the {fewest} that an arm needs: nothing follows from them."
            yield _failed(check, told, count, arm=arm)
    if (units >= fewest).all():
        yield Check(check, "passed", f"every arm has {fewest} {what} or more.", float(units.min(initial=0.0)))


def _check_balance(cells: Cells, plan: Plan) -> Iterator[Check]:
    control = cells.arms.index(plan.control)
    for arm, name in enumerate(cells.arms):
        if arm == control or not plan.covariates:
            continue
        gaps, p_value = balance(stratified(cells), plan.covariate_places, arm, control)
        worst = int(np.abs(gaps).argmax())
        told = f"{name} and {plan.control} differ most in earlier {plan.covariates[worst]}, by {gaps[worst]:.3f} "
        told += f"standard deviations (p = {p_value:.2g} over all covariates)"
        if p_value < plan.alarm:
            words = f"{told}: more than a fair draw brings about."
            yield _failed("balance", words, p_value, arm=name)
        else:
            yield Check("balance", "passed", f"{told}.", p_value, arm=name)


def _check_variance(cells: Cells, plan: Plan) -> Iterator[Check]:
    control = cells.arms.index(plan.control)
    flat = []
    for metric in plan.told:
        means = measure_arms(cells.whole, plan.place_of(metric))
        others = [arm for arm in range(len(cells.arms)) if arm != control]
        if not any(np.isfinite(compare_arms(means, arm, control).standard_error) for arm in others):
            flat.append(metric)
    for metric in flat:
        told = f"{metric} does not vary, or is undefined: no effect on it, and no error of it, can be told."
        yield _failed("variance", told, 0.0, metric=metric)
    if not flat:
        yield Check("variance", "passed", "every metric varies.", float(len(plan.told)))

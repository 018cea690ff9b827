"""Estimators of campaigns that nobody drew at random."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulations.figures import Figure, Study, coverage, false_positives
from promo_spark.kernels.campaign_checks import DOUBLY_ROBUST
from promo_spark.kernels.campaign_estimates import Rules, measure_campaign
from promo_spark.kernels.campaign_history import MEASURES
from promo_spark.kernels.difference_in_differences import (
    Effect,
    difference_in_differences,
    pre_trend,
    weighted_difference,
)
from promo_spark.kernels.synthetic_control import synthetic_control
from promo_spark.kernels.targeting_weights import fit_propensities

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
World = tuple[Floats, Bools, Floats]
"""Changes, who was targeted, covariates."""
Estimator = Callable[[World], Effect]

_EFFECT, _LEVEL = 0.5, 0.95
_BEFORE, _PERIODS = 6, 9
_RULES = Rules(metrics=("sales_amount",), periods_before=_BEFORE, weeks_per_period=2.0)


def _parallel(draw: np.random.Generator, effect: float, count: int = 2000, share: float = 0.1) -> World:
    """Few targeted, twice as noisy as the others, skewed changes; both groups move alike."""
    targeted = np.arange(count) < share * count
    noise = (draw.gamma(2.0, 1.0, count) - 2.0) * np.where(targeted, 2.0, 1.0)
    return 0.3 + effect * targeted + noise, targeted, np.ones((count, 1))


def _confounded(
    draw: np.random.Generator, effect: float, *, count: int = 1000, bent: bool = False, hidden: bool = False
) -> World:
    """Covariates decide who is targeted, and how sales change: a plain comparison is far off.

    Args:
        draw: Random numbers.
        effect: Of every targeted customer.
        count: Customers.
        bent: Changes follow the covariates by a curve that no line fits.
        hidden: Targeting follows them by a curve that no logistic line fits.
    """
    covariates = draw.normal(size=(count, 3))
    curve = covariates[:, 0] ** 2 - 1
    logits = covariates @ [0.6, -0.4, 0.0] - 1.0 + (0.4 * curve if hidden else 0.0)
    targeted = draw.random(count) < 1 / (1 + np.exp(-logits))
    changes = covariates @ [1.0, 0.5, 0.8] + (0.7 * curve if bent else 0.0)
    noise = draw.standard_t(5, count) * (1 + 0.5 * (covariates[:, 2] > 0))
    return changes + effect * targeted + noise, targeted, np.column_stack([np.ones(count), covariates])


def _difference(world: World) -> Effect:
    return difference_in_differences(world[0], world[1])


def _weighted(world: World, *, expected: bool) -> Effect:
    changes, targeted, design = world
    return weighted_difference(changes, targeted, design, fit_propensities(design, targeted), expected=expected)


def _by_weights(world: World) -> Effect:
    return _weighted(world, expected=False)


def _robust(world: World) -> Effect:
    return _weighted(world, expected=True)


def _held(estimate: Estimator, make: Callable[[float], World], replications: int, case: str) -> list[Figure]:
    """Coverage of a true effect, and rejections where there is none."""
    found = np.array([estimate(make(_EFFECT)).interval(_LEVEL) for _ in range(replications)])
    nothing = np.array([estimate(make(0.0)).p_value for _ in range(replications)])
    return [coverage(found[:, 0], found[:, 1], _EFFECT, case), false_positives(nothing, case)]


def _difference_study(draw: np.random.Generator, replications: int) -> list[Figure]:
    return _held(_difference, lambda effect: _parallel(draw, effect), replications, "200 of 2,000 targeted, skewed")


def _weighting_study(draw: np.random.Generator, replications: int) -> list[Figure]:
    return _held(_by_weights, lambda effect: _confounded(draw, effect), replications, "confounded")


def _robust_study(draw: np.random.Generator, replications: int) -> list[Figure]:
    return [
        *_held(_robust, lambda effect: _confounded(draw, effect), replications, "confounded"),
        *_held(_robust, lambda effect: _confounded(draw, effect, bent=True), replications, "changes bent"),
        *_held(_robust, lambda effect: _confounded(draw, effect, hidden=True), replications, "targeting bent"),
        *_held(_robust, lambda effect: _confounded(draw, effect, count=250), replications, "250 customers"),
    ]


def _pre_trend_study(draw: np.random.Generator, replications: int) -> list[Figure]:
    targeted = np.arange(600) < 60

    def p_value() -> float:
        level = draw.gamma(2.0, 1.0, (600, 1)) * np.where(targeted, 2.0, 1.0)[:, None]
        return pre_trend(level + draw.gamma(2.0, 1.0, (600, _BEFORE)), targeted).p_value

    return [false_positives(np.array([p_value() for _ in range(replications)]), "60 of 600 targeted, skewed")]


def shoppers(draw: np.random.Generator, effect: float, count: int = 800) -> tuple[Floats, Bools]:
    """Periods of shoppers; how much they bought before decides who is targeted, as campaigns do."""
    level = draw.gamma(3.0, 10.0, count)
    periods = np.zeros((count, len(MEASURES), _PERIODS))
    sales = level[:, None] * draw.gamma(4.0, 0.25, (count, _PERIODS))
    sales[:, _BEFORE:] *= 1.1
    seen = sales[:, :_BEFORE].mean(axis=1)
    targeted = draw.random(count) < 1 / (1 + np.exp(1.5 - 0.03 * (seen - 30)))
    sales[:, _BEFORE:] += 2 * effect * targeted[:, None]
    periods[:, MEASURES.index("sales_amount")] = sales
    periods[:, MEASURES.index("visit_count")] = draw.poisson(1 + sales / 15)
    periods[:, MEASURES.index("untouched_sales_amount")] = sales * draw.beta(4.0, 4.0, (count, _PERIODS))
    return periods, targeted


def _campaign_study(draw: np.random.Generator, replications: int) -> list[Figure]:
    """The whole of what a campaign is measured by, its own covariates included."""
    inside, nothing, trends = [], [], []
    for _ in range(replications):
        found = measure_campaign(*shoppers(draw, _EFFECT), _RULES)
        inside.append(next(e.effect for e in found.estimates if e.method == DOUBLY_ROBUST).interval(_LEVEL))
        trends.append(next(check.value for check in found.checks if check.check == "weighted_trend"))
        none = measure_campaign(*shoppers(draw, 0.0), _RULES)
        nothing.append(next(e.effect for e in none.estimates if e.method == DOUBLY_ROBUST).p_value)
    ends = np.array(inside)
    case = "shoppers chosen by past sales"
    return [
        coverage(ends[:, 0], ends[:, 1], _EFFECT, case),
        false_positives(np.array(nothing), case),
        Figure("conservative", float((np.array(trends) >= 1 - _LEVEL).mean()), replications, _LEVEL, "its trends hold"),
    ]


def _synthetic_study(draw: np.random.Generator, replications: int) -> list[Figure]:
    """Twenty units alike: one of them is as good as any."""

    def p_value() -> float:
        shared = draw.normal(size=(18, 3)).cumsum(axis=0)
        units = 20 + shared @ draw.dirichlet(np.ones(3), 20).T + draw.normal(size=(18, 20))
        return synthetic_control(units[:, 0], units[:, 1:], 12).p_value

    # 1 of 20 is exactly 5 %: it counts as rejected.
    kept = np.array([p_value() > 1.5 / 20 for _ in range(replications)])
    return [Figure("conservative", float(kept.mean()), replications, _LEVEL, "19 donors, ranks")]


ESTIMATORS: dict[str, Study] = {
    "difference_in_differences": _difference_study,
    "pre_trend": _pre_trend_study,
    "propensity_weighting": _weighting_study,
    "doubly_robust_att": _robust_study,
    "campaign": _campaign_study,
    "synthetic_control": _synthetic_study,
}

"""Effects where nothing was randomised: against statsmodels and linearmodels, by recovery, and on odd inputs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from linearmodels.panel import PanelOLS
from scipy.optimize import minimize

from promo_spark.kernels.campaign_checks import DOUBLY_ROBUST, METHODS, failed_checks
from promo_spark.kernels.campaign_estimates import Campaign, Rules, measure_campaign
from promo_spark.kernels.campaign_history import COVARIATES, MEASURES, describe_before, plain_design
from promo_spark.kernels.difference_in_differences import (
    difference_in_differences,
    pre_trend,
    weighted_difference,
)
from promo_spark.kernels.synthetic_control import donor_weights, synthetic_control
from promo_spark.kernels.targeting_weights import (
    Propensities,
    fit_propensities,
    odds_weights,
    standardised_differences,
)

BEFORE, PERIODS = 6, 9
RULES = Rules(metrics=("sales_amount",), periods_before=BEFORE, weeks_per_period=2.0)


def confounded(seed: int, count: int = 2000, effect: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Changes, who was targeted, design: both depend on the covariates; each customer's effect is ``effect``."""
    draw = np.random.default_rng(seed)
    covariates = draw.normal(size=(count, 2))
    targeted = draw.random(count) < 1 / (1 + np.exp(1.0 - covariates @ [0.8, -0.5]))
    changes = covariates @ [1.5, 1.0] + effect * targeted + draw.normal(size=count)
    return changes, targeted, np.column_stack([np.ones(count), covariates])


def shoppers(seed: int, count: int = 1200, effect: float = 0.0, bias: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Periods of shoppers whose level decides who is targeted; sales of the targeted drift by ``bias`` per period."""
    draw = np.random.default_rng(seed)
    level = draw.gamma(4.0, 5.0, count)
    targeted = draw.random(count) < 1 / (1 + np.exp(1.5 - 0.08 * (level - 20)))
    periods = np.zeros((count, len(MEASURES), PERIODS))
    sales = level[:, None] + draw.normal(0, 4, (count, PERIODS))
    periods[:, MEASURES.index("untouched_sales_amount")] = sales / 2
    sales[:, BEFORE:] += effect * targeted[:, None]
    sales += bias * targeted[:, None] * np.arange(PERIODS)
    periods[:, MEASURES.index("sales_amount")] = np.maximum(sales, 0)
    periods[:, MEASURES.index("visit_count")] = draw.poisson(level[:, None] / 8, (count, PERIODS))
    return periods, targeted


def tilted_odds(targeted: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Odds that balance the covariates, by a general optimiser."""
    others = design[~targeted]

    def loss(told: np.ndarray) -> tuple[float, np.ndarray]:
        odds = np.exp(others @ told)
        return odds.sum() - design[targeted].sum(axis=0) @ told, odds @ others - design[targeted].sum(axis=0)

    found = minimize(loss, np.zeros(design.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-6})
    return np.exp(others @ found.x)


def test_propensities_are_those_of_a_general_optimiser_and_balance_the_means() -> None:
    _, targeted, design = confounded(1)
    found = fit_propensities(design, targeted, ridge=0.0)
    odds = odds_weights(found.chances, targeted)[~targeted]
    np.testing.assert_allclose(odds, tilted_odds(targeted, design), rtol=1e-5)
    np.testing.assert_allclose(odds @ design[~targeted], design[targeted].sum(axis=0), atol=1e-6)


def test_propensities_come_near_those_of_statsmodels_where_the_model_is_right() -> None:
    _, targeted, design = confounded(1, count=50_000)
    expected = sm.Logit(targeted.astype(float), design).fit(disp=False)
    found = fit_propensities(design, targeted, ridge=0.0)
    np.testing.assert_allclose(found.chances, expected.predict(), atol=0.02)
    error = np.sqrt(np.diag(found.influence.T @ found.influence)) / len(targeted)
    assert (error > expected.bse).all()  # maximum likelihood is the more precise of the two
    assert (error < 1.5 * expected.bse).all()


def test_groups_that_never_overlap_keep_finite_odds() -> None:
    design = np.column_stack([np.ones(40), np.repeat([-1.0, 1.0], 20)])
    chances = fit_propensities(design, np.arange(40) >= 20, ridge=1.0).chances
    assert 0.5 < chances.max() < 1
    assert np.isfinite(odds_weights(chances, np.arange(40) >= 20)).all()


def test_propensities_need_both_groups() -> None:
    with pytest.raises(ValueError, match="both targeted and untargeted"):
        fit_propensities(np.ones((5, 1)), np.ones(5, dtype=bool))


def test_the_difference_is_a_regression_with_hc2_errors() -> None:
    changes, targeted, _ = confounded(2)
    fit = sm.OLS(changes, sm.add_constant(targeted.astype(float))).fit(cov_type="HC2")
    found = difference_in_differences(changes, targeted)
    assert found.effect == pytest.approx(fit.params[1])
    assert found.standard_error == pytest.approx(fit.bse[1])


def test_the_difference_is_the_two_way_panel_of_linearmodels() -> None:
    changes, targeted, _ = confounded(3, count=300)
    level = np.random.default_rng(0).normal(size=300)
    rows = pd.DataFrame(
        {
            "y": np.concatenate([level, level + changes]),
            "d": np.concatenate([np.zeros(300), targeted]),
            "customer": np.tile(np.arange(300), 2),
            "period": np.repeat([0, 1], 300),
        }
    ).set_index(["customer", "period"])
    panel = PanelOLS(rows["y"], rows[["d"]], entity_effects=True, time_effects=True)
    fit = panel.fit(cov_type="clustered", cluster_entity=True, auto_df=False, count_effects=False)
    found = difference_in_differences(changes, targeted)
    assert found.effect == pytest.approx(fit.params["d"])
    assert found.standard_error == pytest.approx(fit.std_errors["d"], rel=0.02)


def test_the_pre_trend_is_the_event_study_of_linearmodels() -> None:
    draw = np.random.default_rng(4)
    before, targeted = draw.normal(size=(400, 4)) + draw.normal(size=(400, 1)), np.arange(400) < 150
    rows = pd.DataFrame(
        {
            "y": before.ravel(),
            "customer": np.repeat(np.arange(400), 4),
            "period": np.tile(np.arange(4), 400),
        }
    )
    for lead in range(3):
        rows[f"lead_{lead}"] = (rows["period"] == lead) & targeted[rows["customer"]]
    indexed = rows.set_index(["customer", "period"]).astype(float)
    names = [f"lead_{lead}" for lead in range(3)]
    panel = PanelOLS(indexed["y"], indexed[names], entity_effects=True, time_effects=True)
    fit = panel.fit(cov_type="clustered", cluster_entity=True, auto_df=False, count_effects=False)
    found = pre_trend(before, targeted)
    np.testing.assert_allclose(found.leads, fit.params[names].to_numpy(), atol=1e-10)
    joint = fit.wald_test(formula=" = ".join(names) + " = 0")
    assert found.p_value == pytest.approx(joint.pval, abs=0.02)


def test_a_trend_before_is_found_and_none_where_there_is_none() -> None:
    draw = np.random.default_rng(5)
    flat, targeted = draw.normal(size=(500, 4)), np.arange(500) < 200
    assert pre_trend(flat, targeted).p_value > 0.05
    assert pre_trend(flat + 0.3 * targeted[:, None] * np.arange(4), targeted).p_value < 1e-4


@pytest.mark.parametrize("before", [np.ones((20, 3)), np.random.default_rng(0).normal(size=(20, 1))])
def test_a_trend_that_cannot_be_tested_has_no_p_value(before: np.ndarray) -> None:
    assert np.isnan(pre_trend(before, np.arange(20) < 10).p_value)


@pytest.mark.parametrize("expected", [False, True])
def test_weighting_is_its_formula_and_its_error_a_bootstrap(expected: bool) -> None:
    changes, targeted, design = confounded(6, count=1500)

    def by_hand(rows: np.ndarray) -> float:
        y, d, x = changes[rows], targeted[rows], design[rows]
        w = tilted_odds(d, x)
        m = x @ np.linalg.lstsq(x[~d], y[~d], rcond=None)[0] if expected else np.zeros(len(y))
        return (y - m)[d].mean() - np.average((y - m)[~d], weights=w)

    found = weighted_difference(
        changes, targeted, design, fit_propensities(design, targeted, ridge=0.0), expected=expected
    )
    assert found.effect == pytest.approx(by_hand(np.arange(1500)), abs=1e-6)
    draw = np.random.default_rng(7)
    drawn = [by_hand(draw.integers(0, 1500, 1500)) for _ in range(150)]
    assert found.standard_error == pytest.approx(np.std(drawn, ddof=1), rel=0.2)
    assert found.effect == pytest.approx(1.0, abs=4 * found.standard_error)


def test_doubly_robust_holds_where_either_model_is_wrong() -> None:
    changes, targeted, design = confounded(8, count=20_000)
    blind, right = np.ones((20_000, 1)), fit_propensities(design, targeted, ridge=0.0)
    wrong = Propensities(np.full(20_000, targeted.mean()), np.zeros((20_000, 3)))
    for told, seen in ((wrong, design), (right._replace(influence=np.zeros((20_000, 1))), blind)):
        assert weighted_difference(changes, targeted, seen, told, expected=True).effect == pytest.approx(1.0, abs=0.1)
    assert abs(difference_in_differences(changes, targeted).effect - 1.0) > 0.2


def test_the_order_of_customers_changes_nothing() -> None:
    periods, targeted = shoppers(9, effect=2.0)
    order = np.random.default_rng(1).permutation(len(targeted))
    one, other = (measure_campaign(p, t, RULES) for p, t in ((periods, targeted), (periods[order], targeted[order])))
    for left, right in zip(one.estimates, other.estimates, strict=True):
        assert left.effect.effect == pytest.approx(right.effect.effect, abs=1e-9)


def effect_of(found: Campaign, method: str) -> float:
    return next(one.effect.effect for one in found.estimates if one.method == method)


def test_a_planted_effect_is_found_and_every_check_passes() -> None:
    found = measure_campaign(*shoppers(10, effect=4.0), RULES)
    assert effect_of(found, DOUBLY_ROBUST) == pytest.approx(2.0, abs=0.4)  # 4 a period of two weeks
    failed = {check.check for check in found.checks if check.passed is False}
    assert failed == {"balance_before"}
    assert failed_checks(found.checks, "sales_amount", DOUBLY_ROBUST, ("balance_after", "placebo_date")) == []


def test_a_drift_of_the_targeted_fails_the_checks() -> None:
    found = measure_campaign(*shoppers(11, bias=0.8), RULES)
    failed = {check.check for check in found.checks if check.passed is False}
    assert {"pre_trend", "placebo_date"} <= failed


def test_another_campaign_meanwhile_fails_its_check() -> None:
    periods, targeted = shoppers(12)
    periods[targeted, MEASURES.index("campaign_count"), -1] = 1.0
    failed = [check.check for check in measure_campaign(periods, targeted, RULES).checks if check.passed is False]
    assert "other_campaigns" in failed


@pytest.mark.parametrize(
    ("own", "other", "failing"), [(3, 1000, "targeted"), (1000, 0, "controls"), (0, 0, "targeted")]
)
def test_too_few_on_a_side_is_a_failed_check_and_no_estimate(own: int, other: int, failing: str) -> None:
    periods, _ = shoppers(13, count=own + other)
    found = measure_campaign(periods, np.arange(own + other) < own, RULES)
    assert found.estimates == ()
    assert failing in [check.check for check in found.checks if check.passed is False]


def test_nobody_alike_fails_overlap() -> None:
    periods, targeted = shoppers(14)
    periods[targeted, MEASURES.index("sales_amount")] += 500
    periods[targeted, MEASURES.index("visit_count")] += 30
    found = measure_campaign(periods, targeted, RULES)
    assert "trimmed_rate" in [check.check for check in found.checks if check.passed is False]


def test_a_constant_outcome_has_no_p_value_and_no_test() -> None:
    periods, targeted = shoppers(15)
    rules = Rules(metrics=("discount_amount",), periods_before=BEFORE, weeks_per_period=2.0)
    found = measure_campaign(periods, targeted, rules)
    assert [one.effect.effect for one in found.estimates] == [0.0] * len(METHODS)
    assert all(np.isnan(one.effect.p_value) for one in found.estimates)
    assert {c.passed for c in found.checks if c.covariate == "discount_amount"} == {None}


def test_covariates_are_finite_even_of_nothing() -> None:
    nothing = describe_before(np.zeros((3, len(MEASURES), 2)))
    assert nothing.shape == (3, len(COVARIATES))
    assert np.isfinite(plain_design(nothing)).all()


def test_differences_are_standardised_as_written() -> None:
    covariates = np.random.default_rng(16).normal(size=(50, 2))
    targeted, weights = np.arange(50) < 20, np.random.default_rng(17).random(50)
    pooled = np.sqrt((covariates[:20].var(axis=0, ddof=1) + covariates[20:].var(axis=0, ddof=1)) / 2)
    gap = covariates[:20].mean(axis=0) - (weights[20:, None] * covariates[20:]).sum(axis=0) / weights[20:].sum()
    np.testing.assert_allclose(standardised_differences(covariates, targeted, weights), gap / pooled)


def test_synthetic_weights_are_the_constrained_least_squares() -> None:
    draw = np.random.default_rng(18)
    donors, unit = draw.normal(20, 3, (12, 6)), draw.normal(20, 3, 12)
    found = donor_weights(unit, donors)
    expected = minimize(
        lambda w: ((unit - donors @ w) ** 2).sum(),
        np.full(6, 1 / 6),
        bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    np.testing.assert_allclose(found, expected.x, atol=1e-4)
    assert found.sum() == pytest.approx(1)


def test_a_touched_unit_stands_out_among_its_donors() -> None:
    draw = np.random.default_rng(19)
    shared = draw.normal(size=(18, 2)).cumsum(axis=0)
    units = 30 + shared @ draw.dirichlet(np.ones(2), 25).T + draw.normal(0, 0.5, (18, 25))
    units[12:, 0] += 6.0
    found = synthetic_control(units[:, 0], units[:, 1:], 12)
    assert found.p_value == pytest.approx(1 / 25)
    assert found.effect == pytest.approx(6.0, abs=1.0)
    assert synthetic_control(units[:, 3], units[:, 4:], 12).p_value > 1 / 22


def test_a_perfect_fit_alone_shows_nothing() -> None:
    draw = np.random.default_rng(20)
    donors = draw.normal(20, 3, (18, 19))
    mix = donors @ np.full(19, 1 / 19)
    mix[12:] += 0.01
    assert synthetic_control(mix, donors, 12).p_value > 0.5


@pytest.mark.parametrize(("donors", "before"), [(1, 12), (5, 0), (5, 18)])
def test_a_synthetic_control_needs_donors_and_both_times(donors: int, before: int) -> None:
    with pytest.raises(ValueError, match="two donors and periods before and after"):
        synthetic_control(np.ones(18), np.ones((18, donors)), before)

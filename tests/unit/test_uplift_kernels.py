"""Learners of uplift and the safe policy on simulated experiments, and their sums against plain regressions."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from promo_spark.kernels.doubly_robust import check_propensities, cluster_moments, mean_and_error, overlap_of
from promo_spark.kernels.effect_models import fit_s_learner, group_arms
from promo_spark.kernels.gram_regression import Grams, fit_standardiser, gather_grams, solve_ridge
from promo_spark.kernels.linear_learners import (
    Evidence,
    Kind,
    LinearFits,
    arm_weights,
    fit_linear,
    gather_evidence,
    prepare_nuisances,
)
from promo_spark.kernels.policy_rules import judge_rules, make_rules
from promo_spark.kernels.policy_value import budget_price, choose_arms
from promo_spark.kernels.safe_policy import PolicyComparison, compare_values
from promo_spark.kernels.uplift_folds import Block, fit_nuisances, score_rows

FOLDS, ARMS, RIDGE = 3, 3, 1.0
NAMES = ["low", "high"]


def draw(seed: int, customers: int, slope: float, decisions: int = 2) -> tuple[Block, np.ndarray]:
    """Repeated decisions; uplift of arm a is a * (0.5 + slope * x0)."""
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(size=(customers, 3)), decisions, axis=0)
    n = len(x)
    arms = rng.integers(0, ARMS, n)
    truth = (0.5 + slope * x[:, :1]) * np.array([1.0, 2.0])
    effect = np.column_stack([np.zeros(n), truth])[np.arange(n), arms]
    own = np.repeat(rng.normal(size=customers), decisions)
    outcomes = (x[:, 1] + own + effect + rng.normal(size=n))[:, None]
    folds = np.repeat(rng.integers(0, FOLDS, customers), decisions)
    clusters = np.repeat(np.arange(customers), decisions)
    design = fit_standardiser(x).design(x)
    return Block(design, outcomes, arms, folds, np.full(n, 1 / ARMS), clusters), truth


def grams_of(block: Block) -> Grams:
    flat = gather_grams(block.design, block.outcomes, block.folds * ARMS + block.arms, FOLDS * ARMS)
    return Grams(*(part.reshape(FOLDS, ARMS, *part.shape[1:]) for part in flat))


def fit(block: Block, kind: Kind, depths: dict[str, float] | None = None) -> LinearFits:
    grams, groups = grams_of(block), group_arms(NAMES, depths)
    nuisances = prepare_nuisances(grams, RIDGE)
    evidence = Evidence(grams, *gather_evidence(block, nuisances, groups, arm_weights(grams), kind))
    return fit_linear(kind, evidence, groups, RIDGE)


def compare(block: Block) -> PolicyComparison:
    nuisances = fit_nuisances(grams_of(block), RIDGE)
    levels = np.stack([nuisances[fold, fold] for fold in range(FOLDS)])
    rules = make_rules(fit(block, "dr").by_fold, np.zeros(2), block.design, block.folds, budget=None)
    return compare_values(judge_rules(block, levels, rules), NAMES, None, 0.025)


def test_ridge_from_sums_is_ridge_from_rows() -> None:
    block, _ = draw(1, 200, 0.5)
    grams = gather_grams(block.design, block.outcomes, np.zeros(len(block.arms), dtype=np.int64), 1)
    own = solve_ridge(grams.xx[0], grams.xy[0], 5.0)[:, 0]
    other = Ridge(alpha=5.0).fit(block.design[:, 1:], block.outcomes[:, 0])
    np.testing.assert_allclose(own, [other.intercept_, *other.coef_], rtol=1e-6, atol=1e-8)


def test_nuisances_of_a_judged_fold_have_not_seen_it() -> None:
    block, _ = draw(2, 300, 0.5)
    before = fit_nuisances(grams_of(block), RIDGE)
    is_judged = (block.folds == 0)[:, None]
    changed = block._replace(outcomes=block.outcomes + 100.0 * is_judged * block.design[:, 1:2])
    after = fit_nuisances(grams_of(changed), RIDGE)
    np.testing.assert_allclose(after[0], before[0], atol=1e-9)
    assert np.abs(after[2, 2] - before[2, 2]).max() > 1.0


def test_a_folds_model_has_not_seen_the_fold() -> None:
    block, _ = draw(2, 300, 0.5)
    noise = np.where(block.folds[:, None] == 1, 50.0 * np.random.default_rng(1).normal(size=(len(block.arms), 1)), 0.0)
    changed = block._replace(outcomes=block.outcomes + noise)
    for kind in ("s", "t", "x", "r", "dr"):
        one, other = fit(block, kind).by_fold, fit(changed, kind).by_fold
        np.testing.assert_allclose(one[1].coefficients, other[1].coefficients, atol=1e-9, err_msg=kind)
        assert np.abs(one[0].coefficients - other[0].coefficients).max() > 0.01


@pytest.mark.parametrize("kind", ["s", "t", "x", "r", "dr"])
def test_every_learner_recovers_the_planted_uplift(kind: Kind) -> None:
    block, truth = draw(3, 6000, 0.5)
    gap = fit(block, kind).full.uplift(block.design)[..., 0] - truth
    assert np.sqrt((gap**2).mean()) < 0.15
    assert abs(gap.mean()) < 0.08


@pytest.mark.parametrize("depths", [None, {"low": 0.1, "high": 0.2}])
def test_intervals_hold_the_truth_at_the_stated_rate(depths: dict[str, float] | None) -> None:
    held = []
    for seed in range(40):
        block, truth = draw(seed, 800, 0.5)
        full = fit(block, "dr", depths).full
        gap = np.abs(full.uplift(block.design)[..., 0] - truth)
        held.append((gap <= 1.645 * full.errors(block.design)[..., 0]).mean())
    assert 0.86 <= np.mean(held) <= 0.96


def test_mean_scores_and_their_clustered_errors_are_honest() -> None:
    held = []
    for seed in range(200):
        block, truth = draw(seed, 150, 0.5, decisions=3)
        nuisances = fit_nuisances(grams_of(block), RIDGE)
        scores = score_rows(block, np.stack([nuisances[fold, fold] for fold in range(FOLDS)]))[:, 1, 0]
        moments = cluster_moments(np.column_stack([np.ones(len(scores)), scores]), block.clusters)
        mean, error = mean_and_error(moments, np.array([0.0, 1.0]))
        held.append(abs(mean - truth[:, 1].mean()) <= 1.96 * error)
    assert 0.90 <= np.mean(held) <= 0.985


def test_s_learner_is_the_regression_with_interactions() -> None:
    block, _ = draw(4, 500, 0.5)
    given = block.arms[:, None] == np.array([1, 2])
    crossed = [block.design[:, 1:], *(block.design * given[:, place : place + 1] for place in range(2))]
    columns = np.column_stack(crossed)
    plain = np.linalg.lstsq(np.column_stack([np.ones(len(columns)), columns]), block.outcomes[:, 0], rcond=None)[0]
    size = block.design.shape[1]
    told = fit_s_learner(grams_of(block), group_arms(NAMES, None), [1e-9])[:, 0]
    np.testing.assert_allclose(told.ravel(), plain[size:], atol=1e-5)


def test_it_falls_back_where_all_respond_alike_and_personalises_where_they_do_not() -> None:
    alike = [compare(draw(seed, 500, 0.0)[0]) for seed in range(60)]
    assert np.mean([one.verdict != "personalised" for one in alike]) >= 0.95
    assert {one.constant_arm for one in alike if one.verdict == "constant"} == {"high"}
    different = [compare(draw(seed, 1500, 1.0)[0]) for seed in range(10)]
    assert all(one.verdict == "personalised" for one in different)
    assert all("Personalised" in one.words for one in different)


def test_a_price_meets_the_budget_and_more_budget_never_earns_less() -> None:
    rng = np.random.default_rng(1)
    gains, costs = rng.normal(size=(500, 3)), rng.random((500, 3)) + 0.1
    earned = []
    for budget in (0.0, 0.05, 0.1, 0.2, 0.5):
        chosen = choose_arms(gains, costs, budget_price(gains, costs, budget))
        rows = np.flatnonzero(chosen)
        assert costs[rows, chosen[rows] - 1].sum() <= budget * 500 + 1e-9
        earned.append(gains[rows, chosen[rows] - 1].sum())
    assert earned == sorted(earned)
    assert earned[0] == 0


@pytest.mark.parametrize("wrong", [0.0, 1.0, np.nan, -0.1])
def test_propensities_that_cannot_be_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="1 of 2 rows have a propensity that is missing or not between 0 and 1"):
        check_propensities(np.array([[0.5, 0.5], [wrong, 1 - wrong]]))


def test_no_overlap_is_an_error() -> None:
    with pytest.raises(ValueError, match="every one was trimmed"):
        overlap_of(np.empty(0), trimmed=3)


def test_constant_covariates_and_outcomes_of_zero_give_no_uplift() -> None:
    block, _ = draw(5, 100, 0.5)
    flat = block._replace(design=fit_standardiser(np.ones((200, 3))).design(np.ones((200, 3))))
    told = fit(flat._replace(outcomes=np.zeros((200, 1))), "dr").full
    assert np.abs(told.uplift(flat.design)).max() < 1e-12
    assert np.ptp(fit(flat, "dr").full.uplift(flat.design), axis=0).max() < 1e-12

"""Off-policy estimators: as Open Bandit Pipeline has them, against brute force, and on logs that support nothing."""

from __future__ import annotations

import numpy as np
import pytest

from promo_spark.kernels.off_policy import Log, LogSums, PolicyEstimate, estimate_policies, sum_log
from promo_spark.kernels.poisson_bootstrap import poisson_counts
from promo_spark.kernels.policy_words import refusal

POLICIES, CLIPS = ("logged", "none", "target"), (2.0,)
# Of obp 0.4.1 on `bandit_log()`: InverseProbabilityWeighting, SelfNormalizedInverseProbabilityWeighting, DoublyRobust
# and SwitchDoublyRobust(tau=2), each by estimate_policy_value.
OPEN_BANDIT_PIPELINE = {
    "ips": 0.8230882987637427,
    "snips": 0.8585399729313934,
    "doubly_robust": 0.8990775514162643,
    "switch_dr": 0.9866299295671142,
}


def bandit_log(count: int = 600, n_arms: int = 3) -> Log:
    """The log that was given to Open Bandit Pipeline."""
    draw = np.random.default_rng(20171030)
    chances = 0.9 * draw.dirichlet(np.ones(n_arms) * 2, count) + 0.1 / n_arms
    arms = np.array([draw.choice(n_arms, p=row) for row in chances])
    expected = draw.normal(1, 1, (count, n_arms))
    rows = np.arange(count)
    rewards = expected[rows, arms] + draw.normal(0, 1, count)
    policy = draw.dirichlet(np.ones(n_arms), count)
    nothing = np.zeros_like(policy)
    nothing[:, 0] = 1.0
    both = np.stack([nothing, policy], axis=1)
    supported = np.ones((count, n_arms), dtype=bool)
    return Log(rewards, arms, chances[rows, arms], expected, both, supported, rows, rows * 7919)


def estimates(log: Log, replicates: int = 200) -> dict[tuple[str, str], PolicyEstimate]:
    found = estimate_policies(sum_log(log, CLIPS, replicates), POLICIES, CLIPS, level=0.95, against="none")
    return {(one.policy, one.estimator): one for one in found}


@pytest.mark.parametrize("estimator", sorted(OPEN_BANDIT_PIPELINE))
def test_values_are_those_of_open_bandit_pipeline(estimator: str) -> None:
    assert estimates(bandit_log())["target", estimator].value == pytest.approx(OPEN_BANDIT_PIPELINE[estimator])


def test_clipping_and_effective_size_are_as_written() -> None:
    log = bandit_log()
    weights = log.chances[np.arange(600), 1, log.arms] / log.propensities
    found = estimates(log)["target", "clipped_ips"]
    assert found.value == pytest.approx(np.mean(np.minimum(weights, 2.0) * log.rewards))
    assert found.effective_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


@pytest.mark.parametrize("estimator", ["ips", "snips", "doubly_robust", "clipped_ips", "switch_dr"])
def test_the_logged_policy_earned_what_was_earned(estimator: str) -> None:
    log = bandit_log()
    found = estimates(log)["logged", estimator]
    assert found.value == pytest.approx(log.rewards.mean())
    assert found.effective_size == pytest.approx(600)


@pytest.mark.parametrize("estimator", ["ips", "snips", "doubly_robust"])
def test_errors_are_those_of_a_bootstrap_over_customers(estimator: str) -> None:
    log = bandit_log()
    clustered = log._replace(clusters=np.repeat(np.arange(200), 3), rewards=np.repeat(log.rewards[::3], 3))
    found = estimates(clustered, replicates=2000)["target", estimator]
    spread = (found.bootstrap[1] - found.bootstrap[0]) / (2 * 1.96)
    assert found.standard_error == pytest.approx(spread, rel=0.12)


def test_errors_of_a_mean_are_the_usual_ones() -> None:
    log = bandit_log()
    found = estimates(log)["logged", "ips"]
    assert found.standard_error == pytest.approx(log.rewards.std() / np.sqrt(600))


def test_gains_are_taken_in_pairs() -> None:
    found = estimates(bandit_log())
    own, rival = found["target", "doubly_robust"], found["none", "doubly_robust"]
    assert own.gain == pytest.approx(own.value - rival.value)
    assert rival.gain_error == 0
    assert own.gain_error < own.standard_error + rival.standard_error


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    log = bandit_log()
    parts = [sum_log(Log(*(column[rows] for column in log)), CLIPS, 50) for rows in (slice(0, 250), slice(250, 600))]
    whole = sum_log(log, CLIPS, 50)
    for name in LogSums._fields:
        added = getattr(parts[0], name) + getattr(parts[1], name)
        np.testing.assert_allclose(added, getattr(whole, name), atol=1e-9)


def test_every_estimator_finds_the_truth_of_a_policy() -> None:
    draw = np.random.default_rng(3)
    count = 40_000
    kind = draw.integers(0, 2, count)
    propensity = np.where(kind == 1, 0.8, 0.3)
    arms = (draw.random(count) < propensity).astype(np.int64)
    means = np.stack([np.ones(count), 1.0 + kind], axis=1)
    rewards = means[np.arange(count), arms] + draw.normal(size=count)
    treat_all = np.zeros((count, 2, 2))
    treat_all[:, 0, 0], treat_all[:, 1, 1] = 1.0, 1.0
    own = np.where(arms == 1, propensity, 1 - propensity)
    wrong_model = np.zeros((count, 2))
    log = Log(rewards, arms, own, wrong_model, treat_all, np.ones((count, 2), dtype=bool), np.arange(count), kind)
    found = estimates(log)
    for estimator in ("ips", "snips", "doubly_robust"):
        assert found["target", estimator].value == pytest.approx(1.5, abs=0.05)
        assert found["target", estimator].gain == pytest.approx(0.5, abs=0.06)
    assert rewards[arms == 1].mean() > 1.6  # who was told was chosen


def test_what_the_log_could_not_have_done_has_no_support() -> None:
    log = bandit_log()
    unsupported = log._replace(supported=np.tile([True, True, False], (600, 1)))
    found = estimates(unsupported)["target", "ips"]
    assert found.support == pytest.approx(1 - log.chances[:, 1, 2].mean())
    assert "the log could have done" in (refusal(found, min_support=0.95, min_effective=10) or "")


def test_an_arm_that_the_log_never_assigned_has_no_value_by_weighting() -> None:
    log = bandit_log()
    never = log._replace(arms=np.zeros(600, dtype=np.int64), chances=np.tile([[1.0, 0, 0], [0, 0, 1.0]], (600, 1, 1)))
    found = estimates(never)
    assert np.isnan(found["target", "snips"].value)
    assert found["target", "ips"].effective_size == 0
    told = refusal(found["target", "ips"], min_support=0.5, min_effective=10)
    assert told == "no conclusion: what is known of it is that of 0 decisions, and 10 are needed"


def test_few_effective_decisions_conclude_nothing() -> None:
    found = estimates(bandit_log())["target", "ips"]
    assert refusal(found, min_support=0.95, min_effective=599)
    assert refusal(found, min_support=0.95, min_effective=50) is None


def test_resamples_count_as_poisson_does() -> None:
    counts = poisson_counts(np.arange(4000) * 2_654_435_761, 100)
    assert counts.mean() == pytest.approx(1.0, abs=0.01)
    assert counts.var() == pytest.approx(1.0, abs=0.02)
    assert (counts == 0).mean() == pytest.approx(np.exp(-1), abs=0.005)
    assert abs(np.corrcoef(counts[:, 0], counts[:, 1])[0, 1]) < 0.05
    assert abs(np.corrcoef(counts[:-1, 0], counts[1:, 0])[0, 1]) < 0.05

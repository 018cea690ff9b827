"""Estimators of what policies would have earned on decisions of another one."""

from __future__ import annotations

import numpy as np

from benchmarks.simulations.figures import Figure, Study, coverage, false_positives
from promo_spark.kernels.doubly_robust import normal_quantile
from promo_spark.kernels.off_policy import Log, PolicyEstimate, estimate_policies, sum_log

_POLICIES = ("logged", "none", "target")
_CLIPS = (10.0,)
_CUSTOMERS, _DECISIONS = 400, 2
_SHIFT = 0.4


def make_log(draw: np.random.Generator, effect: float) -> tuple[Log, float]:
    """Two decisions per customer, whose taste decides what they are given and what they buy.

    Returns:
        The log, with a model that is wrong by half, and what the target policy is truly worth beside none.
    """
    taste = np.repeat(draw.normal(size=_CUSTOMERS), _DECISIONS)
    own = np.repeat(draw.normal(size=_CUSTOMERS), _DECISIONS)
    count = len(taste)
    logits = np.column_stack([np.zeros(count), 0.5 * taste - 0.3, -0.5 * taste - 0.3])
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    arms = (draw.random((count, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    means = 1 + 0.5 * taste[:, None] + np.array([0.0, effect, -effect])
    rows = np.arange(count)
    rewards = means[rows, arms] + 0.5 * own + draw.gamma(1.0, 1.0, count) - 1.0
    nothing, target = np.zeros((count, 3)), np.zeros((count, 3))
    nothing[:, 0] = 1.0
    target[rows, np.where(taste > 0, 1, 2)] = 1.0
    log = Log(
        rewards=rewards,
        arms=arms,
        propensities=chances[rows, arms],
        expected=means / 2,
        chances=np.stack([nothing, target], axis=1),
        supported=np.ones((count, 3), dtype=bool),
        clusters=np.repeat(np.arange(_CUSTOMERS), _DECISIONS),
        hashes=np.repeat(draw.integers(-(2**62), 2**62, _CUSTOMERS), _DECISIONS),
    )
    # Half of the customers get +effect, half -effect: nothing on average; their values differ from 1 by their taste.
    return log, 0.0


def _found(log: Log, estimator: str, replicates: int) -> dict[str, PolicyEstimate]:
    sums = sum_log(log, _CLIPS, replicates)
    told = estimate_policies(sums, _POLICIES, _CLIPS, level=0.95, against="none")
    return {one.policy: one for one in told if one.estimator == estimator}


def _study(estimator: str) -> Study:
    def study(draw: np.random.Generator, replications: int) -> list[Figure]:
        value, gain, nothing = [], [], []
        width = normal_quantile(0.95)
        for _ in range(replications):
            log, truth = make_log(draw, _SHIFT)
            found = _found(log, estimator, 0)["target"]
            value.append(found.interval)
            gain.append((found.gain - width * found.gain_error - truth, found.gain + width * found.gain_error - truth))
            empty, _ = make_log(draw, 0.0)
            none = _found(empty, estimator, 0)["target"]
            nothing.append(0.0 if abs(none.gain) > width * none.gain_error else 1.0)
        logs = (make_log(draw, _SHIFT)[0] for _ in range(replications))
        bootstrap = [_found(log, estimator, 400)["target"].bootstrap for log in logs]
        ends, gains, quantiles = np.array(value), np.array(gain), np.array(bootstrap)
        return [
            coverage(ends[:, 0], ends[:, 1], 1.0, "value, normal interval"),
            coverage(gains[:, 0], gains[:, 1], 0.0, "gain over none"),
            false_positives(np.array(nothing), "gain over none"),
            coverage(quantiles[:, 0], quantiles[:, 1], 1.0, "value, Poisson resamples"),
        ]

    return study


ESTIMATORS: dict[str, Study] = {
    f"off_policy_{estimator}": _study(estimator) for estimator in ("ips", "snips", "doubly_robust", "switch_dr")
}

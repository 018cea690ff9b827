"""What a policy would have earned, from decisions that another one made."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.doubly_robust import cluster_sums, normal_quantile
from promo_spark.kernels.poisson_bootstrap import poisson_counts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOGGED = "logged"
"""The policy that made the decisions; always the first."""
IPS, SNIPS, DOUBLY_ROBUST, CLIPPED_IPS, SWITCH_DR = "ips", "snips", "doubly_robust", "clipped_ips", "switch_dr"
_PLAIN = 3  # columns of a policy that no limit is set to: weight, weighted reward, doubly robust


class Log(NamedTuple):
    """Decisions side by side; those of one customer are adjacent.

    Attributes:
        rewards: Shape (n_rows,).
        arms: Arm that was assigned, shape (n_rows,).
        propensities: P(that arm), above 0, shape (n_rows,).
        expected: Rewards that a model fitted on other customers expects of each arm, shape (n_rows, n_arms).
        chances: P(arm) by each policy but the logged one, shape (n_rows, n_policies - 1, n_arms); a policy that takes
            an arm the log does not know sums to less than 1.
        supported: Whether the arm could have been assigned there, shape (n_rows, n_arms).
        clusters: Customer, shape (n_rows,).
        hashes: A hash of the customer and the seed, shape (n_rows,).
    """

    rewards: Floats
    arms: Ints
    propensities: Floats
    expected: Floats
    chances: Floats
    supported: NDArray[np.bool_]
    clusters: Ints
    hashes: Ints


class LogSums(NamedTuple):
    """Sums over customers; those of parts of the log add up.

    Attributes:
        total: Of the values of ``row_values``, shape (n_values,).
        second: Of the products of customers' sums, shape (n_values, n_values).
        squares: Of squared weights, shape (n_policies,).
        supported: Of the chance that policies give to supported arms, shape (n_policies,).
        resampled: Totals of each resample, shape (replicates, n_values).
    """

    total: Floats
    second: Floats
    squares: Floats
    supported: Floats
    resampled: Floats


class PolicyEstimate(NamedTuple):
    """One policy by one estimator.

    Attributes:
        policy: Its name.
        estimator: ips, snips, doubly_robust, clipped_ips or switch_dr.
        clip: Limit of the weights; 0 where there is none.
        value: Reward per decision.
        standard_error: Clustered by customer.
        interval: Normal.
        bootstrap: Interval between quantiles of the resamples.
        effective_size: (sum of weights)^2 / sum of squared weights, in decisions.
        support: Share of what the policy does that the log could have done.
        gain: Value over that of the policy it is held against, by the same estimator.
        gain_error: Clustered by customer, in pairs.
    """

    policy: str
    estimator: str
    clip: float
    value: float
    standard_error: float
    interval: tuple[float, float]
    bootstrap: tuple[float, float]
    effective_size: float
    support: float
    gain: float
    gain_error: float


def row_values(log: Log, clips: Sequence[float]) -> tuple[Floats, Floats]:
    """What each row adds to the estimates of each policy.

    With w = P(arm by the policy) / propensity, r the reward, q what is expected and v = sum over arms of P(arm) q(arm):
    inverse propensity scoring sums w r, its clipped form min(w, c) r; doubly robust v + w (r - q(arm)), of which switch
    leaves out the second part where w > c.

    Args:
        log: The decisions.
        clips: The limits c.

    Returns:
        Values, shape (n_rows, 1 + n_policies * (3 + 2 * len(clips))): a 1, then for each policy, the logged one first,
        w, w r, doubly robust, clipped for each limit, switch for each limit. Weights, shape (n_rows, n_policies).

    Source: Horvitz and Thompson 1952; Dudík, Langford and Li 2011; Wang, Agarwal and Dudík 2017; the logged policy has
    weights of 1.

    >>> log = Log(np.array([4.0]), np.array([1]), np.array([0.5]), np.array([[1.0, 3.0]]), np.array([[[0.0, 1.0]]]),
    ...     np.ones((1, 2), dtype=bool), np.zeros(1, dtype=int), np.zeros(1, dtype=int))
    >>> row_values(log, [1.5])[0][0, 6:].tolist()  # w, w r, dr = 3 + 2 (4 - 3), min(w, 1.5) r, switch: w > 1.5
    [2.0, 8.0, 5.0, 6.0, 3.0]
    """
    rows = np.arange(len(log.arms))
    logged = np.ones((len(rows), 1))
    weights = np.concatenate([logged, log.chances[rows, :, log.arms] / log.propensities[:, None]], axis=1)
    own = log.expected[rows, log.arms][:, None]
    direct = np.concatenate([own, np.einsum("npa,na->np", log.chances, log.expected)], axis=1)
    rewards, limits = log.rewards[:, None], np.asarray(clips, dtype=np.float64)
    clipped = np.minimum(weights[..., None], limits) * rewards[..., None]
    surprise = weights * (rewards - own)
    switched = direct[..., None] + np.where(weights[..., None] <= limits, surprise[..., None], 0.0)
    # A limit below 1 would change even what the logged policy earned.
    clipped[:, 0], switched[:, 0] = rewards, rewards
    plain = np.stack([weights, weights * rewards, direct + surprise], axis=2)
    values = np.concatenate([plain, clipped, switched], axis=2).reshape(len(rows), -1)
    return np.concatenate([logged, values], axis=1), weights


def sum_log(log: Log, clips: Sequence[float], replicates: int) -> LogSums:
    """Sums that every estimate, error and resample come from.

    Complexity: O(n_rows * n_policies * (n_arms + clips) + n_customers * n_values * (n_values + replicates)).
    """
    values, weights = row_values(log, clips)
    customers = cluster_sums(values, log.clusters)
    first = np.concatenate([[True], log.clusters[1:] != log.clusters[:-1]])
    counts = poisson_counts(log.hashes[first], replicates)
    possible = np.einsum("npa,na->p", log.chances, log.supported.astype(np.float64))
    return LogSums(
        total=customers.sum(axis=0),
        second=customers.T @ customers,
        squares=(weights**2).sum(axis=0),
        supported=np.concatenate([[float(len(values))], possible]),
        resampled=counts.T @ customers,
    )


def estimate_policies(
    sums: LogSums, policies: Sequence[str], clips: Sequence[float], *, level: float, against: str
) -> Iterator[PolicyEstimate]:
    """Estimates of every policy.

    Args:
        sums: Of all decisions.
        policies: Names, the logged one first.
        clips: As of the sums.
        level: Of the intervals.
        against: The policy that gains are taken over.

    Source: delta method of ratios of cluster totals for errors; quantiles of the resamples for the second interval.
    """
    width = _PLAIN + 2 * len(clips)
    for estimator, clip, place in _columns(clips):
        rival = _Ratio.of(sums, policies.index(against), estimator, place, width)
        for index, policy in enumerate(policies):
            own = _Ratio.of(sums, index, estimator, place, width)
            half = normal_quantile(level) * own.error(sums)
            resampled = own.resampled(sums)
            quantiles = np.quantile(resampled, [0.5 - level / 2, 0.5 + level / 2]) if len(resampled) else (np.nan,) * 2
            gap = own.slope - rival.slope
            yield PolicyEstimate(
                policy=policy,
                estimator=estimator,
                clip=clip,
                value=own.value,
                standard_error=own.error(sums),
                interval=(own.value - half, own.value + half),
                bootstrap=(float(quantiles[0]), float(quantiles[1])),
                effective_size=_effective(sums, index, width),
                support=float(sums.supported[index] / sums.total[0]),
                gain=own.value - rival.value,
                gain_error=float(np.sqrt(max(float(gap @ sums.second @ gap), 0.0))),
            )


class _Ratio(NamedTuple):
    """A ratio of two totals, and how each value moves it."""

    top: int
    bottom: int
    value: float
    slope: Floats

    @classmethod
    def of(cls, sums: LogSums, policy: int, estimator: str, place: int, width: int) -> "_Ratio":
        start = 1 + policy * width
        top, bottom = start + place, start if estimator == SNIPS else 0
        slope = np.zeros(len(sums.total))
        scale = sums.total[bottom]
        if scale == 0:
            return cls(top, bottom, float("nan"), slope * np.nan)
        value = float(sums.total[top] / scale)
        slope[top] += 1 / scale
        slope[bottom] -= value / scale
        return cls(top, bottom, value, slope)

    def error(self, sums: LogSums) -> float:
        return float(np.sqrt(max(float(self.slope @ sums.second @ self.slope), 0.0)))

    def resampled(self, sums: LogSums) -> Floats:
        bottom = sums.resampled[:, self.bottom]
        kept = bottom != 0
        values: Floats = sums.resampled[kept, self.top] / bottom[kept]
        return values


def _columns(clips: Sequence[float]) -> Iterator[tuple[str, float, int]]:
    """Estimator, limit, and its column among those of a policy."""
    yield from ((IPS, 0.0, 1), (SNIPS, 0.0, 1), (DOUBLY_ROBUST, 0.0, 2))
    for place, clip in enumerate(clips):
        yield CLIPPED_IPS, clip, _PLAIN + place
        yield SWITCH_DR, clip, _PLAIN + len(clips) + place


def _effective(sums: LogSums, policy: int, width: int) -> float:
    squares = float(sums.squares[policy])
    return float(sums.total[1 + policy * width]) ** 2 / squares if squares > 0 else 0.0

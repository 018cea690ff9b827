"""Sums of one experiment, laid out by arm, stratum and segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.arm_effects import Metric
from promo_spark.kernels.unit_sums import TOLD

Floats = NDArray[np.float64]
_FIRST = 2  # places of a unit's row before its covariates: the leading 1 and the weight


@dataclass(frozen=True)
class Plan:
    """How an experiment is analysed.

    Attributes:
        control: The arm that others are held against.
        shares: Designed share of each arm; of arms that are not named, what was logged.
        outcomes: Names of the outcomes, in their order.
        covariates: Names of the covariates, in theirs.
        ratios: Metrics that are sums of one outcome over sums of another.
        metrics: What it is meant to move; the first decides.
        guardrails: What it must not harm.
        level: Of the intervals.
        winsorise: Quantile at which outcomes are cut off.
        quantiles: Whose effects are told.
        correction: holm or benjamini_hochberg.
        peek_scale: rho^2 of the intervals that allow to peek; None for none.
        is_running: Its days are not over: only these intervals may be quoted.
        alarm: p-value below which a draw is taken for broken.
        min_units: Fewer in an arm say nothing.
        min_clusters: Fewer in an arm are told with a warning.
    """

    control: str
    outcomes: tuple[str, ...]
    covariates: tuple[str, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    ratios: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    guardrails: tuple[str, ...] = ()
    level: float = 0.95
    winsorise: float = 0.99
    quantiles: tuple[float, ...] = ()
    correction: str = "holm"
    peek_scale: float | None = None
    is_running: bool = False
    alarm: float = 0.001
    min_units: int = 30
    min_clusters: int = 10

    @property
    def told(self) -> tuple[str, ...]:
        """Metrics and guardrails, each once."""
        return tuple(dict.fromkeys([*self.metrics, *self.guardrails]))

    def place_of(self, metric: str) -> Metric:
        """Where a metric stands in a unit's row."""
        if metric in self.ratios:
            top, bottom = self.ratios[metric]
            return Metric(self._outcome(top), self._outcome(bottom))
        return Metric(self._outcome(metric))

    @property
    def covariate_places(self) -> tuple[int, ...]:
        """Where the covariates stand in it."""
        return tuple(range(_FIRST, _FIRST + len(self.covariates)))

    def _outcome(self, name: str) -> int:
        return _FIRST + len(self.covariates) + self.outcomes.index(name)


@dataclass(frozen=True)
class Cells:
    """Sums of an experiment.

    Attributes:
        arms: Names, ascending; those of the plan and those found.
        segments: Names, ascending.
        is_clustered: Units are clusters.
        counts: In the order of ``unit_sums.TOLD``, shape (n_arms, 7).
        propensities: Number logged, sum and sum of squares, shape (n_arms, 3).
        products: Shape (n_arms, n_strata, n_segments, q, q).
        bins: Shape (n_arms, n_outcomes, BINS, 3).
        fractions: Shape (n_outcomes,).
    """

    arms: tuple[str, ...]
    segments: tuple[str, ...]
    is_clustered: bool
    counts: Floats
    propensities: Floats
    products: Floats
    bins: Floats
    fractions: Floats

    def count(self, name: str) -> Floats:
        """What is counted under a name of ``TOLD``, per arm."""
        return self.counts[:, TOLD.index(name)]

    @property
    def strata(self) -> Floats:
        """Products by arm and stratum, shape (n_arms, n_strata, q, q)."""
        return np.asarray(self.products.sum(axis=2), dtype=np.float64)

    @property
    def whole(self) -> Floats:
        """Products by arm in one stratum."""
        return np.asarray(self.products.sum(axis=(1, 2))[:, None], dtype=np.float64)

    def segment(self, place: int) -> Floats:
        """Products by arm in one segment, as one stratum."""
        return np.asarray(self.products[:, :, place].sum(axis=1, keepdims=True), dtype=np.float64)

    def only(self, arms: Sequence[int]) -> Cells:
        """The cells of some arms."""
        chosen = list(arms)
        return Cells(
            tuple(self.arms[place] for place in chosen),
            self.segments,
            self.is_clustered,
            self.counts[chosen],
            self.propensities[chosen],
            self.products[chosen],
            self.bins[chosen],
            self.fractions,
        )


def stratified(cells: Cells) -> Floats:
    """Products by arm and stratum, strata that are too thin put together.

    >>> products = np.ones((2, 1, 1, 2, 2)) * 3
    >>> none = np.zeros(0)
    >>> stratified(Cells(("a", "b"), ("all",), False, none, none, products, none, none)).shape
    (2, 1, 2, 2)
    """
    return merge_thin_strata(cells.strata)


def merge_thin_strata(products: Floats, fewest: int = 2) -> Floats:
    """Put together the strata in which an arm has too few units.

    Args:
        products: Shape (n_arms, n_strata, q, q).
        fewest: Units that every arm needs in every stratum.

    Returns:
        The same sums in as many strata or fewer; where what was put together is still too thin, one stratum.

    >>> counts = np.array([[5.0, 1, 1], [5, 4, 1]])[..., None, None]
    >>> merge_thin_strata(counts)[..., 0, 0].tolist()
    [[5.0, 2.0], [5.0, 5.0]]
    """
    is_thin = (products[..., 0, 0] < fewest).any(axis=0)
    if not is_thin.any():
        return products
    rest = products[:, is_thin].sum(axis=1, keepdims=True)
    merged = np.concatenate([products[:, ~is_thin], rest], axis=1)
    if (rest[:, 0, 0, 0] < fewest).any():
        return np.asarray(products.sum(axis=1, keepdims=True), dtype=np.float64)
    return merged

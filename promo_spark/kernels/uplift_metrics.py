"""How well a ranking by uplift finds the customers whom a promotion moves: Qini, AUUC, uplift at k, with errors."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Ranked(NamedTuple):
    """Outcomes by distinct score, the highest score first.

    Attributes:
        treated: Treated customers of each score, shape (n_scores,).
        control: Control customers of each score.
        treated_outcome: Sum of the treated customers' outcomes.
        control_outcome: Sum of the control customers' outcomes.
    """

    treated: Floats
    control: Floats
    treated_outcome: Floats
    control_outcome: Floats


Metric = Callable[[Ranked], float]


def rank_by(scores: Floats, treated: Ints, outcomes: Floats, weights: Floats | None = None) -> Ranked:
    """Add up customers of equal score.

    Args:
        scores: Predicted uplift, shape (n_customers,).
        treated: 1 or 0.
        outcomes: Binary or not negative.
        weights: How often each customer counts; once when None.

    Complexity: O(n log n).

    >>> rank_by(np.array([1.0, 2.0, 1.0]), np.array([1, 1, 0]), np.array([0.0, 1.0, 1.0])).treated.tolist()
    [1.0, 1.0]
    """
    _, places = np.unique(-scores, return_inverse=True)
    own = np.ones(len(scores)) if weights is None else weights
    parts = (own * treated, own * (1 - treated), own * treated * outcomes, own * (1 - treated) * outcomes)
    return Ranked(*(np.bincount(places, part).astype(np.float64) for part in parts))


def qini(ranked: Ranked) -> float:
    """Area between the Qini curve and the random one, over that of a perfect ranking.

    The curve at n targeted customers is y_treated - y_control * n_treated / n_control; a perfect ranking puts treated
    buyers first and control buyers last. As ``sklift.metrics.qini_auc_score`` with ``negative_effect=True``.

    Source: Radcliffe 2007.

    >>> best = rank_by(np.array([3.0, 2, 1, 0]), np.array([1, 0, 1, 0]), np.array([1.0, 0, 0, 1]))
    >>> qini(best)
    1.0
    """
    ends = _qini_curve(ranked)
    perfect = _area(_qini_curve(_perfect(ranked)))
    random = _random_area(ends)
    return (_area(ends) - random) / (perfect - random) if perfect != random else 0.0


def auuc(ranked: Ranked) -> float:
    """Area between the uplift curve and the random one, per customer: mean outcome gained by ranking.

    The curve at a share u of customers is u times the difference of the arms' mean outcomes among them; the area is
    taken over u from 0 to 1. It is in units of the outcome.

    Source: Rzepakowski and Jaroszewicz 2010.

    >>> auuc(rank_by(np.array([2.0, 2, 1, 1]), np.array([1, 0, 1, 0]), np.array([1.0, 0, 0, 0])))
    0.125
    """
    treated, control, gained, lost = (part.cumsum() for part in ranked)
    total = treated + control
    curve = (_ratio(gained, treated) - _ratio(lost, control)) * total
    ends = np.concatenate([[0], total]), np.concatenate([[0], curve])
    return float((_area(ends) - _random_area(ends)) / max(total[-1], 1.0) ** 2)


def uplift_at(share: float) -> Metric:
    """Difference of the arms' mean outcomes among the share of customers with the highest scores.

    Customers are taken up to the score at which the share is reached, those of equal score together.

    >>> ranked = rank_by(np.array([2.0, 2, 1, 1]), np.array([1, 0, 1, 0]), np.array([1.0, 0, 0, 0]))
    >>> uplift_at(0.5)(ranked), uplift_at(1.0)(ranked)
    (1.0, 0.5)
    """

    def measure(ranked: Ranked) -> float:
        treated, control, gained, lost = (part.cumsum() for part in ranked)
        total = treated + control
        place = min(int(np.searchsorted(total, share * total[-1] - 1e-9)), len(total) - 1)
        return float(_ratio(gained, treated)[place] - _ratio(lost, control)[place])

    return measure


METRICS: dict[str, Metric] = {
    "qini": qini,
    "auuc": auuc,
    "uplift_at_10": uplift_at(0.1),
    "uplift_at_20": uplift_at(0.2),
    "uplift_at_30": uplift_at(0.3),
}


def bootstrap_errors(
    scores: Floats, treated: Ints, outcomes: Floats, clusters: Ints, *, draws: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Every metric and its standard error, customers drawn anew with all their rows.

    Args:
        scores: Predicted uplift, shape (n_rows,).
        treated: 1 or 0.
        outcomes: Binary or not negative.
        clusters: Customer of each row, numbers from 0.
        draws: Bootstrap draws, at least 2.
        seed: Of the draws.

    Complexity: O(n log n + draws * n). Source: Poisson bootstrap, Chamandy et al. 2012.

    >>> bootstrap_errors(np.ones(4), np.array([1, 0, 1, 0]), np.ones(4), np.arange(4), draws=9, seed=1)["auuc"]
    (0.0, 0.0)
    """
    _, places = np.unique(scores, return_inverse=True)
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    for weights in cluster_draws(clusters, draws, seed):
        ranked = rank_by(places.astype(np.float64), treated, outcomes, weights)
        for name, metric in METRICS.items():
            found[name].append(metric(ranked))
    whole = rank_by(scores, treated, outcomes)
    return {name: (metric(whole), float(np.std(found[name], ddof=1))) for name, metric in METRICS.items()}


def cluster_draws(clusters: Ints, draws: int, seed: int) -> list[Floats]:
    """How often each row counts in each draw of a Poisson bootstrap over clusters.

    >>> [draw.tolist() for draw in cluster_draws(np.array([0, 0, 1]), 1, 3)]
    [[0.0, 0.0, 0.0]]
    """
    rng = np.random.default_rng(seed)
    count = int(clusters.max(initial=-1)) + 1
    return [rng.poisson(1.0, count).astype(np.float64)[clusters] for _ in range(draws)]


def _perfect(ranked: Ranked) -> Ranked:
    """Treated buyers, then those who do not buy, then control buyers; outcomes that are not binary in proportion."""
    bought = float(ranked.treated_outcome.sum()), float(ranked.control_outcome.sum())
    treated, control = float(ranked.treated.sum()), float(ranked.control.sum())
    return Ranked(
        np.array([bought[0], treated - bought[0], 0.0]),
        np.array([0.0, control - bought[1], bought[1]]),
        np.array([bought[0], 0.0, 0.0]),
        np.array([0.0, 0.0, bought[1]]),
    )


def _qini_curve(ranked: Ranked) -> tuple[Floats, Floats]:
    treated, control, gained, lost = (part.cumsum() for part in ranked)
    curve = gained - lost * _ratio(treated, control)
    return np.concatenate([[0], treated + control]), np.concatenate([[0], curve])


def _area(ends: tuple[Floats, Floats]) -> float:
    return float(np.trapezoid(ends[1], ends[0]))


def _random_area(ends: tuple[Floats, Floats]) -> float:
    return float(ends[0][-1] * ends[1][-1] / 2)


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return ratio

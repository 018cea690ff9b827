"""Judging learners of uplift from sums by hash part: curves by score bin, doubly robust loss, policy value."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.uplift_folds import Block
from promo_spark.kernels.uplift_metrics import METRICS, Metric, Ranked

Floats = NDArray[np.float64]

LOSS, POLICY = "dr_loss", "policy_value"


class Judgement(NamedTuple):
    """Sums over rows, hash parts of the customers apart.

    Attributes:
        curves: Weighted counts and outcomes of treated and control, as in ``Ranked``, highest score first, shape
            (n_parts, n_treated, n_outcomes, 4, n_bins).
        tallies: Rows, doubly robust loss and value of giving each row its best arm, shape (n_parts, n_outcomes, 3).
    """

    curves: Floats
    tallies: Floats


def gather_judgement(block: Block, scores: Floats, uplift: Floats, cuts: Floats, n_parts: int) -> Judgement:
    """Sums of a block of rows.

    Rows weigh 1 / propensity in the curves, which are those of an even draw then. The loss of a row is the sum over
    arms of uplift^2 - 2 * score * uplift: the squared error less that of saying that nothing has an effect.

    Args:
        block: The rows.
        scores: Doubly robust scores, shape (n_rows, n_treated, n_outcomes).
        uplift: Predictions of models that have not seen the rows, same shape.
        cuts: Ascending bounds of score bins, shape (n_treated, n_outcomes, n_bins - 1).
        n_parts: Number of hash parts.

    Complexity: O(n_rows * n_treated * n_outcomes * log n_bins).
    """
    n_treated, n_outcomes, n_cuts = cuts.shape
    bins = n_cuts + 1
    curves = np.zeros((n_parts, n_treated, n_outcomes, 4, bins))
    weights = 1 / block.propensities
    for arm in range(n_treated):
        treated, control = block.arms == arm + 1, block.arms == 0
        for outcome in range(n_outcomes):
            place = np.searchsorted(cuts[arm, outcome], uplift[:, arm, outcome], side="right")
            cells = block.parts * bins + (bins - 1 - place)
            own = block.outcomes[:, outcome]
            for kind, values in enumerate((treated, control, treated * own, control * own)):
                sums = np.bincount(cells, weights * values, minlength=n_parts * bins)
                curves[:, arm, outcome, kind] = sums.reshape(n_parts, bins)
    best = np.concatenate([np.zeros((len(uplift), 1, n_outcomes)), uplift], axis=1).argmax(axis=1)
    padded = np.concatenate([np.zeros((len(uplift), 1, n_outcomes)), scores], axis=1)
    gained = np.take_along_axis(padded, best[:, None], axis=1)[:, 0]
    losses = (uplift**2 - 2 * scores * uplift).sum(axis=1)
    tallies = np.zeros((n_parts, n_outcomes, 3))
    for kind, values in enumerate((np.ones_like(gained), losses, gained)):
        for outcome in range(n_outcomes):
            tallies[:, outcome, kind] = np.bincount(block.parts, values[:, outcome], minlength=n_parts)
    return Judgement(curves, tallies)


def curve_figures(judgement: Judgement, arm: int, outcome: int) -> dict[str, tuple[float, float]]:
    """Qini, AUUC and uplift at k of an arm against the control, each with its standard error."""
    parts = judgement.curves[:, arm, outcome]
    return {name: jackknife(parts, partial(_of_sums, metric)) for name, metric in METRICS.items()}


def tally_figures(judgement: Judgement, outcome: int) -> dict[str, tuple[float, float]]:
    """Doubly robust loss and policy value per row, each with its standard error."""
    parts = judgement.tallies[:, outcome]
    return {
        LOSS: jackknife(parts, lambda sums: float(sums[1] / sums[0])),
        POLICY: jackknife(parts, lambda sums: float(sums[2] / sums[0])),
    }


def _of_sums(metric: Metric, sums: Floats) -> float:
    return metric(Ranked(*sums))


def jackknife(parts: Floats, figure: Callable[[Floats], float]) -> tuple[float, float]:
    """A figure of the sum of parts, and its standard error by leaving out one part after another.

    Args:
        parts: Sums of equally likely parts of the customers, shape (n_parts, ...).
        figure: From a sum to a number.

    Source: delete-a-group jackknife, Kott 2001.

    >>> jackknife(np.array([[1.0, 2.0], [1.0, 4.0]]), lambda sums: float(sums[1] / sums[0]))
    (3.0, 1.0)
    """
    total = parts.sum(axis=0)
    left = np.array([figure(total - part) for part in parts])
    spread = float(((left - left.mean()) ** 2).sum())
    return figure(total), float(np.sqrt(spread * (len(parts) - 1) / len(parts)))

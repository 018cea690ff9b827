"""Is one model better than another on the same customers? Differences with errors, and how large one must be."""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]


def mean_difference(ours: Floats, theirs: Floats) -> tuple[float, float]:
    """Difference of two means over the same customers, and its standard error.

    Args:
        ours: A figure per customer, shape (n_customers,), at least 2.
        theirs: The same of the other model.

    >>> mean_difference(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 1.0]))[0]
    1.0
    """
    gaps = ours - theirs
    return float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps)))


def area_difference(is_positive: Floats, ours: Floats, theirs: Floats) -> tuple[float, float]:
    """Difference of two areas under the ROC curve on the same customers, and its standard error.

    An area is the mean, over the positive customers, of the share of negative ones that score lower (equal scores count
    half), and the other way round; the errors of both means add up.

    Args:
        is_positive: 1 or 0, shape (n_customers,), at least 2 of each.
        ours: Scores, the higher the likelier positive.
        theirs: Scores of the other model.

    Complexity: O(n log n). Source: DeLong, DeLong and Clarke-Pearson 1988, by the ranks of Sun and Xu 2014.

    >>> area_difference(np.array([1.0, 1, 0, 0]), np.array([4.0, 3, 2, 1]), np.array([4.0, 1, 3, 2]))[0]
    0.5
    """
    ours_of_positive, ours_of_negative = _placements(is_positive, ours)
    theirs_of_positive, theirs_of_negative = _placements(is_positive, theirs)
    difference, positive_error = mean_difference(ours_of_positive, theirs_of_positive)
    negative_error = mean_difference(ours_of_negative, theirs_of_negative)[1]
    return difference, float(np.hypot(positive_error, negative_error))


def winning_errors(tries: int, rate: float) -> float:
    """How many standard errors the best of several must be ahead.

    Args:
        tries: Models compared with the same one, at least 1.
        rate: Probability of calling any of them better although none is, at most.

    Source: Bonferroni's inequality, one-sided.

    >>> round(winning_errors(1, 0.05), 3), round(winning_errors(10, 0.05), 3)
    (1.645, 2.576)
    """
    return NormalDist().inv_cdf(1 - rate / tries)


def _placements(is_positive: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """For each positive the share of negatives below, for each negative the share of positives above."""
    positive, negative = scores[is_positive == 1], scores[is_positive == 0]
    overall = rankdata(np.concatenate([positive, negative]))
    of_positive, of_negative = np.split(overall, [len(positive)])
    below = (of_positive - rankdata(positive)) / len(negative)
    above = 1 - (of_negative - rankdata(negative)) / len(positive)
    return below, above

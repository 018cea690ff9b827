"""Hide groups that are so small that a figure about them is a figure about persons."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def hidden_groups(counts: Ints, least: int) -> Bools:
    """Which groups of a whole must not be told of.

    A group below the least size is hidden. Since the whole may be known, what is hidden could be found by subtracting
    all that is told: so at least two groups are hidden, of at least so many customers together, the smallest of
    the others joining them until that is so (complementary suppression).

    Args:
        counts: Customers per group, shape (n_groups,); ties are hidden in order.
        least: Fewest customers that may be told of.

    Complexity: O(n_groups log n_groups). Source: Hundepool et al., Statistical Disclosure Control, 2012, sec. 4.3.

    >>> hidden_groups(np.array([3, 50, 40, 60]), 20).tolist()  # 3 alone would be the whole less the others
    [True, False, True, False]
    >>> hidden_groups(np.array([30, 50]), 20).tolist()
    [False, False]
    """
    hidden: Bools = counts < least
    if not hidden.any():
        return hidden
    for group in np.argsort(counts, kind="stable"):
        if hidden.sum() > 1 and counts[hidden].sum() >= least:
            break
        hidden[group] = True
    return hidden

"""Keep false discoveries down when much is tested at once."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def benjamini_hochberg(p_values: Floats, rate: float = 0.1) -> tuple[Bools, Floats]:
    """Reject hypotheses so that at most `rate` of the rejected are expected to be true.

    Sort p ascending; adjusted p_(i) = min over j >= i of p_(j) * n / j, at most 1; reject where adjusted <=
    rate. Holds for independent tests and for those with positive regression dependence.

    Args:
        p_values: One per test, shape (n_tests,), 0 to 1.
        rate: False discovery rate, 0 to 1.

    Returns:
        Mask of rejected hypotheses and adjusted p-values, each shape (n_tests,).

    Complexity: O(n_tests log n_tests). Source: Benjamini and Hochberg 1995.

    >>> rejected, adjusted = benjamini_hochberg(np.array([0.01, 0.5, 0.03]), rate=0.05)
    >>> rejected.tolist(), adjusted.round(3).tolist()  # 0.01 * 3/1, 0.5 * 3/3, 0.03 * 3/2
    ([True, False, True], [0.03, 0.5, 0.045])
    """
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError("p_values must lie between 0 and 1")
    n_tests = len(p_values)
    order = np.argsort(p_values)
    scaled = p_values[order] * n_tests / np.arange(1, n_tests + 1)
    adjusted = np.empty(n_tests)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return adjusted <= rate, adjusted


def holm(p_values: Floats, rate: float = 0.05) -> tuple[Bools, Floats]:
    """Reject hypotheses so that any true one among them is rejected with at most chance `rate`.

    Sort p ascending; adjusted p_(i) = max over j <= i of p_(j) * (n - j + 1), at most 1; reject where adjusted <= rate.
    Holds whatever the dependence between tests.

    Args:
        p_values: One per test, shape (n_tests,), 0 to 1.
        rate: Family-wise error rate, 0 to 1.

    Returns:
        Mask of rejected hypotheses and adjusted p-values, each shape (n_tests,).

    Complexity: O(n_tests log n_tests). Source: Holm 1979.

    >>> rejected, adjusted = holm(np.array([0.01, 0.5, 0.03]), rate=0.05)
    >>> rejected.tolist(), adjusted.round(3).tolist()  # 0.01 * 3, 0.5 * 1, 0.03 * 2
    ([True, False, False], [0.03, 0.5, 0.06])
    """
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError("p_values must lie between 0 and 1")
    order = np.argsort(p_values)
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted <= rate, adjusted

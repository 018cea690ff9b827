"""Keep the share of false discoveries down when many offers are tested at once."""

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

"""Intervals around forecasts that hold whatever the forecaster got wrong."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def split_conformal_scale(actual: Floats, predicted: Floats, scale: Floats, level: float) -> float:
    """How many scales wide an interval on each side must be to cover at the level.

    The ceil((n + 1) * level)-th smallest of |actual - predicted| / scale. Then predicted +- result * scale
    covers a new value with probability at least `level` (at most level + 1 / (n + 1) without ties), if it is
    exchangeable with the n calibration values and these were not used to fit the forecaster.

    Args:
        actual: What happened, shape (n,).
        predicted: What was forecast, shape (n,), same unit.
        scale: Expected size of the error, shape (n,), positive, same unit; all 1 for intervals of one width.
        level: Coverage, between 0 and 1.

    Returns:
        Half-width in scales; infinite when n is too small for the level.

    Complexity: O(n). Source: Papadopoulos et al. 2002; Lei et al. 2018.

    >>> actual, predicted, scale = np.array([1.0, 4.0, 9.0, 2.0]), np.zeros(4), np.array([1.0, 2.0, 3.0, 4.0])
    >>> split_conformal_scale(actual, predicted, scale, 0.6)  # third smallest of 0.5, 1, 2, 3
    2.0
    >>> split_conformal_scale(actual, predicted, scale, 0.9)  # would be the fifth of four
    inf
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    if not (scale > 0).all():
        raise ValueError("scale must be positive")
    scores = np.abs(actual - predicted) / scale
    rank = math.ceil((len(scores) + 1) * level - 1e-9)
    return float(np.partition(scores, rank - 1)[rank - 1]) if rank <= len(scores) else math.inf

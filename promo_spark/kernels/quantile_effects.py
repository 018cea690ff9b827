"""Quantiles of each arm, with errors, from counts between edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def quantile_with_error(counts: Floats, edges: Floats, level: float) -> tuple[float, float]:
    """A quantile and its standard error, by Woodruff's interval turned over.

    The quantiles at level ± z sqrt(level (1 - level) / n) are as far apart as 2 z standard errors; between edges values
    are taken as spread evenly. So no density has to be estimated, and where many units have one value the error is 0.

    Args:
        counts: Of the arm, up to each edge and beyond the last, shape (n_edges + 1,).
        edges: Not falling, shape (n_edges,).
        level: Between 0 and 1.

    Returns:
        The quantile and its standard error; NaN of no units.

    Source: Woodruff 1952; Francisco and Fuller 1991.

    >>> edges = np.linspace(0.0, 100.0, 101)
    >>> counts = np.concatenate([[0.0], np.full(100, 100.0), [0.0]])  # 10,000 spread evenly over 0 to 100
    >>> value, error = quantile_with_error(counts, edges, 0.5)
    >>> round(value, 3), round(error, 3)  # sqrt(0.25 / 10,000) over a density of 0.01
    (50.0, 0.5)
    """
    total = float(counts.sum())
    if total < 1:
        return float("nan"), float("nan")
    reach = float(stats.norm.isf(0.025))
    around = reach * (level * (1.0 - level) / total) ** 0.5
    levels = np.clip(np.array([level - around, level, level + around]), 0.0, 1.0)
    cumulated = np.cumsum(counts[:-1]) / total
    low, value, high = np.interp(levels, cumulated, edges)
    return float(value), float(high - low) / (2.0 * reach)

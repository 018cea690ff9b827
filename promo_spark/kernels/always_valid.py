"""Intervals that hold at every look, however often and whenever one looks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mixture_scale(customers: float, alpha: float = 0.05) -> float:
    """The rho^2 that makes the sequence narrowest at about a number of customers.

    rho^2 = (-2 log alpha + log(1 - 2 log alpha)) / customers. It is fixed before the first look.

    Args:
        customers: In both arms together, positive.
        alpha: Chance of ever excluding the truth.

    Returns:
        rho^2.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Appendix B.2.

    >>> round(mixture_scale(1000.0), 5)  # (5.99 + 1.94) / 1000
    0.00794
    """
    if not (customers > 0 and 0 < alpha < 1):
        raise ValueError(f"customers must be positive and alpha between 0 and 1, got {customers} and {alpha}")
    return (-2.0 * math.log(alpha) + math.log(1.0 - 2.0 * math.log(alpha))) / customers


def confidence_sequence(standard_error: Floats, customers: Floats, scale: float, alpha: float = 0.05) -> Floats:
    """Half-widths of asymptotic confidence sequences around a mean or a difference.

    With t customers and u = t rho^2, half = error sqrt(2 (u + 1) / u log(sqrt(u + 1) / alpha)): the intervals at all t
    together hold the truth with probability 1 - alpha, once the first look has enough customers for its standard error
    to be known.

    Args:
        standard_error: Of the estimate at each look, shape (...).
        customers: At each look, positive, shape (...).
        scale: What `mixture_scale` returned.
        alpha: Chance of ever excluding the truth.

    Returns:
        Half-widths, shape (...).

    Source: Waudby-Smith et al. 2024, theorem 2.2; the mixture is Robbins's 1970.

    >>> half = confidence_sequence(np.array([1.0]), np.array([1000.0]), mixture_scale(1000.0))
    >>> half.round(2).tolist()  # 1.96 for a single look
    [3.04]
    """
    spread = customers * scale
    half: Floats = standard_error * np.sqrt(2.0 * (spread + 1.0) / spread * np.log(np.sqrt(spread + 1.0) / alpha))
    return half


def always_valid_p(z: Floats, customers: Floats, scale: float) -> Floats:
    """p-values that may be looked at at any time: the smallest alpha whose sequence leaves out 0.

    p = min(1, sqrt(t rho^2 + 1) exp(-z^2 t rho^2 / (2 (t rho^2 + 1)))), from the same mixture.

    Args:
        z: Estimate over standard error, shape (...).
        customers: At each look, positive, shape (...).
        scale: What `mixture_scale` returned.

    Returns:
        Shape (...).

    Source: Johari, Koomen, Pekelis and Walsh 2022.

    >>> always_valid_p(np.array([0.0, 3.0371]), np.array([1000.0, 1000.0]), mixture_scale(1000.0)).round(3).tolist()
    [1.0, 0.05]
    """
    spread = customers * scale
    p_values: Floats = np.minimum(1.0, np.sqrt(spread + 1.0) * np.exp(-(z**2) * spread / (2.0 * (spread + 1.0))))
    return p_values

"""The highest point of a log-likelihood whose parameters have bounds, from several starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, minimize

Floats = npt.NDArray[np.float64]

_FLAT = 1e-5
_MOST_STEPS = 500


@dataclass(frozen=True)
class Maximum:
    """Where a mean log-likelihood is highest.

    Attributes:
        point: Parameters, shape (parameters,).
        value: Mean log-likelihood there.
        slope: Its steepest partial derivative, those left out that only bounds hold back.
    """

    point: Floats
    value: float
    slope: float

    @property
    def is_converged(self) -> bool:
        """Whether no step within the bounds leads higher."""
        return bool(np.isfinite(self.value)) and self.slope <= _FLAT


def find_maximum(
    climb: Callable[[Floats], tuple[float, Floats]], starts: Sequence[Sequence[float]], bounds: Floats
) -> Maximum:
    """Climb from every start and keep the highest point.

    A parameter at its bound counts as settled when the likelihood only rises beyond it: with parameters
    chosen so that their bounds are limits of the model (all customers alike, nobody leaves), that limit is the
    answer, and not a failure.

    Args:
        climb: Mean log-likelihood and its gradient, shape (parameters,), at a point.
        starts: Points within the bounds.
        bounds: Lowest and highest value of each parameter, shape (parameters, 2).

    Returns:
        The highest point found.

    Complexity: some dozens of evaluations for each start. Source: L-BFGS-B, Byrd, Lu, Nocedal and Zhu 1995.

    >>> hill = lambda point: (-float((point**2).sum()), -2 * point)
    >>> top = find_maximum(hill, [[3.0, 3.0]], np.array([[-5.0, 5.0], [1.0, 5.0]]))
    >>> (top.point**2).round(6).tolist(), round(top.value, 6), top.is_converged
    ([0.0, 1.0], -1.0, True)
    """

    def descend(point: Floats) -> tuple[float, Floats]:
        value, gradient = climb(point)
        return -value, -gradient

    box = Bounds(bounds[:, 0], bounds[:, 1])
    ends = [
        minimize(
            descend,
            np.array(start, dtype=np.float64),
            jac=True,
            method="L-BFGS-B",
            bounds=box,
            options={"maxiter": _MOST_STEPS, "ftol": 1e-13, "gtol": 1e-8},
        ).x
        for start in starts
    ]
    maxima = [_judged(climb, np.clip(end, bounds[:, 0], bounds[:, 1]), bounds) for end in ends]
    return max(maxima, key=lambda found: (np.isfinite(found.value), found.is_converged, found.value))


def _judged(climb: Callable[[Floats], tuple[float, Floats]], point: Floats, bounds: Floats) -> Maximum:
    value, gradient = climb(point)
    held = ((point <= bounds[:, 0]) & (gradient < 0)) | ((point >= bounds[:, 1]) & (gradient > 0))
    return Maximum(point, value, float(np.abs(np.where(held, 0.0, gradient)).max()))

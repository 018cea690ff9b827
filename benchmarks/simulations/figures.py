"""What a simulation finds of an estimator, and what it must find."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["coverage", "conservative", "false_positive", "peeking", "power"]
Study = Callable[[np.random.Generator, int], "list[Figure]"]
"""From a generator and a number of replications to what was found."""

NOMINAL = 0.95
_TOLERATED = 0.017 / math.sqrt(0.95 * 0.05 / 2000)  # standard errors: 1.7 points at 2,000 replications


@dataclass(frozen=True)
class Figure:
    """How often something happened, and between which bounds it may.

    Attributes:
        kind: coverage of an interval that is exact in large samples, or of one that is conservative; rejections where
            nothing differs; the same at any of many looks; rejections where the designed effect is there.
        rate: Share of the replications.
        replications: How many.
        expected: The nominal rate.
        case: The world it was found in.
    """

    kind: Kind
    rate: float
    replications: int
    expected: float
    case: str = ""

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest rate that passes: 1.7 points around 95 % at 2,000 replications, in proportion else."""
        error = math.sqrt(self.expected * (1 - self.expected) / self.replications)
        low, high = self.expected - _TOLERATED * error, self.expected + _TOLERATED * error
        match self.kind:
            case "conservative":
                return low, 1.0
            case "peeking":
                return 0.0, self.expected + 3 * error
            case _:
                return low, high

    @property
    def is_passed(self) -> bool:
        """Whether the rate lies within the bounds."""
        low, high = self.bounds
        return low <= self.rate <= high


def coverage(low: np.ndarray, high: np.ndarray, truth: float, case: str = "", *, conservative: bool = False) -> Figure:
    """How often 95 % intervals, shape (replications,), hold the truth."""
    inside = (low <= truth) & (truth <= high)
    return Figure("conservative" if conservative else "coverage", float(inside.mean()), len(inside), NOMINAL, case)


def false_positives(p_values: np.ndarray, case: str = "") -> Figure:
    """How often p-values of replications where nothing differs are below 5 %."""
    return Figure("false_positive", float((p_values < 1 - NOMINAL).mean()), len(p_values), 1 - NOMINAL, case)


def peeking(is_rejected: np.ndarray, case: str = "") -> Figure:
    """How often any look, of replications where nothing differs, rejected at 5 %."""
    return Figure("peeking", float(is_rejected.mean()), len(is_rejected), 1 - NOMINAL, case)


def power(p_values: np.ndarray, designed: float, case: str = "") -> Figure:
    """How often p-values are below 5 % where the effect is the one that the size was designed for."""
    return Figure("power", float((p_values < 1 - NOMINAL).mean()), len(p_values), designed, case)

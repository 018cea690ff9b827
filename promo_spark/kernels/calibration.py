"""From scores to probabilities: logistic calibration on cases that no score was learnt from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_STEPS = 50
_CLOSE = 1e-10
_RIDGE = 1e-9


def platt_scale(scores: Floats, happened: Floats) -> tuple[float, float]:
    """Slope and intercept that turn scores into probabilities.

    P(happened) = 1 / (1 + exp(-(slope × score + intercept))), by maximum likelihood on targets pulled in from 0 and
    1 as if one more case of each kind had been seen, so that perfect separation does not make anything certain.

    Args:
        scores: Any increasing measure of belief, shape (cases,).
        happened: 1 or 0, shape (cases,).

    Returns:
        Slope, never below 0 (a score that ranks backwards says nothing), and intercept.

    Complexity: O(cases) per Newton step, a dozen steps. Source: Platt 1999; Lin, Lin and Weng 2007.
    """
    yes = float(happened.sum())
    no = len(happened) - yes
    targets = np.where(happened > 0, (yes + 1) / (yes + 2), 1 / (no + 2))
    prior = float(np.log((yes + 1) / (no + 1)))
    middle, width = float(scores.mean()), float(scores.std())
    if width == 0.0:
        return 0.0, prior
    design = np.column_stack([(scores - middle) / width, np.ones(len(scores))])
    found = np.array([0.0, prior])
    loss = _loss(design @ found, targets)
    for _ in range(_STEPS):
        fitted = 1 / (1 + np.exp(-(design @ found)))
        curvature = design.T @ (design * (fitted * (1 - fitted))[:, None]) + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, design.T @ (targets - fitted))
        reach = 1.0
        while (moved := _loss(design @ (found + reach * step), targets)) > loss and reach > _CLOSE:
            reach /= 2
        found, gain, loss = found + reach * step, loss - moved, moved
        if gain <= _CLOSE * len(scores):
            break
    slope = float(found[0]) / width
    return (slope, float(found[1]) - slope * middle) if slope > 0 else (0.0, prior)


def area_under_curve(scores: Floats, happened: Floats) -> float:
    """Chance that a case scores above a non-case, ties counting half; NaN where one kind is missing.

    >>> area_under_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.75

    Complexity: O(n log n). Source: Mann and Whitney 1947.
    """
    yes = int(happened.sum())
    no = len(happened) - yes
    if not yes or not no:
        return float("nan")
    _, place, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[place]
    return float((ranks[happened > 0].sum() - yes * (yes + 1) / 2) / (yes * no))


def log_loss(probabilities: Floats, happened: Floats) -> float:
    """Mean negative log-likelihood, in nats.

    >>> round(log_loss(np.array([0.5, 0.5]), np.array([0.0, 1.0])), 4)
    0.6931
    """
    told = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return float(-np.mean(happened * np.log(told) + (1 - happened) * np.log1p(-told)))


def _loss(logits: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0.0, logits) - targets * logits).sum())

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

    Two of two happened at 1 and none of two at -1, which counts as three of four and one of four:

    >>> slope, intercept = platt_scale(np.array([-1.0, -1.0, 1.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    >>> [round(float(value), 3) for value in (slope, abs(intercept), 1 / (1 + np.exp(-slope)))]
    [1.099, 0.0, 0.75]
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


def _loss(logits: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0.0, logits) - targets * logits).sum())

"""From scores to probabilities: logistic calibration on cases that no score was learnt from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import isotonic_regression

Floats = npt.NDArray[np.float64]

_STEPS = 50
_CLOSE = 1e-10
_RIDGE = 1e-9
_BINS = 20
_WIDEST, _HALVINGS = 20.0, 60
LEAST_FOR_STEPS = 500
"""With fewer cases of a kind the two numbers of a logistic curve are learnt better than a curve of any shape."""


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


def calibrate(scores: Floats, happened: Floats) -> tuple[Floats, Floats, float]:
    """Curve from scores to log-odds: logistic for few cases, of any rising shape for many.

    The rising shape is isotonic regression over twenty bins of equal size, each counted as if one more case had been
    seen at the rate of all, straight between the middles of its steps, so that it keeps the order of scores.

    Args:
        scores: Any increasing measure of belief, shape (cases,).
        happened: 1 or 0, shape (cases,).

    Returns:
        Knots: scores, ascending, and log-odds at them; and the slope of the log-odds outside, never below 0.

    Complexity: O(cases log cases). Source: Platt 1999; Zadrozny and Elkan 2002.

    >>> scores = np.repeat([-1.0, 1.0], 4)
    >>> knots, logits, slope = calibrate(scores, np.array([0, 0, 0, 1.0, 0, 1, 1, 1]))
    >>> [len(knots), round(float(slope + logits[0]), 2)]
    [1, 0.69]
    """
    slope, intercept = platt_scale(scores, happened)
    if min(happened.sum(), len(happened) - happened.sum()) < LEAST_FOR_STEPS or slope == 0.0:
        return np.zeros(1), np.array([intercept]), slope
    bins = np.array_split(np.argsort(scores, kind="stable"), _BINS)
    middles = np.array([scores[places].mean() for places in bins])
    base = happened.mean()
    rates = np.array([(happened[places].sum() + base) / (len(places) + 1) for places in bins])
    rising = isotonic_regression(rates)
    steps = np.split(np.arange(_BINS), np.flatnonzero(np.diff(rising) > 0) + 1)
    knots = np.array([middles[step].mean() for step in steps])
    told = np.array([rising[step[0]] for step in steps])
    return knots, np.log(told / (1 - told)), slope


def probabilities_of(scores: Floats, knots: Floats, logits: Floats, slope: float) -> Floats:
    """Probabilities on a curve of `calibrate`.

    Args:
        scores: Shape (cases,).
        knots: Ascending scores, shape (knots,).
        logits: Log-odds at them; straight between.
        slope: Of the log-odds outside.

    Returns:
        Shape (cases,).

    >>> probabilities_of(np.array([0.0, 1.0]), np.array([0.0]), np.array([0.0]), 0.0).tolist()
    [0.5, 0.5]
    """
    outside = np.minimum(scores - knots[0], 0.0) + np.maximum(scores - knots[-1], 0.0)
    told: Floats = 1 / (1 + np.exp(-(np.interp(scores, knots, logits) + slope * outside)))
    return told


def reliability(probabilities: Floats, happened: Floats, *, bins: int = 10) -> Floats:
    """Told and real rates in bins of equal size by what was told.

    Args:
        probabilities: What was told, shape (cases,).
        happened: 1 or 0, shape (cases,).
        bins: At most so many.

    Returns:
        Shape (bins, 3): mean probability, rate that happened, cases.

    >>> reliability(np.array([0.1, 0.3, 0.8, 0.6]), np.array([0.0, 0.0, 1.0, 1.0]), bins=2).tolist()
    [[0.2, 0.0, 2.0], [0.7, 1.0, 2.0]]
    """
    parts = np.array_split(np.argsort(probabilities, kind="stable"), min(bins, len(probabilities)))
    return np.array([[probabilities[part].mean(), happened[part].mean(), len(part)] for part in parts if len(part)])


def calibration_errors(probabilities: Floats, happened: Floats, *, bins: int = 10) -> tuple[float, float]:
    """Calibration error split into the shift of the base rate and the shape of the curve.

    The shift is what the mean probability lies above the rate that happened; the shape is the expected calibration
    error once a constant is added to all log-odds that takes the shift away.

    Args:
        probabilities: What was told, strictly between 0 and 1, shape (cases,).
        happened: 1 or 0, shape (cases,).
        bins: Bins of equal size.

    Returns:
        Shift and shape.

    Complexity: O(cases log cases). Source: Naeini, Cooper and Hauskrecht 2015.

    Told 0.4 of all, of whom half did:

    >>> calibration_errors(np.array([0.4, 0.4, 0.4, 0.4]), np.array([0.0, 0.0, 1.0, 1.0]), bins=1)
    (-0.1, 0.0)
    """
    rate = float(happened.mean())
    shift = float(probabilities.mean()) - rate
    logits = np.log(probabilities / (1 - probabilities))
    low, high = -_WIDEST, _WIDEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if float((1 / (1 + np.exp(-(logits + middle)))).mean()) < rate:
            low = middle
        else:
            high = middle
    table = reliability(1 / (1 + np.exp(-(logits + (low + high) / 2))), happened, bins=bins)
    shape = float(np.average(np.abs(table[:, 0] - table[:, 1]), weights=table[:, 2]))
    return round(shift, 12), round(shape, 12)


def _loss(logits: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0.0, logits) - targets * logits).sum())

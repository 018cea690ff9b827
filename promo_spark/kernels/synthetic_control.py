"""What became of units that a campaign touched, beside a mix of others that followed them before."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]

_SUM_WEIGHT = 1e3  # how much the sum of the weights counts beside the fit; what is left of it is scaled away
_TINY = 1e-12


class SyntheticControl(NamedTuple):
    """A unit beside its synthetic control.

    Attributes:
        weights: Of the donors, not negative, sum 1, shape (n_donors,).
        effect: Mean over the periods after of the unit less its control.
        fit_error: Root mean squared gap before.
        ratio: Root mean squared gap after over that before.
        p_value: Share of units, this one included, whose ratio, or whose effect, is as large when each donor is put in
            its place; the larger of the two, so conservative where all units are alike. A smooth unit that fits all but
            perfectly has a large ratio whatever happened, a noisy one a large effect.
    """

    weights: Floats
    effect: float
    fit_error: float
    ratio: float
    p_value: float


def donor_weights(unit: Floats, donors: Floats) -> Floats:
    """The mix of donors nearest to a unit in the periods before.

    Args:
        unit: Shape (n_before,).
        donors: Shape (n_before, n_donors).

    Returns:
        The least-squares weights among those that are not negative and sum to 1, shape (n_donors,).

    Source: Abadie, Diamond and Hainmueller 2010, equation 2, every period weighing the same; the sum is a heavily
    weighted row of non-negative least squares (Lawson and Hanson 1974).

    >>> donor_weights(np.array([1.0, 2.0]), np.array([[0.0, 2.0], [0.0, 4.0]])).round(6).tolist()
    [0.5, 0.5]
    """
    scale = _SUM_WEIGHT * max(float(np.abs(donors).max(initial=0.0)), float(np.abs(unit).max(initial=0.0)), _TINY)
    rows = np.concatenate([donors, np.full((1, donors.shape[1]), scale)])
    found, _ = nnls(rows, np.append(unit, scale))
    weights: Floats = found / found.sum()
    return weights


def synthetic_control(unit: Floats, donors: Floats, n_before: int) -> SyntheticControl:
    """Hold a unit against a mix of donors, and each donor against a mix of the others.

    Args:
        unit: Periods before and after, shape (n_periods,); best in proportion to its own mean before.
        donors: The same of units that nothing touched, shape (n_periods, n_donors), at least two.
        n_before: Periods before.

    Returns:
        Its p-value cannot be less than 1 / (n_donors + 1).

    Raises:
        ValueError: Fewer than two donors, or no period before or after.

    Complexity: n_donors + 1 fits.

    Source: Abadie, Diamond and Hainmueller 2010, section 4 (placebos in space, ratio of mean squared errors).

    >>> donors = np.array([[1.0, 3.0, 2.0], [2.0, 2.0, 2.0], [1.0, 3.0, 2.0]])
    >>> round(synthetic_control(np.array([2.0, 2.0, 5.0]), donors, 2).effect, 6)
    3.0
    """
    if donors.shape[1] < 2 or not 0 < n_before < len(unit):  # noqa: PLR2004  (a donor needs another one)
        raise ValueError(
            f"a synthetic control needs two donors and periods before and after; got {donors.shape[1]} donors, "
            f"{n_before} of {len(unit)} periods before"
        )
    weights, gaps = _gaps(unit, donors, n_before)
    ratio, effect = _ratio(gaps, n_before), float(gaps[n_before:].mean())
    others = [
        _gaps(donors[:, place], np.delete(donors, place, axis=1), n_before)[1] for place in range(donors.shape[1])
    ]
    by_ratio = sum(_ratio(other, n_before) >= ratio for other in others)
    by_effect = sum(abs(other[n_before:].mean()) >= abs(effect) for other in others)
    fit_error = float(np.sqrt((gaps[:n_before] ** 2).mean()))
    return SyntheticControl(weights, effect, fit_error, ratio, (1 + max(by_ratio, by_effect)) / (1 + len(others)))


def _gaps(unit: Floats, donors: Floats, n_before: int) -> tuple[Floats, Floats]:
    weights = donor_weights(unit[:n_before], donors[:n_before])
    return weights, unit - donors @ weights


def _ratio(gaps: Floats, n_before: int) -> float:
    before, after = (gaps[:n_before] ** 2).mean(), (gaps[n_before:] ** 2).mean()
    return float(np.sqrt(after / max(before, _TINY)))

"""Linear models of uplift: how the arms share strength, what is fitted, and what it says of a row."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.gram_regression import Grams, choose_penalties, solve_each

Floats = NDArray[np.float64]

CONTROL = "none"


class ArmGroup(NamedTuple):
    """Treated arms whose effects are linear in a shared basis.

    Attributes:
        arms: Places among the treated arms.
        basis: Shape (n_arms_of_group, n_terms); one arm on its own has the basis [[1]].
    """

    arms: tuple[int, ...]
    basis: Floats


class LinearUplift(NamedTuple):
    """Uplift that is linear in the design.

    Attributes:
        coefficients: Shape (n_treated, n_outcomes, q).
        covariances: Of the coefficients, shape (n_treated, n_outcomes, q, q); empty without intervals.
    """

    coefficients: Floats
    covariances: Floats

    def uplift(self, design: Floats) -> Floats:
        """Uplift of each row, treated arm and outcome, shape (n_rows, n_treated, n_outcomes)."""
        return predict_linear(self.coefficients, design)

    def errors(self, design: Floats) -> Floats:
        """Standard errors, same shape as ``uplift``."""
        shape = self.covariances.shape
        flat = self.covariances.reshape(-1, *shape[2:])
        squares = np.stack([np.einsum("nq,nq->n", design @ own, design) for own in flat], axis=1)
        errors: Floats = np.sqrt(np.maximum(squares, 0.0)).reshape(len(design), *shape[:2])
        return errors


def group_arms(treated: Sequence[str], depths: Mapping[str, float] | None) -> tuple[ArmGroup, ...]:
    """Let arms of known depth share a smooth response in it: depth and depth squared, zero at no depth.

    Args:
        treated: Names of the treated arms.
        depths: Depth of the ordered arms; the others stand alone.

    >>> [group.basis.tolist() for group in group_arms(["a", "b", "c"], {"b": 0.1, "c": 0.2})]
    [[[1.0]], [[0.5, 0.25], [1.0, 1.0]]]
    """
    known = {arm: depth for arm, depth in (depths or {}).items() if depth > 0}
    ordered = tuple(place for place, arm in enumerate(treated) if arm in known)
    alone = tuple(place for place in range(len(treated)) if place not in ordered)
    groups = [ArmGroup((place,), np.ones((1, 1))) for place in alone]
    if ordered:
        share = np.array([known[treated[place]] for place in ordered])
        share = share / share.max()
        powers = 1 + np.arange(min(2, len(np.unique(share))))
        groups.append(ArmGroup(ordered, share[:, None] ** powers))
    return tuple(groups)


def predict_linear(coefficients: Floats, design: Floats) -> Floats:
    """Predictions of many linear models, shape (n_rows, *models).

    Args:
        coefficients: Shape (*models, q).
        design: Shape (n_rows, q).

    >>> predict_linear(np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[1.0, 3.0]])).tolist()
    [[7.0, 3.0]]
    """
    flat = coefficients.reshape(-1, coefficients.shape[-1])
    return (design @ flat.T).reshape(len(design), *coefficients.shape[:-1])


def fit_levels(grams: Grams, penalties: Floats) -> Floats:
    """Expected outcomes of each arm by its own rows, shape (n_arms, n_outcomes, q).

    Args:
        grams: Leading shape (n_arms,).
        penalties: Shape (n_arms, n_outcomes), see ``level_penalties``.

    >>> grams = Grams(np.full((1, 1, 1), 2.0), np.full((1, 1, 1), 6.0))
    >>> fit_levels(grams, np.zeros((1, 1))).round(6).tolist()
    [[[3.0]]]
    """
    parts = zip(grams.xx, grams.xy, penalties, strict=True)
    return np.stack([solve_each(xx, xy, own).T for xx, xy, own in parts])


def level_penalties(grams: Grams, tried: Sequence[float]) -> Floats:
    """The best penalty of each arm and outcome over folds, shape (n_arms, n_outcomes).

    Args:
        grams: Leading shape (n_folds, n_arms).
        tried: Penalties, in rows.

    >>> level_penalties(Grams(np.ones((2, 1, 1, 1)), np.ones((2, 1, 1, 1))), [1.0]).tolist()
    [[1.0]]
    """
    arms = range(grams.xx.shape[1])
    return np.stack([choose_penalties(grams.xx[:, arm], grams.xy[:, arm], tried) for arm in arms])


def fit_s_learner(grams: Grams, groups: Sequence[ArmGroup], tried: Sequence[float]) -> Floats:
    """One regression for all arms, with interactions of arm and covariates.

    Args:
        grams: Leading shape (n_folds, n_arms), control first.
        groups: How the treated arms share strength.
        tried: Penalties; the best over folds is taken.

    Returns:
        Uplift coefficients, shape (n_treated, n_outcomes, q).

    >>> xx = np.full((1, 2, 1, 1), 4.0)
    >>> fit_s_learner(Grams(xx, np.array([[[[4.0]], [[12.0]]]])), group_arms(["a"], None), [0.0]).round(6).tolist()
    [[[2.0]]]
    """
    basis = effect_basis(groups)
    n_folds, n_arms, size, _ = grams.xx.shape
    terms = basis.shape[1]
    full = np.zeros((n_arms, 1 + terms))
    full[:, 0], full[1:, 1:] = 1.0, basis
    width = (1 + terms) * size
    xx = np.einsum("ab,ac,faqr->fbqcr", full, full, grams.xx, optimize=True).reshape(n_folds, width, width)
    xy = np.einsum("ab,faqm->fbqm", full, grams.xy, optimize=True).reshape(n_folds, width, -1)
    free = tuple(range(0, width, size))
    told = solve_each(xx.sum(axis=0), xy.sum(axis=0), choose_penalties(xx, xy, tried, free), free)
    effects = told.reshape(1 + terms, size, -1)[1:]
    uplift: Floats = np.einsum("ac,cqm->amq", basis, effects)
    return uplift


def fit_x_learner(grams: Grams, levels: Floats, penalties: Floats) -> Floats:
    """Effects imputed in each arm from the other's level, averaged by the arms' shares.

    Args:
        grams: Leading shape (n_arms,), control first.
        levels: Of ``fit_levels``.
        penalties: Shape (n_arms, n_outcomes).

    Returns:
        Uplift coefficients, shape (n_treated, n_outcomes, q).

    Source: Künzel, Sekhon, Bickel and Yu 2019, with linear regressions and the arms' shares as propensity.

    >>> xx = np.full((2, 1, 1), 4.0)
    >>> grams = Grams(xx, np.array([[[4.0]], [[12.0]]]))
    >>> fit_x_learner(grams, fit_levels(grams, np.zeros((2, 1))), np.zeros((2, 1))).round(6).tolist()
    [[[2.0]]]
    """
    effects = []
    for arm in range(1, len(grams.xx)):
        share = grams.counts[arm] / (grams.counts[arm] + grams.counts[0])
        of_treated = solve_each(grams.xx[arm], grams.xy[arm] - grams.xx[arm] @ levels[0].T, penalties[arm])
        of_control = solve_each(grams.xx[0], grams.xx[0] @ levels[arm].T - grams.xy[0], penalties[0])
        effects.append((share * of_control + (1 - share) * of_treated).T)
    return np.stack(effects)


def effect_basis(groups: Sequence[ArmGroup]) -> Floats:
    """The groups' bases side by side, shape (n_treated, n_terms).

    >>> effect_basis(group_arms(["a", "b"], None)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    basis = np.zeros((sum(len(group.arms) for group in groups), sum(group.basis.shape[1] for group in groups)))
    first = 0
    for group in groups:
        basis[list(group.arms), first : first + group.basis.shape[1]] = group.basis
        first += group.basis.shape[1]
    return basis

"""From predicted uplift to who gets what: cross-fitted rules, and sums that judge them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.policy_value import (
    PolicyValues,
    budget_price,
    choose_arms,
    gather_policy_values,
    shrink_weights,
)
from promo_spark.kernels.uplift_folds import Block, arm_values, score_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OBJECTIVE, COST = 0, 1


class Uplift(Protocol):
    """Any model of uplift."""

    def uplift(self, design: Floats) -> Floats:
        """Uplift of each row, treated arm and outcome, shape (n_rows, n_treated, n_outcomes)."""


class PolicyRule(NamedTuple):
    """Gives each customer the arm of most net uplift.

    Attributes:
        model: Uplift of the objective and, where there is a second outcome, of cost.
        contact_costs: Of each treated arm, shape (n_treated,).
        weights: How far a customer's uplift may stray from the mean; 1 is as far as predicted, shape (n_treated,).
        means: Mean predicted uplift of the objective, shape (n_treated,).
        price: Shadow price of the budget.
    """

    model: Uplift
    contact_costs: Floats
    weights: Floats
    means: Floats
    price: float

    def net(self, design: Floats) -> tuple[Floats, Floats]:
        """Uplift of the objective less contact cost, and expected cost, never below contact cost."""
        uplift = self.model.uplift(design)
        gains = self.means + self.weights * (uplift[..., OBJECTIVE] - self.means) - self.contact_costs
        costs = np.broadcast_to(self.contact_costs, gains.shape)
        return gains, costs + np.maximum(uplift[..., COST], 0.0) if uplift.shape[2] > COST else costs

    def choose(self, design: Floats) -> Ints:
        """Arm of each row, 0 for none."""
        gains, costs = self.net(design)
        return choose_arms(gains, costs, self.price)


def gather_shrinkage(block: Block, levels: Floats, by_fold: Sequence[Uplift]) -> Floats:
    """Sums that shrinkage is learnt from, by fold: rows, scores s, uplift u, s u, u u of the objective.

    Args:
        block: The rows.
        levels: Expected outcomes by the other folds, shape (n_folds, n_arms, n_outcomes, q).
        by_fold: Models that have not seen their fold.

    Returns:
        Shape (n_folds, 5, n_treated).
    """
    scores = score_rows(block, levels)[..., OBJECTIVE]
    sums = np.zeros((len(by_fold), 5, scores.shape[1]))
    for fold in np.unique(block.folds).tolist():
        rows = block.folds == fold
        own, told = scores[rows], by_fold[fold].uplift(block.design[rows])[..., OBJECTIVE]
        sums[fold] = [part.sum(axis=0) for part in (np.ones_like(own), own, told, own * told, told * told)]
    return sums


def make_rules(
    by_fold: Sequence[Uplift],
    contact_costs: Floats,
    sample: Floats,
    sample_folds: Ints,
    *,
    budget: float | None,
    shrinkage: Floats | None = None,
) -> tuple[PolicyRule, ...]:
    """A rule for each fold, from the other folds alone.

    Args:
        by_fold: Models that have not seen their fold.
        contact_costs: Shape (n_treated,).
        sample: Design of sampled rows, shape (n_sampled, q); the price of the budget comes from them.
        sample_folds: Their folds.
        budget: Cost per decision; None does not bind.
        shrinkage: Of ``gather_shrinkage``; none: no shrinkage.

    >>> from promo_spark.kernels.effect_models import LinearUplift
    >>> flat = LinearUplift(np.array([[[2.0]]]), np.zeros((0, 0, 0, 0)))
    >>> rule, _ = make_rules([flat, flat], np.array([0.5]), np.ones((4, 1)), np.array([0, 1, 0, 1]), budget=None)
    >>> rule.choose(np.ones((1, 1))).tolist()
    [1]
    """
    rules = []
    for fold, model in enumerate(by_fold):
        weights, means = np.ones_like(contact_costs), np.zeros_like(contact_costs)
        if shrinkage is not None:
            count, score, told, product, square = np.delete(shrinkage, fold, axis=0).sum(axis=0)
            means = told / count
            weights = shrink_weights(product - score * told / count, square - told**2 / count)
        rule = PolicyRule(model, contact_costs, weights, means, 0.0)
        gains, costs = rule.net(sample[sample_folds != fold])
        rules.append(rule._replace(price=budget_price(gains, costs, budget)))
    return tuple(rules)


def judge_rules(block: Block, levels: Floats, rules: Sequence[PolicyRule]) -> PolicyValues:
    """Doubly robust moments of the rules and of each constant arm, every row by the rule that has not seen it.

    Args:
        block: The rows; outcomes are the objective and perhaps cost.
        levels: Expected outcomes by the other folds, shape (n_folds, n_arms, n_outcomes, q).
        rules: One per fold.
    """
    values = arm_values(block, levels)
    gained = values[:, 1:] - values[:, :1]
    contact = rules[0].contact_costs
    costs = gained[..., COST] if values.shape[2] > COST else np.zeros(gained.shape[:2])
    chosen = np.zeros(len(block.arms), dtype=np.int64)
    for fold in np.unique(block.folds).tolist():
        rows = block.folds == fold
        chosen[rows] = rules[fold].choose(block.design[rows])
    return gather_policy_values(gained[..., OBJECTIVE] - contact, costs + contact, chosen, block.clusters)

"""Is a personalised policy worth it? Learnt and judged on different customers, against the best simple one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pyspark.sql import DataFrame

from promo_spark.kernels.doubly_robust import ClusterMoments
from promo_spark.kernels.gram_regression import Floats
from promo_spark.kernels.policy_rules import PolicyRule, gather_shrinkage, judge_rules, make_rules
from promo_spark.kernels.policy_value import PolicyValues
from promo_spark.kernels.safe_policy import PolicyComparison, compare_values
from promo_spark.kernels.uplift_folds import Block
from promo_spark.response.uplift_blocks import Gather, sum_blocks
from promo_spark.response.uplift_learners import Learnt, Uplift, learn_uplift, prepare_learning
from promo_spark.response.uplift_rows import UpliftRows, prepare_rows


def compare_policies(
    *,
    rows: DataFrame,
    objective: str,
    cost: str | None,
    contact_costs: dict[str, float],
    covariate_names: tuple[str, ...],
    learner: str = "dr_linear",
    folds: int = 3,
    budget_per_customer: float | None = None,
    alpha: float = 0.025,
    shrink: bool = False,
    seed: int = 0,
    propensity_floor: float = 0.02,
    ridge: float = 1.0,
    depths: dict[str, float] | None = None,
) -> PolicyComparison:
    """Hold a cross-fitted personalised policy against every constant arm and no promotion, under one budget.

    In each fold the policy is that of a learner fitted on the others: the arm of most uplift in the objective less
    contact cost less the shadow price times expected cost, that price being set on the others too. A constant arm
    goes to the share of customers that the budget stretches to.

    Args:
        rows: Decisions, see ``prepare_rows``.
        objective: Column of what a policy earns, before contact cost.
        cost: Column of what it costs, such as discounts; None for contact cost alone.
        contact_costs: Cost of telling one customer, by arm; 0 where an arm is not named.
        covariate_names: One per covariate.
        learner: Such as dr_linear.
        folds: Parts of the customers; at least 3 are made.
        budget_per_customer: Expected cost per decision that no policy may exceed; None does not bind.
        alpha: One-sided error rate of personalising, and of promoting at all, without a gain.
        shrink: Pull each customer's uplift towards the mean, as far as lowers the doubly robust loss.
        seed: Of the folds and of trees.
        propensity_floor: See ``prepare_rows``.
        ridge: Least penalty of linear models, in rows.
        depths: Discount depth of ordered arms.

    Returns:
        Values per decision, all out of fold with errors clustered by customer, and the verdict.

    Raises:
        ValueError: The rows, a cost, the budget or the learner's name are at fault.
    """
    _check_costs(contact_costs, budget_per_customer)
    with prepare_rows(
        rows=rows,
        outcomes=(objective,) if cost is None else (objective, cost),
        covariate_names=covariate_names,
        folds=folds,
        propensity_floor=propensity_floor,
        seed=seed,
    ) as prepared:
        learning = prepare_learning(rows=prepared, ridge=ridge, depths=depths)
        learnt = learn_uplift(prepared=learning, learner=learner, seed=seed)
        values = _judge(prepared, learnt, contact_costs, budget_per_customer, shrink=shrink)
    return compare_values(values, prepared.arms[1:], budget_per_customer, alpha)


def _check_costs(contact_costs: Mapping[str, float], budget: float | None) -> None:
    wrong = sorted(arm for arm, cost in contact_costs.items() if not 0 <= cost < np.inf)
    if wrong:
        raise ValueError(f"contact costs must be finite and not negative: {', '.join(wrong)}")
    if budget is not None and not 0 <= budget < np.inf:
        raise ValueError(f"the budget per customer must be finite and not negative, got {budget}")


def learn_rules(
    rows: UpliftRows, learnt: Learnt, contact_costs: Mapping[str, float], budget: float | None, *, shrink: bool
) -> tuple[PolicyRule, ...]:
    """For each fold the personalised policy of the others; arguments as ``compare_policies``."""
    sums = None
    if shrink:
        (sums,) = sum_blocks(
            frame=rows.frame,
            standardiser=rows.standardiser,
            gather=_shrinkage_gatherer(learnt.levels, learnt.by_fold),
        )
    return make_rules(
        learnt.by_fold,
        np.array([contact_costs.get(arm, 0.0) for arm in rows.arms[1:]]),
        rows.standardiser.design(rows.sample),
        rows.sample_folds,
        budget=budget,
        shrinkage=sums,
    )


def _judge(
    rows: UpliftRows, learnt: Learnt, contact_costs: Mapping[str, float], budget: float | None, *, shrink: bool
) -> PolicyValues:
    rules = learn_rules(rows, learnt, contact_costs, budget, shrink=shrink)
    moments = sum_blocks(frame=rows.frame, standardiser=rows.standardiser, gather=_rule_gatherer(learnt.levels, rules))
    return PolicyValues(ClusterMoments(*moments))


def _shrinkage_gatherer(levels: Floats, by_fold: Sequence[Uplift]) -> Gather:
    def gather(block: Block) -> Sequence[Floats]:
        return (gather_shrinkage(block, levels, by_fold),)

    return gather


def _rule_gatherer(levels: Floats, rules: Sequence[PolicyRule]) -> Gather:
    def gather(block: Block) -> Sequence[Floats]:
        return judge_rules(block, levels, rules).moments

    return gather

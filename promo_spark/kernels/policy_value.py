"""Who gets which arm under a budget, and what that is worth by doubly robust values of other customers' models."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.doubly_robust import ClusterMoments, cluster_moments, mean_and_error

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_HALVINGS, _DEAREST = 60, 1e12


class PolicyValues(NamedTuple):
    """Moments of what policies add to no promotion, per decision.

    The values are, in this order: 1, the personalised policy's value, the same of each constant arm, the personalised
    policy's cost, the same of each constant arm.

    Attributes:
        moments: Of these 2 * n_treated + 3 values.
    """

    moments: ClusterMoments

    @property
    def n_treated(self) -> int:
        """Number of treated arms."""
        return (len(self.moments.total) - 3) // 2

    def value(self, arm: int | None, share: float = 1.0) -> Floats:
        """Weights of a policy's value: a constant arm from 0 on, for a share of customers; None is personalised."""
        return self._pick(1 if arm is None else 2 + arm, share)

    def cost(self, arm: int | None, share: float = 1.0) -> Floats:
        """Weights of a policy's cost; arguments as ``value``."""
        return self._pick(self.n_treated + (2 if arm is None else 3 + arm), share)

    def mean(self, combination: Floats) -> tuple[float, float]:
        """Mean per decision of a combination, and its cluster-robust standard error."""
        return mean_and_error(self.moments, combination)

    def _pick(self, place: int, share: float) -> Floats:
        weights = np.zeros(len(self.moments.total))
        weights[place] = share
        return weights


def choose_arms(gains: Floats, costs: Floats, price: float) -> Ints:
    """The arm of each row with the most gain less price times cost: 0 is none, 1 the first treated arm.

    Args:
        gains: Uplift of the objective less contact cost, shape (n_rows, n_treated).
        costs: Expected cost, shape (n_rows, n_treated).
        price: Shadow price of the budget.

    Returns:
        Shape (n_rows,). An arm must beat none; of equals the first is taken.

    >>> choose_arms(np.array([[1.0, 2.0], [-1.0, 0.0]]), np.array([[1.0, 3.0], [1.0, 1.0]]), 0.6).tolist()
    [1, 0]
    """
    net = np.concatenate([np.zeros((len(gains), 1)), gains - price * costs], axis=1)
    chosen: Ints = net.argmax(axis=1)
    return chosen


def budget_price(gains: Floats, costs: Floats, budget: float | None) -> float:
    """The least shadow price at which the rows' choices cost no more than the budget per row.

    Args:
        gains: Shape (n_rows, n_treated).
        costs: Shape (n_rows, n_treated).
        budget: Currency per row; None does not bind.

    Complexity: O(n_rows * n_treated) for each of 60 halvings.

    >>> round(budget_price(np.array([[1.0], [2.0]]), np.array([[1.0], [1.0]]), 0.5), 6)
    1.0
    """
    if budget is None or _spent(gains, costs, 0.0) <= budget:
        return 0.0
    low, high = 0.0, 1.0
    while _spent(gains, costs, high) > budget and high < _DEAREST:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _spent(gains, costs, middle) > budget else (low, middle)
    return high


def gather_policy_values(values: Floats, costs: Floats, chosen: Ints, clusters: Ints) -> PolicyValues:
    """Moments of what the chosen arms and each constant arm add to no promotion.

    Args:
        values: Doubly robust values of the treated arms less none's and less contact cost, shape (n_rows, n_treated).
        costs: The same of cost, contact cost added, shape (n_rows, n_treated).
        chosen: Arm by a model that has not seen the row, 0 for none, shape (n_rows,).
        clusters: Customers, equal ones side by side, shape (n_rows,).

    >>> own = gather_policy_values(np.array([[4.0], [2.0]]), np.ones((2, 1)), np.array([1, 0]), np.array([0, 1]))
    >>> own.mean(own.value(None))[0], own.mean(own.value(0))[0], own.mean(own.cost(None))[0]
    (2.0, 3.0, 0.5)
    """
    rows, given = np.arange(len(chosen)), chosen > 0
    own_value = np.where(given, values[rows, chosen - 1], 0.0)
    own_cost = np.where(given, costs[rows, chosen - 1], 0.0)
    columns = [np.ones(len(chosen)), own_value, *values.T, own_cost, *costs.T]
    return PolicyValues(cluster_moments(np.column_stack(columns), clusters))


def shrink_weights(products: Floats, squares: Floats) -> Floats:
    """How far each customer's uplift may stray from the mean: the slope of scores on it, between 0 and 1.

    The weight with the least doubly robust loss.

    Args:
        products: Covariance of scores and predicted uplift, any shape.
        squares: Variance of predicted uplift, same shape.

    >>> shrink_weights(np.array([1.0, -1.0, 3.0]), np.array([2.0, 1.0, 1.0])).tolist()
    [0.5, 0.0, 1.0]
    """
    slopes = np.divide(products, squares, out=np.zeros_like(products), where=squares > 0)
    return np.clip(slopes, 0.0, 1.0)


def _spent(gains: Floats, costs: Floats, price: float) -> float:
    chosen = choose_arms(gains, costs, price)
    given = np.flatnonzero(chosen)
    return float(costs[given, chosen[given] - 1].sum() / max(len(gains), 1))

"""What followed a decision: a redemption, a visit, and sales, discounts and margin with the carry-over."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from promo_spark.kernels.decision_covariates import UNITS, Decisions, PromotionEvents, Purchases
from promo_spark.kernels.event_windows import DatedEvents, match_groups

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

DECISION_OUTCOMES = ("is_redeemed", "is_visited", "sales_amount", "margin_amount", "discount_amount")


def measure_outcomes(
    decisions: Decisions, ends: Ints, carried: Ints, *, purchases: Purchases, redeemed: PromotionEvents
) -> Floats:
    """Outcomes of each decision.

    Args:
        decisions: The decisions; their day is the first that counts.
        ends: Day on which the attribution window is over, shape (decisions,).
        carried: Day on which the carry-over is over, shape (decisions,).
        purchases: What the customers bought.
        redeemed: Coupons that they redeemed; only those of the decision's own promotion count.

    Returns:
        Shape (decisions, len(DECISION_OUTCOMES)): 1 or 0 in the window, then currency in window and carry-over.

    Complexity: O((purchases + redemptions + decisions) log).

    A window of four days and a carry-over of as many; 4 are spent on the first day, 5 in the carry-over:

    >>> one = np.array([0])
    >>> decision = Decisions(one, one + 10, one, one, np.zeros((1, 4)))
    >>> amounts = np.array([[4, 0, 0, 1], [5, 0, 0, 1]]) * UNITS
    >>> bought = Purchases(np.array([0, 0]), np.array([10, 15]), np.array([1, 1]), amounts, np.array([0, 0]), one[:0],
    ...     np.array([0, 0]), one[:0])
    >>> used = PromotionEvents(one, one + 15, one, one)
    >>> measure_outcomes(decision, one + 14, one + 18, purchases=bought, redeemed=used).tolist()
    [[0.0, 1.0, 9.0, 2.0, 0.0]]
    """
    bought = DatedEvents(
        purchases.owners,
        purchases.days,
        np.column_stack([purchases.amounts[:, [0, 3, 1]], np.ones(len(purchases.days), dtype=np.int64)]),
    )
    groups, wanted = match_groups(redeemed.owners, decisions.owners, (redeemed.promotions, decisions.promotions))
    used = DatedEvents(groups, redeemed.days, np.ones((len(groups), 1), dtype=np.int64))
    visits = bought.sums(decisions.owners, first=decisions.days, end=ends)[:, 3]
    amounts = bought.sums(decisions.owners, first=decisions.days, end=carried)[:, :3] / UNITS
    redemptions = used.sums(wanted, first=decisions.days, end=ends)[:, 0]
    return np.column_stack([redemptions > 0, visits > 0, amounts]).astype(np.float64)

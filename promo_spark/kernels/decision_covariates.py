"""What is known of a customer and a promotion before the decision to give the one to the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from promo_spark.kernels.event_windows import NEVER, DatedEvents, first_of_each, match_groups
from promo_spark.kernels.shopping_history import HISTORY_FEATURES, measure_histories

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

UNITS = 10_000
"""Amounts come as whole numbers of this many parts of a currency unit: their sums are exact."""
MONTH, QUARTER, YEAR = 28, 91, 364
_LONG_AGO = 728
# A customer's own rate of redemption counts beside this many promotions at the rate of all.
_PRIOR_PROMOTIONS = 3.0
# Odds of a coupon on a visit, as if so many visits with and without one had been seen before.
_PRIOR_COUPON_VISITS, _PRIOR_PLAIN_VISITS = 0.3, 5.7
_FIRST_DAY = -(2**30)

PROMOTION_FACTS = ("duration_log", "covered_products_log", "coupons_log", "arm_redemption_rate")
"""What the retailer knows of a promotion when planning it, and how often its arm was redeemed before."""

_COVERED = (
    "covered_spend_91d_root",
    "covered_spend_364d_root",
    "covered_visits_91d_root",
    "covered_visits_364d_root",
    "covered_recency_log",
    "covered_spend_rate",
    "covered_visit_rate",
    "covered_products_bought_log",
    "covered_discount_rate",
    "covered_coupon_visits_364d_root",
    "covered_coupon_recency_log",
    "related_coupons_364d_root",
)
_SAVING = (
    "coupon_visits_28d_root",
    "coupon_visits_91d_root",
    "coupon_visits_364d_root",
    "coupon_amount_364d_root",
    "coupon_recency_log",
    "coupon_visit_rate",
    "coupon_visit_odds_log",
    "discount_91d_rate",
    "discount_364d_rate",
    "products_bought_log",
)
_GIVEN = (
    "given_log",
    "given_28d_log",
    "given_arm_log",
    "redeemed_log",
    "redeemed_arm_log",
    "redemptions_log",
    "redemption_recency_log",
    "redeemed_rate",
    "redeemed_arm_rate",
    "is_given_arm",
)
DECISION_COVARIATES = (*HISTORY_FEATURES, "is_new", *_COVERED, *_SAVING, *_GIVEN, *PROMOTION_FACTS)


@dataclass(frozen=True)
class Purchases:
    """Purchases of a block of customers, one per customer, day and product.

    Attributes:
        owners: Customer, 0 and up, shape (purchases,), ascending.
        days: Day numbers, ascending within a customer.
        products: Number of the product.
        amounts: Spend, retailer-paid discount, coupon discount and margin in ``1 / UNITS``, shape (purchases, 4).
        cover_counts: Promotions that cover the product, shape (purchases,).
        covers: Their numbers one after the other, shape (sum of cover_counts,).
        related_counts: Promotions that cover anything of the product's category, shape (purchases,); 0 where no coupon
            was used, since nothing else is measured of them.
        related: Their numbers one after the other, shape (sum of related_counts,).
    """

    owners: Ints
    days: Ints
    products: Ints
    amounts: Ints
    cover_counts: Ints
    covers: Ints
    related_counts: Ints
    related: Ints


@dataclass(frozen=True)
class PromotionEvents:
    """Promotions given or redeemed by a block of customers; each array of shape (events,)."""

    owners: Ints
    days: Ints
    promotions: Ints
    arms: Ints


@dataclass(frozen=True)
class Decisions:
    """Decisions to measure.

    Attributes:
        owners: Customer, shape (decisions,).
        days: Day of the decision; that day's events are not looked at.
        promotions: Number of the promotion, as in `Purchases.covers`.
        arms: Number of the arm.
        facts: `PROMOTION_FACTS`, shape (decisions, 4).
    """

    owners: Ints
    days: Ints
    promotions: Ints
    arms: Ints
    facts: Floats


def measure_decisions(
    decisions: Decisions, *, purchases: Purchases, given: PromotionEvents, redeemed: PromotionEvents, count: int
) -> Floats:
    """Covariates of each decision from what happened before its day.

    Args:
        decisions: What to measure.
        purchases: What the customers bought; refunds and outliers left out.
        given: Promotions that the customers were given.
        redeemed: Coupons that they redeemed.
        count: Customers in the block.

    Returns:
        Shape (decisions, len(DECISION_COVARIATES)), finite; zero where a customer has no history, with is_new.

    Complexity: O((purchases × promotions that cover one + decisions) log), and O(purchases) per distinct day.

    Spend of 4 two days before a decision on promotion 7, which covers it, and of 5 on the day itself:

    >>> one = np.array([0])
    >>> decision = Decisions(one, np.array([10]), np.array([7]), one, np.zeros((1, len(PROMOTION_FACTS))))
    >>> amounts = np.array([[4, 0, 0, 1], [5, 0, 0, 1]]) * UNITS
    >>> bought = Purchases(np.array([0, 0]), np.array([8, 10]), np.array([1, 1]), amounts, np.array([1, 0]), one + 7,
    ...     np.array([0, 0]), one[:0])
    >>> nothing = PromotionEvents(*[one[:0]] * 4)
    >>> table = measure_decisions(decision, purchases=bought, given=nothing, redeemed=nothing, count=1)
    >>> float(table[0, DECISION_COVARIATES.index("covered_spend_91d_root")])
    2.0
    """
    return np.column_stack(
        [
            _histories(decisions, purchases, count),
            *_shopping(decisions, purchases),
            *_promotions(decisions, given, redeemed),
            decisions.facts,
        ]
    )


def _histories(decisions: Decisions, purchases: Purchases, count: int) -> Floats:
    owners, days = purchases.owners, purchases.days
    starts = np.flatnonzero(first_of_each(owners, days))
    spend = np.add.reduceat(purchases.amounts[:, 0], starts) / UNITS if len(starts) else np.empty(0)
    table = np.zeros((len(decisions.days), len(HISTORY_FEATURES) + 1))
    for day in np.unique(decisions.days):
        now = decisions.days == day
        measured = measure_histories(owners[starts], days[starts], spend, count=count, cut=int(day))
        table[now, :-1] = measured[decisions.owners[now]]
    table[:, -1] = np.isnan(table[:, 0])
    return np.nan_to_num(table, nan=0.0)


def _shopping(decisions: Decisions, purchases: Purchases) -> list[Floats]:
    """Covered products, then coupons and discounts."""
    place = np.repeat(np.arange(len(purchases.owners)), purchases.cover_counts)
    groups, wanted = match_groups(purchases.owners[place], decisions.owners, (purchases.covers, decisions.promotions))
    covered = _Basket(groups, purchases, place, wanted, decisions.days)
    whole = _Basket(purchases.owners, purchases, np.arange(len(purchases.owners)), decisions.owners, decisions.days)
    return [
        *(_root(covered.spend[window]) for window in (QUARTER, YEAR)),
        *(np.sqrt(covered.visits[window]) for window in (QUARTER, YEAR)),
        covered.recency,
        _rate(covered.spend[YEAR], whole.spend[YEAR]),
        _rate(covered.visits[YEAR], whole.visits[YEAR]),
        np.log1p(covered.products),
        _rate(covered.discount[YEAR], covered.spend[YEAR] + covered.discount[YEAR]),
        np.sqrt(covered.coupon_visits[YEAR]),
        covered.coupon_recency,
        np.sqrt(_related_coupons(decisions, purchases)),
        *(np.sqrt(whole.coupon_visits[window]) for window in (MONTH, QUARTER, YEAR)),
        _root(whole.coupon),
        whole.coupon_recency,
        _rate(whole.coupon_visits[YEAR], whole.visits[YEAR]),
        _coupon_odds(whole.coupon_visits[YEAR], whole.visits[YEAR]),
        *(_rate(whole.discount[window], whole.spend[window] + whole.discount[window]) for window in (QUARTER, YEAR)),
        np.log1p(whole.products),
    ]


class _Basket:
    """Purchases before each decision, over all products or those that its promotion covers."""

    def __init__(self, groups: Ints, purchases: Purchases, place: Ints, wanted: Ints, cut: Ints) -> None:
        days = purchases.days[place]
        amounts = purchases.amounts[place]
        has_coupon = amounts[:, 2] > 0
        firsts = np.column_stack(
            [
                first_of_each(groups, days),
                _first_marked(has_coupon, groups, days),
                first_of_each(groups, purchases.products[place]),
            ]
        )
        events = DatedEvents(groups, days, np.column_stack([amounts[:, :3], firsts]))
        sums = {window: events.sums(wanted, first=cut - window, end=cut) for window in (MONTH, QUARTER, YEAR)}
        self.spend = {window: values[:, 0] for window, values in sums.items()}
        self.discount = {window: values[:, 1] for window, values in sums.items()}
        self.visits = {window: values[:, 3] for window, values in sums.items()}
        self.coupon_visits = {window: values[:, 4] for window, values in sums.items()}
        self.coupon = sums[YEAR][:, 2]
        self.products = events.sums(wanted, first=np.full(len(cut), _FIRST_DAY), end=cut)[:, 5]
        self.recency = _recency(events.last_days(wanted, end=cut), cut)
        used = DatedEvents(groups[has_coupon], days[has_coupon], np.ones((int(has_coupon.sum()), 1), dtype=np.int64))
        self.coupon_recency = _recency(used.last_days(wanted, end=cut), cut)


def _promotions(decisions: Decisions, given: PromotionEvents, redeemed: PromotionEvents) -> list[Floats]:
    """Promotions given and redeemed before, of any arm and of this one."""
    prior = decisions.facts[:, PROMOTION_FACTS.index("arm_redemption_rate")]
    first_redeemed = _first_marked(np.ones(len(redeemed.days), dtype=bool), redeemed.owners, redeemed.promotions)
    start = np.full(len(decisions.days), _FIRST_DAY)
    counts = []
    for events, marks in ((given, np.ones(len(given.days), dtype=bool)), (redeemed, first_redeemed)):
        values = np.column_stack([marks, np.ones(len(marks))]).astype(np.int64)
        arm_groups, wanted = match_groups(events.owners, decisions.owners, (events.arms, decisions.arms))
        overall, of_arm = DatedEvents(events.owners, events.days, values), DatedEvents(arm_groups, events.days, values)
        recent = overall.sums(decisions.owners, first=decisions.days - MONTH, end=decisions.days)
        ever = overall.sums(decisions.owners, first=start, end=decisions.days)
        arm = of_arm.sums(wanted, first=start, end=decisions.days)
        counts.append((ever, recent, arm, overall.last_days(decisions.owners, end=decisions.days)))
    (told, told_now, told_arm, _), (used, _, used_arm, last) = counts
    return [
        np.log1p(told[:, 0]),
        np.log1p(told_now[:, 0]),
        np.log1p(told_arm[:, 0]),
        np.log1p(used[:, 0]),
        np.log1p(used_arm[:, 0]),
        np.log1p(used[:, 1]),
        _recency(last, decisions.days),
        _shrunk(used[:, 0], told[:, 0], prior),
        _shrunk(used_arm[:, 0], told_arm[:, 0], prior),
        (told_arm[:, 0] > 0).astype(np.float64),
    ]


def _related_coupons(decisions: Decisions, purchases: Purchases) -> Ints:
    """Purchases with a coupon, over a year, in categories of which the promotion covers anything."""
    place = np.repeat(np.arange(len(purchases.owners)), purchases.related_counts)
    groups, wanted = match_groups(purchases.owners[place], decisions.owners, (purchases.related, decisions.promotions))
    used = (purchases.amounts[place, 2:3] > 0).astype(np.int64)
    events = DatedEvents(groups, purchases.days[place], used)
    return events.sums(wanted, first=decisions.days - YEAR, end=decisions.days)[:, 0]


def _coupon_odds(with_coupon: Ints, visits: Ints) -> Floats:
    odds: Floats = np.log((with_coupon + _PRIOR_COUPON_VISITS) / (visits - with_coupon + _PRIOR_PLAIN_VISITS))
    return odds


def _shrunk(happened: Ints, tried: Ints, prior: Floats) -> Floats:
    return (happened + _PRIOR_PROMOTIONS * prior) / (np.maximum(tried, happened) + _PRIOR_PROMOTIONS)


def _first_marked(marks: npt.NDArray[np.bool_], *keys: Ints) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(marks), dtype=bool)
    found[marks] = first_of_each(*(key[marks] for key in keys))
    return found


def _root(units: Ints) -> Floats:
    return np.sqrt(np.maximum(units, 0) / UNITS)


def _rate(part: Ints, whole: Ints) -> Floats:
    return np.clip(part / np.maximum(whole, 1), 0.0, 1.0)


def _recency(last: Ints, cut: Ints) -> Floats:
    return np.log1p(np.minimum(np.where(last == NEVER, _LONG_AGO, cut - last), _LONG_AGO).astype(np.float64))

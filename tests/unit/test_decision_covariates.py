"""Covariates and outcomes of decisions against plain loops over a customer's events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from promo_spark.kernels.decision_covariates import (
    DECISION_COVARIATES,
    PROMOTION_FACTS,
    UNITS,
    Decisions,
    PromotionEvents,
    Purchases,
    measure_decisions,
)
from promo_spark.kernels.decision_outcomes import DECISION_OUTCOMES, measure_outcomes

COUNT, FIRST, LAST, PROMOTIONS = 6, 1000, 1500, 4
Ints = npt.NDArray[np.int64]
Block = tuple[Decisions, Purchases, PromotionEvents, PromotionEvents]


def draw_purchases(random: np.random.Generator) -> Purchases:
    """Unique by customer, day and product; the last customer buys nothing."""
    rows = np.unique(
        np.column_stack(
            [
                random.integers(0, COUNT - 1, 400),
                random.integers(FIRST, LAST, 400) // 5 * 5,
                random.integers(0, 12, 400),
            ]
        ),
        axis=0,
    )
    covered = [[1, 2] if product < 3 else [2] if product < 6 else [] for product in rows[:, 2]]
    amounts = np.column_stack([random.integers(0, 900, (len(rows), 2)) * 100, np.zeros((len(rows), 2), dtype=int)])
    amounts[::4, 2] = 50 * 100
    amounts[:, 3] = amounts[:, 0] // 4
    related = [
        [1, 3] if product < 9 and coupon else [] for product, coupon in zip(rows[:, 2], amounts[:, 2], strict=True)
    ]
    return Purchases(
        rows[:, 0],
        rows[:, 1],
        rows[:, 2],
        amounts,
        np.array([len(covers) for covers in covered]),
        np.array([code for covers in covered for code in covers]),
        np.array([len(promotions) for promotions in related]),
        np.array([code for promotions in related for code in promotions]),
    )


def draw_events(random: np.random.Generator, count: int) -> PromotionEvents:
    owners, promotions = random.integers(0, COUNT, count), random.integers(0, PROMOTIONS, count)
    days = random.integers(FIRST, LAST, count)
    order = np.lexsort((days, owners))
    return PromotionEvents(owners[order], days[order], promotions[order], promotions[order] % 2)


@pytest.fixture
def block() -> Block:
    random = np.random.default_rng(3)
    decided = 40
    promotions = random.integers(0, PROMOTIONS, decided)
    decisions = Decisions(
        np.sort(random.integers(0, COUNT, decided)),
        random.choice(np.array([FIRST, 1200, 1203, 1400, LAST]), decided),
        promotions,
        promotions % 2,
        np.column_stack([random.random((decided, 3)), np.full(decided, 0.1)]),
    )
    return decisions, draw_purchases(random), draw_events(random, 60), draw_events(random, 30)


def measured(block: Block) -> npt.NDArray[np.float64]:
    decisions, purchases, given, redeemed = block
    return measure_decisions(decisions, purchases=purchases, given=given, redeemed=redeemed, count=COUNT)


def covers_of(purchases: Purchases) -> list[set[int]]:
    ends = np.cumsum(purchases.cover_counts)
    return [set(purchases.covers[end - n : end].tolist()) for end, n in zip(ends, purchases.cover_counts, strict=True)]


def loops(block: Block, place: int) -> dict[str, float]:
    """What one decision's covariates should be, by name."""
    decisions, bought, given, redeemed = block
    owner, day = int(decisions.owners[place]), int(decisions.days[place])
    promotion, arm = int(decisions.promotions[place]), int(decisions.arms[place])
    covers = covers_of(bought)
    mine = [i for i in range(len(bought.days)) if bought.owners[i] == owner and bought.days[i] < day]
    covered = [i for i in mine if promotion in covers[i]]
    year = [i for i in mine if day - bought.days[i] <= 364]
    covered_year = [i for i in covered if i in year]
    with_coupon = [i for i in mine if bought.amounts[i, 2] > 0]
    told = [i for i in range(len(given.days)) if given.owners[i] == owner and given.days[i] < day]
    used = [i for i in range(len(redeemed.days)) if redeemed.owners[i] == owner and redeemed.days[i] < day]
    used_arm = [i for i in used if redeemed.arms[i] == arm]
    promotions_used = {int(redeemed.promotions[i]) for i in used}
    arm_told = sum(given.arms[i] == arm for i in told)
    arm_used = len({int(redeemed.promotions[i]) for i in used_arm})

    def spend(places: list[int]) -> float:
        return float(bought.amounts[places, 0].sum()) / UNITS

    def discount(places: list[int]) -> float:
        return float(bought.amounts[places, 1].sum()) / UNITS

    def visits(places: list[int]) -> int:
        return len({int(bought.days[i]) for i in places})

    def away(days: Ints) -> float:
        return float(np.log1p(min(day - days.max(), 728) if len(days) else 728))

    return {
        "is_new": float(not mine),
        "covered_spend_91d_root": np.sqrt(spend([i for i in covered if day - bought.days[i] <= 91])),
        "covered_spend_364d_root": np.sqrt(spend(covered_year)),
        "covered_visits_364d_root": np.sqrt(visits(covered_year)),
        "covered_recency_log": away(bought.days[covered]),
        "covered_spend_rate": spend(covered_year) / max(spend(year), 1e-4),
        "covered_products_bought_log": np.log1p(len({int(bought.products[i]) for i in covered})),
        "covered_discount_rate": discount(covered_year) / max(spend(covered_year) + discount(covered_year), 1e-4),
        "coupon_visits_364d_root": np.sqrt(visits([i for i in with_coupon if i in year])),
        "covered_coupon_visits_364d_root": np.sqrt(visits([i for i in with_coupon if i in covered_year])),
        "covered_coupon_recency_log": away(bought.days[[i for i in with_coupon if i in covered]]),
        "related_coupons_364d_root": np.sqrt(
            sum(bought.products[i] < 9 and promotion in {1, 3} for i in with_coupon if i in year)
        ),
        "coupon_visits_28d_root": np.sqrt(visits([i for i in with_coupon if day - bought.days[i] <= 28])),
        "coupon_recency_log": away(bought.days[with_coupon]),
        "coupon_amount_364d_root": np.sqrt(bought.amounts[[i for i in with_coupon if i in year], 2].sum() / UNITS),
        "products_bought_log": np.log1p(len({int(bought.products[i]) for i in mine})),
        "given_log": np.log1p(len(told)),
        "given_28d_log": np.log1p(sum(day - given.days[i] <= 28 for i in told)),
        "given_arm_log": np.log1p(arm_told),
        "redeemed_log": np.log1p(len(promotions_used)),
        "redemptions_log": np.log1p(len(used)),
        "redemption_recency_log": away(redeemed.days[used]),
        "redeemed_rate": (len(promotions_used) + 0.3) / (max(len(told), len(promotions_used)) + 3),
        "redeemed_arm_rate": (arm_used + 0.3) / (max(arm_told, arm_used) + 3),
    }


def test_agrees_with_loops_over_events(block: Block) -> None:
    table = measured(block)
    assert table.shape == (40, len(DECISION_COVARIATES))
    assert np.isfinite(table).all()
    for place in range(len(table)):
        for name, value in loops(block, place).items():
            assert table[place, DECISION_COVARIATES.index(name)] == pytest.approx(value), (name, place)


def test_the_day_of_the_decision_and_later_change_nothing(block: Block) -> None:
    decisions, purchases, given, redeemed = block
    at = 1203
    only = decisions.days == at
    asked = Decisions(*(getattr(decisions, n)[only] for n in ("owners", "days", "promotions", "arms", "facts")))
    past = purchases.days < at
    covered = np.repeat(past, purchases.cover_counts)
    cut = Purchases(
        owners=purchases.owners[past],
        days=purchases.days[past],
        products=purchases.products[past],
        amounts=purchases.amounts[past],
        cover_counts=purchases.cover_counts[past],
        covers=purchases.covers[covered],
        related_counts=purchases.related_counts[past],
        related=purchases.related[np.repeat(past, purchases.related_counts)],
    )
    cut_given, cut_redeemed = (
        PromotionEvents(*(getattr(e, n)[e.days < at] for n in ("owners", "days", "promotions", "arms")))
        for e in (given, redeemed)
    )
    assert only.any()
    assert not past.all()
    assert np.array_equal(
        measured((asked, purchases, given, redeemed)), measured((asked, cut, cut_given, cut_redeemed))
    )


def test_a_customer_is_measured_alike_in_any_block(block: Block) -> None:
    table = measured(block)
    for owner in range(COUNT):
        rows = block[0].owners == owner
        alone = replace(
            block[0], **{n: getattr(block[0], n)[rows] for n in ("owners", "days", "promotions", "arms", "facts")}
        )
        assert np.array_equal(measured((alone, block[1], block[2], block[3])), table[rows])


def test_a_customer_without_a_history_is_new_and_all_zero_but_for_the_prior(block: Block) -> None:
    decisions = block[0]
    nobody = np.zeros(0, dtype=np.int64)
    nothing = PromotionEvents(nobody, nobody, nobody, nobody)
    empty = Purchases(nobody, nobody, nobody, np.zeros((0, 4), dtype=np.int64), *[nobody] * 4)
    table = measured((decisions, empty, nothing, nothing))
    assert (table[:, DECISION_COVARIATES.index("is_new")] == 1).all()
    assert (table[:, DECISION_COVARIATES.index("visits_91d_root")] == 0).all()
    assert table[:, DECISION_COVARIATES.index("redeemed_rate")] == pytest.approx(0.1)
    assert np.array_equal(table[:, -len(PROMOTION_FACTS) :], decisions.facts)


def test_outcomes_count_from_the_day_on_to_the_end_of_their_windows(block: Block) -> None:
    decisions, purchases, _, redeemed = block
    ends, carried = decisions.days + 28, decisions.days + 42
    table = measure_outcomes(decisions, ends, carried, purchases=purchases, redeemed=redeemed)
    for place, (owner, day) in enumerate(zip(decisions.owners, decisions.days, strict=True)):
        mine = (purchases.owners == owner) & (purchases.days >= day)
        both = mine & (purchases.days < day + 42)
        used = (redeemed.owners == owner) & (redeemed.days >= day) & (redeemed.days < day + 28)
        expected = (
            float((used & (redeemed.promotions == decisions.promotions[place])).any()),
            float((mine & (purchases.days < day + 28)).any()),
            *(purchases.amounts[both][:, [0, 3, 1]].sum(axis=0) / UNITS),
        )
        assert table[place] == pytest.approx(expected)
    assert set(np.unique(table[:, DECISION_OUTCOMES.index("is_visited")])) == {0.0, 1.0}

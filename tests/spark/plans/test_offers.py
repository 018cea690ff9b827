"""What offers are worth and cost, and who may be given them."""

from datetime import UTC, date, datetime

import pytest

from promo_spark.contracts.assignment import OFFERS
from promo_spark.contracts.consent import ConsentSettings, Missing
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import SCORES
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ASSIGNMENTS, CONSENTS, CUSTOMERS, EXPOSURES, OVERRIDES, PROMOTIONS
from promo_spark.plans.eligibility import keep_eligible
from promo_spark.plans.offers import value_offers
from promo_spark.plans.policy import Constant, follow_policy
from tests.conftest import MakeRows

DAY = date(2017, 6, 5)
DEFAULTS = AssignSettings()
OPT_OUT = ConsentSettings(missing=Missing(contact="granted"))
SCORE = {
    "as_of_date": DAY,
    "arm": "coupon",
    "is_listed": True,
    "margin_uplift_amount": 3.0,
    "margin_low_amount": 1.0,
    "margin_high_amount": 5.0,
    "sales_uplift_amount": 10.0,
    "visit_uplift_prob": 0.2,
    "discount_cost_amount": 2.0,
}


def _valued(make_rows: MakeRows, settings: AssignSettings) -> dict[str, tuple[float, float]]:
    scores = [{**SCORE, "customer_id": name, "promotion_id": "p"} for name in ("shops", "lapsed")]
    offers = value_offers(
        scores=make_rows(SCORES, scores),
        promotions=make_rows(PROMOTIONS, [{"promotion_id": "p", "promotion_type": "mailing", "channel": "mail"}]),
        segment_customers=make_rows(SEGMENT_CUSTOMERS, [{"customer_id": "shops", "segment_id": 2}]),
        customer_features=make_rows(
            CUSTOMER_FEATURES,
            [{"customer_id": "shops", "recency_days": 3}, {"customer_id": "lapsed", "recency_days": 90}],
        ),
        as_of_date=DAY,
        settings=settings,
    )
    rows = offers.collect()
    assert {row["category"] for row in rows} == {"mailing"}
    assert {row["customer_id"]: row["segment_id"] for row in rows} == {"shops": 2, "lapsed": None}
    return {row["customer_id"]: (row["value_amount"], row["cost_amount"]) for row in rows}


def test_margin_takes_the_contact_off_and_gives_the_vendors_share_back(make_rows: MakeRows) -> None:
    settings = AssignSettings(contact_cost_amounts={"mail": 0.25}, vendor_share_rates={"p": 0.5})
    assert _valued(make_rows, settings)["shops"] == (3.0 + 1.0 - 0.25, 1.0 + 0.25)


@pytest.mark.parametrize(
    ("objective", "shops", "lapsed"),
    [("incremental_sales", 9.5, 9.5), ("retention", 0.5, -0.5), ("acquisition", -0.5, 0.5)],
)
def test_other_objectives_count_sales_or_visits_of_whom_they_are_for(
    make_rows: MakeRows, objective: str, shops: float, lapsed: float
) -> None:
    settings = AssignSettings.model_validate({"objective": objective, "contact_cost_amount": 0.5, "visit_amount": 5.0})
    values = _valued(make_rows, settings)
    assert (values["shops"][0], values["lapsed"][0]) == pytest.approx((shops, lapsed))


def test_what_is_given_off_the_receipt_costs_too(make_rows: MakeRows) -> None:
    score = {**SCORE, "customer_id": "ann", "promotion_id": "p"}
    scores = [{**score, "redemption_prob": 0.25}, {**score, "promotion_id": "q"}]
    settings = AssignSettings(
        contact_cost_amount=0.5, unit_cost_amounts={"p": 4.0, "q": 4.0}, vendor_share_rates={"p": 0.5}
    )
    offers = value_offers(
        scores=make_rows(SCORES, scores),
        promotions=make_rows(PROMOTIONS, []),
        segment_customers=make_rows(SEGMENT_CUSTOMERS, []),
        customer_features=make_rows(CUSTOMER_FEATURES, []),
        as_of_date=DAY,
        settings=settings,
    )
    names = ("value_amount", "cost_amount", "contact_amount")
    told = {row["promotion_id"]: tuple(row[name] for name in names) for row in offers.collect()}
    # p: half of a gift of 4 that a quarter take; q: everybody might.
    assert told["p"] == pytest.approx((3.0 + 1.0 - 0.5 - 0.5, 1.0 + 0.5 + 0.5, 1.0))
    assert told["q"] == pytest.approx((3.0 - 4.5, 2.0 + 4.5, 4.5))


def test_the_risk_averse_count_the_lower_end(make_rows: MakeRows) -> None:
    settings = AssignSettings(risk="lower", contact_cost_amount=0.5)
    assert _valued(make_rows, settings)["shops"][0] == pytest.approx(0.5)


def _kept(
    make_rows: MakeRows,
    settings: AssignSettings = DEFAULTS,
    *,
    overrides: list[dict[str, object]] = [],  # noqa: B006  (never changed)
    exposures: list[dict[str, object]] = [],  # noqa: B006  (never changed)
    assignments: list[dict[str, object]] = [],  # noqa: B006  (never changed)
    handed_over: list[dict[str, object]] = [],  # noqa: B006  (never changed)
) -> set[tuple[str, str]]:
    offers = [
        {
            "customer_id": customer,
            "promotion_id": promotion,
            "as_of_date": DAY,
            "arm": "coupon",
            "category": "c",
            "is_listed": promotion == "p",
            "segment_id": 1 if customer == "ann" else None,
        }
        for customer in ("ann", "bob", "cat")
        for promotion in ("p", "q")
    ]
    customers = [{"customer_id": "cat", "has_marketing_consent": False}, {"customer_id": "ann"}]
    kept = keep_eligible(
        offers=make_rows(OFFERS, offers),
        customers=make_rows(CUSTOMERS, customers),
        consents=make_rows(CONSENTS, []),
        overrides=make_rows(OVERRIDES, overrides),
        assignments=make_rows(ASSIGNMENTS, assignments),
        exposures=make_rows(EXPOSURES, exposures),
        handed_over=make_rows(FEEDBACK, handed_over),
        as_of_date=DAY,
        time_zone="UTC",
        settings=settings,
        consent=OPT_OUT,
    )
    return {(row["customer_id"], row["promotion_id"]) for row in kept.collect()}


def test_consent_lists_and_segments(make_rows: MakeRows) -> None:
    both = {(customer, promotion) for customer in ("ann", "bob") for promotion in ("p", "q")}
    assert _kept(make_rows) == both
    assert _kept(make_rows, AssignSettings(eligibility="listed")) == {("ann", "p"), ("bob", "p")}
    assert _kept(make_rows, AssignSettings(excluded_segments=(1,))) == {("bob", "p"), ("bob", "q")}


GIVEN = {"decision_id": "d", "is_holdout": False, "propensity": 0.5}


def test_what_was_handed_over_counts_as_contact_and_is_not_given_again(make_rows: MakeRows) -> None:
    own: list[dict[str, object]] = [
        {**GIVEN, "customer_id": "ann", "arm": "p", "decided_at": datetime(2017, 6, 1, tzinfo=UTC)},
        {**GIVEN, "customer_id": "bob", "arm": "none", "decided_at": datetime(2017, 6, 1, tzinfo=UTC)},
    ]
    bobs = {("bob", "p"), ("bob", "q")}
    # Exposures are recorded, but not this one: a contact all the same.
    seen: list[dict[str, object]] = [
        {"customer_id": "x", "promotion_id": "o", "exposed_at": datetime(2017, 5, 1, tzinfo=UTC)}
    ]
    assert _kept(make_rows, AssignSettings(cool_down_days=7), handed_over=own, exposures=seen) == bobs
    assert _kept(make_rows, AssignSettings(contact_cap=1), handed_over=own) == bobs
    # Without any cool-down the promotion itself is not given twice while it may be planned.
    assert _kept(make_rows, handed_over=own) == bobs | {("ann", "q")}
    assert _kept(make_rows, AssignSettings(planning_days=3), handed_over=own) == bobs | {("ann", "p"), ("ann", "q")}
    together = [{**own[0], "arm": "p + q"}]
    assert _kept(make_rows, handed_over=together) == bobs
    assert _kept(make_rows, AssignSettings(contact_cap=2, planning_days=1), handed_over=together) == bobs
    # Seen since: one contact, not two.
    shown: list[dict[str, object]] = [
        {"customer_id": "ann", "promotion_id": "p", "exposed_at": datetime(2017, 6, 2, tzinfo=UTC)}
    ]
    assert _kept(make_rows, AssignSettings(contact_cap=2), handed_over=own, exposures=shown) == bobs | {("ann", "q")}
    today = [{**own[0], "decided_at": datetime(2017, 6, 5, tzinfo=UTC)}]
    assert len(_kept(make_rows, AssignSettings(cool_down_days=7), handed_over=today)) == 4


def test_a_later_exposure_changes_nothing(make_rows: MakeRows) -> None:
    given: list[dict[str, object]] = [
        {**GIVEN, "customer_id": "ann", "arm": "o", "decided_at": datetime(2017, 6, 1, tzinfo=UTC)}
    ]
    given = [{name: value for name, value in row.items() if name != "propensity"} for row in given]
    later: list[dict[str, object]] = [
        {"customer_id": "x", "promotion_id": "o", "exposed_at": datetime(2017, 6, 9, tzinfo=UTC)}
    ]
    settings = AssignSettings(cool_down_days=7)
    expected = {("bob", "p"), ("bob", "q")}
    assert _kept(make_rows, settings, assignments=given) == expected
    assert _kept(make_rows, settings, assignments=given, exposures=later) == expected


def test_a_word_that_forces_what_is_not_planned_binds_nobody(make_rows: MakeRows) -> None:
    told: list[dict[str, object]] = [{"customer_id": "ann", "promotion_id": "old", "action": "force"}]
    assert len(_kept(make_rows, overrides=told)) == 4


def test_a_managers_word(make_rows: MakeRows) -> None:
    told: list[dict[str, object]] = [
        {"customer_id": "ann", "promotion_id": "q", "action": "force"},
        {"customer_id": "bob", "promotion_id": "*", "action": "exclude"},
        {"customer_id": "cat", "promotion_id": "p", "action": "force"},
    ]
    # Forced although not listed; a refused consent stands.
    assert _kept(make_rows, AssignSettings(eligibility="listed"), overrides=told) == {("ann", "q")}
    locked: list[dict[str, object]] = [{"customer_id": "ann", "promotion_id": "p", "action": "lock"}]
    assert _kept(make_rows, overrides=locked) == {("ann", "p"), ("bob", "p"), ("bob", "q")}
    over = [{**told[1], "last_date": date(2017, 6, 4)}]
    assert len(_kept(make_rows, overrides=over)) == 4


def test_contacts_of_the_past_but_not_of_the_day(make_rows: MakeRows) -> None:
    seen: list[dict[str, object]] = [
        {"customer_id": "ann", "promotion_id": "o", "exposed_at": datetime(2017, 6, 1, 12, tzinfo=UTC)},
        {"customer_id": "bob", "promotion_id": "o", "exposed_at": datetime(2017, 6, 5, 0, tzinfo=UTC)},
    ]
    settings = AssignSettings(cool_down_days=7)
    assert _kept(make_rows, settings, exposures=seen) == {("bob", "p"), ("bob", "q")}
    assert len(_kept(make_rows, AssignSettings(contact_cap=2), exposures=seen)) == 4
    assert _kept(make_rows, AssignSettings(contact_cap=1), exposures=seen) == {("bob", "p"), ("bob", "q")}


def test_what_was_assigned_counts_where_nothing_is_known_of_exposures(make_rows: MakeRows) -> None:
    given: list[dict[str, object]] = [
        {
            "customer_id": "ann",
            "decision_id": "d",
            "arm": "o",
            "is_holdout": False,
            "decided_at": datetime(2017, 6, 1, tzinfo=UTC),
        },
        {
            "customer_id": "bob",
            "decision_id": "d",
            "arm": "none",
            "is_holdout": False,
            "decided_at": datetime(2017, 6, 1, tzinfo=UTC),
        },
    ]
    settings = AssignSettings(cool_down_days=7)
    assert _kept(make_rows, settings, assignments=given) == {("bob", "p"), ("bob", "q")}
    seen: list[dict[str, object]] = [
        {"customer_id": "x", "promotion_id": "o", "exposed_at": datetime(2017, 6, 1, tzinfo=UTC)}
    ]
    assert len(_kept(make_rows, settings, assignments=given, exposures=seen)) == 4


def test_a_constant_policy_gives_everybody_the_same_value_and_takes_other_arms_away(make_rows: MakeRows) -> None:
    base = {"as_of_date": DAY, "category": "c", "is_listed": True, "promotion_id": "p", "arm": "a", "is_counted": True}
    rows = [
        {**base, "customer_id": "ann", "value_amount": 1.0, "cost_amount": 2.0},
        {**base, "customer_id": "bob", "value_amount": 5.0, "cost_amount": 4.0},
        {**base, "customer_id": "cat", "value_amount": -1.0, "cost_amount": 3.0, "is_counted": False},
        {**base, "customer_id": "bob", "promotion_id": "q", "arm": "b", "value_amount": 9.0, "cost_amount": 1.0},
    ]
    offers = make_rows(OFFERS, rows)
    arm = Constant("a", value_amount=2.5, low_amount=0.5, high_amount=4.5)
    constant = follow_policy(offers=offers, verdict="constant", constant=arm).collect()
    told = {(row["customer_id"], row["promotion_id"]): (row["value_amount"], row["cost_amount"]) for row in constant}
    assert told == {
        ("ann", "p"): (2.5, 3.0),
        ("bob", "p"): (2.5, 3.0),
        ("bob", "q"): (None, 1.0),
        ("cat", "p"): (None, 3.0),
    }
    nothing = follow_policy(offers=offers, verdict="none", constant=None).collect()
    assert [row["value_amount"] for row in nothing] == [None] * 4

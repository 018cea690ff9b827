"""The audit of small tables, against the same worked out from rows by other libraries."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from pyspark.sql import DataFrame, Row
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from promo_spark.contracts.assignment import ASSIGNMENT
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import SCORES
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.kpi_settings import FairnessSettings
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.silver import ASSIGNMENTS, CUSTOMERS, EXPOSURES, ORDER_LINES, PROMOTIONS, REDEMPTIONS
from promo_spark.contracts.table import TableContract
from promo_spark.measurement.audited_customers import describe_audited_customers
from promo_spark.measurement.contact_pressure import count_contact_pressure
from promo_spark.measurement.fairness import compare_groups
from tests.conftest import MakeRows
from tests.spark.measurement.money_rows import Rows, with_money

DAY = date(2024, 3, 4)
SIZE = 300


def at(days_before: int) -> datetime:
    day = DAY - timedelta(days=days_before)
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


class Audit:
    """Tables of customers, empty unless said otherwise, and what the audit says of them."""

    def __init__(self, make_rows: MakeRows, attributes: tuple[str, ...] = ("gender",), **tables: Rows) -> None:
        self._make, self._tables = make_rows, tables
        self._settings = FairnessSettings(attributes=attributes, least_customers=20)

    def _table(self, name: str, contract: TableContract) -> DataFrame:
        return self._make(contract, with_money(contract, self._tables.get(name, ())))

    def groups(self) -> dict[tuple[str, str, str], Row]:
        audited = describe_audited_customers(
            customers=self._table("customers", CUSTOMERS),
            customer_features=self._table("features", CUSTOMER_FEATURES),
            assignment=self._table("assignment", ASSIGNMENT),
            scores=self._table("scores", SCORES),
            promotions=self._table("promotions", PROMOTIONS),
            assignments=self._table("assignments", ASSIGNMENTS),
            exposures=self._table("exposures", EXPOSURES),
            handed_over=self._table("handed_over", FEEDBACK),
            redemptions=self._table("redemptions", REDEMPTIONS),
            order_lines=self._table("lines", ORDER_LINES),
            as_of_date=DAY,
            time_zone="UTC",
            settings=self._settings,
        )
        found = compare_groups(audited=audited, as_of_date=DAY, settings=self._settings).collect()
        return {(row["attribute"], row["group_value"], row["measure"]): row for row in found}

    def pressure(self, cap: int | None) -> dict[tuple[str, int], Row]:
        found = count_contact_pressure(
            customer_features=self._table("features", CUSTOMER_FEATURES),
            assignments=self._table("assignments", ASSIGNMENTS),
            exposures=self._table("exposures", EXPOSURES),
            handed_over=self._table("handed_over", FEEDBACK),
            assignment=self._table("assignment", ASSIGNMENT),
            as_of_date=DAY,
            time_zone="UTC",
            settings=AssignSettings(contact_cap=cap, contact_cap_days=30),
        )
        return {(row["period"], row["contact_count"]): row for row in found.collect()}


def people() -> pd.DataFrame:
    """Customers of three genders, one of them few, of whom the plan prefers one."""
    draws = np.random.default_rng(12)
    gender = np.where(np.arange(SIZE) < 8, "x", np.where(np.arange(SIZE) < 120, "f", "m"))
    planned = draws.uniform(size=SIZE) < np.where(gender == "f", 0.2, 0.6)
    return pd.DataFrame(
        {
            "customer_id": [f"c{number:03d}" for number in range(SIZE)],
            "gender": gender,
            "age_band": np.where(np.arange(SIZE) % 3 == 0, "old", "young"),
            "weekly_spend_amount": draws.gamma(3.0, 20.0, SIZE).round(2),
            "is_planned": planned,
            "redemption_prob": draws.beta(2.0, 9.0, SIZE),
            "discount_cost_amount": draws.gamma(2.0, 1.0, SIZE),
            "has_redeemed": draws.uniform(size=SIZE) < 0.5,
            "sales": draws.gamma(3.0, 30.0, SIZE).round(2),
            "off": draws.gamma(1.0, 5.0, SIZE).round(2),
        }
    )


def tables(rows: pd.DataFrame) -> dict[str, Rows]:
    ids = rows["customer_id"]
    given = {"promotion_id": "p", "as_of_date": DAY}
    return {
        "customers": rows[["customer_id", "gender", "age_band"]].to_dict("records"),
        "features": rows[["customer_id", "weekly_spend_amount"]].assign(as_of_date=DAY).to_dict("records"),
        "assignment": [
            {"customer_id": name, "slot": 1, "arm": "p" if planned else "none", "as_of_date": DAY}
            for name, planned in zip(ids, rows["is_planned"], strict=True)
        ],
        "scores": rows[["customer_id", "redemption_prob", "discount_cost_amount"]].assign(**given).to_dict("records"),
        "promotions": [{"promotion_id": "p", "depth_rate": 0.2, "start_date": DAY, "end_date": DAY}],
        "redemptions": [
            {"promotion_id": "old", "customer_id": name, "coupon_id": "x", "redeemed_date": DAY - timedelta(days=50)}
            for name in ids[rows["has_redeemed"]]
        ],
        "assignments": [
            {"decision_id": "d", "customer_id": name, "arm": "old", "is_holdout": False, "decided_at": at(10)}
            for name in ids[::2]
        ],
        "lines": [
            {
                "basket_id": name,
                "line_id": "1",
                "customer_id": name,
                "product_id": "p",
                "order_date": DAY - timedelta(days=5),
                "sales_amount": sales,
                "retail_discount_amount": off,
                "is_return": False,
                "is_outlier": False,
            }
            for name, sales, off in zip(ids, rows["sales"], rows["off"], strict=True)
        ],
    }


@pytest.fixture(scope="module")
def found(make_rows: MakeRows) -> dict[tuple[str, str, str], Row]:
    return Audit(make_rows, ("gender", "age_band"), **tables(people())).groups()


def test_demographic_parity_is_fishers_test_against_all_others(found: dict[tuple[str, str, str], Row]) -> None:
    rows = people()
    is_old = rows["age_band"] == "old"
    row = found["age_band", "old", "planned_rate"]
    planned = rows["is_planned"].astype(float)
    counts = planned[is_old].sum(), is_old.sum(), planned[~is_old].sum(), (~is_old).sum()
    assert row["value"] == pytest.approx(planned[is_old].mean())
    assert row["reference_value"] == pytest.approx(planned[~is_old].mean())
    told = confint_proportions_2indep(*counts, method="newcomb")
    assert (row["low"], row["high"]) == pytest.approx(told)
    p_value = stats.fisher_exact([[counts[0], counts[1] - counts[0]], [counts[2], counts[3] - counts[2]]])[1]
    assert row["p_value"] >= p_value - 1e-9
    assert row["passed"] is True
    assert row["customer_count"] == is_old.sum()


def test_equal_opportunity_is_among_those_who_would_redeem(found: dict[tuple[str, str, str], Row]) -> None:
    old = people().query("age_band == 'old'")
    proven = old[old["has_redeemed"]]
    assert found["age_band", "old", "opportunity_proven"]["value"] == pytest.approx(proven["is_planned"].mean())
    assert found["age_band", "old", "opportunity_proven"]["customer_count"] == len(proven)
    likely = np.average(old["is_planned"], weights=old["redemption_prob"])
    assert found["age_band", "old", "opportunity_likely"]["value"] == pytest.approx(likely)


def test_benefits_depths_and_contacts_are_per_group(found: dict[tuple[str, str, str], Row]) -> None:
    rows = people()
    old = rows["age_band"] == "old"
    depth = rows["off"][old].sum() / (rows["sales"] + rows["off"])[old].sum()
    assert found["age_band", "old", "realised_depth"]["value"] == pytest.approx(depth)
    assert found["age_band", "old", "realised_benefit"]["value"] == pytest.approx(rows["off"][old].mean())
    benefit = (rows["discount_cost_amount"] * rows["is_planned"])[old].mean()
    assert found["age_band", "old", "expected_benefit"]["value"] == pytest.approx(benefit)
    assert found["age_band", "old", "planned_depth"]["value"] == pytest.approx(0.2)
    contacted = (np.arange(SIZE) % 2 == 0)[old].mean()
    assert found["age_band", "old", "contacts"]["value"] == pytest.approx(contacted)


def test_price_discrimination_is_looked_for_among_customers_alike(found: dict[tuple[str, str, str], Row]) -> None:
    rows = people()
    design = np.column_stack(
        [np.log1p(rows["weekly_spend_amount"]), rows["redemption_prob"], rows["age_band"] == "old"]
    )
    fitted = sm.OLS(rows["off"] / (rows["sales"] + rows["off"]), sm.add_constant(design)).fit(cov_type="HC1")
    row = found["age_band", "old", "adjusted_depth"]
    assert row["difference"] == pytest.approx(fitted.params.iloc[-1], abs=1e-8)
    usual = sm.OLS(rows["off"] / (rows["sales"] + rows["off"]), sm.add_constant(design)).fit()
    assert row["standard_error"] == pytest.approx(max(fitted.bse.iloc[-1], usual.bse.iloc[-1]), rel=1e-5)


def test_a_group_that_is_left_out_fails(make_rows: MakeRows) -> None:
    rows = people()
    rows["gender"] = rows["gender"].replace("x", "m")
    row = Audit(make_rows, **tables(rows)).groups()["gender", "f", "planned_rate"]
    assert row["ratio"] < 0.8
    assert row["p_value"] < 0.05
    assert row["passed"] is False


def test_a_small_group_is_not_told_of_and_cannot_be_found_by_subtraction(
    found: dict[tuple[str, str, str], Row],
) -> None:
    for measure in ("planned_rate", "adjusted_depth"):
        hidden = [group for group in "fmx" if found["gender", group, measure]["is_suppressed"]]
        assert hidden == ["f", "x"]
        for group in hidden:
            row = found["gender", group, measure]
            assert [row[name] for name in ("value", "reference_value", "customer_count", "p_value", "passed")] == [
                None
            ] * 5


def test_customers_of_whom_nothing_is_known_are_a_group(make_rows: MakeRows) -> None:
    told = tables(people())
    told["customers"] = told["customers"][:150]
    rows = Audit(make_rows, ("age_band",), **told).groups()
    assert rows["age_band", "unknown", "planned_rate"]["customer_count"] == 150


def test_without_demographics_there_is_one_group_and_no_verdict(make_rows: MakeRows) -> None:
    rows = Audit(make_rows, **tables(people()) | {"customers": []}).groups()
    assert {group for _, group, _ in rows} == {"unknown"}
    assert all(row["passed"] is None and row["told"] for row in rows.values())


def test_a_group_of_two_hides_the_other_one_too(make_rows: MakeRows) -> None:
    rows = people().assign(gender=["x"] * 2 + ["m"] * (SIZE - 2))
    found = Audit(make_rows, **tables(rows)).groups()
    assert all(row["is_suppressed"] for row in found.values())


def test_a_plan_of_nothing_treats_all_alike(make_rows: MakeRows) -> None:
    rows = people().assign(is_planned=False)
    rows["gender"] = rows["gender"].replace("x", "m")
    row = Audit(make_rows, **tables(rows)).groups()["gender", "f", "planned_rate"]
    assert (row["value"], row["difference"], row["passed"]) == (0.0, 0.0, True)


def test_contacts_are_counted_before_the_plan_and_with_it(make_rows: MakeRows) -> None:
    told = tables(people()[:4].assign(is_planned=[True, True, False, False]))
    told["assignments"] = [
        {"decision_id": f"d{days}", "customer_id": "c000", "arm": "a", "is_holdout": False, "decided_at": at(days)}
        for days in (1, 2, 31)
    ]
    found = Audit(make_rows, **told).pressure(2)
    assert {key: row["customer_count"] for key, row in found.items()} == {
        ("past", 0): 3,
        ("past", 2): 1,
        ("with_plan", 0): 2,
        ("with_plan", 1): 1,
        ("with_plan", 3): 1,
    }
    assert [found["with_plan", count]["is_over_cap"] for count in (0, 1, 3)] == [False, False, True]
    assert found["past", 2]["is_at_cap"]
    assert found["with_plan", 1]["at_least_rate"] == 0.5
    seen = [{"promotion_id": "a", "customer_id": "c001", "exposed_at": at(3)}]
    shown = Audit(make_rows, **told, exposures=seen).pressure(None)
    assert ("past", 2) not in shown
    assert shown["past", 1]["is_over_cap"] is None


def test_what_was_handed_over_counts_as_contact_seen_or_not(make_rows: MakeRows) -> None:
    told = tables(people()[:3].assign(is_planned=False))
    # Exposures are recorded, but not of this hand-over of two promotions at once; nor does another's count for it.
    told["exposures"] = [{"promotion_id": "a", "customer_id": "c001", "exposed_at": at(3)}]
    handed = {"decision_id": "d", "customer_id": "c000", "is_holdout": False, "propensity": 0.5}
    told["handed_over"] = [
        {**handed, "arm": "a + b", "decided_at": at(5)},
        {**handed, "customer_id": "c002", "arm": "none", "decided_at": at(5)},
    ]
    found = Audit(make_rows, **told).pressure(2)
    assert {key: row["customer_count"] for key, row in found.items() if key[0] == "past"} == {
        ("past", 0): 1,
        ("past", 1): 1,
        ("past", 2): 1,
    }
    # Seen since: one contact for each, not two.
    told["exposures"] = [*told["exposures"], {"promotion_id": "b", "customer_id": "c000", "exposed_at": at(4)}]
    assert ("past", 3) not in Audit(make_rows, **told).pressure(2)

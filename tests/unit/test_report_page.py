"""The manager's page from hand-made aggregates, without Spark."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pandas as pd
import pytest

from promo_spark.contracts.measurement import BACKTESTS, FORECAST_ACTUALS
from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.contracts.response import EFFECTS, PANEL
from promo_spark.contracts.segments import SEGMENT_MIGRATION, SEGMENT_PROFILES, SEGMENT_QUALITY
from promo_spark.contracts.table import TableContract
from promo_spark.report.customer_plan import CustomerPlan
from promo_spark.report.facts import (
    Evidence,
    Headline,
    headline,
    migration_table,
    model_table,
    plan_in_words,
    with_error,
)
from promo_spark.report.page import PAGES, Heading, render_pages
from tests.unit.measured_pages import measured_of_nothing

DAY = date(2017, 10, 30)
HOSTILE = "<script>alert('x')</script>"


def frame(contract: TableContract, *rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(
        [{name: row.get(name) for name in contract.column_names} for row in rows], columns=contract.column_names
    )


def plan_row(decision: str, category: str, **values: object) -> dict[str, object]:
    return {
        "segment_id": 0,
        "category": category,
        "segment_name": "Big spenders",
        "decision": decision,
        "offer_id": "ten_off",
        "channel": "mail",
        "reasons": [f"because of {HOSTILE}"],
        "customer_count": 100,
        "depth_rate": 0.1,
        "cost_amount": 30.0,
        "incremental_margin_amount": 50.0,
        "margin_low_amount": 5.0,
        "margin_high_amount": 90.0,
        "incremental_sales_amount": 300.0,
        "roi_rate": 1.7,
        "start_date": DAY,
        "end_date": DAY,
        "time_slot": "evening",
        **values,
    }


PROFILE = {
    "segment_id": 0,
    "segment_name": HOSTILE,
    "description": "They buy more.",
    "customer_count": 100,
    "customer_rate": 1.0,
    "sales_rate": 1.0,
    "favourite_categories": ["MILK"],
    "map_x": 0.1,
    "map_y": 0.2,
}
EFFECT = {
    "segment_id": 0,
    "category": "MILK",
    "offer_id": "ten_off",
    "margin_amount": 9.0,
    "margin_low_amount": -1.0,
    "margin_high_amount": 20.0,
    "lift_rate": 0.2,
    "carry_rate": -0.1,
}
LIFETIME = {
    "segment_id": 0,
    "horizon_days": 364,
    "alive_prob": 0.875,
    "expected_purchase_count": 12.3456,
    "lifetime_value_amount": 4567.0,
}
PRODUCT_CLUSTER = {
    "cluster_id": 0,
    "cluster_name": f"Dear {HOSTILE}",
    "product_count": 1234,
    "sales_rate": 0.61,
    "regular_price_amount": 3.5,
    "discounted_line_rate": 0.25,
    "repeat_customer_rate": 0.4,
}
PROMOTION_CLUSTER = {
    "cluster_id": 1,
    "cluster_name": "Seldom redeemed",
    "promotion_count": 7,
    "expected_redemption_rate": 0.034,
    "targeted_customer_count": 310.5,
    "duration_days": 32.0,
}
MOVES = [
    {
        "previous_segment_id": before,
        "segment_id": now,
        "as_of_date": DAY,
        "previous_date": date(2017, 10, 2),
        "previous_segment_name": None if before < 0 else f"Then {before}",
        "segment_name": None if now < 0 else f"{HOSTILE} {now}",
        "customer_count": count,
        "customer_rate": rate,
        "is_match": is_match,
    }
    for before, now, count, rate, is_match in (
        (-1, 0, 7, 1.0, False),
        (0, -1, 5, 0.05, False),
        (0, 0, 20, 0.2, False),
        (0, 1, 75, 0.75, True),
        (1, 0, 40, 1.0, True),
    )
]


@pytest.fixture
def evidence() -> Evidence:
    return whole_evidence()


def whole_evidence() -> Evidence:
    """A little of everything that the page tells."""
    run = {
        "stage": "plan",
        "finished_at": datetime(2026, 1, 1, tzinfo=UTC),
        "duration_seconds": 1.5,
        "rows_written": {"plans.segment_plan": 3},
        "rows_rejected": {"plans.segment_plan": 0},
        "limitations": ["no prices: displays are unknown"],
    }
    forecast = {
        "segment_id": 0,
        "category": "MILK",
        "week_start_date": DAY,
        "model": "gbt",
        "actual_amount": 10.0,
        "predicted_amount": 9.0,
    }
    quality = {
        "method": "k_means",
        "cluster_count": 4,
        "silhouette": 0.3,
        "stability_ari": 0.8,
        "stability_ari_sd": 0.1,
        "is_chosen": True,
    }
    weeks = {"week_start_date": DAY, "depth_rate": 0.1, "display_rate": 0.2, "mailer_rate": 0.3}
    backtest = {
        "subject": "recommend_all",
        "model": "als",
        "metric": "ndcg_at_10",
        "value": 0.21,
        "standard_error": 0.006,
    }
    return Evidence(
        plan=frame(
            SEGMENT_PLAN,
            plan_row("promote", "MILK"),
            plan_row("test", "BEER", test_customer_count=900),
            plan_row("none", "SOAP"),
        ),
        profiles=frame(SEGMENT_PROFILES, PROFILE),
        quality=frame(SEGMENT_QUALITY, quality),
        migration=frame(SEGMENT_MIGRATION, *MOVES),
        lifetimes=pd.DataFrame([LIFETIME]),
        product_clusters=pd.DataFrame([PRODUCT_CLUSTER]),
        promotion_clusters=pd.DataFrame([PROMOTION_CLUSTER]),
        effects=frame(EFFECTS, EFFECT),
        weeks=frame(PANEL, weeks),
        backtests=frame(BACKTESTS, backtest),
        forecasts=frame(FORECAST_ACTUALS, forecast),
        cells=pd.DataFrame({"predicted_amount": [9.0], "actual_amount": [10.0]}),
        promotions=pd.DataFrame(),
        stages=pd.DataFrame([run]),
        rejects=pd.DataFrame([{"table": "silver.products", "reason": "duplicate key (product_id)", "rows": 2}]),
        customers=CustomerPlan.of_nothing(),
    )


def render(evidence: Evidence, source_kind: str = "files") -> str:
    pages = render_pages(
        evidence=evidence,
        measured=measured_of_nothing(),
        heading=Heading(title="Plan", as_of_date=DAY, currency="EUR", run_id="abc", source_kind=source_kind),
        budget=100.0,
        interval_level=0.9,
    )
    assert tuple(pages) == tuple(PAGES)
    return pages["index.html"]


def test_the_page_says_what_matters_and_needs_no_network(evidence: Evidence) -> None:
    page = render(evidence)
    for told in (
        "30 EUR",
        "5 EUR to 90 EUR",
        "no prices: displays are unknown",
        "duplicate key",
        "0.2100 ± 0.0060",
        "900",
    ):
        assert told in page
    assert page.count("<svg") == 8
    assert "src=" not in page
    assert "Synthetic data" not in page


def test_what_comes_from_data_cannot_become_markup(evidence: Evidence) -> None:
    page = render(evidence)
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def test_what_a_test_takes_is_told_in_whole_stores_or_customers(evidence: Evidence) -> None:
    tests = [plan_row("test", "BEER", test_customer_count=900), plan_row("test", "MILK", test_store_count=1023)]
    page = render(replace(evidence, plan=frame(SEGMENT_PLAN, *tests)))
    assert "900 customers" in page
    assert "1,023 stores" in page


def test_synthetic_figures_are_labelled(evidence: Evidence) -> None:
    assert "Synthetic data" in render(evidence, "synthetic")


def test_the_same_evidence_gives_the_same_page(evidence: Evidence) -> None:
    assert render(evidence) == render(evidence)


def test_the_page_stands_without_the_optional_parts(evidence: Evidence) -> None:
    empty = {
        name: getattr(evidence, name).head(0)
        for name in (
            "profiles",
            "quality",
            "migration",
            "lifetimes",
            "product_clusters",
            "promotion_clusters",
            "effects",
            "weeks",
            "forecasts",
            "cells",
            "backtests",
        )
    }
    page = render(
        Evidence(
            plan=evidence.plan.head(0),
            promotions=pd.DataFrame(),
            stages=evidence.stages,
            rejects=evidence.rejects,
            customers=CustomerPlan.of_nothing(),
            **empty,
        )
    )
    assert "No promotion." in page
    assert "<svg" not in page
    assert "are not there yet" in page


def test_headline_counts_each_segment_once(evidence: Evidence) -> None:
    plan = pd.concat([evidence.plan, frame(SEGMENT_PLAN, plan_row("promote", "TEA"))])
    assert headline(plan, 100.0) == Headline(2, 1, 60.0, 100.0, 100.0, 10.0, 180.0, 100)


def test_plan_in_words() -> None:
    nothing = Headline(0, 2, 0.0, 100.0, 0.0, 0.0, 0.0, 0)
    assert plan_in_words(nothing, "EUR").startswith("No promotion.")
    assert plan_in_words(nothing, "EUR").endswith("2 unproven offers would be worth a test.")
    assert "Run 1 promotion for 30 EUR of a budget of 100 EUR" in plan_in_words(
        Headline(1, 0, 30, 100, 50, 5, 90, 9), "EUR"
    )


def test_model_table_is_metrics_by_models(evidence: Evidence) -> None:
    table = model_table(evidence.backtests)["recommend_all"]
    assert table.loc["ndcg_at_10", "als"] == "0.2100 ± 0.0060"


@pytest.mark.parametrize(
    ("value", "error", "told"),
    [
        (0.023994, 0.009522, "0.0240 ± 0.0095"),
        (1.5, None, "1.5"),
        (1.375, 0.0, "1.375 ± 0"),
        (1200.4, 35.2, "1,200 ± 35.2"),
    ],
)
def test_figures_end_where_their_error_begins(value: float, error: float | None, told: str) -> None:
    assert with_error(value, error) == told


def test_migration_is_laid_out_by_segment_then_and_now(evidence: Evidence) -> None:
    table = migration_table(evidence.migration)
    assert table is not None
    assert (table.since, table.joined) == ("2017-10-02", 7)
    assert table.segments == [f"0 {HOSTILE} 0", f"1 {HOSTILE} 1", "no longer known"]
    assert table.rows == [
        ("0 Then 0", [("20.0 %", False), ("75.0 %", True), ("5.0 %", False)]),
        ("1 Then 1", [("100.0 %", True), ("", False), ("", False)]),
    ]
    assert "<strong>75.0 %</strong>" in render(evidence)


def test_what_customers_of_a_segment_are_worth_is_told_where_it_is_known(evidence: Evidence) -> None:
    other = {**PROFILE, "segment_id": 1, "segment_name": "Not valued"}
    page = render(replace(evidence, profiles=frame(SEGMENT_PROFILES, PROFILE, other)))
    for told in ("87.5 %", "4,567 EUR", "12.35 purchases", "the next 364 days", "– purchases"):
        assert told in page
    assert "Still customers" not in render(replace(evidence, lifetimes=evidence.lifetimes.head(0)))


def test_clusters_of_products_and_of_promotions_are_told(evidence: Evidence) -> None:
    page = render(evidence)
    for told in ("1,234", "61.0 %", "Seldom redeemed", "3.4 %", "310.5"):
        assert told in page
    without = replace(
        evidence,
        product_clusters=evidence.product_clusters.head(0),
        promotion_clusters=evidence.promotion_clusters.head(0),
    )
    assert "Products and promotions that go together" not in render(without)


def test_without_a_date_before_there_is_no_migration(evidence: Evidence) -> None:
    assert migration_table(evidence.migration.head(0)) is None
    assert migration_table(evidence.migration.head(1)) is None


def test_what_promotions_changed_is_told_by_segment(evidence: Evidence) -> None:
    given = {"promotion_id": "p", "segment_id": 0, "customer_count": 5, "holdout_count": 0, "exploration_count": 1}
    sums = {"expected_redemption_count": 1.0, "value_amount": 2.0, "cost_amount": 1.0}
    uplift = {"arm": "Type A", "segment_id": 0, "segment_name": "Big spenders", "customer_count": 12, "uplift": 1.25}
    customers = replace(
        CustomerPlan.of_nothing(),
        assigned=pd.DataFrame([{**given, **sums}]),
        uplifts=pd.DataFrame([{**uplift, "low": -0.5, "high": 3.0}]),
    )
    page = render(replace(evidence, customers=customers))
    assert "Big spenders" in page
    assert "-0.50 to 3.00" in page
    assert "Nothing is known yet of what these promotions change" in page

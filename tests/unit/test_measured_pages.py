"""The pages on measurement from hand-made aggregates, without Spark."""

from datetime import date

import pytest

from promo_spark.report import page
from promo_spark.report.measured import (
    business_rows,
    campaigns_in_words,
    experiment_facts,
    failed_checks,
    fairness_in_words,
    pooled_rows,
    untold_campaigns,
)
from promo_spark.report.page import Heading
from tests.unit.measured_pages import measured, measured_of_nothing

HEADING = Heading(title="Plan", as_of_date=date(2026, 3, 2), currency="EUR", run_id="abc", source_kind="synthetic")
EFFECT = {
    "experiment": "spring",
    "metric": "margin_amount",
    "arm": "mailer",
    "method": "regression_adjusted",
    "segment": "all",
    "effect": 0.5,
    "low": 0.1,
    "high": 0.9,
    "relative_effect": 0.05,
    "relative_low": 0.01,
    "relative_high": 0.09,
    "adjusted_p_value": 0.02,
    "control_count": 1000,
    "arm_count": 990,
    "is_guardrail": False,
    "is_headline": True,
}
CHECK = {
    "experiment": "spring",
    "check": "sample_ratio",
    "metric": "all",
    "arm": "all",
    "told": "The arms are as drawn.",
}
PASSED = {**CHECK, "result": "passed", "stops_headline": False}
FAILED = {**CHECK, "result": "failed", "stops_headline": True, "told": "<b>900 of 1,900</b> are in the arm."}
CAMPAIGN = {
    "promotion_id": "c18",
    "metric": "sales_amount",
    "method": "doubly_robust",
    "effect": 1.5,
    "low": -1.0,
    "high": 4.0,
    "targeted_count": 1000,
    "start_date": date(2026, 1, 5),
    "is_headline": True,
    "verdict": "cannot_be_told",
    "told": "It cannot be told.",
}
POLICY = {
    "policy": "personalised",
    "estimator": "doubly_robust",
    "clip": 0.0,
    "value_amount": 1.0,
    "gain_amount": 0.4,
    "gain_error": 0.1,
    "is_concluded": True,
    "is_followed": False,
    "told": "It gains.",
}
GROUP = {
    "attribute": "age_band",
    "group_value": "65+",
    "measure": "planned_rate",
    "meaning": "share given a promotion",
    "value": 0.1,
    "reference_value": 0.3,
    "difference": -0.2,
    "low": -0.3,
    "high": -0.1,
    "customer_count": 400,
    "is_suppressed": False,
    "passed": False,
}
PRESSURE = {"contact_count": 2, "customer_count": 10, "customer_rate": 1.0, "at_least_rate": 1.0, "cap_count": 1}


def pages(facts: dict[str, list[dict[str, object]]]) -> dict[str, str]:
    told = measured(**facts)
    return {
        "experiments.html": page._render("experiments.html", HEADING, page._experiments(told)),
        "campaigns.html": page._render("campaigns.html", HEADING, page._campaigns(told, "EUR")),
        "kpis.html": page._render("kpis.html", HEADING, page._kpis(told)),
        "fairness.html": page._render("fairness.html", HEADING, page._fairness(told)),
    }


def test_an_experiment_is_told_by_the_effect_to_quote() -> None:
    (fact,) = experiment_facts(measured(effects=[EFFECT], experiment_checks=[PASSED]))
    assert fact.summary == "mailer raises margin amount by 0.5 (0.1 to 0.9)."
    assert fact.stopped == []
    unsure = {**EFFECT, "low": -0.1}
    (fact,) = experiment_facts(measured(effects=[unsure], experiment_checks=[PASSED]))
    assert fact.summary == "mailer is not shown to change margin amount (-0.1 to 0.9 are all likely)."


def test_a_failed_check_stops_the_headline_and_data_cannot_become_markup() -> None:
    html = pages({"effects": [EFFECT], "experiment_checks": [FAILED]})["experiments.html"]
    assert "No effect of this experiment may be quoted." in html
    assert "raises margin" not in html
    assert "<b>900" not in html
    assert "&lt;b&gt;900" in html


def test_campaigns_and_policies_are_drawn_and_told() -> None:
    check = {"promotion_id": "c18", "check": "pre_trend", "covariate": "all", "is_required": True, "passed": False}
    facts = {
        "campaign_effects": [
            CAMPAIGN,
            {**CAMPAIGN, "promotion_id": "c19", "verdict": "effect_shown", "told": "It sold more."},
        ],
        "campaign_checks": [{**check, "told": "They parted before."}, {**check, "check": "over", "passed": True}],
        "off_policy": [POLICY],
    }
    assert campaigns_in_words(measured(**facts)) == [
        "Sales amount: 1 of 2 campaigns show an effect, 0 show none, and of 1 it cannot be told."
    ]
    assert untold_campaigns(measured(**facts)) == {"It cannot be told.": ["c18"]}
    assert [row["check"] for row in failed_checks(measured(**facts))["c18"]] == ["pre_trend"]
    html = pages(facts)["campaigns.html"]
    assert html.count("<svg") == 2
    assert "c18: It cannot be told." in html


def test_groups_of_too_few_are_not_shown() -> None:
    hidden = {**GROUP, "group_value": "19-24", "is_suppressed": True, "told": "too few", "passed": None}
    for name in ("value", "reference_value", "difference", "low", "high", "customer_count"):
        hidden[name] = None
    facts = {"fairness": [GROUP, hidden], "contact_pressure": [{**PRESSURE, "period": "past", "is_over_cap": True}]}
    assert fairness_in_words(measured(**facts)) == (
        "1 difference was tested: 1 is both large and no chance. 1 figure is not shown."
    )
    html = pages(facts)["fairness.html"]
    assert "too few" in html
    assert "over 1" in html
    assert html.count("<svg") == 2


def test_a_figure_of_the_business_is_told_once_with_what_it_can_be_compared_with() -> None:
    rows: list[dict[str, object]] = [
        {"kpi": "sales", "scope": "all", "comparison": "expected", "value": 5.0},
        {"kpi": "sales", "scope": "all", "comparison": "before", "value": 5.0, "comparison_value": 4.0},
        {"kpi": "click_rate", "scope": "all", "comparison": "before", "told": "no exposures"},
        {"kpi": "roi", "scope": "all", "comparison": "before", "value": 0.4},
        {"kpi": "roi", "scope": "promotion", "scope_id": "c18", "comparison": "before", "value": 0.4},
    ]
    told = business_rows(measured(kpis=rows))
    assert [(row["kpi"], row["comparison"]) for row in told] == [("sales", "before"), ("click_rate", "before")]
    assert [row["kpi"] for row in pooled_rows(measured(kpis=rows))] == ["roi"]


@pytest.mark.parametrize("name", ["experiments.html", "campaigns.html", "fairness.html"])
def test_pages_stand_where_nothing_was_measured(name: str) -> None:
    html = pages({})[name]
    assert "<svg" not in html
    assert "Synthetic data" in html
    assert business_rows(measured_of_nothing()) == []

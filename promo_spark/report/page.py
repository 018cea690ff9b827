"""Self-contained HTML pages for the promotion manager."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from matplotlib.figure import Figure

from promo_spark.report import charts
from promo_spark.report.customer_plan import assigned_table, budget_chart, policy_chart
from promo_spark.report.facts import (
    Evidence,
    amount,
    best_candidates,
    headline,
    migration_table,
    model_table,
    number,
    plan_in_words,
    share,
)
from promo_spark.report.measured import (
    PLANNED,
    Measured,
    business_rows,
    campaign_rows,
    campaigns_in_words,
    experiment_facts,
    failed_checks,
    fairness_in_words,
    fairness_rows,
    plain,
    policy_rows,
    pooled_rows,
    promotion_rows,
    untold_campaigns,
)
from promo_spark.report.measured_charts import (
    campaign_chart,
    effect_chart,
    fairness_chart,
    off_policy_chart,
    pressure_chart,
)

PAGES = {
    "index.html": "The plan",
    "experiments.html": "Experiments",
    "campaigns.html": "Campaigns and policies",
    "kpis.html": "Key figures",
    "fairness.html": "Fairness",
}
"""Names of the pages, and what leads to them."""
_CANDIDATES = 18


@dataclass(frozen=True)
class Heading:
    """What stands above every page.

    Attributes:
        title: Of the report.
        as_of_date: Day of the decision.
        currency: ISO 4217 code.
        run_id: Identity of the run.
        source_kind: Kind of source; synthetic figures are labelled so.
    """

    title: str
    as_of_date: date
    currency: str
    run_id: str
    source_kind: str


def render_pages(
    *, evidence: Evidence, measured: Measured, heading: Heading, budget: float, interval_level: float
) -> dict[str, str]:
    """Render the report.

    Args:
        evidence: Aggregates of the plan.
        measured: Aggregates of what was measured.
        heading: What stands above every page.
        budget: Budget of the plan.
        interval_level: Level of the plan's intervals.

    Returns:
        HTML by the names of ``PAGES``; it needs no network: styles and figures are inline.
    """
    facts = {
        "index.html": _plan(evidence, heading.currency, budget, interval_level),
        "experiments.html": _experiments(measured),
        "campaigns.html": _campaigns(measured, heading.currency),
        "kpis.html": _kpis(measured),
        "fairness.html": _fairness(measured),
    }
    return {name: _render(name, heading, told) for name, told in facts.items()}


def _render(name: str, heading: Heading, facts: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("promo_spark.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(money=lambda value: amount(value, heading.currency), share=share, number=number)
    return environment.get_template(f"{name}.j2").render(
        title=heading.title,
        heading=PAGES[name] if name != "index.html" else None,
        page=name,
        pages=PAGES,
        as_of_date=heading.as_of_date,
        currency=heading.currency,
        run_id=heading.run_id,
        is_synthetic=heading.source_kind == "synthetic",
        **facts,
    )


def _plan(evidence: Evidence, currency: str, budget: float, interval_level: float) -> dict[str, Any]:
    top = headline(evidence.plan, budget)
    return {
        "top": top,
        "summary": plan_in_words(top, currency),
        "promoted": _records(evidence.plan, "promote"),
        "tested": _records(evidence.plan, "test"),
        "refused": int((evidence.plan["decision"] == "none").sum()),
        "profiles": evidence.profiles.to_dict("records"),
        "migration": migration_table(evidence.migration),
        "lifetimes": evidence.lifetimes.set_index("segment_id").to_dict("index"),
        "product_clusters": evidence.product_clusters.to_dict("records"),
        "promotion_clusters": evidence.promotion_clusters.to_dict("records"),
        "promotions": evidence.promotions.to_dict("records"),
        "stages": evidence.stages.to_dict("records"),
        "rejects": evidence.rejects.to_dict("records"),
        "limitations": [note for notes in evidence.stages["limitations"] for note in notes],
        "policies": _chosen_first(evidence.customers.policies),
        "assigned": assigned_table(evidence.customers.assigned),
        "limits": plain(evidence.customers.limits),
        "bundles": plain(evidence.customers.bundles),
        "triggers": plain(evidence.customers.triggers),
        "uplifts": plain(evidence.customers.uplifts),
        "models": model_table(evidence.backtests),
        "figures": _figures(evidence, currency, interval_level),
    }


def _experiments(measured: Measured) -> dict[str, Any]:
    told = [
        {**vars(one), "effects": plain(one.effects), "figure": _drawn(one.effects, effect_chart)}
        for one in experiment_facts(measured)
    ]
    return {"experiments": told}


def _campaigns(measured: Measured, currency: str) -> dict[str, Any]:
    quoted = measured.campaign_effects[measured.campaign_effects["is_headline"].astype(bool)]
    return {
        "summary": campaigns_in_words(measured),
        "campaigns": campaign_rows(measured),
        "untold": untold_campaigns(measured),
        "failed": failed_checks(measured),
        "policies": policy_rows(measured),
        "figures": {
            "campaigns": _drawn(quoted[quoted["effect"].notna()], campaign_chart),
            "policies": _drawn(measured.off_policy, lambda rows: off_policy_chart(rows, currency)),
        },
    }


def _kpis(measured: Measured) -> dict[str, Any]:
    return {
        "business": business_rows(measured),
        "pooled": pooled_rows(measured),
        "promotions": promotion_rows(measured),
    }


def _fairness(measured: Measured) -> dict[str, Any]:
    shown = measured.fairness[measured.fairness["measure"].isin(PLANNED)]
    return {
        "summary": fairness_in_words(measured),
        "measures": fairness_rows(measured),
        "pressure": plain(measured.contact_pressure.sort_values(["period", "contact_count"])),
        "figures": {
            "fairness": _drawn(shown[shown["difference"].notna()], fairness_chart),
            "pressure": _drawn(measured.contact_pressure, pressure_chart),
        },
    }


def _drawn(rows: pd.DataFrame, draw: Callable[[pd.DataFrame], Figure]) -> Markup | None:
    # The figures are our own markup; text inside them was escaped by the SVG writer.
    return Markup(charts.svg(draw(rows))) if len(rows) else None  # noqa: S704


def _records(plan: pd.DataFrame, decision: str) -> list[dict[Hashable, Any]]:
    rows = plan[plan["decision"] == decision].sort_values(
        ["incremental_margin_amount", "segment_id", "category"], ascending=[False, True, True]
    )
    return plain(rows)


def _chosen_first(policies: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return plain(policies.sort_values(["is_chosen", "value_amount"], ascending=False))


def _figures(evidence: Evidence, currency: str, interval_level: float) -> dict[str, Markup | None]:
    candidates = best_candidates(evidence.effects, evidence.profiles, _CANDIDATES)
    drawings: dict[str, tuple[pd.DataFrame, Callable[[pd.DataFrame], Figure]]] = {
        "segment_map": (evidence.profiles, charts.segment_map),
        "segment_shares": (evidence.profiles, charts.segment_shares),
        "cluster_choice": (evidence.quality, charts.cluster_choice),
        "margin_forest": (candidates, lambda rows: charts.margin_forest(rows, currency, interval_level)),
        "offer_lifts": (evidence.effects, charts.offer_lifts),
        "forecast_weeks": (evidence.forecasts, lambda rows: charts.forecast_weeks(rows, currency)),
        "predicted": (evidence.cells, lambda rows: charts.predicted_against_actual(rows, currency)),
        "budget_curve": (evidence.customers.budget_curve, lambda rows: budget_chart(rows, currency)),
        "policies": (evidence.customers.policies, lambda rows: policy_chart(rows, currency)),
        "past_levers": (evidence.weeks, charts.past_levers),
    }
    return {name: _drawn(rows, draw) for name, (rows, draw) in drawings.items()}

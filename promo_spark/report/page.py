"""One self-contained HTML page for the promotion manager."""

from __future__ import annotations

from collections.abc import Callable, Hashable
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

_CANDIDATES = 18


def render_page(
    *,
    evidence: Evidence,
    as_of_date: date,
    currency: str,
    title: str,
    budget: float,
    interval_level: float,
    source_kind: str,
    run_id: str,
) -> str:
    """Render the report.

    Args:
        evidence: Aggregates of the run.
        as_of_date: Day of the decision.
        currency: ISO 4217 code.
        title: Heading.
        budget: Budget of the plan.
        interval_level: Level of the plan's intervals.
        source_kind: Kind of source; synthetic figures are labelled so.
        run_id: Identity of the run.

    Returns:
        HTML that needs no network: styles and figures are inline.
    """
    environment = Environment(
        loader=PackageLoader("promo_spark.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(money=lambda value: amount(value, currency), share=share, number=number)
    top = headline(evidence.plan, budget)
    return environment.get_template("index.html.j2").render(
        title=title,
        as_of_date=as_of_date,
        currency=currency,
        run_id=run_id,
        is_synthetic=source_kind == "synthetic",
        top=top,
        summary=plan_in_words(top, currency),
        promoted=_records(evidence.plan, "promote"),
        tested=_records(evidence.plan, "test"),
        refused=int((evidence.plan["decision"] == "none").sum()),
        profiles=evidence.profiles.to_dict("records"),
        migration=migration_table(evidence.migration),
        lifetimes=evidence.lifetimes.set_index("segment_id").to_dict("index"),
        product_clusters=evidence.product_clusters.to_dict("records"),
        promotion_clusters=evidence.promotion_clusters.to_dict("records"),
        promotions=evidence.promotions.to_dict("records"),
        stages=evidence.stages.to_dict("records"),
        rejects=evidence.rejects.to_dict("records"),
        limitations=[note for notes in evidence.stages["limitations"] for note in notes],
        policies=_chosen_first(evidence.customers.policies),
        assigned=assigned_table(evidence.customers.assigned),
        limits=_plain(evidence.customers.limits),
        bundles=_plain(evidence.customers.bundles),
        triggers=_plain(evidence.customers.triggers),
        uplifts=_plain(evidence.customers.uplifts),
        models=model_table(evidence.backtests),
        figures=_figures(evidence, currency, interval_level),
    )


def _records(plan: pd.DataFrame, decision: str) -> list[dict[Hashable, Any]]:
    rows = plan[plan["decision"] == decision].sort_values(
        ["incremental_margin_amount", "segment_id", "category"], ascending=[False, True, True]
    )
    return _plain(rows)


def _plain(rows: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Rows as dictionaries, None where nothing is known."""
    return rows.astype(object).mask(rows.isna(), other=None).to_dict("records")


def _chosen_first(policies: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return _plain(policies.sort_values(["is_chosen", "value_amount"], ascending=False))


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
    # The figures are our own markup; text inside them was escaped by the SVG writer.
    return {name: Markup(charts.svg(draw(rows))) if len(rows) else None for name, (rows, draw) in drawings.items()}  # noqa: S704

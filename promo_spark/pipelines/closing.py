"""The last words of a pipeline run: where things are, and the three figures asked for first."""

from __future__ import annotations

import sys

from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.report.facts import amount, headline
from promo_spark.runtime.places import joined
from promo_spark.runtime.runner import Outcome


def tell_where_things_are(outcome: Outcome) -> None:
    """Print what was decided and where to look at it, to standard output."""
    settings = outcome.settings
    plan = outcome.store.read(SEGMENT_PLAN, settings.as_of_date).toPandas()
    top = headline(plan, settings.plan.budget_amount)
    money = settings.currency
    report = joined(settings.places.warehouse, "reports", settings.as_of_date.isoformat(), "index.html")
    lines = [
        "",
        f"Plan for {settings.as_of_date} (run {outcome.run_id})"
        + (", from SYNTHETIC data" if settings.source.kind == "synthetic" else ""),
        f"  to spend         {amount(top.cost, money)} of a budget of {amount(top.budget, money)}",
        f"  expected margin  {amount(top.margin, money)} after cost "
        f"({amount(top.margin_low, money)} to {amount(top.margin_high, money)})",
        f"  promotions       {top.promoted} proven, to {top.customers:,} customers; {top.tested} worth a test",
        "",
        f"  plan    {outcome.store.path(SEGMENT_PLAN)}",
        f"  report  {report}",
        f"  MLflow  {settings.tracking.uri}, experiment {settings.tracking.experiment} (make ui)",
    ]
    if not outcome.finished:
        lines.append("  nothing had to be done: this run was complete before")
    sys.stdout.write("\n".join(lines) + "\n")

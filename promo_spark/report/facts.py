"""From the tables' rows to what the page says: sums, orders and words, no figures and no HTML."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from promo_spark.report.customer_plan import CustomerPlan

_LARGE = 1000


@dataclass(frozen=True)
class Evidence:
    """The aggregates a page is made from; each a small pandas frame with a table's own columns.

    Attributes:
        plan: plans.segment_plan.
        profiles: segments.profiles.
        quality: segments.quality.
        migration: segments.migration.
        lifetimes: means of segments.lifetime_values: one row per segment.
        product_clusters: sums of features.products: one row per cluster of segments.products.
        promotion_clusters: the same of promotions.
        effects: response.effects.
        weeks: levers of response.panel, weighted by sales: one row per week.
        backtests: measurement.backtests.
        forecasts: measurement.forecast_actuals summed to model × week.
        cells: measurement.forecast_actuals of the boosted trees.
        promotions: features.promotions of those that ran in the weeks before.
        stages: audit.stage_runs, newest per stage.
        rejects: One row per table and reason with its count.
        customers: The plan for single customers.
    """

    plan: pd.DataFrame
    profiles: pd.DataFrame
    quality: pd.DataFrame
    migration: pd.DataFrame
    lifetimes: pd.DataFrame
    product_clusters: pd.DataFrame
    promotion_clusters: pd.DataFrame
    effects: pd.DataFrame
    weeks: pd.DataFrame
    backtests: pd.DataFrame
    forecasts: pd.DataFrame
    cells: pd.DataFrame
    promotions: pd.DataFrame
    stages: pd.DataFrame
    rejects: pd.DataFrame
    customers: CustomerPlan


@dataclass(frozen=True)
class Headline:
    """The three figures a manager asks for first: what it costs, what it earns, whom it reaches."""

    promoted: int
    tested: int
    cost: float
    budget: float
    margin: float
    margin_low: float
    margin_high: float
    customers: int


def headline(plan: pd.DataFrame, budget: float) -> Headline:
    """Sum a segment plan up.

    The ends of the intervals are added: wider than the interval of the sum, never narrower, because
    errors of rows learnt from the same weeks are not independent.
    """
    promoted = plan[plan["decision"] == "promote"]
    reached = promoted.drop_duplicates("segment_id")["customer_count"].fillna(0)
    return Headline(
        promoted=len(promoted),
        tested=int((plan["decision"] == "test").sum()),
        cost=float(promoted["cost_amount"].fillna(0).sum()),
        budget=budget,
        margin=float(promoted["incremental_margin_amount"].fillna(0).sum()),
        margin_low=float(promoted["margin_low_amount"].fillna(0).sum()),
        margin_high=float(promoted["margin_high_amount"].fillna(0).sum()),
        customers=int(reached.sum()),
    )


def plan_in_words(top: Headline, currency: str) -> str:
    """The plan in one or two sentences."""
    tests = f" {_counted(top.tested, 'unproven offer')} would be worth a test." if top.tested else ""
    if top.promoted == 0:
        return (
            "No promotion. For none of the offers does the interval of what it earns clear zero after "
            "correcting for how many were tried: sending them would spend money on hope." + tests
        )
    return (
        f"Run {_counted(top.promoted, 'promotion')} for {amount(top.cost, currency)} of a budget of "
        f"{amount(top.budget, currency)}; they are expected to earn {amount(top.margin, currency)} of margin after "
        f"their cost ({amount(top.margin_low, currency)} to {amount(top.margin_high, currency)})." + tests
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def amount(value: float | None, currency: str) -> str:
    """An amount of money for reading."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:,.0f} {currency}"


def share(value: float | None) -> str:
    """A share for reading, in per cent."""
    return "–" if value is None or pd.isna(value) else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    """A figure for reading: four significant digits at most."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= _LARGE else f"{value:.4g}"


def with_error(value: float, error: float | None) -> str:
    """A figure and its standard error, both to the second digit of the error.

    >>> with_error(0.023994, 0.009522), with_error(1.5, None), with_error(1.375, 0.0)
    ('0.0240 ± 0.0095', '1.5', '1.375 ± 0')
    """
    if error is None or pd.isna(error) or pd.isna(value):
        return number(value)
    if not 0 < error < 1:
        return f"{number(value)} ± {number(error)}"
    digits = 1 - math.floor(math.log10(error))
    return f"{value:,.{digits}f} ± {error:.{digits}f}"


def best_candidates(effects: pd.DataFrame, profiles: pd.DataFrame, count: int) -> pd.DataFrame:
    """The offers with the highest expected margin, one per segment and category, labelled."""
    if effects.empty:
        return effects.assign(label=[])
    names = dict(zip(profiles["segment_id"], profiles["segment_name"], strict=True))
    order = ["margin_amount", "segment_id", "category", "offer_id"]
    ordered = effects.sort_values(order, ascending=[False, True, True, True])
    best = ordered.drop_duplicates(["segment_id", "category"]).head(count)
    labels = [f"{names.get(r.segment_id, r.segment_id)} · {r.category} · {r.offer_id}" for r in best.itertuples()]
    return best.assign(label=labels)


def model_table(backtests: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Per subject, metrics by models, each cell ``value ± standard error``."""
    tables: dict[str, pd.DataFrame] = {}
    for subject, rows in backtests.groupby("subject", sort=True):
        cells = [
            with_error(value, error)
            for value, error in zip(rows["value"].astype(float), rows["standard_error"].astype(float), strict=True)
        ]
        told = rows.assign(cell=cells)
        wide = told.pivot_table(index="metric", columns="model", values="cell", aggfunc="first")
        tables[str(subject)] = wide.fillna("").rename_axis(None, axis=1)
    return tables


@dataclass(frozen=True)
class Migration:
    """Where the customers of each earlier segment are now.

    Attributes:
        since: The date before.
        segments: Columns: a segment's number and name now.
        rows: Per earlier segment its label, and per column the share and whether that segment carries it on.
        joined: Customers not known then.
    """

    since: str
    segments: list[str]
    rows: list[tuple[str, list[tuple[str, bool]]]]
    joined: int


def migration_table(migration: pd.DataFrame) -> Migration | None:
    """Lay segments.migration out, earlier segments by those of now; None where there is no date before."""
    moves = migration.to_dict("records")
    stayed = [move for move in moves if move["previous_segment_id"] >= 0]
    if not stayed:
        return None
    now = {move["segment_id"]: _label(move["segment_id"], move["segment_name"]) for move in moves}
    then = {move["previous_segment_id"]: move["previous_segment_name"] for move in stayed}
    cells = {
        (move["previous_segment_id"], move["segment_id"]): (share(move["customer_rate"]), bool(move["is_match"]))
        for move in stayed
    }
    columns = sorted(now, key=lambda segment: (segment < 0, segment))
    return Migration(
        since=str(stayed[0]["previous_date"]),
        segments=[now[segment] for segment in columns],
        rows=[
            (_label(old, then[old]), [cells.get((old, new), ("", False)) for new in columns]) for old in sorted(then)
        ],
        joined=sum(int(move["customer_count"]) for move in moves if move["previous_segment_id"] < 0),
    )


def _label(segment: int, name: str | None) -> str:
    return "no longer known" if segment < 0 else f"{segment} {'' if pd.isna(name) else name}".strip()

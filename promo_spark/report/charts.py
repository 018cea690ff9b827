"""Figures of the manager's page, as self-contained SVG text."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, ACCENT, SECOND, MUTED, BAND = "#1f2933", "#0b7285", "#d9480f", "#9aa5b1", "#c5e3e8"
NORMAL = 1.96
"""Standard errors to the ends of a 95 % interval."""
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    # Text stays text: smaller files, searchable, and the reader's own font.
    "svg.fonttype": "none",
    "svg.hashsalt": "promo_spark",
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
}


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of so many inches, under ``STYLE``."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element: the same bytes for the same data."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def forest(
    labels: list[str], values: pd.Series, lows: pd.Series, highs: pd.Series, *, colours: list[str], words: str
) -> Figure:
    """Values with their intervals, the first row on top.

    Args:
        labels: Of the rows.
        values: Where the dots are.
        lows: Lower ends; no line where one is unknown.
        highs: Upper ends.
        colours: Of the rows.
        words: Below the axis.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(7.6, 0.9 + 0.26 * max(len(labels), 1))
        parts = zip(values.astype(float), lows.astype(float), highs.astype(float), colours, strict=True)
        for place, (value, low, high, colour) in enumerate(parts):
            at = len(labels) - 1 - place
            axes.plot(value, at, "o", color=colour, ms=4)
            if np.isfinite(low) and np.isfinite(high):
                axes.plot([low, high], [at, at], color=colour, lw=1.4)
        axes.axvline(0, color=MUTED, lw=0.8)
        axes.set_yticks(range(len(labels)), labels[::-1])
        axes.set_xlabel(words, loc="right")
        axes.margins(y=0.05)
    return figure


def segment_map(profiles: pd.DataFrame) -> Figure:
    """Segments by their centres on the first two principal components; area is customers.

    Args:
        profiles: segments.profiles, one row per segment.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(6.4, 3.8)
        shares = profiles["customer_rate"].astype(float)
        axes.scatter(
            profiles["map_x"],
            profiles["map_y"],
            s=60 + 5000 * shares,
            color=ACCENT,
            alpha=0.35,
            edgecolor=ACCENT,
        )
        for row in profiles.itertuples():
            axes.annotate(f"{row.segment_id} {row.segment_name}", (row.map_x, row.map_y), ha="center", va="center")
        axes.margins(0.25)
        axes.set_xlabel("first principal component")
        axes.set_ylabel("second principal component")
    return figure


def segment_shares(profiles: pd.DataFrame) -> Figure:
    """Share of customers beside share of spend, per segment."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(6.4, 0.6 + 0.5 * len(profiles))
        places = np.arange(len(profiles))[::-1]
        axes.barh(places + 0.19, 100 * profiles["customer_rate"], 0.36, color=MUTED, label="of customers")
        axes.barh(places - 0.19, 100 * profiles["sales_rate"], 0.36, color=ACCENT, label="of spend, last 91 days")
        axes.set_yticks(places, [f"{row.segment_id} {row.segment_name}" for row in profiles.itertuples()])
        axes.set_xlabel("%")
        axes.legend(frameon=False, loc="lower right")
    return figure


def margin_forest(effects: pd.DataFrame, currency: str, level: float) -> Figure:
    """Expected incremental margin of offers with their intervals.

    Args:
        effects: response.effects with a ``label`` column, best first.
        currency: Currency code.
        level: Level of the intervals, 0 to 1.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(7.6, 0.8 + 0.27 * len(effects))
        places = np.arange(len(effects))[::-1]
        proven = (effects["margin_low_amount"] > 0).to_numpy()
        for is_proven, colour in ((True, ACCENT), (False, MUTED)):
            rows, at = effects[proven == is_proven], places[proven == is_proven]
            below = (rows["margin_amount"] - rows["margin_low_amount"]).clip(lower=0)
            above = (rows["margin_high_amount"] - rows["margin_amount"]).clip(lower=0)
            spread = np.vstack([below, above])
            axes.errorbar(rows["margin_amount"], at, xerr=spread, fmt="o", color=colour, ms=4, lw=1.4)
        axes.axvline(0, color=INK, lw=0.8)
        # One interval without much data must not flatten all others.
        reach = float(effects[["margin_low_amount", "margin_high_amount"]].abs().max(axis=1).quantile(0.8)) or 1.0
        axes.set_xlim(-1.15 * reach, 1.15 * reach)
        axes.set_yticks(places, effects["label"])
        # Long labels leave the axis little room: what does not fit under it goes to the left.
        axes.set_xlabel(f"incremental margin, {currency}, with {level:.0%} interval (blue: clear of zero)", loc="right")
    return figure


def offer_lifts(effects: pd.DataFrame) -> Figure:
    """Spread of each offer's lift over segments and categories."""
    with mpl.rc_context(STYLE):
        offers = sorted(effects["offer_id"].unique())
        figure, axes = new_axes(7.6, 0.8 + 0.34 * len(offers))
        for column, colour, shift in (("lift_rate", ACCENT, 0.14), ("carry_rate", SECOND, -0.14)):
            values = [100 * effects.loc[effects["offer_id"] == offer, column].dropna() for offer in offers]
            places = [place + shift for place in range(len(offers))][::-1]
            boxes = axes.boxplot(
                values,
                positions=places,
                widths=0.22,
                orientation="horizontal",
                showfliers=False,
                patch_artist=True,
                manage_ticks=False,
                medianprops={"color": INK},
            )
            for box in boxes["boxes"]:
                box.set(facecolor=colour, alpha=0.45)
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_yticks(range(len(offers)), offers[::-1])
        axes.set_xlabel("% of a usual week: blue while the offer runs, orange in the two weeks after")
    return figure


def forecast_weeks(totals: pd.DataFrame, currency: str) -> Figure:
    """Sales that followed against what each model had said.

    Args:
        totals: One row per week and model: ``week_start_date``, ``model``, ``actual_amount``,
            ``predicted_amount``, ``low_amount``, ``high_amount``.
        currency: Currency code.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(7.6, 3.2)
        models = sorted(totals["model"].unique(), key=lambda name: (name != "gbt", name))
        actual = totals[totals["model"] == models[0]].sort_values("week_start_date")
        weeks = actual["week_start_date"].astype(str)
        axes.plot(weeks, actual["actual_amount"], color=INK, lw=2.2, label="actual")
        for model, colour in zip(models, (ACCENT, SECOND, "#5f3dc4", MUTED, "#2b8a3e"), strict=False):
            rows = totals[totals["model"] == model].sort_values("week_start_date")
            axes.plot(weeks, rows["predicted_amount"], color=colour, lw=1.4, label=model)
        axes.set_ylabel(f"sales at regular price, {currency}")
        axes.set_ylim(bottom=0)
        axes.tick_params(axis="x", rotation=30)
        axes.legend(frameon=False, ncols=3)
    return figure


def predicted_against_actual(cells: pd.DataFrame, currency: str) -> Figure:
    """Each segment, category and week: forecast of the boosted trees against what came."""
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(4.2, 3.8)
        axes.scatter(cells["predicted_amount"] + 1, cells["actual_amount"] + 1, s=5, color=ACCENT, alpha=0.25, lw=0)
        top = float(max(cells["predicted_amount"].max(), cells["actual_amount"].max())) + 1
        axes.plot([1, top], [1, top], color=INK, lw=0.8)
        axes.set(xscale="log", yscale="log", xlabel=f"predicted + 1, {currency}", ylabel=f"actual + 1, {currency}")
    return figure


def cluster_choice(quality: pd.DataFrame) -> Figure:
    """What speaks for each method and number of clusters; a measure that is not known is left out.

    Args:
        quality: segments.quality.
    """
    measures = {
        "silhouette": ("silhouette", None),
        "stability_ari": ("stability (ARI)", "stability_ari_sd"),
        "later_explained_rate": ("later behaviour explained", "later_explained_se"),
    }
    known = [name for name in measures if quality[name].notna().any()] or ["silhouette"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.6 * len(known), 2.6), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(known), squeeze=False)[0], known, strict=True):
            label, error = measures[name]
            methods = quality.sort_values("cluster_count").groupby("method", sort=False)
            for (method, rows), colour in zip(methods, (ACCENT, SECOND, "#5f3dc4", "#2b8a3e"), strict=False):
                spread = None if error is None else rows[error].astype(float)
                values = rows[name].astype(float)
                axes.errorbar(rows["cluster_count"], values, spread, fmt="o-", color=colour, ms=4, label=method)
            for count in quality.loc[quality["is_chosen"], "cluster_count"]:
                axes.axvline(count, color=MUTED, lw=6, alpha=0.3, zorder=0)
            axes.set_xticks(sorted(set(quality["cluster_count"])))
            axes.set_title(label)
        several = quality["method"].nunique() > 1
        if several:
            axes.legend(frameon=False)
        by = f", by {'/'.join(quality.loc[quality['is_chosen'], 'method'])}" if several else ""
        figure.supxlabel(f"number of clusters (shaded: chosen{by})")
    return figure


def past_levers(weeks: pd.DataFrame) -> Figure:
    """How deep and how widely the planned categories were promoted in the weeks before.

    Args:
        weeks: One row per week: ``week_start_date``, ``depth_rate``, ``display_rate``, ``mailer_rate``.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(7.6, 2.4)
        labels = weeks["week_start_date"].astype(str)
        for column, colour, label in (
            ("depth_rate", SECOND, "mean discount depth"),
            ("display_rate", ACCENT, "share on display"),
            ("mailer_rate", MUTED, "share in the mailer"),
        ):
            axes.plot(labels, 100 * weeks[column], "o-", color=colour, label=label, ms=3.5)
        axes.set_ylabel("%")
        axes.set_ylim(bottom=0)
        axes.tick_params(axis="x", rotation=30)
        axes.legend(frameon=False, ncols=3)
    return figure

"""Figures of the pages on measurement."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from promo_spark.report.charts import ACCENT, MUTED, NORMAL, SECOND, STYLE, forest, new_axes
from promo_spark.report.measured import PLANNED, UNTOLD

_MOST_ROWS = 60


def effect_chart(effects: pd.DataFrame) -> Figure:
    """Effects of an experiment with their intervals, as a share of the control's value.

    Args:
        effects: measurement.effects about everybody.
    """
    rows = effects[effects["relative_effect"].notna()].head(_MOST_ROWS)
    labels = [f"{row.metric} · {row.arm} · {row.method}".replace("_", " ") for row in rows.itertuples()]
    colours = np.where(rows["is_headline"].astype(bool), ACCENT, MUTED)
    return forest(
        labels,
        100 * rows["relative_effect"],
        100 * rows["relative_low"],
        100 * rows["relative_high"],
        colours=colours.tolist(),
        words="effect over the control's value, %",
    )


def campaign_chart(effects: pd.DataFrame) -> Figure:
    """Change by campaign with its interval, one metric: that of most rows.

    Args:
        effects: Rows to quote of measurement.campaign_effects.
    """
    metric = str(effects["metric"].mode().iloc[0])
    rows = effects[(effects["metric"] == metric) & effects["effect"].notna()]
    rows = rows.sort_values(["start_date", "promotion_id"]).head(_MOST_ROWS)
    colours = np.where(rows["verdict"] == UNTOLD, MUTED, ACCENT).tolist()
    labels = [f"{row.promotion_id} ({row.start_date})" for row in rows.itertuples()]
    words = f"{metric.replace('_', ' ')} per targeted customer and week"
    return forest(labels, rows["effect"], rows["low"], rows["high"], colours=colours, words=words)


def off_policy_chart(policies: pd.DataFrame, currency: str) -> Figure:
    """Doubly robust gain of each policy over giving nothing.

    Args:
        policies: measurement.off_policy.
        currency: Of all amounts.
    """
    rows = policies[(policies["estimator"] == "doubly_robust") & policies["gain_amount"].notna()]
    reach = NORMAL * rows["gain_error"].astype(float)
    colours = np.where(rows["is_concluded"].astype(bool), ACCENT, MUTED).tolist()
    words = f"gain per decision over giving nothing, {currency}"
    gains = rows["gain_amount"].astype(float)
    return forest(rows["policy"].tolist(), gains, gains - reach, gains + reach, colours=colours, words=words)


def fairness_chart(fairness: pd.DataFrame) -> Figure:
    """Difference of each group in the share that the plan gives a promotion, in percentage points.

    Args:
        fairness: measurement.fairness.
    """
    rows = fairness[fairness["measure"].isin(PLANNED) & fairness["difference"].notna()]
    rows = rows.sort_values(["attribute", "group_value"]).head(_MOST_ROWS)
    differs = rows["passed"].eq(other=False)
    labels = [f"{row.attribute}: {row.group_value}".replace("_", " ") for row in rows.itertuples()]
    return forest(
        labels,
        100 * rows["difference"],
        100 * rows["low"],
        100 * rows["high"],
        colours=np.where(differs, SECOND, ACCENT).tolist(),
        words="share given a promotion, less that of all others, percentage points",
    )


def pressure_chart(pressure: pd.DataFrame) -> Figure:
    """Share of customers by number of contacts, in the past and with the plan.

    Args:
        pressure: measurement.contact_pressure.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(6.4, 3.0)
        for shift, (period, colour) in enumerate((("past", MUTED), ("with_plan", ACCENT))):
            rows = pressure[pressure["period"] == period]
            places = rows["contact_count"].astype(float) + 0.4 * (shift - 0.5)
            axes.bar(places, 100 * rows["customer_rate"].astype(float), 0.38, color=colour, label=period)
        axes.set_xlabel("contacts per customer")
        axes.set_ylabel("% of customers")
        axes.legend(frameon=False)
    return figure

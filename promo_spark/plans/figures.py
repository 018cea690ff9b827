"""The plan as a picture."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

_SHOWN = 25
_COLOURS = {"promote": "tab:green", "test": "tab:orange"}


def plan_figure(plan: pd.DataFrame, currency: str) -> Figure:
    """Expected margin and its interval of what is promoted or worth a test, best on top.

    Args:
        plan: plans.segment_plan.
        currency: Of the amounts.
    """
    chosen = plan[plan["decision"] != "none"].sort_values(
        ["decision", "incremental_margin_amount"], ascending=[True, False]
    )
    shown = chosen.head(_SHOWN).iloc[::-1]
    figure = Figure(figsize=(7.5, 1.6 + 0.25 * max(len(shown), 1)), layout="constrained")
    axes = figure.add_subplot()
    for decision, colour in _COLOURS.items():
        is_such = (shown["decision"] == decision).to_numpy()
        places, rows = np.flatnonzero(is_such), shown[is_such]
        axes.hlines(places, rows["margin_low_amount"], rows["margin_high_amount"], color=colour, linewidth=2)
        axes.plot(rows["incremental_margin_amount"], places, "o", color=colour)
    axes.axvline(0.0, linewidth=0.8, color="grey")
    axes.set_yticks(range(len(shown)), [f"{r.segment_name} · {r.category} · {r.offer_id}" for r in shown.itertuples()])
    axes.set_xlabel(f"incremental margin after cost, {currency}")
    axes.set_title(
        "Promoted (green) and worth a test (orange)" if len(shown) else "Nothing is promoted or worth a test"
    )
    return figure

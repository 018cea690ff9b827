"""The plan and the ideas beside it as pictures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

_SHOWN = 25
_BUNDLES_SHOWN = 15
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


def ideas_figure(bundles: pd.DataFrame, trigger_counts: Mapping[str, int], currency: str) -> Figure:
    """The best bundles by expected gain, best on top, beside how many triggers there are of each kind.

    Args:
        bundles: plans.bundles with anchor_name and added_name, best first.
        trigger_counts: Number of triggers of each kind.
        currency: Of the amounts.
    """
    shown = bundles.head(_BUNDLES_SHOWN).iloc[::-1]
    figure = Figure(figsize=(10, 1.8 + 0.25 * max(len(shown), len(trigger_counts))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    names = [f"{row.anchor_name} + {row.added_name}" for row in shown.itertuples()]
    colours = ["tab:blue" if is_joint else "tab:grey" for is_joint in shown["is_joint"]]
    left.barh(range(len(shown)), shown["expected_gain_amount"].astype(float), color=colours)
    left.set_yticks(range(len(shown)), names, fontsize="small")
    left.axvline(0.0, linewidth=0.8, color="black")
    left.set_xlabel(f"expected gain, {currency}")
    left.set_title("Best bundles (blue: cost shared with the maker)" if len(shown) else "No bundle found")
    kinds = list(trigger_counts)[::-1]
    right.barh(kinds, [trigger_counts[kind] for kind in kinds], color="tab:green")
    right.set_xlabel("number")
    right.set_title("Triggers")
    return figure

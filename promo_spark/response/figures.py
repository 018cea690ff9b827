"""Pictures of what the boosted trees learnt."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

_LABELS = {"depth_rate": "discount depth", "display_rate": "display", "mailer_rate": "mailer"}


def importance_figure(importance: Mapping[str, float]) -> Figure:
    """Bars of each feature's share of the trees' gain, largest on top."""
    ordered = sorted(importance.items(), key=lambda item: (item[1], item[0]))
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    axes.barh([name for name, _ in ordered], [100 * share for _, share in ordered])
    axes.set_xlabel("share of the trees' gain, %")
    axes.set_title("What the sales forecast looks at")
    return figure


def curve_figure(curves: pd.DataFrame) -> Figure:
    """Predicted lift as each lever rises above its usual setting.

    Args:
        curves: lever, step, lift_rate.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for lever, points in curves.sort_values("step").groupby("lever"):
        axes.plot(
            100 * points["step"], 100 * points["lift_rate"], marker="o", label=_LABELS.get(str(lever), str(lever))
        )
    axes.axhline(0.0, linewidth=0.8, color="grey")
    axes.set_xlabel("above the usual setting, percentage points")
    axes.set_ylabel("sales at regular price, %")
    axes.set_title("Predicted lift of a week's sales (observational)")
    axes.legend()
    return figure

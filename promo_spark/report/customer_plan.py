"""What the page says of the plan for single customers: the policy, who got what, what limits cost."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from promo_spark.contracts.assignment import ASSIGNED_PROMOTIONS, BUDGET_CURVE, CONSTRAINT_USE
from promo_spark.contracts.decisions import NO_ARM, SEGMENT_UPLIFTS
from promo_spark.contracts.ideas import BUNDLES
from promo_spark.contracts.measurement import POLICY_VALUES
from promo_spark.contracts.table import TableContract
from promo_spark.report.charts import ACCENT, MUTED, NORMAL, SECOND, STYLE, forest, new_axes

_SUMS = ("customer_count", "exploration_count", "expected_redemption_count", "value_amount", "cost_amount")


@dataclass(frozen=True)
class CustomerPlan:
    """Aggregates of the plan for single customers; each a small pandas frame.

    Attributes:
        policies: measurement.policy_values.
        assigned: plans.segment_promotions.
        limits: plans.constraints.
        budget_curve: plans.budget_curve.
        bundles: The first rows of plans.bundles with the products' names.
        triggers: trigger and ``customer_count``.
        uplifts: response.segment_uplifts of margin with the segments' names.
    """

    policies: pd.DataFrame
    assigned: pd.DataFrame
    limits: pd.DataFrame
    budget_curve: pd.DataFrame
    bundles: pd.DataFrame
    triggers: pd.DataFrame
    uplifts: pd.DataFrame

    @classmethod
    def of_nothing(cls) -> CustomerPlan:
        """Where nothing was decided."""

        def empty(contract: TableContract) -> pd.DataFrame:
            return pd.DataFrame(columns=list(contract.column_names))

        return cls(
            policies=empty(POLICY_VALUES),
            assigned=empty(ASSIGNED_PROMOTIONS),
            limits=empty(CONSTRAINT_USE),
            budget_curve=empty(BUDGET_CURVE),
            bundles=empty(BUNDLES),
            triggers=pd.DataFrame(columns=["trigger", "customer_count"]),
            uplifts=empty(SEGMENT_UPLIFTS),
        )


def assigned_table(assigned: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Promotions with their sums over segments, the most given first; none is last."""
    if assigned.empty:
        return []
    summed = assigned.groupby("promotion_id", as_index=False)[list(_SUMS)].sum()
    summed["is_none"] = summed["promotion_id"] == NO_ARM
    summed["holdout_count"] = summed["promotion_id"].map(assigned.groupby("promotion_id")["holdout_count"].sum())
    return summed.sort_values(["is_none", "customer_count", "promotion_id"], ascending=[True, False, True]).to_dict(
        "records"
    )


def budget_chart(curve: pd.DataFrame, currency: str) -> Figure:
    """Value of the best assignment by budget, below the bound that nothing can pass.

    Args:
        curve: plans.budget_curve.
        currency: Of all amounts.
    """
    rows = curve.sort_values("budget_amount")
    with mpl.rc_context(STYLE):
        figure, axes = new_axes(6.4, 3.2)
        axes.plot(rows["budget_amount"], rows["bound_amount"], color=MUTED, lw=1.0, ls="--", label="no plan can pass")
        axes.plot(rows["budget_amount"], rows["value_amount"], color=ACCENT, marker="o", ms=4, label="best plan found")
        planned = rows[rows["is_planned"].astype(bool)]
        axes.plot(planned["budget_amount"], planned["value_amount"], "o", color=SECOND, ms=8, label="planned")
        axes.set_xlabel(f"budget, {currency}")
        axes.set_ylabel(f"value, {currency}")
        axes.legend(frameon=False, loc="lower right")
    return figure


def policy_chart(policies: pd.DataFrame, currency: str) -> Figure:
    """Value per customer of each policy with its 95 % interval.

    Args:
        policies: measurement.policy_values.
        currency: Of all amounts.
    """
    rows = policies.sort_values("value_amount", ascending=False)
    values, reach = rows["value_amount"].astype(float), NORMAL * rows["standard_error"].astype(float)
    return forest(
        list(rows["policy"]),
        values,
        values - reach,
        values + reach,
        colours=[ACCENT if chosen else MUTED for chosen in rows["is_chosen"].astype(bool)],
        words=f"value per customer beside giving nothing, {currency} (blue: followed)",
    )

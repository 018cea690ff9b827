"""What the pages on measurement say: experiments, campaigns and policies, key figures, fairness."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import pandas as pd

ALL = "all"
_SHRUNK = "shrunk"
_TOLD_FIRST = ("doubly_robust",)
UNTOLD = "cannot_be_told"
PLANNED = ("planned_rate",)
"""What the plan itself does to groups."""


@dataclass(frozen=True)
class Measured:
    """Aggregates that the pages are made from; each a small pandas frame with a table's own columns.

    Attributes:
        effects: measurement.effects.
        experiment_checks: measurement.experiment_checks.
        campaign_effects: measurement.campaign_effects.
        campaign_checks: measurement.campaign_checks.
        off_policy: measurement.off_policy.
        kpis: measurement.kpis.
        fairness: measurement.fairness.
        contact_pressure: measurement.contact_pressure.
    """

    effects: pd.DataFrame
    experiment_checks: pd.DataFrame
    campaign_effects: pd.DataFrame
    campaign_checks: pd.DataFrame
    off_policy: pd.DataFrame
    kpis: pd.DataFrame
    fairness: pd.DataFrame
    contact_pressure: pd.DataFrame


@dataclass(frozen=True)
class ExperimentFacts:
    """One experiment as its page tells it.

    Attributes:
        name: Of the experiment.
        stopped: Checks for which nothing may be quoted; empty where all is well.
        summary: The effects to quote, in words.
        effects: Rows about everybody.
        segments: Rows about segments, pulled towards the mean.
        checks: All checks, failures first.
    """

    name: str
    stopped: list[dict[Hashable, Any]]
    summary: str
    effects: pd.DataFrame
    segments: list[dict[Hashable, Any]]
    checks: list[dict[Hashable, Any]]


def plain(rows: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Rows as dictionaries, None where nothing is known."""
    return rows.astype(object).mask(rows.isna(), other=None).to_dict("records")


def experiment_facts(measured: Measured) -> list[ExperimentFacts]:
    """Every experiment that has effects or checks, by name."""
    told = []
    names = set(measured.effects["experiment"]) | set(measured.experiment_checks["experiment"])
    for name in sorted(names):
        effects = measured.effects[measured.effects["experiment"] == name]
        checks = measured.experiment_checks[measured.experiment_checks["experiment"] == name]
        checks = checks.sort_values(["result", "check", "metric", "arm"])
        everybody = effects[effects["segment"] == ALL].sort_values(["is_guardrail", "metric", "arm", "method"])
        segments = effects[(effects["segment"] != ALL) & (effects["method"] == _SHRUNK)]
        stops = checks[checks["stops_headline"].astype(bool) & (checks["result"] == "failed")]
        told.append(
            ExperimentFacts(
                name,
                plain(stops),
                _effects_in_words(everybody),
                everybody,
                plain(segments.sort_values(["metric", "arm", "segment"])),
                plain(checks),
            )
        )
    return told


def _effects_in_words(effects: pd.DataFrame) -> str:
    quoted = effects[effects["is_headline"].astype(bool) & effects["low"].notna()]
    if quoted.empty:
        return "No effect of it can be quoted."
    parts = []
    for row in plain(quoted):
        effect, low, high = (float(row[name]) for name in ("effect", "low", "high"))
        is_sure = low > 0 or high < 0
        verb = ("raises" if effect > 0 else "lowers") if is_sure else "is not shown to change"
        interval = f"{low:.4g} to {high:.4g}"
        size = f" by {abs(effect):.4g} ({interval})" if is_sure else f" ({interval} are all likely)"
        parts.append(f"{row['arm']} {verb} {row['metric'].replace('_', ' ')}{size}.")
    return " ".join(parts)


def campaign_rows(measured: Measured) -> list[dict[Hashable, Any]]:
    """The effects to quote, of the campaigns that can be told in any metric, by start."""
    rows = _quoted_campaigns(measured)
    told = rows.loc[rows["verdict"] != UNTOLD, "promotion_id"].unique()
    rows = rows[rows["promotion_id"].isin(told)]
    return plain(rows.sort_values(["start_date", "promotion_id", "metric"]))


def untold_campaigns(measured: Measured) -> dict[str, list[str]]:
    """Campaigns that cannot be told in any metric, by the reason of the first."""
    rows = _quoted_campaigns(measured).sort_values(["start_date", "promotion_id", "metric"])
    told = rows.loc[rows["verdict"] != UNTOLD, "promotion_id"].unique()
    reasons: dict[str, list[str]] = {}
    for row in plain(rows[~rows["promotion_id"].isin(told)].drop_duplicates("promotion_id")):
        reasons.setdefault(row["told"], []).append(row["promotion_id"])
    return reasons


def _quoted_campaigns(measured: Measured) -> pd.DataFrame:
    rows = measured.campaign_effects
    return rows[rows["is_headline"].astype(bool)]


def failed_checks(measured: Measured) -> dict[str, list[dict[Hashable, Any]]]:
    """Checks that stop a conclusion, by campaign."""
    rows = measured.campaign_checks
    is_failed = rows["is_required"].astype(bool) & rows["passed"].eq(other=False)
    failed: dict[str, list[dict[Hashable, Any]]] = {}
    for row in plain(rows[is_failed].sort_values(["promotion_id", "check", "covariate"])):
        failed.setdefault(row["promotion_id"], []).append(row)
    return failed


def campaigns_in_words(measured: Measured) -> list[str]:
    """Of each metric, how many campaigns moved it, how many did not, and of how many it cannot be told."""
    told = []
    for metric, own in _quoted_campaigns(measured).groupby("metric", sort=True):
        counts = own["verdict"].value_counts()
        shown, hidden, unknown = (int(counts.get(name, 0)) for name in ("effect_shown", "no_effect_shown", UNTOLD))
        name = str(metric).replace("_", " ")
        told.append(
            f"{name[:1].upper()}{name[1:]}: {shown} of {len(own)} campaigns show an effect, {hidden} show none, and of "
            f"{unknown} it cannot be told."
        )
    return told


def policy_rows(measured: Measured) -> list[dict[Hashable, Any]]:
    """Policies by name, the estimator to believe first."""
    rows = measured.off_policy.assign(_place=~measured.off_policy["estimator"].isin(_TOLD_FIRST))
    return plain(rows.sort_values(["policy", "_place", "estimator", "clip"]).drop(columns="_place"))


def business_rows(measured: Measured) -> list[dict[Hashable, Any]]:
    """Figures of the whole business, once each: the comparison that has a value is told first."""
    return _figures_of_all(measured, of_promotions=False)


def pooled_rows(measured: Measured) -> list[dict[Hashable, Any]]:
    """Figures of all promotions together, once each."""
    return _figures_of_all(measured, of_promotions=True)


def _figures_of_all(measured: Measured, *, of_promotions: bool) -> list[dict[Hashable, Any]]:
    kpis = measured.kpis
    pooled = set(kpis.loc[kpis["scope"] == "promotion", "kpi"])
    rows = kpis[(kpis["scope"] == ALL) & (kpis["kpi"].isin(pooled) == of_promotions)]
    rows = rows.assign(_unknown=rows["value"].isna(), _bare=rows["comparison_value"].isna())
    rows = rows.sort_values(["_unknown", "kpi", "_bare", "comparison"]).drop_duplicates("kpi")
    return plain(rows.drop(columns=["_unknown", "_bare"]))


def promotion_rows(measured: Measured) -> list[dict[Hashable, Any]]:
    """Figures of promotions that have a comparison."""
    rows = measured.kpis[(measured.kpis["scope"] == "promotion") & measured.kpis["change"].notna()]
    return plain(rows.sort_values(["scope_id", "kpi", "comparison"]))


def fairness_rows(measured: Measured) -> dict[str, list[dict[Hashable, Any]]]:
    """Rows by what is compared, what the plan does first."""
    rows = measured.fairness.assign(_place=~measured.fairness["measure"].isin(PLANNED))
    rows = rows.sort_values(["_place", "measure", "attribute", "group_value"]).drop(columns="_place")
    return {str(meaning): plain(own) for meaning, own in rows.groupby("meaning", sort=False)}


def fairness_in_words(measured: Measured) -> str:
    """How many differences were tested, and how many are large and no chance."""
    tested = measured.fairness[measured.fairness["passed"].notna()]
    differing = int((~tested["passed"].astype(bool)).sum())
    hidden = int(measured.fairness["is_suppressed"].astype(bool).sum())
    if tested.empty:
        return f"No difference could be tested; {hidden} figures are of too few customers to show."
    found = "none is" if not differing else f"{differing} {'is' if differing == 1 else 'are'}"
    one = len(tested) == 1
    return (
        f"{len(tested)} {'difference was' if one else 'differences were'} tested: {found} both large and no chance. "
        f"{hidden} {'figure is' if hidden == 1 else 'figures are'} not shown."
    )

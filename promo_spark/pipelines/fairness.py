"""Audit the plan and what came before it: are groups treated alike, and who is spoken to too often?"""

from __future__ import annotations

import pandas as pd
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT
from promo_spark.contracts.decisions import NO_ARM, SCORES
from promo_spark.contracts.fairness import CONTACT_PRESSURE, FAIRNESS
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.silver import ASSIGNMENTS, CUSTOMERS, EXPOSURES, ORDER_LINES, PROMOTIONS, REDEMPTIONS
from promo_spark.errors import FairnessError
from promo_spark.measurement.audited_customers import UNKNOWN, describe_audited_customers
from promo_spark.measurement.contact_pressure import count_contact_pressure
from promo_spark.measurement.fairness import compare_groups
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage

_SHOWN = 5


def run(stage: Stage) -> None:
    """Write both tables, tell what they say, and end the run where the settings ask for it."""
    settings, day, zone = stage.settings, stage.as_of_date, stage.settings.source.time_zone
    audited = describe_audited_customers(
        customers=stage.read(CUSTOMERS),
        customer_features=stage.read(CUSTOMER_FEATURES),
        assignment=stage.read(ASSIGNMENT),
        scores=stage.read(SCORES),
        promotions=stage.read(PROMOTIONS),
        assignments=stage.read(ASSIGNMENTS),
        exposures=stage.read(EXPOSURES),
        handed_over=stage.read(FEEDBACK),
        redemptions=stage.read(REDEMPTIONS),
        order_lines=stage.read(ORDER_LINES),
        as_of_date=day,
        time_zone=zone,
        settings=settings.fairness,
    )
    stage.write(FAIRNESS, compare_groups(audited=audited, as_of_date=day, settings=settings.fairness))
    pressure = count_contact_pressure(
        customer_features=stage.read(CUSTOMER_FEATURES),
        assignments=stage.read(ASSIGNMENTS),
        exposures=stage.read(EXPOSURES),
        handed_over=stage.read(FEEDBACK),
        assignment=stage.read(ASSIGNMENT),
        as_of_date=day,
        time_zone=zone,
        settings=settings.assign,
    )
    stage.write(CONTACT_PRESSURE, pressure)
    faults = [*_tell_groups(stage), *_tell_pressure(stage)]
    if faults and settings.fairness.fail_run:
        raise FairnessError(_refusal(stage, faults))


def _tell_groups(stage: Stage) -> list[str]:
    """Log what was found, and return the groups that fail, in words."""
    found = stage.read(FAIRNESS).orderBy("attribute", "measure", "group_value").toPandas()
    _tell_missing(stage, found)
    failed = found[found["passed"].eq(False)]
    stage.metrics(
        {
            "groups_failed": float(len(failed)),
            "groups_tested": float(found["passed"].notna().sum()),
            "groups_suppressed": float(found["is_suppressed"].sum()),
            "largest_parity_gap": _largest_gap(found),
        }
    )
    stage.table("fairness", found)
    return [
        f"{row.measure} of {row.attribute} {row.group_value} is {row.value:.4g}, of all others "
        f"{row.reference_value:.4g} (difference {row.difference:+.4g} ± {row.standard_error:.2g}, p {row.p_value:.2g})"
        for row in failed.itertuples()
    ]


def _tell_missing(stage: Stage, found: pd.DataFrame) -> None:
    if found.empty:
        stage.limitation("no customer is known before the date: fairness cannot be audited.")
        return
    known = set(found.loc[found["group_value"] != UNKNOWN, "attribute"])
    missing = [name for name in stage.settings.fairness.attributes if name not in known]
    if missing:
        stage.limitation(f"nothing is known of {', '.join(missing)}: no groups can be compared by it.")
    if not stage.has(ASSIGNMENT) or stage.read(ASSIGNMENT).where(F.col("arm") != NO_ARM).isEmpty():
        stage.limitation("the plan gives nobody a promotion: only the past can be audited.")
    elif stage.read(PROMOTIONS).where(F.col("depth_rate").isNotNull()).isEmpty():
        stage.limitation("no promotion tells its depth: planned depths cannot be compared.")


def _largest_gap(found: pd.DataFrame) -> float:
    gaps = found.loc[found["measure"] == "planned_rate", "difference"].astype(float).abs()
    return float(gaps.max()) if gaps.notna().any() else 0.0


def _tell_pressure(stage: Stage) -> list[str]:
    pressure = stage.read(CONTACT_PRESSURE).orderBy("period", "contact_count").toPandas()
    stage.table("contact_pressure", pressure)
    cap = stage.settings.assign.contact_cap
    for period, rows in pressure.groupby("period"):
        mean = float((rows["contact_count"] * rows["customer_rate"]).sum())
        stage.metrics(
            {f"contacts_{period}_mean": mean, f"contacts_{period}_largest": float(rows["contact_count"].max())}
        )
    if cap is None:
        stage.limitation("assign.contact_cap is not set: contacts are counted, and compared with no cap.")
        return []
    over = pressure[(pressure["period"] == "with_plan") & (pressure["contact_count"] > cap)]["customer_rate"].sum()
    at_cap = pressure[(pressure["period"] == "with_plan") & (pressure["contact_count"] >= cap)]["customer_rate"].sum()
    stage.metrics({"over_cap_rate": float(over), "at_cap_rate": float(at_cap)})
    days, most = stage.settings.assign.contact_cap_days, stage.settings.fairness.over_cap_rate
    if over <= most:
        return []
    return [f"{over:.1%} of customers have more than {cap} contacts in {days} days, where {most:.1%} may"]


def _refusal(stage: Stage, faults: list[str]) -> str:
    shown = "\n".join(f"  - {fault}" for fault in faults[:_SHOWN])
    more = f"\n  … and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return (
        f"{len(faults)} fault(s) in the audit of {stage.as_of_date} (measurement.fairness, "
        f"measurement.contact_pressure):\n{shown}{more}\n"
        "Give the groups their share by assign.limits with group and at_least, loosen fairness.least_ratio or "
        "fairness.over_cap_rate, or let the run go on by fairness.fail_run: false."
    )


PIPELINE = Pipeline(
    name="fairness",
    summary="Audit who gets what by demographic group, and how often customers are spoken to.",
    reads=(
        *(CUSTOMERS, CUSTOMER_FEATURES, ASSIGNMENT, SCORES, PROMOTIONS, ASSIGNMENTS, EXPOSURES, REDEMPTIONS),
        *(ORDER_LINES, FEEDBACK),
    ),
    writes=(FAIRNESS, CONTACT_PRESSURE),
    run=run,
    settings=("fairness", "source.time_zone", "assign.contact_cap", "assign.contact_cap_days"),
    headlines=("groups_failed", "largest_parity_gap", "over_cap_rate"),
    purpose="measurement",
)

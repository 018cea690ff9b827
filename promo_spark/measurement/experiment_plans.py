"""How each experiment is analysed: as it was designed, as its table says, or as any decision of the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.experiment_settings import ExperimentSettings, ExperimentTable
from promo_spark.kernels.always_valid import mixture_scale
from promo_spark.kernels.experiment_cells import Plan
from promo_spark.measurement.purchase_days import LEDGER_COVARIATES, LEDGER_OUTCOMES, LEDGER_RATIOS


def plan_analysis(
    name: str, design: Sequence[Mapping[str, Any]], settings: ExperimentSettings, as_of_date: date
) -> Plan:
    """How an experiment is analysed.

    Args:
        name: Of the experiment.
        design: Its rows of measurement.experiments; none where it was not designed here.
        settings: Of all experiments, and of the table of this name.
        as_of_date: A design whose last day is not before it is running.
    """
    table = next((one for one in settings.tables if one.name == name), None)
    plan = Plan(
        control=NO_ARM,
        outcomes=LEDGER_OUTCOMES,
        covariates=LEDGER_COVARIATES,
        ratios=LEDGER_RATIOS,
        metrics=settings.metrics,
        guardrails=settings.guardrails,
        level=settings.level,
        winsorise=settings.winsorise_quantile,
        quantiles=settings.quantiles,
        correction=settings.multiple_testing,
        alarm=settings.sample_ratio_alpha,
        min_units=settings.min_arm_units,
        min_clusters=settings.min_clusters,
    )
    if table is not None:
        plan = _of_table(plan, table)
    elif design:
        plan = _of_design(plan, design, as_of_date)
    if not (settings.sequential or plan.is_running):
        return plan
    return replace(plan, peek_scale=mixture_scale(settings.sequential_customers, 1.0 - plan.level))


def _of_table(plan: Plan, table: ExperimentTable) -> Plan:
    named = (*table.outcomes, *table.ratios)
    return replace(
        plan,
        control=table.control,
        shares=table.shares,
        outcomes=tuple(table.outcomes),
        covariates=table.covariates,
        ratios=table.ratios,
        metrics=tuple(name for name in named if name not in table.guardrails),
        guardrails=table.guardrails,
    )


def _of_design(plan: Plan, design: Sequence[Mapping[str, Any]], as_of_date: date) -> Plan:
    return replace(
        plan,
        control=next(row["arm"] for row in design if row["is_control"]),
        shares={row["arm"]: float(row["share"]) for row in design},
        metrics=tuple(design[0]["metrics"]),
        guardrails=tuple(design[0]["guardrails"]),
        level=1.0 - float(design[0]["alpha"]),
        is_running=design[0]["end_date"] >= as_of_date,
    )

"""Effects of experiments and checks of them, from sums: one small group per experiment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame

from promo_spark.contracts.experiment_settings import ExperimentSettings
from promo_spark.contracts.experiments import EFFECTS, EXPERIMENT_CHECKS, EXPERIMENT_MOMENTS, EXPERIMENTS, RANDOMISED
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import TableContract
from promo_spark.kernels.experiment_cells import Cells, Plan
from promo_spark.kernels.experiment_checks import ALL, Check, check_experiment
from promo_spark.kernels.experiment_effects import Effect, analyse
from promo_spark.kernels.unit_sums import TOLD, unpack_bins
from promo_spark.kernels.value_bins import BINS
from promo_spark.measurement.experiment_plans import plan_analysis

_DIGITS = 12  # significant ones: sums depend on the order of their rows in the last


@produces(EFFECTS, experiment_moments=EXPERIMENT_MOMENTS, experiments=EXPERIMENTS)
def estimate_effects(
    *, experiment_moments: DataFrame, experiments: DataFrame, as_of_date: date, settings: ExperimentSettings
) -> DataFrame:
    """Tell what each arm changed, by every method that the data allow (``kernels.experiment_effects``).

    Args:
        experiment_moments: measurement.experiment_moments.
        experiments: measurement.experiments: arms, shares, metrics, guardrails and error rates as designed.
        as_of_date: An experiment whose last day is not over is running: only its sequential intervals may be quoted.
        settings: Metrics of experiments that were not designed here, and how all are analysed.

    Returns:
        measurement.effects; the headline of a metric is marked unless a failed check stands against it.
    """

    def estimate(moments: pd.DataFrame, design: pd.DataFrame) -> pd.DataFrame:
        if not len(moments):
            return _frame([], EFFECTS)
        name, day = moments["experiment"].iloc[0], moments["as_of_date"].iloc[0]
        plan = plan_analysis(name, _records(design), settings, as_of_date)
        cells = _cells(moments, plan)
        stopped = {check.metric for check in check_experiment(cells, plan) if check.stops_headline}
        rows = [
            _effect_row(effect, plan, name, day, is_stopped=bool(stopped & {ALL, effect.metric}))
            for effect in analyse(cells, plan)
        ]
        return _frame(rows, EFFECTS)

    return _by_experiment(experiment_moments, experiments, estimate, EFFECTS)


@produces(EXPERIMENT_CHECKS, experiment_moments=EXPERIMENT_MOMENTS, experiments=EXPERIMENTS)
def check_experiments(
    *, experiment_moments: DataFrame, experiments: DataFrame, as_of_date: date, settings: ExperimentSettings
) -> DataFrame:
    """Check each experiment before its effects are believed (``kernels.experiment_checks``).

    Args:
        experiment_moments: measurement.experiment_moments.
        experiments: measurement.experiments.
        as_of_date: As in `estimate_effects`.
        settings: Thresholds.

    Returns:
        measurement.experiment_checks.
    """

    def check(moments: pd.DataFrame, design: pd.DataFrame) -> pd.DataFrame:
        if not len(moments):
            return _frame([], EXPERIMENT_CHECKS)
        name, day = moments["experiment"].iloc[0], moments["as_of_date"].iloc[0]
        plan = plan_analysis(name, _records(design), settings, as_of_date)
        found = check_experiment(_cells(moments, plan), plan)
        return _frame([_check_row(one, name, day) for one in found], EXPERIMENT_CHECKS)

    return _by_experiment(experiment_moments, experiments, check, EXPERIMENT_CHECKS)


def _by_experiment(
    moments: DataFrame,
    experiments: DataFrame,
    tell: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame],
    contract: TableContract,
) -> DataFrame:
    designs = experiments.groupBy("experiment")
    return moments.groupBy("experiment").cogroup(designs).applyInPandas(tell, contract.schema(all_nullable=True))


def _cells(moments: pd.DataFrame, plan: Plan) -> Cells:
    """The sums of an experiment by arm, stratum and segment; of arms without customers they are 0."""
    arms = sorted({*moments["arm"], *plan.shares, plan.control})
    # Histograms are those of whole arms; only cells with units are laid out.
    filled = moments[moments["products"].map(lambda values: values[0] > 0)]
    strata, segments = sorted({*filled["stratum"]} or {ALL}), sorted({*filled["segment"]} or {ALL})
    width = 2 + len(plan.covariates) + len(plan.outcomes)
    counts, logged = np.zeros((len(arms), len(TOLD))), np.zeros((len(arms), 3))
    products = np.zeros((len(arms), len(strata), len(segments), width, width))
    bins, fractions = np.zeros((len(arms), len(plan.outcomes), BINS, 3)), np.zeros(len(plan.outcomes))
    for row in _records(moments.sort_values(["arm", "stratum", "segment"])):
        arm = arms.index(row["arm"])
        counts[arm] += row["counts"]
        logged[arm] += row["propensities"]
        if row["products"][0] > 0:
            place = arm, strata.index(row["stratum"]), segments.index(row["segment"])
            products[place] += row["products"].reshape(width, width)
        bins[arm] += unpack_bins(row["bins"], len(plan.outcomes), BINS)
        fractions += row["fractions"]
    is_clustered = bool(moments["is_clustered"].any())
    return Cells(tuple(arms), tuple(segments), is_clustered, counts, logged, products, bins, fractions)


def _effect_row(effect: Effect, plan: Plan, name: str, day: date, *, is_stopped: bool) -> dict[str, object]:
    found = effect.found
    return {
        "experiment": name,
        "metric": effect.metric,
        "arm": effect.arm,
        "method": effect.method,
        "segment": effect.segment,
        "as_of_date": day,
        "control": plan.control,
        "control_value": _told(effect.values[0]),
        "arm_value": _told(effect.values[1]),
        "effect": _told(found.effect),
        "standard_error": _told(found.standard_error),
        "low": _told(found.low),
        "high": _told(found.high),
        "p_value": _told(found.p_value),
        "adjusted_p_value": _told(effect.adjusted_p_value),
        "relative_effect": _told(found.relative),
        "relative_low": _told(found.relative_low),
        "relative_high": _told(found.relative_high),
        "level": plan.level,
        "control_count": round(effect.counts[0]),
        "arm_count": round(effect.counts[1]),
        "is_guardrail": effect.metric in plan.guardrails,
        "is_headline": effect.is_headline and not is_stopped and np.isfinite(found.standard_error),
        "learnt_from": RANDOMISED,
    }


def _check_row(check: Check, name: str, day: date) -> dict[str, object]:
    return {
        "experiment": name,
        "check": check.check,
        "metric": check.metric,
        "arm": check.arm,
        "as_of_date": day,
        "result": check.result,
        "statistic": _told(check.statistic),
        "told": check.told,
        "stops_headline": check.stops_headline,
    }


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _told(value: float) -> float | None:
    """Rounded; None for what cannot be told."""
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None


def _frame(rows: list[dict[str, object]], contract: TableContract) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(contract.column_names))

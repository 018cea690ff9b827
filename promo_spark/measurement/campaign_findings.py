"""Every campaign by every method, with the checks: one task per campaign, never more customers than fit it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from threadpoolctl import threadpool_limits

from promo_spark.contracts.campaign_effects import CAMPAIGN_CUSTOMERS, CAMPAIGN_FINDINGS, CAMPAIGNS
from promo_spark.contracts.campaign_effects_settings import CampaignEffectSettings
from promo_spark.contracts.step import produces
from promo_spark.kernels.campaign_checks import METHODS, WHOLE, Check, failed_checks
from promo_spark.kernels.campaign_estimates import Campaign, Estimate, Rules, measure_campaign
from promo_spark.kernels.campaign_history import MEASURES

_DIGITS = 9  # float sums depend on the order of their rows in the last decimals
_DAYS = 7
_Row = dict[str, Any]


@produces(CAMPAIGN_FINDINGS, campaigns=CAMPAIGNS, campaign_customers=CAMPAIGN_CUSTOMERS)
def find_effects(
    *, campaigns: DataFrame, campaign_customers: DataFrame, as_of_date: date, settings: CampaignEffectSettings
) -> DataFrame:
    """Estimate each campaign's effect on the customers it targeted and check what the estimates assume.

    Args:
        campaigns: measurement.campaigns.
        campaign_customers: measurement.campaign_customers.
        as_of_date: The day of the run.
        settings: Metrics, thresholds, and the checks that stop a conclusion.

    Returns:
        measurement.campaign_findings: for each campaign an effect per metric and method, NULL where it could not be
        estimated, and its checks.
    """
    schema = CAMPAIGN_FINDINGS.schema(all_nullable=True)
    find = _finder(as_of_date, settings, to_arrow_schema(schema))
    # Under another name: Spark takes columns of one origin on both sides for the same.
    own = campaigns.select(
        F.col("promotion_id").alias("campaign_id"),
        *("start_date", "end_date", "history_days", "has_history", "is_over"),
    )
    rows = campaign_customers.select("promotion_id", "customer_id", "is_targeted", "periods")
    return own.groupBy("campaign_id").cogroup(rows.groupBy("promotion_id")).applyInArrow(find, schema)


def _finder(
    as_of_date: date, settings: CampaignEffectSettings, schema: pa.Schema
) -> Callable[[pa.Table, pa.Table], pa.Table]:
    rules = _rules(settings)

    def find(campaigns: pa.Table, customers: pa.Table) -> pa.Table:
        if campaigns.num_rows == 0:
            return schema.empty_table()
        campaign = campaigns.to_pylist()[0]
        known = _calendar(campaign, as_of_date, settings)
        found = Campaign((), ())
        if all(check.passed for check in known):
            # One thread: Spark already runs a task per core.
            with threadpool_limits(limits=1, user_api="blas"):
                found = measure_campaign(*_arrays(customers, settings.periods), rules)
        checks = (*known, *found.checks)
        shared = {
            "promotion_id": campaign["campaign_id"],
            "as_of_date": as_of_date,
            "start_date": campaign["start_date"],
            "end_date": campaign["end_date"],
        }
        rows = [*_effect_rows(found.estimates, checks, settings), *(_check_row(check) for check in checks)]
        return pa.Table.from_pylist([{**row, **shared} for row in rows], schema=schema)

    return find


def _rules(settings: CampaignEffectSettings) -> Rules:
    own = settings.model_dump()
    shared = {name: own[name] for name in asdict(Rules((), 1, 1.0)) if name in own}
    return Rules(
        **{
            **shared,
            "periods_before": settings.periods_before,
            "weeks_per_period": settings.period_days / _DAYS,
            "level": settings.interval_level,
        }
    )


def _calendar(campaign: _Row, as_of_date: date, settings: CampaignEffectSettings) -> tuple[Check, ...]:
    """Whether the time before and after are there."""
    known = min((as_of_date - campaign["start_date"]).days, settings.after_days)
    return (
        Check("history", WHOLE, float(campaign["history_days"] or 0), settings.before_days, campaign["has_history"]),
        Check("over", WHOLE, float(known), settings.after_days, campaign["is_over"]),
    )


def _arrays(customers: pa.Table, periods: int) -> tuple[np.ndarray, np.ndarray]:
    """Periods of shape (n_rows, n_measures, n_periods), and who was targeted; in the order of the customers."""
    ordered = customers.sort_by("customer_id").combine_chunks()
    flat = (
        pa.concat_arrays(ordered.column("periods").chunks) if ordered.num_rows else pa.array([], pa.list_(pa.float64()))
    )
    values = flat.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    targeted = ordered.column("is_targeted").to_numpy(zero_copy_only=False).astype(bool)
    return values.reshape(len(targeted), len(MEASURES), periods), targeted


def _effect_rows(
    estimates: tuple[Estimate, ...], checks: tuple[Check, ...], settings: CampaignEffectSettings
) -> Iterator[_Row]:
    found = {(one.metric, one.method): one for one in estimates}
    for metric in settings.metrics:
        for method in METHODS:
            # Without these nothing was estimated, whatever the settings require.
            always = ("history", "over", "targeted", "controls")
            failed = failed_checks(checks, metric, method, (*always, *settings.required_checks))
            row = {"finding": "effect", "subject": method, "detail": metric, "failed": failed}
            one = found.get((metric, method))
            yield row | (_numbers(one, settings.interval_level) if one else {})


def _numbers(one: Estimate, level: float) -> _Row:
    low, high = one.effect.interval(level)
    return {
        "value": _rounded(one.effect.effect),
        "standard_error": _rounded(one.effect.standard_error),
        "low": _rounded(low),
        "high": _rounded(high),
        "p_value": _rounded(one.effect.p_value),
        "targeted_count": one.targeted_count,
        "control_count": one.control_count,
        "effective_control_count": _rounded(one.effective_controls),
    }


def _check_row(check: Check) -> _Row:
    return {
        "finding": "check",
        "subject": check.check,
        "detail": check.covariate,
        "value": _rounded(check.value),
        "threshold": float(check.threshold),
        "passed": check.passed,
    }


def _rounded(value: float) -> float | None:
    """None for what is not a number: it could not be told."""
    return None if np.isnan(value) else round(value, _DIGITS)

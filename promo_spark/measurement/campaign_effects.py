"""What campaigns changed: verdicts over all of them, and their checks, in plain words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.campaign_effects import CAMPAIGN_CHECKS, CAMPAIGN_EFFECTS, CAMPAIGN_FINDINGS
from promo_spark.contracts.campaign_effects_settings import CampaignEffectSettings
from promo_spark.contracts.step import produces
from promo_spark.kernels.campaign_words import judge_effect, tell_check
from promo_spark.kernels.multiple_testing import benjamini_hochberg

_ALWAYS = ("history", "over", "targeted", "controls", "donors", "fit_before")


@produces(CAMPAIGN_EFFECTS, campaign_findings=CAMPAIGN_FINDINGS)
def tell_effects(
    *, campaign_findings: DataFrame, as_of_date: date, currency: str, settings: CampaignEffectSettings
) -> DataFrame:
    """Judge each effect among the effects of all campaigns by the same method on the same metric.

    An effect is shown where no required check failed and its p-value, adjusted over the campaigns that can be told, is
    at most ``alpha``.

    Args:
        campaign_findings: measurement.campaign_findings.
        as_of_date: The day of the run.
        currency: Of amounts.
        settings: The headline method, and the error rate.

    Returns:
        measurement.campaign_effects.
    """
    effects = campaign_findings.where(F.col("finding") == "effect").select(
        "promotion_id",
        F.col("detail").alias("metric"),
        F.col("subject").alias("method"),
        F.col("value").alias("effect"),
        *("standard_error", "low", "high", "p_value", "failed"),
        *("targeted_count", "control_count", "effective_control_count", "start_date", "end_date"),
    )
    schema = CAMPAIGN_EFFECTS.schema(all_nullable=True)
    return effects.groupBy("metric", "method").applyInPandas(_judge(as_of_date, currency, settings), schema)


@produces(CAMPAIGN_CHECKS, campaign_findings=CAMPAIGN_FINDINGS)
def tell_checks(*, campaign_findings: DataFrame, settings: CampaignEffectSettings) -> DataFrame:
    """Say what each check found.

    Args:
        campaign_findings: measurement.campaign_findings.
        settings: The checks that stop a conclusion.

    Returns:
        measurement.campaign_checks.
    """
    tell = F.udf(tell_check, T.StringType(), useArrow=False)
    checks = campaign_findings.where(F.col("finding") == "check")
    return checks.select(
        "promotion_id",
        F.col("subject").alias("check"),
        F.col("detail").alias("covariate"),
        *("as_of_date", "value", "threshold", "passed"),
        F.col("subject").isin(*_ALWAYS, *settings.required_checks).alias("is_required"),
        tell("subject", "value", "threshold", "passed").alias("told"),
    )


def _judge(as_of_date: date, currency: str, settings: CampaignEffectSettings) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def judge(rows: pd.DataFrame) -> pd.DataFrame:
        ordered = rows.sort_values("promotion_id").reset_index(drop=True)
        failed = [list(one) if one is not None else [] for one in ordered["failed"]]
        is_told = ordered["p_value"].notna() & np.array([not one for one in failed], dtype=bool)
        adjusted = pd.Series(np.nan, index=ordered.index, dtype=float)
        if is_told.any():
            adjusted[is_told] = benjamini_hochberg(ordered.loc[is_told, "p_value"].to_numpy(float), settings.alpha)[1]
        verdicts = [
            judge_effect(
                _number(row["effect"]),
                _number(row["standard_error"]),
                _number(one),
                stopped,
                metric=row["metric"],
                currency=currency,
                alpha=settings.alpha,
            )
            for row, one, stopped in zip(ordered.to_dict("records"), adjusted, failed, strict=True)
        ]
        return ordered.assign(
            as_of_date=as_of_date,
            adjusted_p_value=adjusted,
            last_date=ordered["end_date"] - timedelta(days=1),
            is_headline=ordered["method"] == settings.headline_method,
            verdict=[verdict.verdict for verdict in verdicts],
            told=[verdict.told for verdict in verdicts],
            learnt_from="observational",
        )[list(CAMPAIGN_EFFECTS.column_names)]

    return judge


def _number(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else float(value)

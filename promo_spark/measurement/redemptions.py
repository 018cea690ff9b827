"""How good the probabilities of redemption were: those told for whom the retailer chose, against who redeemed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sklearn.metrics import average_precision_score, roc_auc_score

from promo_spark.contracts.backtest_settings import BacktestSettings
from promo_spark.contracts.decisions import SCORES
from promo_spark.contracts.measurement import BACKTESTS
from promo_spark.contracts.silver import REDEMPTIONS
from promo_spark.contracts.step import produces
from promo_spark.kernels.calibration import calibration_errors

Floats = NDArray[np.float64]
SUBJECT, MODEL = "redemption", "redemption"
_JUDGED = 50_000
_DIGITS = 9


@produces(BACKTESTS, scores=SCORES, redemptions=REDEMPTIONS)
def backtest_redemptions(
    *, scores: DataFrame, redemptions: DataFrame, as_of_date: date, settings: BacktestSettings, seed: int
) -> DataFrame:
    """Judge P(redeemed | given) on the customers that the retailer really gave the promotions.

    auc and average_precision over all pairs; told_rate and real_rate their means; ece_shift the difference of the
    means, ece_shape the calibration error beside it. Standard errors by resampling customers.

    Args:
        scores: response.scores; pairs on the retailer's own list with a probability are judged, a sample by hash of
            50,000 where there are more.
        redemptions: silver.redemptions; those of ``backtest.days`` from the date on count.
        as_of_date: Day of the prediction.
        settings: Days and resamples.
        seed: Of the resamples.

    Returns:
        measurement.backtests of the subject redemption; none where no redemption from the date on is known.
    """
    end = as_of_date + timedelta(days=settings.days)
    later = redemptions.where((F.col("redeemed_date") >= F.lit(as_of_date)) & (F.col("redeemed_date") < F.lit(end)))
    used = later.select("promotion_id", "customer_id", F.lit(1.0).alias("happened")).distinct()
    told = scores.where(F.col("is_listed") & F.col("redemption_prob").isNotNull())
    judged = told.select("promotion_id", "customer_id", "redemption_prob").join(
        used, ["promotion_id", "customer_id"], "left"
    )
    drawn = judged.orderBy(F.xxhash64("customer_id", "promotion_id"), "customer_id", "promotion_id").limit(_JUDGED)
    rows = drawn.withColumns({"as_of_date": F.lit(as_of_date), "happened": F.coalesce("happened", F.lit(0.0))})
    return rows.groupBy("as_of_date").applyInPandas(
        _judge(as_of_date, end, settings.bootstraps, seed), BACKTESTS.schema(all_nullable=True)
    )


def _judge(as_of_date: date, end: date, bootstraps: int, seed: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def judge(rows: pd.DataFrame) -> pd.DataFrame:
        ordered = rows.sort_values(["customer_id", "promotion_id"])
        told = ordered["redemption_prob"].to_numpy(dtype=np.float64)
        happened = ordered["happened"].to_numpy(dtype=np.float64)
        found = pd.DataFrame(
            list(_figures(told, happened, pd.factorize(ordered["customer_id"])[0], bootstraps, seed)),
            columns=["metric", "value", "standard_error"],
        )
        return found.assign(
            subject=SUBJECT,
            model=MODEL,
            as_of_date=as_of_date,
            observation_count=len(ordered),
            first_date=as_of_date,
            last_date=end - timedelta(days=1),
        )[list(BACKTESTS.column_names)]

    return judge


def _figures(
    told: Floats, happened: Floats, owners: NDArray[np.int64], bootstraps: int, seed: int
) -> Iterator[tuple[str, float, float]]:
    if not 0 < happened.sum() < len(happened):
        return
    whole = _measure(told, happened)
    draws = np.random.default_rng(seed)
    resampled = []
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    sizes = np.diff(np.append(starts, len(owners)))
    for _ in range(bootstraps):
        chosen = draws.integers(0, len(starts), len(starts))
        # The rows of each drawn customer lie side by side.
        rows = np.repeat(starts[chosen] - np.concatenate([[0], np.cumsum(sizes[chosen])[:-1]]), sizes[chosen])
        rows = rows + np.arange(len(rows))
        if 0 < happened[rows].sum() < len(rows):
            resampled.append(list(_measure(told[rows], happened[rows]).values()))
    errors = np.std(resampled, axis=0, ddof=1) if len(resampled) > 1 else np.full(len(whole), np.nan)
    for (metric, value), error in zip(whole.items(), errors, strict=True):
        yield metric, round(float(value), _DIGITS), round(float(error), _DIGITS)


def _measure(told: Floats, happened: Floats) -> dict[str, float]:
    shift, shape = calibration_errors(told, happened)
    return {
        "auc": roc_auc_score(happened, told),
        "average_precision": average_precision_score(happened, told),
        "told_rate": float(told.mean()),
        "real_rate": float(happened.mean()),
        "ece_shift": shift,
        "ece_shape": shape,
    }

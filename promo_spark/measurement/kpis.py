"""The key figures themselves, from the moments of what customers bring to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.kpi_settings import KpiSettings
from promo_spark.contracts.kpis import KPI_TERMS, KPIS, TERMS
from promo_spark.contracts.step import produces
from promo_spark.kernels.kpi_estimates import Estimate, Figure, estimate_figure, interval, share_interval
from promo_spark.measurement.kpi_catalogue import (
    CATALOGUE,
    PERIOD_KPIS,
    PLAN_KPIS,
    PROMOTION_KPIS,
    SUCCESS,
    SUCCESS_OF,
    Kpi,
    kind_of,
)

Floats = NDArray[np.float64]

_SCOPE = ["kpi", "scope", "scope_id", "comparison"]
_PAIRS = list(combinations_with_replacement(range(len(TERMS)), 2))
_DIGITS = 9  # sums depend on the order of their rows in the last decimals
_NO_HOLDOUT = "nobody was kept from it: there is nothing to compare with"
_BEFORE_AND_AFTER = "before and after only: whatever else changed counts as the promotion's"
_NO_PROMOTION = "no promotion that customers were given began in the days told of"
_NOTHING_TOLD = "there is nothing to divide by"


@produces(KPIS, terms=KPI_TERMS)
def measure_kpis(*, terms: DataFrame, as_of_date: date, settings: KpiSettings) -> DataFrame:
    """Estimate every figure with its error, and the change from what it is compared with.

    Sums, squares and products of customers' terms are all that leaves Spark's aggregation. Where a figure is not known,
    ``told`` says why.

    Args:
        terms: measurement.kpi_terms, one row per customer and figure: a customer is one observation, whatever number
            of baskets or promotions it brings.
        as_of_date: The date.
        settings: Level of the intervals.

    Returns:
        measurement.kpis; success_rate for all promotions together beside the figures of the catalogue.
    """
    counts = (F.coalesce("n1", F.lit(0.0)) != 0) | (F.coalesce("n0", F.lit(0.0)) != 0)
    sums = [F.sum(name).alias(f"t_{number}") for number, name in enumerate(TERMS)]
    products = [_product(i, j).alias(f"p_{i}_{j}") for i, j in _PAIRS]
    moments = terms.groupBy(*_SCOPE, "as_of_date").agg(F.count_if(counts).alias("count"), *sums, *products)
    return moments.groupBy("as_of_date").applyInPandas(
        _tell(as_of_date, settings.interval_level), KPIS.schema(all_nullable=True)
    )


def _product(i: int, j: int) -> Expression:
    return F.sum(F.col(TERMS[i]) * F.col(TERMS[j]))


def _tell(as_of_date: date, level: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def tell(moments: pd.DataFrame) -> pd.DataFrame:
        rows, gains = [], []
        for record in moments.sort_values(_SCOPE).to_dict("records"):
            row = {str(name): value for name, value in record.items()}
            count = int(row["count"])
            figure = estimate_figure(kind_of(row["kpi"], row["comparison"]), count, *_moments(row))
            if row["kpi"] == SUCCESS_OF and row["scope"] == "promotion":
                gains.append((row["comparison"], figure.change, count))
            head = {name: row[name] for name in _SCOPE}
            rows.append(head | _figures(CATALOGUE[row["kpi"]], row, figure, count, level))
        rows += list(_success(gains, level))
        rows += list(_unknown({(row["kpi"], row["comparison"]) for row in rows if row["scope"] == "all"}))
        told = pd.DataFrame(rows).assign(as_of_date=as_of_date)
        return told[list(KPIS.column_names)]

    return tell


def _moments(row: dict[str, Any]) -> tuple[Floats, Floats]:
    totals = np.array([_number(row[f"t_{number}"]) for number in range(len(TERMS))])
    products = np.zeros((len(TERMS), len(TERMS)))
    for i, j in _PAIRS:
        products[i, j] = products[j, i] = _number(row[f"p_{i}_{j}"])
    return totals, products


def _number(value: object) -> float:
    return float("nan") if value is None else float(value)  # type: ignore[arg-type]  # a double of Spark's


def _figures(kpi: Kpi, row: dict[str, Any], figure: Figure, count: int, level: float) -> dict[str, Any]:
    """The columns that the estimates fill."""
    return _columns(figure, count, level) | {
        "observation_count": count,
        "unit": kpi.unit,
        "meaning": kpi.meaning,
        "told": _told(kpi, row, figure),
    }


def _columns(figure: Figure, count: int, level: float) -> dict[str, float | None]:
    low, high = interval(figure.value, count, level)
    change_low, change_high = interval(figure.change, count, level)
    named = {
        "value": figure.value.value,
        "standard_error": figure.value.error,
        "low": low,
        "high": high,
        "comparison_value": figure.other.value,
        "change": figure.change.value,
        "change_error": figure.change.error,
        "change_low": change_low,
        "change_high": change_high,
    }
    return {name: None if value is None else round(value, _DIGITS) for name, value in named.items()}


def _told(kpi: Kpi, row: dict[str, Any], figure: Figure) -> str | None:
    """Why a figure, or what it is compared with, is not known; or what to beware of."""
    is_alone = row["comparison"] == "holdout" and not _number(row["t_3"]) > 0
    if figure.value.value is None:
        return _NO_HOLDOUT if is_alone and np.isfinite(_number(row["t_0"])) else kpi.missing or _NOTHING_TOLD
    if is_alone:
        return _NO_HOLDOUT
    is_caused = kpi in PROMOTION_KPIS and (figure.change.value is not None or bool(kpi.beside))
    return _BEFORE_AND_AFTER if row["comparison"] == "before" and is_caused else None


def _success(gains: list[tuple[str, Estimate, int]], level: float) -> Iterator[dict[str, Any]]:
    """How many of the promotions gained, per comparison; a promotion is one observation."""
    for comparison in sorted({comparison for comparison, _, _ in gains}):
        known = [(gain, count) for own, gain, count in gains if own == comparison and gain.value is not None]
        share = Estimate(None, None)
        if known:
            paid = np.array([float((gain.value or 0.0) > 0) for gain, _ in known])
            error = float(paid.std(ddof=1) / np.sqrt(len(paid))) if len(paid) > 1 else None
            share = Estimate(float(paid.mean()), error)
        nothing = Estimate(None, None)
        ends = share_interval(sum((gain.value or 0.0) > 0 for gain, _ in known), len(known), level)
        low, high = (None if end is None else round(end, _DIGITS) for end in ends)
        surely = sum((interval(gain, count, level)[0] or 0.0) > 0 for gain, count in known)
        told = f"{surely} of {len(known)} promotions gained by more than chance" if known else SUCCESS.missing
        if known and comparison == "before":
            told = f"{told}; {_BEFORE_AND_AFTER}"
        yield {
            "kpi": SUCCESS.name,
            "scope": "all",
            "scope_id": "all",
            "comparison": comparison,
            **_columns(Figure(share, nothing, nothing), len(known), level),
            "low": low,
            "high": high,
            "observation_count": len(known),
            "unit": SUCCESS.unit,
            "meaning": SUCCESS.meaning,
            "told": told,
        }


_COMPARED = (
    *((kpi, "before") for kpi in (*PERIOD_KPIS, *PROMOTION_KPIS, SUCCESS)),
    *((kpi, "holdout") for kpi in (*PROMOTION_KPIS, SUCCESS)),
    *((kpi, "expected") for kpi in PLAN_KPIS),
)


def _unknown(told: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Figures of which no customer brings anything: each says why it is not there."""
    nothing = Estimate(None, None)
    for kpi, comparison in _COMPARED:
        if (kpi.name, comparison) not in told:
            yield {
                "kpi": kpi.name,
                "scope": "all",
                "scope_id": "all",
                "comparison": comparison,
                **_columns(Figure(nothing, nothing, nothing), 0, 0.5),
                "observation_count": 0,
                "unit": kpi.unit,
                "meaning": kpi.meaning,
                "told": kpi.missing if kpi in PLAN_KPIS else _NO_HOLDOUT if comparison == "holdout" else _NO_PROMOTION,
            }

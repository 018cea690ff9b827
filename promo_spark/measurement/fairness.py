"""Are groups of customers treated alike? Each group against all others, small groups hidden."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.fairness import AUDITED_CUSTOMERS, FAIRNESS
from promo_spark.contracts.kpi_settings import FairnessSettings
from promo_spark.contracts.step import produces
from promo_spark.kernels.group_differences import MONOMIALS, Difference, adjusted_difference, ratio_difference
from promo_spark.kernels.multiple_testing import benjamini_hochberg
from promo_spark.kernels.small_cells import hidden_groups
from promo_spark.measurement.fairness_measures import MEANINGS, MEASURES

Floats = NDArray[np.float64]

_GROUP = ["attribute", "measure", "group_value"]
_DIGITS = 9  # sums depend on the order of their rows in the last decimals
_TOO_FEW = "too few customers, or hidden so that those cannot be told by subtraction"
_ALONE = "there is no other group to compare with"
_NOBODY = "nobody to measure it on"


@produces(FAIRNESS, audited=AUDITED_CUSTOMERS)
def compare_groups(*, audited: DataFrame, as_of_date: date, settings: FairnessSettings) -> DataFrame:
    """Compare each group of each attribute with all other customers.

    A measure is a ratio of sums over customers. An adjusted one is the coefficient of the group in a regression on the
    logarithm of weekly spend and the probability of redemption. Spark adds up moments; groups are compared on those.
    A figure that rests on fewer customers than ``least_customers`` is hidden, and another group's with it where it
    could be found by subtraction.

    Args:
        audited: measurement.audited_customers.
        as_of_date: Day of the plan.
        settings: Least customers, least ratio and level of the tests.

    Returns:
        measurement.fairness.
    """
    grouped = audited.select("as_of_date", "measured", F.explode("groups").alias("attribute", "group_value"))
    facts = grouped.select(
        "as_of_date", "attribute", "group_value", F.explode(F.array(*_measured())).alias("_fact")
    ).select("*", "_fact.*")
    is_ratio = F.col("measure").isin(list(MEASURES))
    moments = F.when(is_ratio, F.array(*_ratio_moments())).otherwise(F.array(*_monomials())).alias("moments")
    summed = facts.groupBy("as_of_date", *_GROUP).agg(moments)
    return summed.groupBy("as_of_date").applyInPandas(_judge(as_of_date, settings), FAIRNESS.schema(all_nullable=True))


def _measured() -> list[Expression]:
    """Each measure and its terms, out of the one array that a customer brings."""
    facts, start = [], 0
    for name in MEANINGS:
        size = _RATIO_TERMS if name in MEASURES else _ADJUSTED_TERMS
        terms = F.array(*(F.get("measured", F.lit(place)) for place in range(start, start + size)))
        facts.append(F.struct(F.lit(name).alias("measure"), terms.alias("terms")))
        start += size
    return facts


_RATIO_TERMS, _ADJUSTED_TERMS = 2, 3


def _ratio_moments() -> list[Expression]:
    top, bottom = F.get("terms", F.lit(0)), F.get("terms", F.lit(1))
    counts = F.coalesce(top.isNotNull() & (bottom != 0), F.lit(False))
    sums = (F.lit(1.0), top, bottom, top * top, top * bottom, bottom * bottom)
    return [_sum_where(counts, value) for value in sums]


def _monomials() -> list[Expression]:
    terms = [F.get("terms", F.lit(place)) for place in range(3)]
    counts = terms[0].isNotNull() & terms[1].isNotNull() & terms[2].isNotNull()
    values = []
    for exponents in MONOMIALS:
        value = F.lit(1.0)
        for term, exponent in zip(terms, exponents, strict=True):
            for _ in range(exponent):
                value = value * term
        values.append(_sum_where(counts, value))
    return values


def _sum_where(condition: Expression, value: Expression) -> Expression:
    return F.coalesce(F.sum(F.when(condition, value)), F.lit(0.0))


def _judge(as_of_date: date, settings: FairnessSettings) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def judge(rows: pd.DataFrame) -> pd.DataFrame:
        ordered = rows.sort_values(_GROUP)
        told = [row for _, cells in ordered.groupby(["attribute", "measure"]) for row in _compare(cells, settings)]
        found = pd.DataFrame(told).assign(as_of_date=as_of_date)
        return _test(found, settings)[list(FAIRNESS.column_names)]

    return judge


def _compare(cells: pd.DataFrame, settings: FairnessSettings) -> Iterator[dict[str, Any]]:
    """Every group of one attribute in one measure."""
    measure = str(cells["measure"].iloc[0])
    moments = np.array([np.asarray(own, dtype=np.float64) for own in cells["moments"]])
    counts = np.rint(moments[:, _COUNT if measure in MEASURES else _CONSTANT]).astype(np.int64)
    hidden = hidden_groups(counts, settings.least_customers)
    everybody = moments.sum(axis=0)
    for place, (attribute, group) in enumerate(zip(cells["attribute"], cells["group_value"], strict=True)):
        head = {"attribute": attribute, "group_value": group, "measure": measure, "meaning": MEANINGS[measure]}
        if hidden[place]:
            yield head | _NOTHING | {"is_suppressed": True, "told": _TOO_FEW}
            continue
        found = _difference(measure, moments[place], everybody)
        told = {"is_suppressed": False, "customer_count": int(counts[place])}
        if found is None:
            yield head | _NOTHING | told | {"told": _ALONE if len(cells) == 1 else _NOBODY}
        else:
            yield head | told | _columns(found, settings.interval_level) | {"told": None}


_COUNT, _CONSTANT = 0, MONOMIALS.index((0, 0, 0))
_FIGURES = ("value", "reference_value", "difference", "ratio", "standard_error", "low", "high", "p_value")
_NOTHING: dict[str, Any] = dict.fromkeys((*_FIGURES, "customer_count"))


def _difference(measure: str, group: Floats, everybody: Floats) -> Difference | None:
    if measure in MEASURES:
        return ratio_difference(group, everybody)
    own, whole = (dict(zip(MONOMIALS, sums.tolist(), strict=True)) for sums in (group, everybody))
    return adjusted_difference(own, whole)


def _columns(found: Difference, level: float) -> dict[str, float | None]:
    low, high = found.interval(level)
    figures = {
        "value": found.value,
        "reference_value": found.reference,
        "difference": found.difference,
        "ratio": found.value / found.reference if found.reference > 0 and found.value >= 0 else None,
        "standard_error": found.error,
        "low": low,
        "high": high,
        "p_value": found.p_value,
    }
    return {name: None if value is None else round(value, _DIGITS) for name, value in figures.items()}


def _test(found: pd.DataFrame, settings: FairnessSettings) -> pd.DataFrame:
    """Correct the p-values for how many there are, and say which groups pass."""
    p_values = found["p_value"].astype(float)
    tested = p_values.notna().to_numpy()
    rejected = np.zeros(len(found), dtype=bool)
    if tested.any():
        rejected[tested], adjusted = benjamini_hochberg(
            p_values.to_numpy()[tested].clip(0.0, 1.0), settings.false_discovery_rate
        )
        p_values[tested] = adjusted.round(_DIGITS)
    ratio = found["ratio"].astype(float)
    is_far = ~ratio.between(settings.least_ratio, 1.0 / settings.least_ratio).to_numpy()
    verdicts = [bool(fine) if is_tested else None for fine, is_tested in zip(~(rejected & is_far), tested, strict=True)]
    return found.assign(p_value=p_values, passed=pd.Series(verdicts, index=found.index, dtype=object))

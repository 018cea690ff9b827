"""What each customer brings to each figure: for the shop, for each segment and for each promotion."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.kpis import (
    CUSTOMER_PERIODS,
    KPI_TERMS,
    PERIOD_MEASURES,
    PROMOTION_CUSTOMERS,
    PROMOTION_MEASURES,
    TERMS,
)
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE
from promo_spark.measurement.kpi_catalogue import PERIOD_KPIS, PROMOTION_KPIS, Kpi

ALL = "all"
_TERM = "kpi string, comparison string, " + ", ".join(f"{name} double" for name in TERMS)
_SURE_BUYERS = "discount_to_sure_buyers"


@produces(KPI_TERMS, customer_periods=CUSTOMER_PERIODS, segment_customers=SEGMENT_CUSTOMERS)
def lay_out_period_terms(*, customer_periods: DataFrame, segment_customers: DataFrame, as_of_date: date) -> DataFrame:
    """Lay out what customers bring to the figures of a period, beside the period before.

    Args:
        customer_periods: measurement.customer_periods.
        segment_customers: segments.customers, best of a date before both periods: what customers do in the periods
            should not decide which segment they are counted in.
        as_of_date: The date.

    Returns:
        measurement.kpi_terms of the scopes all and segment, compared with before.
    """
    terms = [_period_term(kpi) for kpi in PERIOD_KPIS]
    brought = customer_periods.select("customer_id", F.explode(F.array(*terms)).alias("_term"))
    return _scoped(brought.select("customer_id", "_term.*"), segment_customers, as_of_date)


@produces(KPI_TERMS, promotion_customers=PROMOTION_CUSTOMERS, segment_customers=SEGMENT_CUSTOMERS)
def lay_out_promotion_terms(
    *, promotion_customers: DataFrame, segment_customers: DataFrame, as_of_date: date
) -> DataFrame:
    """Lay out what customers bring to the figures of promotions, beside the days before and beside who was kept.

    Args:
        promotion_customers: measurement.promotion_customers.
        segment_customers: As of ``lay_out_period_terms``.
        as_of_date: The date.

    Returns:
        measurement.kpi_terms: of each promotion, and of all of them together for everybody and by segment.
    """
    before = F.array(*(_before_term(kpi) for kpi in PROMOTION_KPIS))
    kept = F.array(*(_holdout_term(kpi) for kpi in PROMOTION_KPIS))
    nothing = F.slice(before, 1, 0)
    of_given = F.when(F.col("is_given"), before).otherwise(nothing)
    of_drawn = F.when(F.col("weight").isNotNull(), kept).otherwise(nothing)
    brought = promotion_customers.select(
        "promotion_id", "customer_id", F.explode(F.concat(of_given, of_drawn)).alias("_term")
    )
    own = F.struct(F.lit("promotion").alias("scope"), F.col("promotion_id").alias("scope_id"))
    scoped = _scoped(brought.select("promotion_id", "customer_id", "_term.*"), segment_customers, as_of_date, own)
    scope = ("customer_id", "kpi", "comparison", "scope", "scope_id", AS_OF_DATE)
    return scoped.groupBy(*scope).agg(*(_known_sum(name) for name in TERMS))


def _known_sum(name: str) -> Expression:
    """Over a customer's promotions; those of which it is not known are left out."""
    known = F.col("a1").isNotNull() & F.col("n1").isNotNull() if name not in ("a0", "n0", "b0") else F.lit(True)
    return F.sum(F.when(known, F.col(name))).alias(name)


def _scoped(brought: DataFrame, segment_customers: DataFrame, as_of_date: date, *further: Expression) -> DataFrame:
    """The same terms for everybody, for the customer's segment and for further scopes."""
    segments = segment_customers.select("customer_id", F.col("segment_id").cast("string").alias("_segment"))
    placed = brought.join(segments, "customer_id", "left")
    everybody = F.struct(F.lit("all").alias("scope"), F.lit(ALL).alias("scope_id"))
    segment = F.struct(F.lit("segment").alias("scope"), F.col("_segment").alias("scope_id"))
    with_segment = F.array(everybody, segment, *further)
    scopes = F.when(F.col("_segment").isNull(), F.array(everybody, *further)).otherwise(with_segment)
    exploded = placed.withColumn("_scope", F.explode(scopes)).select("*", "_scope.*")
    return exploded.withColumn(AS_OF_DATE, F.lit(as_of_date)).drop("_segment", "_scope")


def _term(kpi: Kpi, comparison: str, *values: Expression) -> Expression:
    named = [value.cast("double").alias(name) for name, value in zip(TERMS, values, strict=True)]
    return F.struct(F.lit(kpi.name).alias("kpi"), F.lit(comparison).alias("comparison"), *named)


def _sum_of(measures: tuple[str, ...], names: tuple[str, ...], period: str) -> Expression:
    """Sum of measures out of an array; NULL where one is unknown; 1 where none is named."""
    total: Expression | None = None
    for measure in measures:
        own = F.get(F.col(period), names.index(measure.removeprefix("-")))
        signed = -own if measure.startswith("-") else own
        total = signed if total is None else total + signed
    return F.lit(1.0) if total is None else total


def _period_term(kpi: Kpi) -> Expression:
    tops = [_sum_of(kpi.top, PERIOD_MEASURES, period) for period in ("now", "before")]
    bottoms = [_sum_of(kpi.bottom, PERIOD_MEASURES, period) for period in ("now", "before")]
    nothing = F.lit(0.0)
    return _term(kpi, "before", tops[0], bottoms[0], tops[1], bottoms[1], nothing, nothing)


def _before_term(kpi: Kpi) -> Expression:
    if kpi.name == _SURE_BUYERS:
        discount = _sum_of(("promoted_discount",), PROMOTION_MEASURES, "now")
        had_bought = _sum_of(("promoted_buyers",), PROMOTION_MEASURES, "before")
        unknown = F.lit(None)
        return _term(kpi, "before", discount * had_bought, discount, unknown, unknown, unknown, unknown)
    values = []
    for period in ("now", "before"):
        values += [_sum_of(kpi.top, PROMOTION_MEASURES, period), _sum_of(kpi.bottom, PROMOTION_MEASURES, period)]
    beside = [_sum_of(kpi.beside, PROMOTION_MEASURES, period) for period in ("now", "before")]
    return _term(kpi, "before", *values, *beside)


def _holdout_term(kpi: Kpi) -> Expression:
    is_given, weight = F.col("is_given"), F.col("weight")
    top, bottom, beside = (
        weight * _sum_of(names, PROMOTION_MEASURES, "now") for names in (kpi.top, kpi.bottom, kpi.beside)
    )
    given = [F.when(is_given, value).otherwise(F.lit(0.0)) for value in (top, bottom, beside)]
    kept = [F.when(~is_given, value).otherwise(F.lit(0.0)) for value in (top, bottom, beside)]
    return _term(kpi, "holdout", given[0], given[1], kept[0], kept[1], given[2], kept[2])

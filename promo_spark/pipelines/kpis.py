"""Tell how the business and its promotions did up to the date."""

from __future__ import annotations

from datetime import timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.kpis import KPIS
from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.contracts.segments import LIFETIME_VALUES, SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import (
    ASSIGNMENTS,
    CUSTOMERS,
    EVENTS,
    EXPOSURES,
    ORDER_LINES,
    PROMOTION_PRODUCTS,
    PROMOTIONS,
    RATINGS,
    REDEMPTIONS,
)
from promo_spark.measurement.customer_periods import sum_customer_periods
from promo_spark.measurement.kpi_terms import lay_out_period_terms, lay_out_promotion_terms
from promo_spark.measurement.kpis import measure_kpis
from promo_spark.measurement.plan_terms import lay_out_plan_terms, lay_out_redemption_terms
from promo_spark.measurement.promotion_customers import sum_promotion_customers
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage


def run(stage: Stage) -> None:
    """Sum up customers, lay out what each brings to each figure, and estimate the figures."""
    segments = _segments(stage)
    terms = _period_terms(stage, segments).unionByName(_promotion_terms(stage, segments))
    terms = terms.unionByName(_plan_terms(stage))
    stage.write(KPIS, measure_kpis(terms=terms, as_of_date=stage.as_of_date, settings=stage.settings.kpis))
    _account(stage)


def _period_terms(stage: Stage, segments: DataFrame) -> DataFrame:
    periods = sum_customer_periods(
        order_lines=stage.read(ORDER_LINES),
        events=stage.read(EVENTS),
        ratings=stage.read(RATINGS),
        customers=stage.read(CUSTOMERS),
        product_features=stage.read(PRODUCT_FEATURES),
        lifetime_values=stage.read(LIFETIME_VALUES),
        earlier_lifetime_values=stage.read_before(LIFETIME_VALUES, days=stage.settings.kpis.days),
        as_of_date=stage.as_of_date,
        time_zone=stage.settings.source.time_zone,
        settings=stage.settings.kpis,
        features=stage.settings.features,
    )
    return lay_out_period_terms(customer_periods=periods, segment_customers=segments, as_of_date=stage.as_of_date)


def _promotion_terms(stage: Stage, segments: DataFrame) -> DataFrame:
    pairs = sum_promotion_customers(
        order_lines=stage.read(ORDER_LINES),
        assignments=stage.read(ASSIGNMENTS),
        exposures=stage.read(EXPOSURES),
        events=stage.read(EVENTS),
        promotions=stage.read(PROMOTIONS),
        promotion_products=stage.read(PROMOTION_PRODUCTS),
        redemptions=stage.read(REDEMPTIONS),
        product_features=stage.read(PRODUCT_FEATURES),
        as_of_date=stage.as_of_date,
        time_zone=stage.settings.source.time_zone,
        settings=stage.settings.kpis,
        features=stage.settings.features,
        costs=stage.settings.assign,
    )
    return lay_out_promotion_terms(promotion_customers=pairs, segment_customers=segments, as_of_date=stage.as_of_date)


def _plan_terms(stage: Stage) -> DataFrame:
    sales = lay_out_plan_terms(
        segment_plan=stage.read_until(SEGMENT_PLAN),
        segment_customers=stage.read_until(SEGMENT_CUSTOMERS),
        order_lines=stage.read(ORDER_LINES),
        product_features=stage.read(PRODUCT_FEATURES),
        as_of_date=stage.as_of_date,
    )
    redeemed = lay_out_redemption_terms(
        assignment=stage.read_until(ASSIGNMENT),
        assignments=stage.read(ASSIGNMENTS),
        promotions=stage.read(PROMOTIONS),
        redemptions=stage.read(REDEMPTIONS),
        as_of_date=stage.as_of_date,
    )
    return sales.unionByName(redeemed)


def _segments(stage: Stage) -> DataFrame:
    """Segments of a date before both periods; where there are none, those of the date itself."""
    earlier = stage.read_before(SEGMENT_CUSTOMERS, days=2 * stage.settings.kpis.days)
    if not earlier.isEmpty():
        return earlier
    first = stage.as_of_date - timedelta(days=2 * stage.settings.kpis.days)
    stage.limitation(
        f"no segments of {first} or before are kept: figures by segment go by those of {stage.as_of_date}, which what "
        "customers did in the periods compared helped to form."
    )
    return stage.read(SEGMENT_CUSTOMERS)


def _account(stage: Stage) -> None:
    told = stage.read(KPIS).where(F.col("scope") == "all").orderBy("comparison", "kpi").toPandas()
    unknown = told[told["value"].isna()]
    for reason, rows in unknown.groupby("told", sort=True):
        names = ", ".join(sorted({f"{row.kpi} ({row.comparison})" for row in rows.itertuples()}))
        stage.limitation(f"{reason}: not told are {names}.")
    if not stage.read(ASSIGNMENTS).where("propensity IS NULL AND (is_holdout OR arm = 'none')").isEmpty():
        stage.limitation(
            "customers were kept from promotions without a logged propensity: what is told against them is as good as "
            "the way they were chosen."
        )
    if not stage.read(ORDER_LINES).where("customer_id IS NULL").isEmpty():
        stage.limitation("order lines without a customer are left out of all key figures.")
    known = told.dropna(subset=["value"])
    figures = known["kpi"] + known["comparison"].map(_ENDINGS)
    is_change = known["comparison"].eq("holdout") & known["change"].notna()
    values = known["change"].where(is_change, known["value"]).astype(float)
    stage.metrics(dict(zip(figures, values, strict=True)))
    stage.table("kpis", told)


_ENDINGS = {"before": "", "holdout": "_against_holdout", "expected": ""}

PIPELINE = Pipeline(
    name="kpis",
    summary="Tell how the business and its promotions did, before and after, and against who was kept back.",
    reads=(
        *(ORDER_LINES, CUSTOMERS, EVENTS, RATINGS, ASSIGNMENTS, EXPOSURES, PROMOTIONS, PROMOTION_PRODUCTS, REDEMPTIONS),
        *(PRODUCT_FEATURES, SEGMENT_CUSTOMERS, LIFETIME_VALUES, SEGMENT_PLAN, ASSIGNMENT),
    ),
    writes=(KPIS,),
    run=run,
    settings=(
        *("kpis", "features.margin_rate", "source.time_zone"),
        *("assign.contact_cost_amount", "assign.contact_cost_amounts"),
    ),
    headlines=("sales", "conversion", "participation", "roi", "success_rate"),
    purpose="measurement",
)

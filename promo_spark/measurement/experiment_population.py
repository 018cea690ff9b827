"""Whom an experiment can be drawn from: what is drawn, and in which strata the draw is balanced."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.consent import ConsentSettings, keep_contactable
from promo_spark.contracts.experiment_settings import ExperimentDesign
from promo_spark.contracts.experiments import ALL_SEGMENTS

CUSTOMER, STORE = "customer", "store"
_UNKNOWN = "(unknown)"
_FIFTHS = [0.2, 0.4, 0.6, 0.8]
_HOME_DAYS = 364


def list_population(
    *,
    design: ExperimentDesign,
    customers: DataFrame,
    consents: DataFrame,
    customer_features: DataFrame,
    order_lines: DataFrame,
    segment_customers: DataFrame,
    as_of_date: date,
    consent: ConsentSettings,
) -> DataFrame:
    """List the customers of an experiment.

    Who has bought before and may be sent promotions can be drawn. Where the unit is larger than a customer, those
    whose unit is unknown are left out.

    Args:
        design: Unit and strata.
        customers: silver.customers, for consent to contact and columns.
        consents: silver.consents, for consent to contact.
        customer_features: features.customers of the date.
        order_lines: silver.order_lines; a customer's home store is the one with most baskets in the year before.
        segment_customers: segments.customers of the date.
        as_of_date: Nothing from this date on is looked at.
        consent: What it means not to have answered about contact, where anybody did.

    Returns:
        customer_id, unit_id, stratum.
    """
    known = keep_contactable(
        rows=customer_features.select("customer_id", "spend_91d_amount"),
        customers=customers,
        consents=consents,
        as_of_date=as_of_date,
        silence=consent.missing.contact,
    )
    needed = {design.unit, *design.strata}
    columns = sorted(needed & set(customers.columns))
    if columns:
        known = known.join(customers.select("customer_id", *columns), "customer_id", "left")
    if needed & {STORE, "home_store_id"}:
        known = known.join(_home_stores(order_lines, as_of_date), "customer_id", "left")
    if needed & {"segment_id", "value_tier"}:
        known = known.join(segment_customers.select("customer_id", "segment_id", "value_tier"), "customer_id", "left")
    if "spend_band" in needed:
        known = _with_band(known)
    unit = {CUSTOMER: F.col("customer_id"), STORE: _column("home_store_id", known)}.get(
        design.unit, _column(design.unit, known)
    )
    parts = [F.coalesce(F.col(name).cast("string"), F.lit(_UNKNOWN)) for name in design.strata]
    stratum = F.concat_ws("|", *parts) if parts else F.lit(ALL_SEGMENTS)
    named = known.select("customer_id", unit.cast("string").alias("unit_id"), stratum.alias("stratum"))
    return named.where(F.col("unit_id").isNotNull())


def _column(name: str, known: DataFrame) -> Expression:
    return F.col(name) if name in known.columns else F.lit(None)


def _home_stores(order_lines: DataFrame, as_of_date: date) -> DataFrame:
    """The store with most baskets in the year before; ties by name."""
    recent = order_lines.where(
        (F.col("order_date") < F.lit(as_of_date))
        & (F.col("order_date") >= F.lit(as_of_date - timedelta(days=_HOME_DAYS)))
        & F.col("customer_id").isNotNull()
        & F.col("store_id").isNotNull()
    )
    visits = recent.groupBy("customer_id", "store_id").agg(F.count_distinct("basket_id").alias("_baskets"))
    best = F.min(F.struct((-F.col("_baskets")).alias("_rank"), "store_id")).alias("_best")
    return visits.groupBy("customer_id").agg(best).select("customer_id", F.col("_best.store_id").alias("home_store_id"))


def _with_band(known: DataFrame) -> DataFrame:
    """Fifths of spend in the 91 days before, 0 the least."""
    spend = F.coalesce(F.col("spend_91d_amount").cast("double"), F.lit(0.0))
    cuts = known.agg(F.percentile_approx(spend, _FIFTHS).alias("_cuts"))
    band = F.size(F.filter("_cuts", lambda cut: cut < spend))
    return known.crossJoin(F.broadcast(cuts)).withColumn("spend_band", band.cast("string")).drop("_cuts")

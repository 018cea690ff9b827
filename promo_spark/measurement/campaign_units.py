"""Categories, departments or stores around each campaign: those it touches, and those that may stand in for them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from promo_spark.contracts.campaign_effects import CAMPAIGN_FINDINGS, CAMPAIGN_UNITS, CAMPAIGNS
from promo_spark.contracts.campaign_effects_settings import CampaignEffectSettings
from promo_spark.contracts.silver import ASSIGNMENTS, ORDER_LINES, PRODUCTS, PROMOTION_PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.kernels.synthetic_control import synthetic_control
from promo_spark.measurement.campaigns import given_promotions

METHOD, METRIC = "synthetic_control", "touched_sales_amount"
_WEEK = 7
_DIGITS = 9


@produces(
    CAMPAIGN_UNITS,
    campaigns=CAMPAIGNS,
    assignments=ASSIGNMENTS,
    order_lines=ORDER_LINES,
    products=PRODUCTS,
    promotion_products=PROMOTION_PRODUCTS,
)
def gather_campaign_units(
    *,
    campaigns: DataFrame,
    assignments: DataFrame,
    order_lines: DataFrame,
    products: DataFrame,
    promotion_products: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: CampaignEffectSettings,
) -> DataFrame:
    """Sum the sales of every unit in the weeks before and after the start of each campaign.

    Of categories and departments the sales to targeted customers count, and a unit is touched as far as they are of
    products that the campaign covers; of stores all sales, touched as far as they are to targeted customers.

    Args:
        campaigns: measurement.campaigns.
        assignments: silver.assignments.
        order_lines: silver.order_lines.
        products: silver.products.
        promotion_products: silver.promotion_products; may be empty, no category is then touched.
        as_of_date: Nothing from this date on is used.
        time_zone: The retailer's, in which days of decisions begin.
        settings: The kind of unit, and the windows.

    Returns:
        measurement.campaign_units; nothing where ``synthetic_unit`` is none.
    """
    windows = campaigns.where("has_history AND is_over").select("promotion_id", "start_date", "before_date", "end_date")
    given = given_promotions(assignments=assignments, as_of_date=as_of_date, time_zone=time_zone)
    named = given.join(F.broadcast(windows), "promotion_id").where("decided_date = start_date")
    sound = order_lines.where((F.col("order_date") < F.lit(as_of_date)) & F.col("customer_id").isNotNull())
    sound = sound.where(~F.col("is_return") & ~F.col("is_outlier"))
    if settings.synthetic_unit == "none":
        sound = sound.limit(0)
    lines = sound.select("customer_id", "product_id", "store_id", "order_date", "sales_amount")
    inside = (F.col("order_date") >= F.col("before_date")) & (F.col("order_date") < F.col("end_date"))
    if settings.synthetic_unit == "store":
        targeted = named.select("promotion_id", "customer_id", F.lit(True).alias("touched"))
        rows = lines.join(F.broadcast(windows), inside).join(targeted, ["promotion_id", "customer_id"], "left")
        rows = rows.withColumn("unit", F.col("store_id"))
    else:
        unit = "department" if settings.synthetic_unit == "department" else "category"
        covered = promotion_products.select("promotion_id", "product_id").distinct().withColumn("touched", F.lit(True))
        described = products.select("product_id", F.col(unit).alias("unit"))
        rows = lines.join(named.drop("decided_date", "propensity"), "customer_id").where(inside)
        rows = rows.join(F.broadcast(covered), ["promotion_id", "product_id"], "left")
        rows = rows.join(F.broadcast(described), "product_id")
    return _summed(rows.where(F.col("unit").isNotNull()), settings).withColumn("as_of_date", F.lit(as_of_date))


def _summed(rows: DataFrame, settings: CampaignEffectSettings) -> DataFrame:
    """Each unit's sales by week, and the share of those before that is touched."""
    before, after = settings.before_days // _WEEK, settings.after_days // _WEEK
    week = F.floor(F.datediff("order_date", "start_date") / _WEEK).cast("int") + before
    amount = F.round(F.col("sales_amount").cast("double") * 100).cast("bigint")
    is_touched = F.coalesce("touched", F.lit(False))
    weekly = (
        rows.withColumn("week", week)
        .where(F.col("week").between(0, before + after - 1))
        .groupBy("promotion_id", "unit", "week")
        .agg(F.sum(amount).alias("amount"), F.sum(F.when(is_touched, amount).otherwise(0)).alias("touched"))
    )
    is_before = F.col("week") < before
    entries = F.map_from_entries(F.sort_array(F.collect_list(F.struct("week", F.col("amount") / 100))))
    own = weekly.groupBy("promotion_id", "unit").agg(
        entries.alias("held"),
        F.sum(F.when(is_before, F.col("amount"))).alias("_before"),
        F.sum(F.when(is_before, F.col("touched"))).alias("_touched"),
    )
    places = F.sequence(F.lit(0), F.lit(before + after - 1))
    weeks = F.transform(places, lambda place: F.coalesce(F.try_element_at("held", place), F.lit(0.0)))
    share = F.when(F.col("_before") > 0, F.col("_touched") / F.col("_before"))
    return own.withColumns({"weeks": weeks, "touched_rate": share}).where("touched_rate IS NOT NULL")


@produces(CAMPAIGN_FINDINGS, campaigns=CAMPAIGNS, campaign_units=CAMPAIGN_UNITS)
def find_unit_effects(
    *, campaigns: DataFrame, campaign_units: DataFrame, as_of_date: date, settings: CampaignEffectSettings
) -> DataFrame:
    """Hold the units that each campaign touched, added up, against a synthetic control of those that it did not.

    Every unit is taken in proportion to its own mean before. Campaigns whose windows are not wholly known are left out
    here: they are told of by the other methods.

    Args:
        campaigns: measurement.campaigns.
        campaign_units: measurement.campaign_units.
        as_of_date: The day of the run.
        settings: Which units are touched, which may stand in, and how well they must fit.

    Returns:
        measurement.campaign_findings: one effect per campaign, per targeted customer and week, and the checks donors
        and fit_before.
    """
    schema = CAMPAIGN_FINDINGS.schema(all_nullable=True)
    find = _finder(as_of_date, settings, to_arrow_schema(schema))
    # Under another name: Spark takes columns of one origin on both sides for the same.
    own = campaigns.where("has_history AND is_over").select(
        F.col("promotion_id").alias("campaign_id"), "start_date", "end_date", "named_count"
    )
    kept = own.limit(0) if settings.synthetic_unit == "none" else own
    rows = campaign_units.select("promotion_id", "unit", "weeks", "touched_rate")
    return kept.groupBy("campaign_id").cogroup(rows.groupBy("promotion_id")).applyInArrow(find, schema)


def _finder(
    as_of_date: date, settings: CampaignEffectSettings, schema: pa.Schema
) -> Callable[[pa.Table, pa.Table], pa.Table]:
    def find(campaigns: pa.Table, units: pa.Table) -> pa.Table:
        if campaigns.num_rows == 0:
            return schema.empty_table()
        campaign = campaigns.to_pylist()[0]
        shared = {"promotion_id": campaign["campaign_id"], **{n: campaign[n] for n in ("start_date", "end_date")}}
        found = _findings(units.sort_by("unit").to_pylist(), campaign["named_count"], settings)
        return pa.Table.from_pylist([{**row, **shared, "as_of_date": as_of_date} for row in found], schema=schema)

    return find


def _findings(units: list[dict[str, Any]], customers: int, settings: CampaignEffectSettings) -> list[dict[str, Any]]:
    before = settings.before_days // _WEEK
    large = [one for one in units if np.mean(one["weeks"][:before]) >= settings.min_unit_amount]
    touched = [one["weeks"] for one in large if one["touched_rate"] >= settings.treated_rate]
    donors = [one["weeks"] for one in large if one["touched_rate"] <= settings.donor_rate]
    effect: dict[str, Any] = {"finding": "effect", "subject": METHOD, "detail": METRIC}
    enough = bool(touched) and len(donors) >= settings.min_donors
    checks = [_check("donors", float(len(donors) if touched else 0), settings.min_donors, passed=enough)]
    if not enough:
        return [{**effect, "failed": ["donors"]}, *checks]
    own, others = np.sum(touched, axis=0), np.array(donors).T
    level = float(own[:before].mean())
    found = synthetic_control(own / level, others / others[:before].mean(axis=0), before)
    fits = found.fit_error <= settings.max_fit_error_rate
    checks.append(_check("fit_before", found.fit_error, settings.max_fit_error_rate, passed=fits))
    row = {
        **effect,
        "value": round(found.effect * level / customers, _DIGITS),
        "p_value": round(found.p_value, _DIGITS),
        "failed": [] if fits else ["fit_before"],
        "targeted_count": customers,
        "control_count": len(donors),
        "effective_control_count": round(float(1 / (found.weights**2).sum()), _DIGITS),
    }
    return [row, *checks]


def _check(check: str, value: float, threshold: float, *, passed: bool) -> dict[str, Any]:
    shown = {"finding": "check", "subject": check, "detail": "all"}
    return {**shown, "value": round(value, _DIGITS), "threshold": float(threshold), "passed": passed}

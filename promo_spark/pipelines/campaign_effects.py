"""Measure what past campaigns changed for the customers they targeted, where nothing was drawn at random."""

from __future__ import annotations

from pyspark.sql import functions as F

from promo_spark.contracts.campaign_effects import CAMPAIGN_CHECKS, CAMPAIGN_EFFECTS
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.silver import ASSIGNMENTS, ORDER_LINES, PRODUCTS, PROMOTION_PRODUCTS
from promo_spark.kernels.campaign_words import CANNOT_BE_TOLD
from promo_spark.measurement.campaign_customers import gather_campaign_customers
from promo_spark.measurement.campaign_effects import tell_checks, tell_effects
from promo_spark.measurement.campaign_findings import find_effects
from promo_spark.measurement.campaign_units import find_unit_effects, gather_campaign_units
from promo_spark.measurement.campaigns import list_campaigns
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage


def run(stage: Stage) -> None:
    """Lay out what customers did around each campaign, estimate, check, and say what can be told."""
    settings, day, zone = stage.settings, stage.as_of_date, stage.settings.source.time_zone
    own = settings.campaign_effects
    assignments, lines = stage.read(ASSIGNMENTS), stage.read(ORDER_LINES)
    campaigns = list_campaigns(
        assignments=assignments, order_lines=lines, as_of_date=day, time_zone=zone, settings=own
    ).persist()
    customers = gather_campaign_customers(
        campaigns=campaigns,
        assignments=assignments,
        order_lines=lines,
        products=stage.read(PRODUCTS),
        product_features=stage.read(PRODUCT_FEATURES),
        promotion_products=stage.read(PROMOTION_PRODUCTS),
        as_of_date=day,
        time_zone=zone,
        settings=own,
        features=settings.features,
        seed=settings.seed,
    )
    units = gather_campaign_units(
        campaigns=campaigns,
        assignments=assignments,
        order_lines=lines,
        products=stage.read(PRODUCTS),
        promotion_products=stage.read(PROMOTION_PRODUCTS),
        as_of_date=day,
        time_zone=zone,
        settings=own,
    )
    of_customers = find_effects(campaigns=campaigns, campaign_customers=customers, as_of_date=day, settings=own)
    of_units = find_unit_effects(campaigns=campaigns, campaign_units=units, as_of_date=day, settings=own)
    findings = of_customers.unionByName(of_units).persist()
    effects = tell_effects(campaign_findings=findings, as_of_date=day, currency=settings.currency, settings=own)
    written = stage.write(CAMPAIGN_EFFECTS, effects)
    stage.write(CAMPAIGN_CHECKS, tell_checks(campaign_findings=findings, settings=own))
    if not written.accepted:
        stage.limitation("no campaign that was not drawn at random began before the date: there is none to measure.")
    findings.unpersist()
    campaigns.unpersist()
    _tell(stage)


def _tell(stage: Stage) -> None:
    """Log how many campaigns can be told of, and say where to look for what stops the others."""
    effects = stage.read(CAMPAIGN_EFFECTS).where("is_headline")
    counted = effects.groupBy("metric", "verdict").agg(F.count("*").alias("count")).orderBy("metric", "verdict")
    stage.metrics({f"campaigns_{row['metric']}_{row['verdict']}": float(row["count"]) for row in counted.collect()})
    is_told = F.max(F.col("verdict") != CANNOT_BE_TOLD)
    told = [row["is_told"] for row in effects.groupBy("promotion_id").agg(is_told.alias("is_told")).collect()]
    if not all(told):
        stage.limitation(
            f"of {len(told)} campaigns that nobody drew at random {told.count(False)} cannot be told of in any metric: "
            "measurement.campaign_checks says which checks failed."
        )


PIPELINE = Pipeline(
    name="campaign_effects",
    summary="Measure what past campaigns changed for the customers they targeted, with checks of every assumption.",
    reads=(ASSIGNMENTS, ORDER_LINES, PRODUCTS, PRODUCT_FEATURES, PROMOTION_PRODUCTS),
    writes=(CAMPAIGN_EFFECTS, CAMPAIGN_CHECKS),
    run=run,
    settings=("campaign_effects", "features", "seed", "currency", "source.time_zone"),
    headlines=(
        "campaigns_sales_amount_effect_shown",
        "campaigns_sales_amount_no_effect_shown",
        "campaigns_sales_amount_cannot_be_told",
    ),
    purpose="measurement",
)

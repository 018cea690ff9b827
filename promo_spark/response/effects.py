"""What each offer would bring in each category of each segment, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.offers import Offer
from promo_spark.contracts.response import EFFECTS, PANEL, PLANNED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.settings import FeatureSettings, PlanSettings
from promo_spark.contracts.step import produces
from promo_spark.response.margins import category_margins
from promo_spark.response.segment_effects import Trial, depth_column, value_segment

_KEY = ("segment_id", "category", "offer_id")
_VALUED = tuple(name for name in EFFECTS.column_names if name != "gbt_lift_rate")


@produces(
    EFFECTS,
    panel=PANEL,
    planned_products=PLANNED_PRODUCTS,
    product_features=PRODUCT_FEATURES,
    segment_customers=SEGMENT_CUSTOMERS,
)
def estimate_effects(
    *,
    panel: DataFrame,
    planned_products: DataFrame,
    product_features: DataFrame,
    segment_customers: DataFrame,
    as_of_date: date,
    offers: tuple[Offer, ...],
    settings: PlanSettings,
    features: FeatureSettings,
    seed: int,
    offer_lifts: DataFrame | None = None,
    offer_depths: DataFrame | None = None,
) -> DataFrame:
    """Estimate what every offer adds to what a segment buys in a category, and value it.

    An offer comes on top of the promotions that are usual in the category. Its effect is that of the discount depth it
    comes to, and of its display and mailer. All weeks before the date are observational: the retailer chose when to
    promote. An offer is `assumed` that goes so far beyond what was seen that no week was promoted half as much, or
    that is no discount at once (gift, cashback, points): its effect is the straight line continued; where a lever
    never moved, the mean effect of the segment's other categories.

    Args:
        panel: response.panel.
        planned_products: response.products.
        product_features: features.products, for margin rates; may be empty.
        segment_customers: segments.customers, for how many are told.
        as_of_date: Date of the effects.
        offers: What the plan may choose from.
        settings: Length of the offers; blocks, resamples and level of the intervals.
        features: Margin rate assumed for categories without one.
        seed: Seed of the resamples; each segment has its own.
        offer_lifts: segment_id, category, offer_id, gbt_lift_rate; none: not compared.
        offer_depths: What ``effective_depths`` returned; none: every offer is as deep as it says.

    Returns:
        response.effects, one row per segment, category and offer; none for a history too short to judge.
    """
    trial = Trial(offers, settings.weeks, settings.bootstraps, settings.block_weeks, settings.interval_level, seed)
    margins = category_margins(
        product_features=product_features, planned_products=planned_products, default_rate=features.margin_rate
    )
    sizes = segment_customers.groupBy("segment_id").agg(F.count("*").alias("customer_count"))
    known = panel.where(F.col("week_start_date") < F.lit(as_of_date))
    evidence = known.join(F.broadcast(margins), "category", "inner").join(F.broadcast(sizes), "segment_id", "inner")
    evidence = _with_depths(evidence, offer_depths, offers)
    schema = ", ".join(
        f"{column.name} {column.dtype.simpleString()}" for column in EFFECTS.columns if column.name in _VALUED
    )
    valued = evidence.groupBy("segment_id").applyInPandas(_valuer(trial), schema)
    if offer_lifts is None:
        return valued.withColumn("gbt_lift_rate", F.lit(None).cast("double"))
    lifts = offer_lifts.select(*_KEY, "gbt_lift_rate")
    return valued.join(F.broadcast(lifts), list(_KEY), "left")


def _with_depths(evidence: DataFrame, offer_depths: DataFrame | None, offers: tuple[Offer, ...]) -> DataFrame:
    """Put the depth that each offer comes to beside every row of its segment and category."""
    measured = [offer for offer in offers if offer.is_priced_by_baskets]
    if offer_depths is None or not measured:
        return evidence
    depth = F.col("effective_depth_rate")
    columns = [F.max(F.when(F.col("offer_id") == o.offer_id, depth)).alias(depth_column(o)) for o in measured]
    side_by_side = offer_depths.groupBy("segment_id", "category").agg(*columns)
    return evidence.join(F.broadcast(side_by_side), ["segment_id", "category"], "left")


def _valuer(trial: Trial) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def value(rows: pd.DataFrame) -> pd.DataFrame:
        valued = value_segment(rows, trial)
        return valued[list(_VALUED)] if len(valued) else pd.DataFrame(columns=list(_VALUED), dtype=object)

    return value

"""The discount depth that an offer comes to, from the baskets of each segment in each category."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.offers import Offer
from promo_spark.kernels.basket_rewards import Baskets, Terms
from promo_spark.kernels.mechanic_costs import effective_depth, expected_mechanic_cost
from promo_spark.response.lines import sound_lines

_HASHES = 1 << 20
_MOST_CUSTOMERS = 20_000  # per segment: a ratio of sums over so many is exact to a percent or two
_CELL = ["segment_id", "category"]
_BASKET = [*_CELL, "customer_id", "basket_id"]
_SCHEMA = "segment_id int, category string, offer_id string, effective_depth_rate double"


def terms_of(offer: Offer) -> Terms:
    """The small print of an offer, as the cost models take it."""
    return Terms(**{field.name: getattr(offer, field.name) for field in fields(Terms)})


def effective_depths(
    *,
    order_lines: DataFrame,
    planned_products: DataFrame,
    segment_customers: DataFrame,
    as_of_date: date,
    offers: Sequence[Offer],
    weeks: int,
) -> DataFrame:
    """Measure how deep a discount each offer comes to: what it gives away over what is bought with it.

    The baskets of the weeks before the date stand for those of the offer. Thresholds and units count within the
    category. The vendor's share is still in it: customers get all of it. Of large segments, some 20,000 customers
    drawn by a hash speak for all.

    Args:
        order_lines: silver.order_lines; lines from the date on are ignored.
        planned_products: response.products.
        segment_customers: segments.customers.
        as_of_date: Date of the effects.
        offers: Those whose cost depends on baskets are measured; a plain discount is as deep as it says.
        weeks: Length of the offers.

    Returns:
        segment_id, category, offer_id, effective_depth_rate; none where a segment bought nothing of a category.
    """
    start = F.lit(as_of_date - timedelta(weeks=weeks))
    recent = sound_lines(order_lines).where((F.col("order_date") >= start) & (F.col("order_date") < F.lit(as_of_date)))
    planned = planned_products.select("product_id", "category")
    baskets = (
        recent.where(F.col("gross_amount") > 0)
        .join(F.broadcast(planned), "product_id")
        .join(_sampled(segment_customers), "customer_id")
        .groupBy(*_BASKET, "sampled_rate")
        .agg(
            F.sum("gross_amount").cast("double").alias("spend"),
            F.sum("quantity").cast("double").alias("units"),
            F.min("order_hour").alias("hour"),
        )
    )
    return baskets.groupBy(*_CELL).applyInPandas(_measurer(tuple(offers)), _SCHEMA)


def _sampled(segment_customers: DataFrame) -> DataFrame:
    """customer_id, segment_id and the share of its segment that is kept."""
    sizes = segment_customers.groupBy("segment_id").agg(F.count("*").alias("size"))
    rate = F.least(F.lit(1.0), F.lit(float(_MOST_CUSTOMERS)) / F.col("size"))
    members = segment_customers.select("customer_id", "segment_id").join(F.broadcast(sizes), "segment_id")
    is_drawn = F.pmod(F.xxhash64("customer_id"), F.lit(_HASHES)) < rate * _HASHES
    return members.where(is_drawn).select("customer_id", "segment_id", rate.alias("sampled_rate"))


def _measurer(offers: tuple[Offer, ...]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def measure(rows: pd.DataFrame) -> pd.DataFrame:
        return measure_depths(rows, offers)

    return measure


def measure_depths(rows: pd.DataFrame, offers: Sequence[Offer]) -> pd.DataFrame:
    """Measure the offers on the baskets of one segment in one category.

    Args:
        rows: segment_id, category, customer_id, basket_id, spend, units, hour, sampled_rate (share of the segment's
            customers that are here).
        offers: Those whose cost depends on baskets are measured.

    Returns:
        segment_id, category, offer_id, effective_depth_rate; one row per offer measured.
    """
    ordered = rows.sort_values(["customer_id", "basket_id"])  # sums run in one order
    customer, known = pd.factorize(ordered["customer_id"])
    baskets = Baskets(
        spend=ordered["spend"].to_numpy(dtype=np.float64),
        customer=customer.astype(np.int64),
        units=ordered["units"].to_numpy(dtype=np.float64),
        hour=ordered["hour"].to_numpy(dtype=np.int64),
        n_customers=len(known),
    )
    sampled = float(ordered["sampled_rate"].iloc[0])
    measured = [offer for offer in offers if offer.is_priced_by_baskets]
    depths = []
    for offer in measured:
        terms = replace(terms_of(offer), vendor_share_rate=0.0)
        if terms.gift_stock_count is not None:
            terms = replace(terms, gift_stock_count=terms.gift_stock_count * sampled)
        depths.append(effective_depth(expected_mechanic_cost(offer.mechanic, terms, baskets), baskets))
    return pd.DataFrame(
        {
            "segment_id": int(ordered["segment_id"].iloc[0]),
            "category": str(ordered["category"].iloc[0]),
            "offer_id": [offer.offer_id for offer in measured],
            "effective_depth_rate": np.array(depths, dtype=np.float64),
        }
    )

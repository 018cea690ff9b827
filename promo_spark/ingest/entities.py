"""Everything but order lines: received rows are in canonical columns already, little is left to conform."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.silver import (
    ASSIGNMENTS,
    CONSENTS,
    CUSTOMERS,
    EVENTS,
    EXPOSURES,
    OVERRIDES,
    PRICES,
    PRODUCTS,
    PROMOTION_PRODUCTS,
    PROMOTIONS,
    RATINGS,
    REDEMPTIONS,
)
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import bronze_of

_FAULTS = ("faults",)


@produces(CUSTOMERS, keep=_FAULTS, customers=bronze_of(CUSTOMERS))
def conform_customers(*, customers: DataFrame) -> DataFrame:
    """Customers as received, one row per record of bronze.customers."""
    return customers


@produces(PRODUCTS, keep=_FAULTS, products=bronze_of(PRODUCTS))
def conform_products(*, products: DataFrame) -> DataFrame:
    """Products; one without a category is its own category, so that nothing that sells is left out of plans.

    Args:
        products: bronze.products, one row per record.

    Returns:
        silver.products and the ``faults``.
    """
    return products.withColumn("category", F.coalesce("category", "product_id"))


@produces(PROMOTIONS, keep=_FAULTS, promotions=bronze_of(PROMOTIONS))
def conform_promotions(*, promotions: DataFrame) -> DataFrame:
    """Promotions as received, one row per record of bronze.promotions."""
    return promotions


@produces(PROMOTION_PRODUCTS, keep=_FAULTS, promotion_products=bronze_of(PROMOTION_PRODUCTS))
def conform_promotion_products(*, promotion_products: DataFrame) -> DataFrame:
    """Products that promotions cover; a promotion without coupons is its own coupon.

    Args:
        promotion_products: bronze.promotion_products, one row per record.

    Returns:
        silver.promotion_products and the ``faults``.
    """
    return promotion_products.withColumn("coupon_id", F.coalesce("coupon_id", "promotion_id"))


@produces(ASSIGNMENTS, keep=_FAULTS, assignments=bronze_of(ASSIGNMENTS))
def conform_assignments(*, assignments: DataFrame) -> DataFrame:
    """Assignments as received, one row per record of bronze.assignments."""
    return assignments


@produces(REDEMPTIONS, keep=_FAULTS, redemptions=bronze_of(REDEMPTIONS))
def conform_redemptions(*, redemptions: DataFrame) -> DataFrame:
    """Redemptions; a promotion without coupons is its own coupon.

    Args:
        redemptions: bronze.redemptions, one row per record.

    Returns:
        silver.redemptions and the ``faults``.
    """
    return redemptions.withColumn("coupon_id", F.coalesce("coupon_id", "promotion_id"))


@produces(RATINGS, keep=_FAULTS, ratings=bronze_of(RATINGS))
def conform_ratings(*, ratings: DataFrame) -> DataFrame:
    """Ratings as received, one row per record of bronze.ratings."""
    return ratings


@produces(PRICES, keep=_FAULTS, prices=bronze_of(PRICES))
def conform_prices(*, prices: DataFrame) -> DataFrame:
    """Prices and displays, their weeks moved to the nearest Monday.

    Retail weeks often begin on another day; the Monday nearest to it begins the week that shares most
    days with theirs, and two of their weeks never meet in one of ours.

    Args:
        prices: bronze.prices, one row per record.

    Returns:
        silver.prices and the ``faults``.
    """
    monday = F.trunc(F.date_add("week_start_date", 3), "week")
    return prices.withColumn("week_start_date", monday)


@produces(EXPOSURES, keep=_FAULTS, exposures=bronze_of(EXPOSURES))
def conform_exposures(*, exposures: DataFrame) -> DataFrame:
    """Exposures as received, one row per record of bronze.exposures."""
    return exposures


@produces(EVENTS, keep=_FAULTS, events=bronze_of(EVENTS))
def conform_events(*, events: DataFrame) -> DataFrame:
    """Events as received, one row per record of bronze.events."""
    return events


@produces(OVERRIDES, keep=_FAULTS, overrides=bronze_of(OVERRIDES))
def conform_overrides(*, overrides: DataFrame) -> DataFrame:
    """Overrides as received, one row per record of bronze.overrides."""
    return overrides


@produces(CONSENTS, keep=_FAULTS, consents=bronze_of(CONSENTS))
def conform_consents(*, consents: DataFrame) -> DataFrame:
    """Answers about purposes, these in small letters: a purpose that is not understood is no answer, and is rejected.

    Args:
        consents: bronze.consents, one row per record.

    Returns:
        silver.consents and the ``faults``.
    """
    return consents.withColumn("purpose", F.lower(F.trim("purpose")))

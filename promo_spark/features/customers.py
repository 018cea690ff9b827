"""One row per customer: everything the other stages know of them at the date."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.features import CUSTOMER_FEATURES, DESCRIBED_LINES
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import ASSIGNMENTS, CUSTOMERS, REDEMPTIONS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE
from promo_spark.features.baskets import summarise_baskets
from promo_spark.features.fitting import IMPUTED, fit_and_fill
from promo_spark.features.imputation import Imputer
from promo_spark.features.spending import spend_trend_rate, summarise_spending
from promo_spark.features.targeting import summarise_targeting, with_known_targeting
from promo_spark.features.tastes import summarise_tastes

WINSORISED = ("weekly_spend_amount", "basket_spend_amount")
DEMOGRAPHICS = ("age_band", "income_band", "household_size")


@produces(
    CUSTOMER_FEATURES,
    lines=DESCRIBED_LINES,
    customers=CUSTOMERS,
    assignments=ASSIGNMENTS,
    redemptions=REDEMPTIONS,
)
def build_customer_features(
    *,
    lines: DataFrame,
    customers: DataFrame,
    assignments: DataFrame,
    redemptions: DataFrame,
    as_of_date: date,
    settings: FeatureSettings,
    time_zone: str,
) -> DataFrame:
    """Bring together what is known of each customer before a date.

    Counts and amounts "so far" look at all history, means and shares at the look-back only. Columns for
    which the source has nothing (prices, discounts, brands, assignments) are NULL for everyone. Nothing
    is winsorised or imputed yet: ``complete_customer_features`` does that.

    Args:
        lines: features.lines, order lines before the date.
        customers: silver.customers; demographics are copied where settings allow it.
        assignments: silver.assignments, for who was targeted; may be empty.
        redemptions: silver.redemptions; may be empty.
        as_of_date: Date of the features.
        settings: Look-back, and whether demographics may be copied.
        time_zone: The retailer's time zone, in which the date begins.

    Returns:
        features.customers, one row per customer with at least one purchase before the date.
    """
    targeting = summarise_targeting(
        assignments=assignments, redemptions=redemptions, as_of_date=as_of_date, time_zone=time_zone
    )
    joined = (
        summarise_baskets(lines=lines, as_of_date=as_of_date)
        .join(summarise_spending(lines=lines, as_of_date=as_of_date), "customer_id", "left")
        .join(_count_distinct(lines, "product_id", "product_count"), "customer_id", "left")
        .join(_count_distinct(lines, "store_id", "store_count"), "customer_id", "left")
        .join(summarise_tastes(lines=lines), "customer_id", "left")
        .join(targeting, "customer_id", "left")
        .join(_demographics(customers, allowed=settings.demographics_allowed), "customer_id", "left")
        .withColumns({"weekly_spend_amount": _weekly_spend(settings), "spend_trend_rate": spend_trend_rate()})
        .withColumns({AS_OF_DATE: F.lit(as_of_date), IMPUTED: F.array().cast("array<string>")})
    )
    return with_known_targeting(customers=joined, assignments=assignments, redemptions=redemptions)


@produces(CUSTOMER_FEATURES, customers=CUSTOMER_FEATURES)
def complete_customer_features(
    *, customers: DataFrame, settings: FeatureSettings, imputer: Imputer | None = None
) -> DataFrame:
    """Winsorise amounts and fill gaps, by values fitted on the same customers at the same date.

    Args:
        customers: features.customers as ``build_customer_features`` leaves them.
        settings: The quantile, and how each column is imputed.
        imputer: What ``fit_imputer`` made of the same customers and settings.

    Returns:
        features.customers, the same rows.

    Raises:
        ValueError: The settings ask for an imputer that is not given.
    """
    return fit_and_fill(
        customers=customers,
        winsorised=WINSORISED,
        quantile=settings.winsorise_quantile,
        methods=settings.imputation,
        imputer=imputer,
    )


def _weekly_spend(settings: FeatureSettings) -> Expression:
    days = F.least(F.greatest(F.col("tenure_days"), F.lit(7)), F.lit(settings.lookback_days))
    return F.col("recent_spend_amount").cast("double") / (days / 7)


def _count_distinct(lines: DataFrame, column: str, name: str) -> DataFrame:
    bought = lines.where(F.col("customer_id").isNotNull() & ~F.col("is_return"))
    return bought.groupBy("customer_id").agg(F.count_distinct(column).alias(name))


def _demographics(customers: DataFrame, *, allowed: bool) -> DataFrame:
    columns = [F.col(name) if allowed else F.lit(None).cast("string").alias(name) for name in DEMOGRAPHICS]
    return customers.select("customer_id", *columns)

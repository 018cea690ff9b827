"""What customers of a simulated retailer think of what they bought."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.source_settings import SyntheticSource
from promo_spark.sources.synthetic_draws import normal, uniform

RATED_RATE = 0.1
"""Share of pairs of customer and product that are rated."""
MEAN_RATING = 3.6
RATING_SD = {"product": 0.5, "customer": 0.4, "pair": 0.7}


def simulate_ratings(lines: DataFrame, source: SyntheticSource) -> DataFrame:
    """What customers thought of some of the products they bought, in whole stars from 1 to 5.

    A rating is given on the day of the first purchase: ``MEAN_RATING`` plus the product's quality, the customer's
    leniency and what the two have in common, each normal.

    Args:
        lines: Rows of ``simulate_lines``.
        source: The retailer.
    """
    customer, product = F.col("raw_customer_id"), F.col("product_id")
    day = F.from_utc_timestamp("ordered_at", source.time_zone).cast("date")
    bought = lines.groupBy(customer, product).agg(
        F.min(day).alias("rated_date"), F.min("source_ordinal").alias("source_ordinal")
    )
    stars = (
        F.lit(MEAN_RATING)
        + RATING_SD["product"] * normal(source.seed, "quality", product)
        + RATING_SD["customer"] * normal(source.seed, "leniency", customer)
        + RATING_SD["pair"] * normal(source.seed, "opinion", customer, product)
    )
    rated = bought.where(uniform(source.seed, "rates", customer, product) < RATED_RATE)
    return rated.withColumn("rating", F.greatest(F.lit(1.0), F.least(F.lit(5.0), F.round(stars))))

"""What each product sells, at what prices, how often promoted, and what it earns."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.features import DESCRIBED_LINES, PRODUCT_FEATURES
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import PRICES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE
from promo_spark.features.abc import class_products
from promo_spark.features.measures import exact_sum, has_rows, money, share, sum_amount, when_sum


@produces(PRODUCT_FEATURES, lines=DESCRIBED_LINES, products=PRODUCTS, prices=PRICES)
def build_product_features(
    *, lines: DataFrame, products: DataFrame, prices: DataFrame, as_of_date: date, settings: FeatureSettings
) -> DataFrame:
    """Sum up each product that was sold before a date.

    Prices and units leave out returns and outliers; sales leave out nothing.

    Args:
        lines: features.lines, order lines before the date.
        products: silver.products, for costs and list prices.
        prices: silver.prices, for weeks on display and in the mailer; when empty, they are NULL.
        as_of_date: Date of the features.
        settings: Margin rates assumed where a product has no cost.

    Returns:
        features.products, one row per product with an order line before the date.
    """
    costs = products.select("product_id", "list_price_amount", "unit_cost_amount")
    joined = (
        _sales(lines, as_of_date)
        .join(_buyers(lines), "product_id", "left")
        .join(_weekly_prices(lines), "product_id", "left")
        .join(costs, "product_id", "left")
        .join(class_products(lines=lines), "product_id")
        .join(_promoted_weeks(prices, as_of_date), "product_id", "left")
        .crossJoin(has_rows(prices, "_has_prices"))
    )
    known_weeks = {
        name: F.when(F.col("_has_prices"), F.coalesce(F.col(name), F.lit(0).cast("long")))
        for name in ("display_week_count", "mailer_week_count")
    }
    return joined.withColumns(
        {AS_OF_DATE: F.lit(as_of_date), "_cost_margin": _cost_margin(), **known_weeks}
    ).withColumns(
        {
            "margin_rate": F.coalesce("_cost_margin", _assumed_margin(settings)),
            "is_margin_assumed": F.col("_cost_margin").isNull(),
        }
    )


def _sales(lines: DataFrame, as_of_date: date) -> DataFrame:
    sales, bought = F.col("sales_amount"), ~F.col("is_return")
    priced = bought & (F.col("quantity") > 0)
    units = F.sum(F.when(priced, F.col("quantity")))
    four_weeks = F.col("order_date") >= F.lit(as_of_date - timedelta(days=28))
    discounted = F.when(bought, (F.col("discount_amount") > 0).cast("int"))
    return lines.groupBy("product_id", "department", "category").agg(
        F.coalesce(units, F.lit(0)).cast("double").alias("units_count"),
        money(sum_amount(sales)).alias("sales_amount"),
        money(when_sum(four_weeks, sales)).alias("sales_28d_amount"),
        share(when_sum(priced, sales), units).alias("paid_price_amount"),
        share(
            when_sum(bought, F.col("discount_amount")),
            when_sum(bought & F.col("discount_amount").isNotNull(), F.col("regular_amount")),
        ).alias("discount_depth_rate"),
        F.avg(discounted).alias("discounted_line_rate"),
    )


def _buyers(lines: DataFrame) -> DataFrame:
    """Baskets and customers of each product, and how many came back for it."""
    bought = lines.where(~F.col("is_return"))
    customers = bought.groupBy("product_id", "customer_id").agg(F.count_distinct("basket_id").alias("_baskets"))
    known = F.col("customer_id").isNotNull()
    return customers.groupBy("product_id").agg(
        F.count("customer_id").alias("customer_count"),
        F.sum("_baskets").alias("order_count"),
        share(F.count_if(known & (F.col("_baskets") > 1)), F.count("customer_id")).alias("repeat_customer_rate"),
    )


def _weekly_prices(lines: DataFrame) -> DataFrame:
    """Regular price, last price and spread of prices over the weeks in which a product was sold."""
    priced = lines.where(~F.col("is_return") & (F.col("quantity") > 0))
    weeks = priced.groupBy("product_id", "week_start_date").agg(
        share(sum_amount(F.col("sales_amount")), F.sum("quantity")).alias("_price"),
        share(sum_amount(F.col("regular_amount")), F.sum("quantity")).alias("_regular_price"),
    )
    mean = exact_sum(F.col("_price")) / F.count("_price")
    mean_square = exact_sum(F.col("_price") * F.col("_price")) / F.count("_price")
    spread = F.sqrt(F.greatest(mean_square - mean * mean, F.lit(0.0)))
    # Six places hide what the difference of two nearly equal numbers leaves of a constant price.
    return weeks.groupBy("product_id").agg(
        F.percentile("_regular_price", 0.5).alias("regular_price_amount"),
        F.max_by("_price", "week_start_date").alias("last_price_amount"),
        F.when(mean > 0, F.round(spread / mean, 6)).alias("price_spread_rate"),
    )


def _promoted_weeks(prices: DataFrame, as_of_date: date) -> DataFrame:
    """Weeks that began before the date in which any store displayed or advertised the product."""
    weeks = (
        prices.where(F.col("week_start_date") < F.lit(as_of_date))
        .groupBy("product_id", "week_start_date")
        .agg(
            F.max(F.col("display_location").isNotNull()).alias("_is_displayed"),
            F.max(F.col("mailer_location").isNotNull()).alias("_is_mailed"),
        )
    )
    return weeks.groupBy("product_id").agg(
        F.count_if("_is_displayed").alias("display_week_count"), F.count_if("_is_mailed").alias("mailer_week_count")
    )


def _cost_margin() -> Expression:
    price = F.coalesce(F.col("list_price_amount").cast("double"), F.col("regular_price_amount"))
    cost = F.col("unit_cost_amount").cast("double")
    margin = F.least(F.greatest(1 - cost / F.nullif(price, F.lit(0.0)), F.lit(0.0)), F.lit(1.0))
    # greatest and least pass over NULL, so the condition has to name it.
    return F.when(cost.isNotNull() & (price > 0), margin)


def _assumed_margin(settings: FeatureSettings) -> Expression:
    margin = F.lit(settings.margin_rate)
    for department, rate in sorted(settings.margin_rates.items()):
        margin = F.when(F.col("department") == department, F.lit(rate)).otherwise(margin)
    return margin

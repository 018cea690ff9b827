"""What each customer buys: favourites, variety, and how deep discounts must be."""

from __future__ import annotations

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.features.measures import exact_sum, share, when_sum

_TREE = ["department", "category"]


def gather_tastes(*, lines: DataFrame) -> DataFrame:
    """Sum recent purchases by customer, department and category.

    Args:
        lines: features.lines; returns and lines outside the look-back are left out.

    Returns:
        One row per customer (NULL for all unknown ones together), department and category: sales, and discount
        and value at regular price over the lines whose discount is known.
    """
    return (
        lines.where(F.col("is_recent") & ~F.col("is_return"))
        .groupBy("customer_id", *_TREE)
        .agg(
            F.sum("sales_amount").alias("sales_amount"),
            F.sum("discount_amount").alias("discount_amount"),
            when_sum(F.col("discount_amount").isNotNull(), F.col("regular_amount")).alias("regular_amount"),
        )
    )


def summarise_tastes(*, tastes: DataFrame) -> DataFrame:
    """Find each customer's favourites, the spread over departments, and price sensitivity.

    Price sensitivity is the customer's discount depth minus the depth that everyone, unknown customers
    included, had in the same categories, weighted by the customer's own value at regular price: a
    customer who takes the average discount in every category has exactly zero.

    Args:
        tastes: Rows of ``gather_tastes``.

    Returns:
        One row per known customer with recent purchases.
    """
    known = tastes.where(F.col("customer_id").isNotNull())
    sensitivities = _expected_depths(tastes, known)
    categories = _favourites(known, "category")
    departments = known.groupBy("customer_id", "department").agg(F.sum("sales_amount").alias("sales_amount"))
    return (
        categories.join(_favourites(departments, "department").drop("favourite_department_rate"), "customer_id")
        .join(_entropies(departments, tastes), "customer_id")
        .join(sensitivities, "customer_id", "left")
    )


def _favourites(spending: DataFrame, level: str) -> DataFrame:
    """Best category or department per customer, ties by name, with its share."""
    totals = spending.groupBy("customer_id", level).agg(F.sum("sales_amount").alias("sales_amount"))
    # Least negative sales, then name: one minimum does both.
    best = F.min(F.struct((-F.col("sales_amount")).alias("minus"), F.col(level).alias("name")))
    return (
        totals.groupBy("customer_id")
        .agg(best.alias("_best"), F.sum("sales_amount").alias("_total"))
        .select(
            "customer_id",
            F.col("_best.name").alias(f"favourite_{level}"),
            share(-F.col("_best.minus"), F.col("_total")).alias(f"favourite_{level}_rate"),
        )
    )


def _entropies(departments: DataFrame, tastes: DataFrame) -> DataFrame:
    """Entropy of spend over departments, over its highest value for as many as everyone buys from."""
    sold = tastes.agg(F.count_distinct("department").alias("_departments"))
    totals = departments.groupBy("customer_id").agg(F.sum("sales_amount").alias("_total"))
    shares = departments.join(totals, "customer_id").withColumn("_share", share(F.col("sales_amount"), F.col("_total")))
    return (
        shares.groupBy("customer_id")
        .agg(exact_sum(_information(F.col("_share"))).alias("_entropy"))
        .crossJoin(F.broadcast(sold))
        .select(
            "customer_id",
            F.when(F.col("_departments") > 1, F.col("_entropy") / F.log("_departments")).alias("category_entropy_rate"),
        )
    )


def _information(part: Expression) -> Expression:
    return F.when(part > 0, -part * F.log(part)).when(part <= 0, F.lit(0.0))


def _expected_depths(tastes: DataFrame, known: DataFrame) -> DataFrame:
    everyone = tastes.groupBy(*_TREE).agg(
        share(F.sum("discount_amount"), F.sum("regular_amount")).alias("_category_depth")
    )
    compared = known.join(F.broadcast(everyone), _TREE).where(F.col("_category_depth").isNotNull())
    return compared.groupBy("customer_id").agg(
        (
            share(F.sum("discount_amount"), F.sum("regular_amount"))
            - share(exact_sum(F.col("regular_amount") * F.col("_category_depth")), F.sum("regular_amount"))
        ).alias("price_sensitivity_rate")
    )

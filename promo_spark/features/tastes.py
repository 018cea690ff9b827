"""What each customer buys: favourites, variety, and how deep discounts must be."""

from __future__ import annotations

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.features.measures import exact_sum, share, sum_amount, when_sum

_TREE = ["department", "category"]


def summarise_tastes(*, lines: DataFrame) -> DataFrame:
    """Find each customer's favourites, the spread over departments, and price sensitivity.

    All of it is of purchases within the look-back. Price sensitivity is the customer's discount depth minus the
    depth that everyone, unknown customers included, had in the same categories, weighted by the
    customer's own value at regular price: who takes the average discount in every category has exactly zero.

    Args:
        lines: features.lines.

    Returns:
        One row per known customer with recent purchases.
    """
    bought = lines.where(F.col("is_recent") & ~F.col("is_return"))
    tastes = _sum_by_category(bought)
    return _departments(tastes, bought).join(_favourite_categories(tastes), "customer_id", "left")


def _sum_by_category(bought: DataFrame) -> DataFrame:
    """Sales, and discount and value at regular price over the lines whose discount is known."""
    return (
        bought.where(F.col("customer_id").isNotNull())
        .groupBy("customer_id", *_TREE)
        .agg(
            sum_amount(F.col("sales_amount")).alias("sales_amount"),
            sum_amount(F.col("discount_amount")).alias("discount_amount"),
            when_sum(F.col("discount_amount").isNotNull(), F.col("regular_amount")).alias("regular_amount"),
        )
    )


def _category_depths(bought: DataFrame) -> DataFrame:
    known = bought.where(F.col("discount_amount").isNotNull())
    depth = share(sum_amount(F.col("discount_amount")), sum_amount(F.col("regular_amount")))
    return known.groupBy(*_TREE).agg(depth.alias("_category_depth"))


def _departments(tastes: DataFrame, bought: DataFrame) -> DataFrame:
    """Favourite department, entropy over departments, and price sensitivity.

    With s the sales by department and S their sum, the entropy −Σ (s/S) log(s/S) is log S − Σ s log s / S,
    which takes one pass. It is divided by its highest value, the logarithm of the number of departments sold.
    """
    sold = bought.agg(F.count_distinct("department").alias("_sold_departments"))
    regular, depth = F.col("regular_amount"), F.col("_category_depth")
    departments = (
        tastes.join(F.broadcast(_category_depths(bought)), _TREE, "left")
        .groupBy("customer_id", "department")
        .agg(
            F.sum("sales_amount").alias("_sales"),
            F.sum("discount_amount").alias("_discount"),
            F.sum("regular_amount").alias("_regular"),
            exact_sum(regular * depth).alias("_expected_discount"),
        )
    )
    customers = departments.groupBy("customer_id").agg(
        _best("department").alias("_best"),
        F.sum(F.greatest("_sales", F.lit(0))).alias("_sales"),
        exact_sum(F.when(F.col("_sales") > 0, F.col("_sales") * F.log("_sales"))).alias("_sales_log_sales"),
        share(F.sum("_discount") - exact_sum(F.col("_expected_discount")), F.sum("_regular")).alias(
            "price_sensitivity_rate"
        ),
    )
    entropy = F.log("_sales") - F.col("_sales_log_sales") / F.col("_sales")
    spread = F.greatest(entropy, F.lit(0.0)) / F.log("_sold_departments")
    return customers.crossJoin(F.broadcast(sold)).select(
        "customer_id",
        F.col("_best.name").alias("favourite_department"),
        F.when((F.col("_sales") > 0) & (F.col("_sold_departments") > 1), spread).alias("category_entropy_rate"),
        "price_sensitivity_rate",
    )


def _favourite_categories(tastes: DataFrame) -> DataFrame:
    """Category with most spend per customer, ties by name, with its share; it may span departments."""
    categories = tastes.groupBy("customer_id", "category").agg(F.sum("sales_amount").alias("_sales"))
    return (
        categories.groupBy("customer_id")
        .agg(_best("category").alias("_best"), F.sum("_sales").alias("_total"))
        .select(
            "customer_id",
            F.col("_best.name").alias("favourite_category"),
            share(-F.col("_best.minus"), F.col("_total")).alias("favourite_category_rate"),
        )
    )


def _best(level: str) -> Expression:
    """Name with most sales: least negative sales, then name, in one minimum."""
    return F.min(F.struct((-F.col("_sales")).alias("minus"), F.col(level).alias("name")))

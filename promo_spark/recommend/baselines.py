"""Lists that any model has to beat: what is popular, and what the customer buys anyway."""

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.recommend.purchases import list_catalogue, summarise_purchases


@produces(RECOMMENDED_PRODUCTS, order_lines=ORDER_LINES, products=PRODUCTS)
def recommend_by_baselines(
    *, order_lines: DataFrame, products: DataFrame, as_of_date: date, settings: RecommendSettings
) -> DataFrame:
    """Recommend what most customers bought lately, and what each customer buys most often.

    ``popularity`` ranks products by distinct customers in the last ``popularity_days``, then by distinct
    customers so far, then by product_id; its score is the former. ``personal_frequency`` ranks a customer's
    products by baskets that lose half their weight every ``half_life_days``, then by product_id, and is
    filled up with popular products (score 0) where the customer has too few.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        as_of_date: Lines on or after this date are ignored.
        settings: Exclusions, windows and the length of the lists.

    Returns:
        recommend.products: popularity in the slots all and novel, personal_frequency in the slot all, for
        every customer with an eligible line before the date.
    """
    purchases = summarise_purchases(
        order_lines=order_lines, products=products, as_of_date=as_of_date, settings=settings
    )
    catalogue = list_catalogue(purchases=purchases, as_of_date=as_of_date, settings=settings)
    lists = _lists_of_customers(_histories(purchases, catalogue), catalogue, settings.list_length)
    entries = (
        lists.select("customer_id", F.explode("lists").alias("list"))
        .select(
            "customer_id", "list.model", "list.slot", F.posexplode("list.entries").alias("place", "entry")
        )
        .select("customer_id", "model", "slot", "place", "entry.*")
    )
    is_popularity = F.col("model") == "popularity"
    return entries.join(catalogue, "product_id").select(
        "customer_id",
        F.lit(as_of_date).alias("as_of_date"),
        "model",
        "slot",
        (F.col("place") + 1).alias("rank"),
        "product_id",
        F.when(is_popularity, F.col("recent_customer_count")).otherwise(F.col("own_score")).alias("score"),
        "is_repeat",
    )


def _histories(purchases: DataFrame, catalogue: DataFrame) -> DataFrame:
    """customer_id, own: the customer's catalogue products and their weights, most bought first."""
    known = catalogue.select("product_id", F.lit(True).alias("in_catalogue"))
    entry = F.struct((-F.col("decayed_basket_count")).alias("negative_weight"), F.col("product_id"))
    return (
        purchases.join(known, "product_id", "left")
        .groupBy("customer_id")
        .agg(F.array_sort(F.collect_list(F.when(F.col("in_catalogue"), entry))).alias("own"))
    )


def _popular_products(catalogue: DataFrame) -> Column:
    """All products of the catalogue as one array, most popular first."""
    order = F.struct(-F.col("recent_customer_count"), -F.col("customer_count"), F.col("product_id"))
    ranked = catalogue.agg(F.array_sort(F.collect_list(order)).alias("ranked"))
    return ranked.select("ranked.product_id").scalar()


def _lists_of_customers(histories: DataFrame, catalogue: DataFrame, length: int) -> DataFrame:
    """customer_id, lists (model, slot, entries of product_id, own_score, is_repeat): three per customer."""
    popular = F.col("popular")
    own_ids = F.col("own.product_id")
    # The first `length` unseen products are among the first `length` + number of seen ones.
    near = F.slice(popular, F.lit(1), F.size("own") + length)
    unseen = F.transform(
        F.slice(F.array_except(near, own_ids), 1, length),
        lambda product_id: _entry(product_id, F.lit(0.0), F.lit(False)),
    )
    most_popular = F.transform(
        F.slice(popular, 1, length),
        lambda product_id: _entry(product_id, F.lit(0.0), F.array_contains(own_ids, product_id)),
    )
    most_bought = F.transform(
        F.slice("own", 1, length), lambda entry: _entry(entry.product_id, -entry.negative_weight, F.lit(True))
    )
    lists = F.array(
        _list("popularity", "all", most_popular),
        _list("popularity", "novel", unseen),
        _list("personal_frequency", "all", F.slice(F.concat(most_bought, unseen), 1, length)),
    )
    # The subquery is a column of its own because Spark refuses one inside a transform.
    offered = histories.withColumn("popular", _popular_products(catalogue))
    return offered.select("customer_id", lists.alias("lists"))


def _entry(product_id: Column, own_score: Column, is_repeat: Column) -> Column:
    return F.struct(
        product_id.alias("product_id"), own_score.alias("own_score"), is_repeat.alias("is_repeat")
    )


def _list(model: str, slot: str, entries: Column) -> Column:
    return F.struct(F.lit(model).alias("model"), F.lit(slot).alias("slot"), entries.alias("entries"))

"""Lists that any model has to beat: what is popular, and what the customer buys anyway."""

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import CUSTOMERS, ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.recommend.purchases import list_catalogue, summarise_purchases


@produces(RECOMMENDED_PRODUCTS, order_lines=ORDER_LINES, products=PRODUCTS, customers=CUSTOMERS)
def recommend_by_baselines(
    *,
    order_lines: DataFrame,
    products: DataFrame,
    customers: DataFrame,
    as_of_date: date,
    settings: RecommendSettings,
) -> DataFrame:
    """Recommend what most customers bought lately, and what each customer buys most often.

    ``popularity`` ranks products by distinct customers in the last ``popularity_days``, then by distinct
    customers so far, then by product_id; its score is the former. ``personal_frequency`` ranks a customer's
    products by baskets that lose half their weight every ``half_life_days``, then by product_id, and is
    filled up with popular products (score 0) where the customer has too few.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        customers: silver.customers, for those who have not bought anything yet; may be empty.
        as_of_date: Lines on or after this date are ignored, and customers who joined on or after it.
        settings: Exclusions, windows and the length of the lists.

    Returns:
        recommend.products: popularity in the slots all and novel for every customer known before the date,
        personal_frequency in the slot all for those with an eligible line.
    """
    purchases = summarise_purchases(
        order_lines=order_lines, products=products, as_of_date=as_of_date, settings=settings
    )
    catalogue = list_catalogue(purchases=purchases, as_of_date=as_of_date, settings=settings)
    chart = _popularity_chart(catalogue)
    has_joined = F.coalesce(F.col("registered_date") < F.lit(as_of_date), F.lit(True))
    known = customers.where(has_joined).select("customer_id").distinct()
    histories = _histories(purchases, chart).join(known, "customer_id", "full")
    lists = _lists_of_customers(histories, settings.list_length)
    entries = (
        lists.select("customer_id", F.explode("lists").alias("list"))
        .select("customer_id", "list.model", "list.slot", F.posexplode("list.entries").alias("index", "entry"))
        .select("customer_id", "model", "slot", "index", "entry.*")
    )
    is_popularity = F.col("model") == "popularity"
    return entries.join(chart, "place").select(
        "customer_id",
        F.lit(as_of_date).alias("as_of_date"),
        "model",
        "slot",
        (F.col("index") + 1).alias("rank"),
        "product_id",
        F.when(is_popularity, F.col("recent_customer_count")).otherwise(F.col("own_score")).alias("score"),
        "is_repeat",
    )


def _popularity_chart(catalogue: DataFrame) -> DataFrame:
    """Places from 1, the most popular: place, product_id, recent_customer_count; one row per product."""
    order = F.struct(
        (-F.col("recent_customer_count")).alias("fewer"),
        (-F.col("customer_count")).alias("fewest"),
        "product_id",
    )
    return (
        catalogue.agg(F.sort_array(F.collect_list(order)).alias("chart"))
        .select(F.posexplode("chart").alias("index", "entry"))
        .select(
            (F.col("index") + 1).alias("place"),
            "entry.product_id",
            (-F.col("entry.fewer")).alias("recent_customer_count"),
        )
    )


def _histories(purchases: DataFrame, chart: DataFrame) -> DataFrame:
    """customer_id, own: the chart places of the customer's products and their weights, most bought first."""
    entry = F.struct((-F.col("decayed_basket_count")).alias("negative_weight"), "product_id", "place")
    return (
        purchases.join(F.broadcast(chart), "product_id", "left")
        .groupBy("customer_id")
        .agg(F.sort_array(F.collect_list(F.when(F.col("place").isNotNull(), entry))).alias("own"))
    )


def _lists_of_customers(histories: DataFrame, length: int) -> DataFrame:
    """customer_id, lists (model, slot, entries of place, own_score, is_repeat): three per customer with a past.

    Products are named by their place in the chart; places beyond its end name none.
    """
    nothing = F.array().cast(histories.schema["own"].dataType)
    histories = histories.select(
        "customer_id", F.col("own").isNotNull().alias("has_past"), F.coalesce("own", nothing).alias("own")
    )
    own_places = F.col("own.place")
    # The first `length` unseen places are among the first `length` + number of seen ones.
    near = F.sequence(F.lit(1), F.size("own") + length)
    unseen = F.transform(
        F.slice(F.array_except(near, own_places), 1, length),
        lambda place: _entry(place, F.lit(0.0), F.lit(False)),
    )
    most_popular = F.transform(
        F.sequence(F.lit(1), F.lit(length)),
        lambda place: _entry(place, F.lit(0.0), F.array_contains(own_places, place)),
    )
    most_bought = F.transform(
        F.slice("own", 1, length), lambda entry: _entry(entry.place, -entry.negative_weight, F.lit(True))
    )
    own_list = _list("personal_frequency", "all", F.slice(F.concat(most_bought, unseen), 1, length))
    lists = F.array(
        _list("popularity", "all", most_popular),
        _list("popularity", "novel", unseen),
        F.when(F.col("has_past"), own_list),
    )
    return histories.select("customer_id", F.array_compact(lists).alias("lists"))


def _entry(place: Column, own_score: Column, is_repeat: Column) -> Column:
    return F.struct(place.alias("place"), own_score.alias("own_score"), is_repeat.alias("is_repeat"))


def _list(model: str, slot: str, entries: Column) -> Column:
    return F.struct(F.lit(model).alias("model"), F.lit(slot).alias("slot"), entries.alias("entries"))

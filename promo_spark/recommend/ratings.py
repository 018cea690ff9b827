"""What customers would think of a product: explicit alternating least squares on what they rated.

A rating is the mean of all, plus how far the product and the customer are from it, plus what the two have in common.
Source: Koren, Bell and Volinsky 2009, Matrix factorization techniques for recommender systems; fitted by
``pyspark.ml.recommendation.ALS`` (Zhou et al. 2008) on what mean and biases leave.
"""

from dataclasses import dataclass
from datetime import date

from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS, RATINGS
from promo_spark.contracts.step import produces
from promo_spark.recommend.factorisation import ProductFactors, collect_product_factors, fit_als, number_customers
from promo_spark.recommend.habits import blocks_of
from promo_spark.recommend.packed_lists import attribute_lists
from promo_spark.recommend.purchases import index_products, is_excluded, number_products, summarise_purchases
from promo_spark.recommend.topk import list_best_products

_FEWEST = 2
_EXACT = "decimal(28,9)"


@dataclass(frozen=True)
class RatingModel:
    """A fitted model of ratings.

    Attributes:
        model: Spark's model of the residuals, over customer_index and product_index.
        residuals: customer_index, product_index, residual: what it was fitted on, persisted.
        customers: customer_id and factors of length rank + 2, so that the inner product with a product's is the
            rating predicted; persisted.
        product_factors: The products' factors, of the same length.
        mean: Of all ratings.
        customer_blocks: Into how many parts to cut the customers when lists are made.
    """

    model: ALSModel
    residuals: DataFrame
    customers: DataFrame
    product_factors: ProductFactors
    mean: float
    customer_blocks: int


def fit_ratings(
    *, ratings: DataFrame, products: DataFrame, as_of_date: date, settings: RecommendSettings, seed: int
) -> RatingModel | None:
    """Fit mean, biases and factors on each customer's latest rating of each product.

    A bias is the mean distance of its ratings, drawn towards nil as if ``rating_prior`` ratings had none.

    Args:
        ratings: silver.ratings.
        products: silver.products, for those that are excluded.
        as_of_date: Ratings on or after this date are ignored.
        settings: Exclusions, rank, iterations, regularisation and prior; a listed product was rated by at least
            ``min_customers``.
        seed: Of the first factors.

    Returns:
        The model, or None with fewer than two customers or two products that enough customers rated.
    """
    excluded = products.where(is_excluded(settings)).select("product_id")
    latest = _latest(ratings, as_of_date).join(excluded, "product_id", "left_anti")
    enough = latest.groupBy("product_id").count().where(F.col("count") >= settings.min_customers)
    kept = latest.join(enough.select("product_id"), "product_id", "left_semi").persist()
    sizes = kept.agg(
        F.count_distinct("customer_id"), F.count_distinct("product_id"), F.count("*"), _mean(F.col("rating"))
    ).collect()[0]
    if min(sizes[0], sizes[1]) < _FEWEST:
        kept.unpersist()
        return None
    residuals, customer_biases, product_biases = _remove_biases(kept, sizes[3], settings.rating_prior)
    als = ALS(
        rank=settings.rating_rank,
        maxIter=settings.rating_iterations,
        regParam=settings.rating_regularisation,
        ratingCol="residual",
        seed=seed,
    )
    model = fit_als(als, residuals, sizes[2])
    kept.unpersist()
    return RatingModel(
        model=model,
        residuals=residuals,
        customers=_customer_factors(model, customer_biases, sizes[3]).persist(),
        product_factors=_product_factors(model, product_biases),
        mean=sizes[3],
        customer_blocks=blocks_of(sizes[0]),
    )


@produces(RECOMMENDED_PRODUCTS, order_lines=ORDER_LINES, products=PRODUCTS, ratings=RATINGS)
def recommend_by_ratings(
    *,
    order_lines: DataFrame,
    products: DataFrame,
    ratings: DataFrame,
    model: RatingModel,
    as_of_date: date,
    settings: RecommendSettings,
) -> DataFrame:
    """Recommend the products that each customer would rate highest.

    Args:
        order_lines: silver.order_lines, for what each customer bought before.
        products: silver.products.
        ratings: silver.ratings, for what each customer rated before.
        model: Fitted on ratings before the date.
        as_of_date: Lines and ratings on or after this date are ignored.
        settings: Exclusions and the length of the lists.

    Returns:
        recommend.products of model explicit_als: the slots all, and novel, of products neither bought nor rated, for
        every customer who rated a product of the model. The score is the rating predicted.
    """
    purchases = summarise_purchases(
        order_lines=order_lines, products=products, as_of_date=as_of_date, settings=settings
    )
    rated = _latest(ratings, as_of_date).select("customer_id", "product_id")
    numbered = index_products(ratings.sparkSession, model.product_factors.product_ids.tolist())
    met = (
        purchases.select("customer_id", "product_id")
        .union(rated)
        .join(F.broadcast(numbered), "product_id")
        .groupBy("customer_id")
        .agg(F.sort_array(F.collect_set("product_index")).alias("seen"))
    )
    customers = (
        model.customers.join(met, "customer_id", "left")
        .repartition(model.customer_blocks, "customer_id")
        .sortWithinPartitions("customer_id")
    )
    lists = list_best_products(
        customers=customers, product_factors=model.product_factors, list_length=settings.list_length
    )
    # A product that was rated alone is no discovery, and no repeat either.
    bought = purchases.select("customer_id", "product_id", F.lit(True).alias("is_bought"))
    flagged = lists.join(bought, ["customer_id", "product_id"], "left").withColumn(
        "is_repeat", F.coalesce("is_bought", F.lit(False))
    )
    return attribute_lists(flagged, model="explicit_als", as_of_date=as_of_date)


def _latest(ratings: DataFrame, as_of_date: date) -> DataFrame:
    """customer_id, product_id, rating: the latest of each pair before the date."""
    return (
        ratings.where(F.col("rated_date") < F.lit(as_of_date))
        .groupBy("customer_id", "product_id")
        .agg(F.max_by("rating", "rated_date").alias("rating"))
    )


def _remove_biases(kept: DataFrame, mean: float, prior: float) -> tuple[DataFrame, DataFrame, DataFrame]:
    """Residuals (persisted), and the biases: customer_id, customer_index, bias and product_id, product_index, bias."""
    gap = F.col("rating") - F.lit(mean)
    product_biases = (
        kept.groupBy("product_id")
        .agg(_drawn_mean(gap, prior).alias("product_bias"))
        .join(number_products(catalogue=kept.select("product_id").distinct()), "product_id")
    )
    rest = gap - F.col("product_bias")
    with_products = kept.join(F.broadcast(product_biases), "product_id")
    customer_biases = (
        with_products.groupBy("customer_id")
        .agg(_drawn_mean(rest, prior).alias("customer_bias"))
        .join(number_customers(kept), "customer_id")
        .persist()
    )
    residuals = with_products.join(customer_biases, "customer_id").select(
        "customer_index", "product_index", (rest - F.col("customer_bias")).cast("float").alias("residual")
    )
    return residuals.persist(), customer_biases, product_biases


def _drawn_mean(value: Column, prior: float) -> Column:
    # Sums of decimals do not depend on the order of the rows.
    return F.sum(value.cast(_EXACT)).cast("double") / (F.count("*") + F.lit(prior))


def _mean(value: Column) -> Column:
    return F.sum(value.cast(_EXACT)).cast("double") / F.count("*")


def _customer_factors(model: ALSModel, biases: DataFrame, mean: float) -> DataFrame:
    own = F.array(F.lit(1.0), F.col("customer_bias") + F.lit(mean)).cast("array<float>")
    return model.userFactors.join(biases, F.col("id") == F.col("customer_index")).select(
        "customer_id", F.concat("features", own).alias("factors")
    )


def _product_factors(model: ALSModel, biases: DataFrame) -> ProductFactors:
    own = F.array(F.col("product_bias"), F.lit(1.0)).cast("array<float>")
    joined = model.itemFactors.join(biases, F.col("id") == F.col("product_index"))
    return collect_product_factors(joined.withColumn("factors", F.concat("features", own)))

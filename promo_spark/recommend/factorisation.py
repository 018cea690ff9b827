"""Latent factors of customers and products from what was bought: implicit alternating least squares.

Source: Hu, Koren and Volinsky 2008, Collaborative filtering for implicit feedback datasets; blocked for
clusters by ``pyspark.ml.recommendation.ALS``.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.recommend import FACTORS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.step import produces
from promo_spark.recommend.purchases import number_products

_FEWEST = 2
_BUCKETS = 64
_ROWS_PER_BLOCK = 500_000
_CUSTOMERS_PER_BLOCK = 4096


@dataclass(frozen=True)
class ProductFactors:
    """Factors of the catalogue, small enough for every worker.

    Attributes:
        product_ids: In the order of their ids, shape (n_products,).
        factors: Shape (n_products, rank).
    """

    product_ids: NDArray[np.str_]
    factors: NDArray[np.float32]


@dataclass(frozen=True)
class Factorisation:
    """A fitted factorisation and what it was fitted on.

    Attributes:
        model: Spark's model, over the indices of ``customers`` and ``products``.
        ratings: customer_index, product_index, rating.
        customers: customer_id, customer_index.
        products: product_id, product_index.
        product_factors: The products' factors, collected.
        customer_count: Customers with factors.
        rating_count: Pairs of customer and product.
    """

    model: ALSModel
    ratings: DataFrame
    customers: DataFrame
    products: DataFrame
    product_factors: ProductFactors
    customer_count: int
    rating_count: int

    @property
    def customer_blocks(self) -> int:
        """Into how many parts to cut the customers when lists are made."""
        return 1 + self.customer_count // _CUSTOMERS_PER_BLOCK

    @property
    def sparsity_rate(self) -> float:
        """Share of pairs of customer and product that were never bought."""
        return 1 - self.rating_count / (self.customer_count * len(self.product_factors.product_ids))


def fit_factorisation(
    *, purchases: DataFrame, catalogue: DataFrame, settings: RecommendSettings, seed: int
) -> Factorisation | None:
    """Fit implicit ALS on the catalogue's purchases.

    A pair's rating is the square of its baskets, each of which loses half its weight every
    ``half_life_days``: habits weigh far more than a single try. Spark turns it into a preference of 1 with
    confidence 1 + ``confidence_alpha`` * rating, and scales the regularisation with the number of ratings of
    each customer or product.

    Args:
        purchases: Rows of ``summarise_purchases``; read several times, so best persisted.
        catalogue: Rows of ``list_catalogue``.
        settings: Rank, iterations, regularisation and confidence.
        seed: Of the first factors.

    Returns:
        The factorisation, or None with fewer than two customers or two products.
    """
    products = number_products(catalogue=catalogue).persist()
    customers = number_customers(purchases).persist()
    ratings = _ratings(purchases, customers, products).persist()
    n_ratings, n_customers, n_products = _sizes(ratings)
    if min(n_customers, n_products) < _FEWEST:
        return None
    als = ALS(
        rank=settings.rank,
        maxIter=settings.iterations,
        regParam=settings.regularisation,
        alpha=settings.confidence_alpha,
        implicitPrefs=True,
        ratingCol="rating",
        seed=seed,
    )
    model = fit_als(als, ratings, n_ratings)
    return Factorisation(
        model=model,
        ratings=ratings,
        customers=customers,
        products=products,
        product_factors=collect_product_factors(
            model.itemFactors.join(products, F.col("id") == F.col("product_index")).withColumnRenamed(
                "features", "factors"
            )
        ),
        customer_count=n_customers,
        rating_count=n_ratings,
    )


def fit_als(als: ALS, ratings: DataFrame, n_ratings: int) -> ALSModel:
    """Fit alternating least squares so that the same ratings give the same factors.

    Args:
        als: What is fitted; its columns but that of the rating, and its blocks, are set here.
        ratings: customer_index, product_index and the rating, one row per pair.
        n_ratings: Its rows.
    """
    blocks = max(2, n_ratings // _ROWS_PER_BLOCK)
    als.setUserCol("customer_index").setItemCol("product_index").setNumBlocks(blocks).setColdStartStrategy("drop")
    # The sums inside ALS depend on the order of its input: laid out by content, it repeats to the bit.
    laid_out = ratings.repartition(blocks, "customer_index").sortWithinPartitions("customer_index", "product_index")
    return als.fit(laid_out)


@produces(FACTORS)
def describe_factors(*, factorisation: Factorisation, as_of_date: date) -> DataFrame:
    """Give the factors of a factorisation their customers' and products' own ids.

    Args:
        factorisation: Fitted on rows before the date.
        as_of_date: The date.

    Returns:
        recommend.factors, one row per customer and product of the factorisation.
    """
    model = factorisation.model
    customers = model.userFactors.join(factorisation.customers, F.col("id") == F.col("customer_index")).select(
        F.lit("customer").alias("entity"), F.col("customer_id").alias("entity_id"), "features"
    )
    products = model.itemFactors.join(factorisation.products, F.col("id") == F.col("product_index")).select(
        F.lit("product").alias("entity"), F.col("product_id").alias("entity_id"), "features"
    )
    return customers.unionByName(products).select(
        "entity", "entity_id", F.lit(as_of_date).alias("as_of_date"), F.col("features").alias("factors")
    )


def number_customers(customers: DataFrame) -> DataFrame:
    """Number customers: customer_id, customer_index: unique, near-dense ints that depend on the set of ids alone.

    Ids fall into buckets by hash and are numbered within them in order, so that no task sees all customers;
    a hash alone could give two customers one index.
    """
    bucketed = (
        customers.select("customer_id")
        .distinct()
        .withColumn("bucket", F.pmod(F.xxhash64("customer_id"), F.lit(_BUCKETS)))
    )
    place = F.row_number().over(Window.partitionBy("bucket").orderBy("customer_id"))
    return bucketed.select(
        "customer_id", ((place - 1) * _BUCKETS + F.col("bucket")).cast("int").alias("customer_index")
    )


def _ratings(purchases: DataFrame, customers: DataFrame, products: DataFrame) -> DataFrame:
    return (
        purchases.join(customers, "customer_id")
        .join(F.broadcast(products), "product_id")
        .select(
            "customer_index",
            "product_index",
            F.pow("decayed_basket_count", F.lit(2.0)).cast("float").alias("rating"),
        )
    )


def _sizes(ratings: DataFrame) -> tuple[int, int, int]:
    """Ratings, and the customers and products that have any."""
    sizes = ratings.agg(F.count("*"), F.count_distinct("customer_index"), F.count_distinct("product_index")).collect()[
        0
    ]
    return sizes[0], sizes[1], sizes[2]


def collect_product_factors(factors: DataFrame) -> ProductFactors:
    """Bring the factors of a catalogue to the driver.

    Args:
        factors: product_index, product_id, factors; one row per product.
    """
    rows = factors.select("product_index", "product_id", "factors").toPandas().sort_values("product_index")
    return ProductFactors(
        product_ids=rows["product_id"].to_numpy(dtype=np.str_),
        factors=np.array(rows["factors"].tolist(), dtype=np.float32),
    )

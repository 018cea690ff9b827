"""The lists of the factorisation: each customer's best products, with and without what they bought before."""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.recommend import FACTORS, RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.recommend.factorisation import ProductFactors
from promo_spark.recommend.packed_lists import attribute_lists
from promo_spark.recommend.purchases import index_products, summarise_purchases
from promo_spark.recommend.topk import list_best_products


@produces(RECOMMENDED_PRODUCTS, factors=FACTORS, order_lines=ORDER_LINES, products=PRODUCTS)
def recommend_by_factors(
    *,
    factors: DataFrame,
    order_lines: DataFrame,
    products: DataFrame,
    product_factors: ProductFactors,
    as_of_date: date,
    settings: RecommendSettings,
    customer_blocks: int = 2,
) -> DataFrame:
    """Recommend the products whose factors agree most with the customer's.

    Args:
        factors: recommend.factors; the customers' rows are used.
        order_lines: silver.order_lines, for what each customer bought before.
        products: silver.products.
        product_factors: Factors of the catalogue, sent to every worker once.
        as_of_date: Lines on or after this date are ignored.
        settings: Exclusions and the length of the lists.
        customer_blocks: Tasks the customers are cut into.

    Returns:
        recommend.products of model als: the slots all and novel of every customer with factors.
    """
    purchases = summarise_purchases(
        order_lines=order_lines, products=products, as_of_date=as_of_date, settings=settings
    )
    numbered = index_products(factors.sparkSession, product_factors.product_ids.tolist())
    bought = (
        purchases.join(F.broadcast(numbered), "product_id")
        .groupBy("customer_id")
        .agg(F.collect_list("product_index").alias("seen"))
    )
    customers = factors.where(F.col("entity") == "customer").select(F.col("entity_id").alias("customer_id"), "factors")
    # The layout is fixed by content, because a matrix product may round differently in another block.
    blocks = (
        customers.join(bought, "customer_id", "left")
        .repartition(customer_blocks, "customer_id")
        .sortWithinPartitions("customer_id")
    )
    lists = list_best_products(customers=blocks, product_factors=product_factors, list_length=settings.list_length)
    return attribute_lists(lists, model="als", as_of_date=as_of_date)

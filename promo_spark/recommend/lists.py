"""Each customer's best products by latent factors, ranked exactly without joining customers to products."""

from collections.abc import Callable, Iterable, Iterator
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from threadpoolctl import threadpool_limits

from promo_spark.contracts.recommend import FACTORS, RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.kernels.topk import NONE, PackedItems, TopK, recommend_block, row_blocks
from promo_spark.recommend.factorisation import ProductFactors
from promo_spark.recommend.purchases import summarise_purchases

_LIST_SCHEMA = "customer_id string, slot string, rank int, product_id string, score double, is_repeat boolean"
_SCORE_DIGITS = 6


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
    numbered = factors.sparkSession.createDataFrame(
        [(product_id, index) for index, product_id in enumerate(product_factors.product_ids.tolist())],
        "product_id string, product_index int",
    )
    bought = (
        purchases.join(F.broadcast(numbered), "product_id")
        .groupBy("customer_id")
        .agg(F.collect_list("product_index").alias("bought"))
    )
    customers = factors.where(F.col("entity") == "customer").select(F.col("entity_id").alias("customer_id"), "factors")
    # The layout is fixed by content, because a matrix product may round differently in another block.
    blocks = (
        customers.join(bought, "customer_id")
        .repartition(customer_blocks, "customer_id")
        .sortWithinPartitions("customer_id")
    )
    catalogue = factors.sparkSession.sparkContext.broadcast(product_factors)
    lists = blocks.mapInArrow(_list_maker(catalogue, settings.list_length), _LIST_SCHEMA)
    return lists.withColumns({"as_of_date": F.lit(as_of_date), "model": F.lit("als")})


def _list_maker(
    product_factors: Broadcast[ProductFactors], length: int
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the function that Spark maps over Arrow batches of customer_id, factors, bought."""

    def make_lists(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        catalogue = product_factors.value
        product_ids = pa.array(catalogue.product_ids, pa.string())
        # One thread: Spark already runs a task per core.
        with threadpool_limits(limits=1, user_api="blas"):
            for batch in batches:
                for block in row_blocks(batch.num_rows, len(product_ids)):
                    customers = batch.slice(block.start, block.stop - block.start)
                    yield from _lists_of_block(customers, catalogue.factors, product_ids, length)

    return make_lists


def _lists_of_block(
    customers: pa.RecordBatch, items: np.ndarray, product_ids: pa.StringArray, length: int
) -> Iterator[pa.RecordBatch]:
    packed = customers.column("factors")
    rows = packed.flatten().to_numpy(zero_copy_only=False).reshape(len(packed), -1)
    bought = customers.column("bought")
    offsets = bought.offsets.to_numpy().astype(np.int64)
    seen = PackedItems(offsets - offsets[0], bought.flatten().to_numpy(zero_copy_only=False).astype(np.int64))
    lists = recommend_block(rows, items, seen, length)
    yield _as_rows(customers.column("customer_id"), "all", lists.all_items, lists.is_repeat, product_ids)
    novel = np.zeros_like(lists.is_repeat)
    yield _as_rows(customers.column("customer_id"), "novel", lists.novel_items, novel, product_ids)


def _as_rows(
    customer_ids: pa.StringArray, slot: str, best: TopK, is_repeat: np.ndarray, product_ids: pa.StringArray
) -> pa.RecordBatch:
    """One row per customer and rank; places that no product fills are left out."""
    customers, ranks = np.nonzero(best.items != NONE)
    scores = best.scores[customers, ranks].astype(np.float64)
    columns = {
        "customer_id": customer_ids.take(pa.array(customers)),
        "slot": pa.array(np.full(len(customers), slot), pa.string()),
        "rank": pa.array(ranks + 1, pa.int32()),
        "product_id": product_ids.take(pa.array(best.items[customers, ranks])),
        "score": pa.array(np.round(scores, _SCORE_DIGITS), pa.float64()),
        "is_repeat": pa.array(is_repeat[customers, ranks], pa.bool_()),
    }
    return pa.RecordBatch.from_pydict(columns)

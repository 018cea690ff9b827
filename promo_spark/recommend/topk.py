"""Each customer's best products by latent factors, found on Spark without joining customers to products."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from threadpoolctl import threadpool_limits

from promo_spark.kernels.packed_items import NONE, PackedItems
from promo_spark.kernels.topk import EligibleSets, best_items, recommend_block
from promo_spark.recommend.factorisation import ProductFactors
from promo_spark.recommend.packed_lists import LIST_COLUMNS, pack_lists, unpack_column, unpack_lists

ProductSets = Sequence[NDArray[np.int64]]
"""For each set the indices of its products in the catalogue, ascending."""

_SEEN, _SET = "seen", "product_set"
_Maker = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def list_best_products(
    *, customers: DataFrame, product_factors: ProductFactors, list_length: int, product_sets: ProductSets = ()
) -> DataFrame:
    """The products whose factors agree most with each customer's, exactly.

    Args:
        customers: customer_id and factors, of the length of the products'. Optional columns: seen, indices in the
            catalogue of what the customer bought before (array<int>; NULL for nothing); product_set, the
            index in ``product_sets`` of what the customer may get (int; NULL for the whole catalogue).
        product_factors: Factors of the catalogue, sent to every worker once.
        list_length: Products per list.
        product_sets: Assortments, what is in stock, what a segment may get.

    Returns:
        customer_id, slot, rank (from 1), product_id, score, is_repeat. The slot all holds the best of the
        catalogue; with a column seen there is also the slot novel, without the products seen. Equal scores
        go to the product that comes first; lists end early where nothing is left.

    Raises:
        ValueError: In the tasks, when factors are missing or of another length, or an index does not exist.
    """
    optional = [name for name in (_SEEN, _SET) if name in customers.columns]
    packed = customers.select("customer_id", F.col("factors").cast("array<float>").alias("factors"), *optional)
    if _SET in optional:
        # A batch then has few sets, and each set is laid out for the matrix product once per batch.
        packed = packed.sortWithinPartitions(_SET, "customer_id")
    shared = customers.sparkSession.sparkContext.broadcast((product_factors, _pack(product_sets)))
    id_type = customers.schema["customer_id"].dataType.simpleString()
    lists = packed.mapInArrow(_list_maker(shared, list_length), ", ".join((f"customer_id {id_type}", *LIST_COLUMNS)))
    return unpack_lists(lists)


def _pack(product_sets: ProductSets) -> PackedItems:
    offsets = np.cumsum([0, *(len(products) for products in product_sets)])
    return PackedItems(offsets, np.concatenate([np.empty(0, dtype=np.int64), *product_sets]).astype(np.int64))


def _list_maker(shared: Broadcast[tuple[ProductFactors, PackedItems]], length: int) -> _Maker:
    """Make the function that Spark maps over Arrow batches of customers."""

    def make_lists(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        catalogue, sets = shared.value
        product_ids = pa.array(catalogue.product_ids, pa.string())
        # One thread: Spark already runs a task per core.
        with threadpool_limits(limits=1, user_api="blas"):
            for batch in batches:
                yield from _lists_of_batch(batch, catalogue.factors, product_ids, sets, length)

    return make_lists


def _lists_of_batch(
    batch: pa.RecordBatch, items: NDArray[np.float32], product_ids: pa.StringArray, sets: PackedItems, length: int
) -> Iterator[pa.RecordBatch]:
    customer_ids, factors = batch.column("customer_id"), _factors_of(batch, items.shape[1])
    eligible = None
    if _SET in batch.schema.names:
        eligible = EligibleSets(
            sets, batch.column(_SET).fill_null(NONE).to_numpy(zero_copy_only=False).astype(np.int64)
        )
    if _SEEN not in batch.schema.names:
        best = best_items(factors, items, length, eligible=eligible)
        yield pack_lists(customer_ids, "all", best, np.zeros(best.items.shape, dtype=np.bool_), product_ids)
        return
    lists = recommend_block(factors, items, _packed_lists(batch.column(_SEEN)), length, eligible=eligible)
    yield pack_lists(customer_ids, "all", lists.all_items, lists.is_repeat, product_ids)
    yield pack_lists(customer_ids, "novel", lists.novel_items, np.zeros_like(lists.is_repeat), product_ids)


def _factors_of(batch: pa.RecordBatch, rank: int) -> NDArray[np.float32]:
    """The batch's factors, shape (n_customers, rank)."""
    column = batch.column("factors")
    wrong = pc.sum(pc.fill_null(pc.not_equal(pc.list_value_length(column), rank), True)).as_py()
    if wrong:
        raise ValueError(f"{wrong} customers lack factors, or have not {rank} of them as the products do")
    packed: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), rank)
    return packed


def _packed_lists(column: pa.ListArray) -> PackedItems:
    offsets, items = unpack_column(column)
    return PackedItems(offsets, items.astype(np.int64))

"""Habits packed by customer, and lists made from them by whatever a worker can hold."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse
from threadpoolctl import threadpool_limits

from promo_spark.contracts.settings import RecommendSettings
from promo_spark.kernels.packed_items import PackedItems
from promo_spark.kernels.topk import TopK
from promo_spark.recommend.packed_lists import (
    LIST_COLUMNS,
    attribute_lists,
    pack_lists,
    unpack_column,
    unpack_lists,
)
from promo_spark.recommend.purchases import index_products, summarise_purchases

_CUSTOMERS_PER_BLOCK = 1024
_Maker = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


class HabitRecommender(Protocol):
    """What makes lists from habits; sent to every worker once."""

    @property
    def model(self) -> str:
        """Name of the model in recommend.products."""

    @property
    def customer_blocks(self) -> int:
        """Into how many parts to cut all customers when lists are made."""

    @property
    def product_ids(self) -> NDArray[np.str_]:
        """Of the products it lists; the catalogue comes first, in the order of its ids."""

    @property
    def n_catalogue(self) -> int:
        """How many of them are the catalogue."""

    def best(self, rows: pa.RecordBatch, habits: sparse.csr_matrix, length: int) -> Mapping[str, TopK]:
        """The best products of each slot.

        Args:
            rows: Customers as by ``pack_habits``, with whatever columns were joined to them.
            habits: Their decayed baskets, shape (n_rows, n_products).
            length: Products per list.
        """


def pack_habits(
    purchases: DataFrame, product_ids: NDArray[np.str_], as_of_date: date, settings: RecommendSettings
) -> DataFrame:
    """Pack what each customer bought.

    Args:
        purchases: Rows of ``summarise_purchases``.
        product_ids: Products by their number.
        as_of_date: End of the last ``popularity_days``, which count as recent.
        settings: ``popularity_days``.

    Returns:
        customer_id, products (their numbers, ascending), habits (decayed baskets), recents (1 or 0); one row per
        customer who bought any of them.
    """
    numbered = index_products(purchases.sparkSession, product_ids.tolist())
    window_start = as_of_date - timedelta(days=settings.popularity_days)
    entry = F.struct(
        "product_index",
        F.col("decayed_basket_count").cast("float").alias("habit"),
        (F.col("last_order_date") >= F.lit(window_start)).cast("float").alias("recent"),
    )
    return (
        purchases.join(F.broadcast(numbered), "product_id")
        .groupBy("customer_id")
        .agg(F.sort_array(F.collect_list(entry)).alias("bought"))
        .select(
            "customer_id",
            F.col("bought.product_index").alias("products"),
            F.col("bought.habit").alias("habits"),
            F.col("bought.recent").alias("recents"),
        )
    )


def habit_matrices(rows: pa.Table | pa.RecordBatch, n_products: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Habits, and what was bought lately, of rows of ``pack_habits``: shape (n_rows, n_products)."""
    offsets, products = unpack_column(rows.column("products"))
    habits, recents = (unpack_column(rows.column(name))[1] for name in ("habits", "recents"))
    shape = (rows.num_rows, n_products)
    # Copied: Arrow's memory is read only, and dropping zeros would rewrite what both share.
    recent = sparse.csr_matrix((recents, products, offsets), shape=shape, copy=True)
    recent.eliminate_zeros()
    return sparse.csr_matrix((habits, products, offsets), shape=shape), recent


def blocks_of(n_customers: int) -> int:
    """Into how many parts to cut the customers when lists are made."""
    return 1 + n_customers // _CUSTOMERS_PER_BLOCK


def recommend_by_habits(
    *,
    order_lines: DataFrame,
    products: DataFrame,
    recommender: HabitRecommender,
    as_of_date: date,
    settings: RecommendSettings,
    beside: DataFrame | None = None,
) -> DataFrame:
    """Make the lists of every customer who bought any of the recommender's products before the date.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        recommender: Learnt from rows before the date.
        as_of_date: Lines on or after this date are ignored.
        settings: Exclusions, half-life and the length of the lists.
        beside: One row per ``customer_id`` with what else the recommender looks at; customers without one are left out.

    Returns:
        recommend.products of the recommender's model.
    """
    purchases = summarise_purchases(
        order_lines=order_lines, products=products, as_of_date=as_of_date, settings=settings
    )
    customers = pack_habits(purchases, recommender.product_ids, as_of_date, settings)
    known = customers if beside is None else customers.join(beside, "customer_id")
    shared = order_lines.sparkSession.sparkContext.broadcast(recommender)
    made = known.repartition(recommender.customer_blocks, "customer_id").mapInArrow(
        _list_maker(shared, settings.list_length), ", ".join(("customer_id string", *LIST_COLUMNS))
    )
    return attribute_lists(unpack_lists(made), model=recommender.model, as_of_date=as_of_date)


def _list_maker(shared: Broadcast[HabitRecommender], length: int) -> _Maker:
    """Make the function that Spark maps over Arrow batches of customers."""

    def make_lists(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        recommender = shared.value
        product_ids = pa.array(recommender.product_ids, pa.string())
        # One thread: Spark already runs a task per core.
        with threadpool_limits(limits=1, user_api="blas"):
            for batch in batches:
                habits, _ = habit_matrices(batch, len(product_ids))
                bought = PackedItems(habits.indptr.astype(np.int64), habits.indices.astype(np.int64))
                for slot, lists in recommender.best(batch, habits, length).items():
                    is_repeat = bought.hold(lists.items)
                    yield pack_lists(batch.column("customer_id"), slot, lists, is_repeat, product_ids)

    return make_lists

"""What customers with a similar past buy: lists from nearest neighbours, among a pool that stays small.

A customer is compared with at most ``reference_customers`` others, drawn by a hash of their ids, so that what a
worker holds does not grow with the number of customers.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.kernels.neighbours import Neighbourhood, Pool, make_pool, recommend_from_neighbours
from promo_spark.kernels.packed_items import NONE
from promo_spark.recommend.packed_lists import LIST_COLUMNS, attribute_lists, pack_lists, unpack_column, unpack_lists
from promo_spark.recommend.purchases import index_products, number_products, summarise_purchases

_FEWEST = 2
_CUSTOMERS_PER_BLOCK = 1024
_Maker = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class ReferenceCustomers:
    """Customers that all others are compared with, small enough for every worker.

    Attributes:
        customer_ids: Ascending, shape (n_pool,).
        product_ids: The catalogue in the order of its ids, shape (n_products,).
        pool: What they bought.
        customer_blocks: Into how many parts to cut all customers when lists are made.
    """

    customer_ids: NDArray[np.str_]
    product_ids: NDArray[np.str_]
    pool: Pool
    customer_blocks: int


def draw_reference_customers(
    *, purchases: DataFrame, catalogue: DataFrame, as_of_date: date, settings: RecommendSettings
) -> ReferenceCustomers | None:
    """Draw the reference customers by a hash of their ids, and collect what they bought.

    Args:
        purchases: Rows of ``summarise_purchases``; read several times, so best persisted.
        catalogue: Rows of ``list_catalogue``.
        as_of_date: End of the last days that count for discoveries.
        settings: ``reference_customers`` and ``popularity_days``.

    Returns:
        The pool; all customers where they are few. None when fewer than two bought anything of the catalogue.
    """
    product_ids = np.array([row.product_id for row in number_products(catalogue=catalogue).collect()], dtype=np.str_)
    histories = _histories(purchases, product_ids, as_of_date, settings)
    drawn = histories.orderBy(F.xxhash64("customer_id"), "customer_id").limit(settings.reference_customers).toArrow()
    if drawn.num_rows < _FEWEST:
        return None
    rows = drawn.sort_by("customer_id").combine_chunks()
    habits, recent = _matrices(rows, len(product_ids))
    n_customers = purchases.select("customer_id").distinct().count()
    return ReferenceCustomers(
        customer_ids=np.array(rows.column("customer_id").to_pylist(), dtype=np.str_),
        product_ids=product_ids,
        pool=make_pool(habits, recent),
        customer_blocks=1 + n_customers // _CUSTOMERS_PER_BLOCK,
    )


@produces(RECOMMENDED_PRODUCTS, order_lines=ORDER_LINES, products=PRODUCTS)
def recommend_by_neighbours(
    *,
    order_lines: DataFrame,
    products: DataFrame,
    reference: ReferenceCustomers,
    as_of_date: date,
    settings: RecommendSettings,
) -> DataFrame:
    """Recommend what the most similar customers buy.

    Two customers are as similar as the cosine of the square roots of their decayed baskets, in which products
    that many buy weigh less. The slot all ranks by own decayed baskets plus ``neighbour_weight`` times the
    neighbours' mean; the slot novel by the weighted share of neighbours who bought the product in the last
    ``popularity_days``. Equal scores go to the smaller product_id; products without a score are left out.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        reference: Drawn from rows before the date.
        as_of_date: Lines on or after this date are ignored.
        settings: Exclusions, neighbourhood and the length of the lists.

    Returns:
        recommend.products of model neighbours: the slots all and novel of every customer who bought something
        of the catalogue before the date.
    """
    purchases = summarise_purchases(
        order_lines=order_lines, products=products, as_of_date=as_of_date, settings=settings
    )
    customers = _histories(purchases, reference.product_ids, as_of_date, settings).repartition(
        reference.customer_blocks, "customer_id"
    )
    neighbourhood = Neighbourhood(settings.neighbours, settings.neighbour_power, settings.neighbour_weight)
    shared = order_lines.sparkSession.sparkContext.broadcast(reference)
    made = customers.mapInArrow(
        _list_maker(shared, neighbourhood, settings.list_length), ", ".join(("customer_id string", *LIST_COLUMNS))
    )
    return attribute_lists(unpack_lists(made), model="neighbours", as_of_date=as_of_date)


def places_of(customer_ids: pa.Array, reference_ids: NDArray[np.str_]) -> NDArray[np.int64]:
    """The customers' places among the reference customers, ``NONE`` for the others."""
    own = np.array(customer_ids.to_pylist(), dtype=np.str_)
    places = np.minimum(np.searchsorted(reference_ids, own), len(reference_ids) - 1)
    return np.where(reference_ids[places] == own, places, NONE)


def _histories(
    purchases: DataFrame, product_ids: NDArray[np.str_], as_of_date: date, settings: RecommendSettings
) -> DataFrame:
    """customer_id, products (indices in the catalogue, ascending), habits (decayed baskets), recents."""
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


def _list_maker(shared: Broadcast[ReferenceCustomers], neighbourhood: Neighbourhood, length: int) -> _Maker:
    """Make the function that Spark maps over Arrow batches of customers."""

    def make_lists(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        reference = shared.value
        product_ids = pa.array(reference.product_ids, pa.string())
        for batch in batches:
            customer_ids = batch.column("customer_id")
            habits, _ = _matrices(batch, len(product_ids))
            places = places_of(customer_ids, reference.customer_ids)
            lists = recommend_from_neighbours(habits, places, reference.pool, neighbourhood, length)
            yield pack_lists(customer_ids, "all", lists.all_items, lists.is_repeat, product_ids)
            yield pack_lists(customer_ids, "novel", lists.novel_items, np.zeros_like(lists.is_repeat), product_ids)

    return make_lists


def _matrices(rows: pa.Table | pa.RecordBatch, n_products: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Habits, and what was bought lately, of rows of ``_histories``: shape (n_rows, n_products)."""
    offsets, products = unpack_column(rows.column("products"))
    habits, recents = (unpack_column(rows.column(name))[1] for name in ("habits", "recents"))
    shape = (rows.num_rows, n_products)
    # Copied: Arrow's memory is read only, and dropping zeros would rewrite what both share.
    recent = sparse.csr_matrix((recents, products, offsets), shape=shape, copy=True)
    recent.eliminate_zeros()
    return sparse.csr_matrix((habits, products, offsets), shape=shape), recent

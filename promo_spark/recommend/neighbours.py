"""What customers with a similar past buy: lists from nearest neighbours, among a pool that stays small.

A customer is compared with at most ``reference_customers`` others, drawn by a hash of their ids, so that what a
worker holds does not grow with the number of customers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.kernels.neighbours import Neighbourhood, Pool, make_pool, recommend_from_neighbours
from promo_spark.kernels.packed_items import NONE
from promo_spark.kernels.topk import TopK
from promo_spark.recommend.habits import blocks_of, habit_matrices, pack_habits, recommend_by_habits
from promo_spark.recommend.purchases import number_products

_FEWEST = 2


@dataclass(frozen=True)
class ReferenceCustomers:
    """Customers that all others are compared with, small enough for every worker.

    Attributes:
        customer_ids: Ascending, shape (n_pool,).
        product_ids: The catalogue in the order of its ids, shape (n_products,).
        pool: What they bought.
        neighbourhood: How neighbours are chosen and weighed.
        customer_blocks: Into how many parts to cut all customers when lists are made.
    """

    customer_ids: NDArray[np.str_]
    product_ids: NDArray[np.str_]
    pool: Pool
    neighbourhood: Neighbourhood
    customer_blocks: int

    @property
    def model(self) -> str:
        """Name of the model in recommend.products."""
        return "neighbours"

    @property
    def n_catalogue(self) -> int:
        """Products that are listed."""
        return len(self.product_ids)

    def best(self, rows: pa.RecordBatch, habits: sparse.csr_matrix, length: int) -> Mapping[str, TopK]:
        """The best products of the slots all and novel; see ``recommend_from_neighbours``."""
        places = places_of(rows.column("customer_id"), self.customer_ids)
        return recommend_from_neighbours(habits, places, self.pool, self.neighbourhood, length)


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
    histories = pack_habits(purchases, product_ids, as_of_date, settings)
    drawn = histories.orderBy(F.xxhash64("customer_id"), "customer_id").limit(settings.reference_customers).toArrow()
    if drawn.num_rows < _FEWEST:
        return None
    rows = drawn.sort_by("customer_id").combine_chunks()
    habits, recent = habit_matrices(rows, len(product_ids))
    n_customers = purchases.select("customer_id").distinct().count()
    return ReferenceCustomers(
        customer_ids=np.array(rows.column("customer_id").to_pylist(), dtype=np.str_),
        product_ids=product_ids,
        pool=make_pool(habits, recent),
        neighbourhood=Neighbourhood(settings.neighbours, settings.neighbour_power, settings.neighbour_weight),
        customer_blocks=blocks_of(n_customers),
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
        reference: Drawn from rows before the date; how neighbours are chosen and weighed.
        as_of_date: Lines on or after this date are ignored.
        settings: Exclusions, half-life and the length of the lists.

    Returns:
        recommend.products of model neighbours: the slots all and novel of every customer who bought something
        of the catalogue before the date.
    """
    return recommend_by_habits(
        order_lines=order_lines, products=products, recommender=reference, as_of_date=as_of_date, settings=settings
    )


def places_of(customer_ids: pa.Array, reference_ids: NDArray[np.str_]) -> NDArray[np.int64]:
    """The customers' places among the reference customers, ``NONE`` for the others."""
    own = np.array(customer_ids.to_pylist(), dtype=np.str_)
    places = np.minimum(np.searchsorted(reference_ids, own), len(reference_ids) - 1)
    return np.where(reference_ids[places] == own, places, NONE)

"""What goes with what a customer bought: item-based neighbours, and rules mined from baskets."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.core.broadcast import Broadcast
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy import sparse

from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.kernels.product_links import Linked, basket_links, buyer_links, strongest_links
from promo_spark.kernels.scored_lists import best_of_slots
from promo_spark.kernels.topk import TopK
from promo_spark.recommend.habits import recommend_by_habits
from promo_spark.recommend.neighbours import ReferenceCustomers
from promo_spark.recommend.packed_lists import unpack_column
from promo_spark.recommend.purchases import index_products, keep_eligible_lines

_PRODUCTS_PER_TASK = 2048
_LINK_COLUMNS = "product int, linked array<int>, weights array<float>"
_Maker = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class ProductLinks:
    """Links between products of the catalogue, small enough for every worker.

    Attributes:
        model: item_neighbours or association_rules.
        product_ids: The catalogue in the order of its ids, shape (n_products,).
        links: Weights from products bought to products recommended, shape (n_products, n_products), sparse.
        customer_blocks: Into how many parts to cut all customers when lists are made.
    """

    model: str
    product_ids: NDArray[np.str_]
    links: sparse.csr_matrix
    customer_blocks: int

    @property
    def n_catalogue(self) -> int:
        """Products that are listed."""
        return len(self.product_ids)

    def best(self, rows: pa.RecordBatch, habits: sparse.csr_matrix, length: int) -> Mapping[str, TopK]:  # noqa: ARG002  (habits are all it takes)
        """The products with the largest sums of habit times weight, in the slots all and novel."""

        def score(tile: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            scores = (habits[tile] @ self.links).toarray()
            return scores, scores

        return best_of_slots(habits, score, length, n_catalogue=self.n_catalogue, width=self.n_catalogue)


def fit_item_neighbours(
    *, spark: SparkSession, reference: ReferenceCustomers, settings: RecommendSettings
) -> ProductLinks:
    """Link products that the same customers buy.

    Args:
        spark: The session.
        reference: Customers whose habits are compared, drawn from rows before the date.
        settings: ``item_weighting`` and ``item_neighbours``.
    """
    linked = buyer_links(reference.pool.habits, settings.item_weighting)
    return _find_links(spark, "item_neighbours", linked, reference, settings.item_neighbours)


def fit_association_rules(
    *,
    order_lines: DataFrame,
    products: DataFrame,
    reference: ReferenceCustomers,
    as_of_date: date,
    settings: RecommendSettings,
) -> ProductLinks:
    """Mine rules between two products from baskets, at most ``rule_baskets`` of them drawn by a hash.

    Longer rules would need baskets that hold several products of a catalogue of thousands: they rest on few.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        reference: Names the catalogue.
        as_of_date: Lines on or after this date are ignored.
        settings: Exclusions, ``rule_baskets``, ``rule_min_baskets`` and ``item_neighbours``.
    """
    lines = keep_eligible_lines(order_lines=order_lines, products=products, as_of_date=as_of_date, settings=settings)
    numbered = index_products(order_lines.sparkSession, reference.product_ids.tolist())
    baskets = (
        lines.join(F.broadcast(numbered), "product_id")
        .groupBy("basket_id")
        .agg(F.sort_array(F.collect_set("product_index")).alias("held"))
        .orderBy(F.xxhash64("basket_id"), "basket_id")
        .limit(settings.rule_baskets)
        .select("held")
        .toArrow()
    )
    offsets, held = unpack_column(baskets.column("held"))
    shape = len(offsets) - 1, reference.n_catalogue
    matrix = sparse.csr_matrix((np.ones(len(held), dtype=np.float32), held, offsets), shape=shape)
    linked = basket_links(matrix, settings.rule_min_baskets)
    return _find_links(order_lines.sparkSession, "association_rules", linked, reference, settings.item_neighbours)


@produces(RECOMMENDED_PRODUCTS, order_lines=ORDER_LINES, products=PRODUCTS)
def recommend_by_links(
    *, order_lines: DataFrame, products: DataFrame, links: ProductLinks, as_of_date: date, settings: RecommendSettings
) -> DataFrame:
    """Recommend what is linked to what each customer bought.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        links: Fitted on rows before the date.
        as_of_date: Lines on or after this date are ignored.
        settings: Exclusions, half-life and the length of the lists.

    Returns:
        recommend.products of the model that the links name: the slots all and novel of every customer who bought
        something of the catalogue before the date. Equal scores go to the smaller product_id.
    """
    return recommend_by_habits(
        order_lines=order_lines, products=products, recommender=links, as_of_date=as_of_date, settings=settings
    )


def _find_links(
    spark: SparkSession, model: str, linked: Linked, reference: ReferenceCustomers, size: int
) -> ProductLinks:
    """Find each product's strongest links, some thousand products to a task."""
    n_products = reference.n_catalogue
    n_tasks = 1 + n_products // _PRODUCTS_PER_TASK
    shared = spark.sparkContext.broadcast(linked)
    tasks = spark.range(0, n_products, _PRODUCTS_PER_TASK, n_tasks)
    found = tasks.mapInArrow(_link_maker(shared, n_products, size), _LINK_COLUMNS).toArrow()
    in_order = found.sort_by("product").combine_chunks()
    offsets, items = unpack_column(in_order.column("linked"))
    weights = unpack_column(in_order.column("weights"))[1]
    matrix = sparse.csr_matrix((weights.astype(np.float32), items, offsets), shape=(n_products, n_products))
    return ProductLinks(model, reference.product_ids, matrix, reference.customer_blocks)


def _link_maker(shared: Broadcast[Linked], n_products: int, size: int) -> _Maker:
    """Make the function that Spark maps over Arrow batches of first products."""

    def find_links(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for first in batch.column("id").to_pylist():
                last = min(first + _PRODUCTS_PER_TASK, n_products)
                found = strongest_links(shared.value, first, last, size)
                offsets = pa.array(found.indptr, pa.int32())
                yield pa.RecordBatch.from_pydict(
                    {
                        "product": pa.array(np.arange(first, last), pa.int32()),
                        "linked": pa.ListArray.from_arrays(offsets, pa.array(found.indices, pa.int32())),
                        "weights": pa.ListArray.from_arrays(offsets, pa.array(found.data, pa.float32())),
                    }
                )

    return find_links

"""Purchase days packed by customer, and what is known at cuts before the date: products, and a pool of customers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.settings import RecommendSettings
from promo_spark.kernels.candidates import pool_matrices
from promo_spark.kernels.habits import N_SUMS, Catalogue, Purchases, describe_products, habits_before, sum_products
from promo_spark.kernels.neighbours import Pool, make_pool
from promo_spark.recommend.packed_lists import unpack_column
from promo_spark.recommend.purchases import index_products, keep_eligible_lines

Batches = Iterable[pa.RecordBatch]


@dataclass(frozen=True)
class Window:
    """What is known at a cut, small enough for every worker.

    Attributes:
        cut: In days from the date; 0 is the date itself.
        catalogue: Products by their number.
        pool: Reference customers.
    """

    cut: int
    catalogue: Catalogue
    pool: Pool


@dataclass(frozen=True)
class Windows:
    """Windows at several cuts, over the same products and reference customers.

    Attributes:
        product_ids: In the order of their ids, shape (n_products,).
        reference_ids: Reference customers, ascending.
        by_cut: A window for each cut.
    """

    product_ids: NDArray[np.str_]
    reference_ids: NDArray[np.str_]
    by_cut: dict[int, Window]


def number_catalogue(*, catalogue: DataFrame, products: DataFrame) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Collect the catalogue: its ids in order, and the numbers of their categories and subcategories.

    Args:
        catalogue: Rows of ``list_catalogue``; bounded.
        products: silver.products.

    Returns:
        Ids, shape (n_products,), and group numbers, shape (2, n_products); an undescribed product has group 0.
    """
    rows = (
        catalogue.select("product_id")
        .join(products.select("product_id", "category", "subcategory"), "product_id", "left")
        .toPandas()
        .sort_values("product_id")
    )
    groups = [
        np.unique(rows[name].fillna("").astype(str), return_inverse=True)[1] for name in ("category", "subcategory")
    ]
    return rows["product_id"].to_numpy(dtype=np.str_), np.stack(groups).astype(np.int64)


def pack_purchase_days(
    *,
    order_lines: DataFrame,
    products: DataFrame,
    product_ids: NDArray[np.str_],
    as_of_date: date,
    settings: RecommendSettings,
) -> DataFrame:
    """Pack the days before the date on which each customer bought products of the catalogue.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        product_ids: The catalogue, in the order of its numbers.
        as_of_date: Lines on or after this date are ignored.
        settings: Exclusions.

    Returns:
        customer_id, customer_key (a hash of it), products, days (array<int>, by product, then by day; -1 is the day
        before the date) and discounted (array<boolean>); one row per customer, laid out by content.
    """
    lines = keep_eligible_lines(order_lines=order_lines, products=products, as_of_date=as_of_date, settings=settings)
    numbered = index_products(order_lines.sparkSession, product_ids.tolist())
    return (
        lines.repartition("customer_id")
        .join(F.broadcast(numbered), "product_id")
        .groupBy("customer_id", "product_index", F.date_diff("order_date", F.lit(as_of_date)).alias("day"))
        .agg(F.max("is_discounted").alias("discounted"))
        .groupBy("customer_id")
        .agg(F.sort_array(F.collect_list(F.struct("product_index", "day", "discounted"))).alias("entries"))
        .select(
            "customer_id",
            F.xxhash64("customer_id").alias("customer_key"),
            F.col("entries.product_index").alias("products"),
            F.col("entries.day").alias("days"),
            F.col("entries.discounted").alias("discounted"),
        )
    )


def prepare_windows(
    *,
    customers: DataFrame,
    product_ids: NDArray[np.str_],
    groups: NDArray[np.int64],
    cuts: Sequence[int],
    settings: RecommendSettings,
) -> Windows:
    """Describe products and collect reference customers at each cut.

    Args:
        customers: Rows of ``pack_purchase_days``; read twice, so best persisted.
        product_ids: The catalogue.
        groups: Its categories, as by ``number_catalogue``.
        cuts: In days from the date, none above 0.
        settings: ``min_customers`` and ``reference_customers``.
    """
    drawn = customers.orderBy("customer_key", "customer_id").limit(settings.reference_customers).toArrow()
    reference = drawn.sort_by("customer_id")
    purchases = purchases_of(reference)
    sums = _sum_by_cut(customers, cuts, len(product_ids))
    by_cut: dict[int, Window] = {}
    for cut in cuts:
        catalogue = describe_products(sums[cut], groups, settings.min_customers)
        pool = make_pool(*pool_matrices(habits_before(purchases, cut), catalogue))
        by_cut[cut] = Window(cut, catalogue, pool)
    return Windows(product_ids, np.array(reference.column("customer_id").to_pylist(), dtype=np.str_), by_cut)


def purchases_of(rows: pa.Table | pa.RecordBatch) -> Purchases:
    """Purchase days of rows of ``pack_purchase_days``."""
    offsets, products = unpack_column(rows.column("products"))
    _, days = unpack_column(rows.column("days"))
    _, discounted = unpack_column(rows.column("discounted"))
    return Purchases(offsets, products.astype(np.int64), days.astype(np.int64), discounted.astype(np.bool_))


def _sum_by_cut(customers: DataFrame, cuts: Sequence[int], n_products: int) -> dict[int, NDArray[np.float64]]:
    names = [f"sum_{place}" for place in range(N_SUMS)]
    columns = ", ".join(("cut int", "product int", *(f"{name} double" for name in names)))
    rows = (
        customers.mapInArrow(_summer(cuts, n_products, names), columns)
        .groupBy("cut", "product")
        # Whole numbers: their sum is the same in any order.
        .agg(*(F.sum(name).alias(name) for name in names))
        .toPandas()
    )
    sums = {cut: np.zeros((n_products, N_SUMS)) for cut in cuts}
    for cut, summed in sums.items():
        own = rows[rows["cut"] == cut]
        summed[own["product"].to_numpy()] = own[names].to_numpy()
    return sums


def _summer(cuts: Sequence[int], n_products: int, names: list[str]) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """Make the function that Spark maps over Arrow batches of customers: one set of sums per task."""

    def sum_batches(batches: Batches) -> Iterator[pa.RecordBatch]:
        sums = {cut: np.zeros((n_products, N_SUMS)) for cut in cuts}
        for batch in batches:
            purchases = purchases_of(batch)
            for cut in cuts:
                sums[cut] += sum_products(purchases, cut, n_products)
        for cut, own in sums.items():
            products = np.flatnonzero(own.any(axis=1))
            columns = {name: pa.array(own[products, place]) for place, name in enumerate(names)}
            numbers = {
                "cut": pa.array(np.full(len(products), cut), pa.int32()),
                "product": pa.array(products, pa.int32()),
            }
            yield pa.RecordBatch.from_pydict({**numbers, **columns})

    return sum_batches

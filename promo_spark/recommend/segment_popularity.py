"""What a customer's segment buys: for those of whom little more is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.kernels.scored_lists import best_of_slots
from promo_spark.kernels.topk import TopK
from promo_spark.recommend.habits import blocks_of, recommend_by_habits
from promo_spark.recommend.purchases import index_products

_LENT = 20
"""A segment's share is a mean of its own and everybody's, as if so many more customers had bought as everybody does."""


@dataclass(frozen=True)
class SegmentPopularity:
    """Share of each segment's customers who bought each product lately, small enough for every worker.

    Attributes:
        product_ids: The catalogue in the order of its ids, shape (n_products,).
        segment_ids: Ascending, shape (n_segments,).
        shares: Shape (n_segments, n_products).
        customer_blocks: Into how many parts to cut all customers when lists are made.
    """

    product_ids: NDArray[np.str_]
    segment_ids: NDArray[np.int64]
    shares: NDArray[np.float32]
    customer_blocks: int

    @property
    def model(self) -> str:
        """Name of the model in recommend.products."""
        return "segment_popularity"

    @property
    def n_catalogue(self) -> int:
        """Products that are listed."""
        return len(self.product_ids)

    def best(self, rows: pa.RecordBatch, habits: sparse.csr_matrix, length: int) -> Mapping[str, TopK]:
        """What most of the segment's customers bought lately, in the slots all and novel."""
        own = rows.column("segment_id").to_numpy(zero_copy_only=False).astype(np.int64)
        places = np.searchsorted(self.segment_ids, own)

        def score(tile: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            scores = self.shares[places[tile]]
            return scores, scores

        return best_of_slots(habits, score, length, n_catalogue=self.n_catalogue, width=self.n_catalogue)


def count_segment_buyers(
    *,
    purchases: DataFrame,
    segments: DataFrame,
    product_ids: NDArray[np.str_],
    as_of_date: date,
    settings: RecommendSettings,
) -> SegmentPopularity | None:
    """Count who of each segment bought each product in the last ``popularity_days``.

    Args:
        purchases: Rows of ``summarise_purchases``; read twice, so best persisted.
        segments: segments.customers of the date.
        product_ids: The catalogue, in the order of its ids.
        as_of_date: The date.
        settings: ``popularity_days``.

    Returns:
        The shares, or None where nobody of a segment bought anything of the catalogue.
    """
    numbered = index_products(purchases.sparkSession, product_ids.tolist())
    members = purchases.join(segments.select("customer_id", "segment_id"), "customer_id")
    window_start = F.lit(as_of_date - timedelta(days=settings.popularity_days))
    bought = (
        members.where(F.col("last_order_date") >= window_start)
        .join(F.broadcast(numbered), "product_id")
        .groupBy("segment_id", "product_index")
        .count()
        .toPandas()
    )
    sizes = members.groupBy("segment_id").agg(F.count_distinct("customer_id").alias("size")).toPandas()
    if bought.empty:
        return None
    sizes = sizes.sort_values("segment_id")
    segment_ids, size = sizes["segment_id"].to_numpy(dtype=np.int64), sizes["size"].to_numpy(dtype=np.float64)
    counts = np.zeros((len(segment_ids), len(product_ids)))
    counts[np.searchsorted(segment_ids, bought["segment_id"]), bought["product_index"]] = bought["count"]
    overall = counts.sum(axis=0) / size.sum()
    shares = (counts + _LENT * overall) / (size + _LENT)[:, None]
    return SegmentPopularity(product_ids, segment_ids, shares.astype(np.float32), blocks_of(int(size.sum())))


@produces(RECOMMENDED_PRODUCTS, order_lines=ORDER_LINES, products=PRODUCTS, segments=SEGMENT_CUSTOMERS)
def recommend_by_segment(
    *,
    order_lines: DataFrame,
    products: DataFrame,
    segments: DataFrame,
    popularity: SegmentPopularity,
    as_of_date: date,
    settings: RecommendSettings,
) -> DataFrame:
    """Recommend what most customers of the same segment bought lately.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        segments: segments.customers of the date.
        popularity: Counted before the date.
        as_of_date: Lines on or after this date are ignored.
        settings: Exclusions and the length of the lists.

    Returns:
        recommend.products of model segment_popularity: the slots all and novel of every customer of a segment who
        bought something of the catalogue before the date. The score is the share of the segment's customers,
        drawn towards everybody's where the segment is small; equal shares go to the smaller product_id.
    """
    known = segments.where(F.col("segment_id").isin(popularity.segment_ids.tolist()))
    return recommend_by_habits(
        order_lines=order_lines,
        products=products,
        recommender=popularity,
        as_of_date=as_of_date,
        settings=settings,
        beside=known.select("customer_id", "segment_id"),
    )

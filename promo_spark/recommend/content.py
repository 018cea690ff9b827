"""What is like what a customer bought: products compared by their attributes and the words of their names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.kernels.scored_lists import best_of_slots
from promo_spark.kernels.topk import TopK
from promo_spark.recommend.habits import recommend_by_habits
from promo_spark.recommend.neighbours import ReferenceCustomers
from promo_spark.recommend.purchases import is_excluded

ATTRIBUTES = ("department", "category", "subcategory", "brand", "manufacturer_id", "package_size")
_MOST_TERMS = 1 << 16
_COMMON = 0.5
"""A term that more than this share of products have tells none of them apart."""
_WORDS = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class ContentVectors:
    """Products as vectors of what describes them, small enough for every worker.

    Attributes:
        product_ids: The catalogue in the order of its ids, then the cold products in theirs, shape (n_products,).
        n_catalogue: How many of them are the catalogue.
        vectors: TF-IDF of terms, rows of length 1 or 0, shape (n_products, n_terms).
        customer_blocks: Into how many parts to cut all customers when lists are made.
    """

    product_ids: NDArray[np.str_]
    n_catalogue: int
    vectors: sparse.csr_matrix
    customer_blocks: int

    @property
    def model(self) -> str:
        """Name of the model in recommend.products."""
        return "content"

    def best(self, rows: pa.RecordBatch, habits: sparse.csr_matrix, length: int) -> Mapping[str, TopK]:  # noqa: ARG002  (habits are all it takes)
        """The products most like what each customer buys, in the slots all, novel and cold."""

        def score(tile: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            profiles = (habits[tile] @ self.vectors).toarray()
            scores = np.ascontiguousarray((self.vectors @ profiles.T).T)
            return scores, scores

        return best_of_slots(habits, score, length, n_catalogue=self.n_catalogue, width=max(self.vectors.shape))


def describe_content(
    *,
    purchases: DataFrame,
    products: DataFrame,
    reference: ReferenceCustomers,
    as_of_date: date,
    settings: RecommendSettings,
) -> ContentVectors | None:
    """Describe the catalogue and the cold products by their attributes and the words of their names.

    Cold are described products, of no excluded department or category, that fewer than ``min_customers`` known
    customers bought so far, the first of them in the last ``cold_days`` days. What nobody bought yet is left out:
    silver.products does not say since when a product is on sale, and it may be from after the date.

    Args:
        purchases: Rows of ``summarise_purchases``.
        products: silver.products.
        reference: Names the catalogue.
        as_of_date: The date.
        settings: Exclusions and ``cold_days``.

    Returns:
        The vectors, or None where nothing tells products of the catalogue apart. A term weighs
        1 + log((1 + n) / (1 + products that have it)).
    """
    cold = _cold_products(purchases, products, reference.product_ids, as_of_date, settings)
    ids = np.concatenate([reference.product_ids, cold])
    described = products.select("product_id", "product_name", *ATTRIBUTES).toPandas().set_index("product_id")
    terms = _terms_of(described.reindex(ids))
    weigher = TfidfVectorizer(analyzer=list, min_df=2, max_df=_COMMON, max_features=_MOST_TERMS, dtype=np.float32)
    try:
        vectors = weigher.fit_transform(terms)
    except ValueError:  # no term is shared by two products, or each by most of them
        return None
    if vectors[: reference.n_catalogue].nnz == 0:
        return None
    return ContentVectors(ids, reference.n_catalogue, sparse.csr_matrix(vectors), reference.customer_blocks)


@produces(RECOMMENDED_PRODUCTS, order_lines=ORDER_LINES, products=PRODUCTS)
def recommend_by_content(
    *,
    order_lines: DataFrame,
    products: DataFrame,
    content: ContentVectors,
    as_of_date: date,
    settings: RecommendSettings,
) -> DataFrame:
    """Recommend what is described like what each customer buys.

    A customer is the sum of the vectors of what they bought, weighed by habit; a product's score is its cosine with
    that sum, times the sum's length. Source: Pazzani and Billsus 2007, Content-based recommendation systems.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        content: Described at the date.
        as_of_date: Lines on or after this date are ignored.
        settings: Exclusions, half-life and the length of the lists.

    Returns:
        recommend.products of model content: the slots all, novel and, where there are such products, cold, of
        every customer who bought any of these before the date.
    """
    return recommend_by_habits(
        order_lines=order_lines, products=products, recommender=content, as_of_date=as_of_date, settings=settings
    )


def _cold_products(
    purchases: DataFrame,
    products: DataFrame,
    product_ids: NDArray[np.str_],
    as_of_date: date,
    settings: RecommendSettings,
) -> NDArray[np.str_]:
    newest = F.lit(as_of_date - timedelta(days=settings.cold_days))
    bought = purchases.groupBy("product_id").agg(F.min("first_order_date").alias("first_order_date"))
    rows = (
        products.where(~is_excluded(settings))
        .select("product_id")
        .join(bought.where(F.col("first_order_date") >= newest), "product_id")
        .select("product_id")
        .toPandas()["product_id"]
    )
    return np.setdiff1d(rows.to_numpy(dtype=np.str_), product_ids)


def _terms_of(described: pd.DataFrame) -> list[list[str]]:
    """Per product its attributes, each with its column's name, and the words of its name."""
    columns = [described[name].astype("string").fillna("").tolist() for name in ATTRIBUTES]
    names = described["product_name"].astype("string").fillna("").tolist()
    return [
        [f"{name}={value}" for name, value in zip(ATTRIBUTES, values, strict=True) if value]
        + sorted(set(_WORDS.findall(words.lower())))
        for words, *values in zip(names, *columns, strict=True)
    ]

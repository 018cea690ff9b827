"""How good recommendations were: ranked lists against what customers bought in the days that followed."""

from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from itertools import groupby
from math import isnan
from operator import itemgetter
from statistics import fmean
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.backtest_settings import BacktestSettings
from promo_spark.contracts.measurement import BACKTESTS
from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.kernels.list_traits import category_divergence, category_diversity, self_information
from promo_spark.kernels.ranking import (
    average_precision_at_k,
    hit_at_k,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
)

REFERENCE = "popularity"
_FIGURE_SCHEMA = "slot string, model string, metric string, value double"
_DIGITS = 9
"""Means are rounded to this many decimals: a float sum depends on the order of its rows in the last ones."""


@produces(BACKTESTS, recommended=RECOMMENDED_PRODUCTS, order_lines=ORDER_LINES, products=PRODUCTS)
def backtest_recommendations(
    *,
    recommended: DataFrame,
    order_lines: DataFrame,
    products: DataFrame,
    as_of_date: date,
    settings: BacktestSettings,
    recommend_settings: RecommendSettings,
    reference: str = REFERENCE,
) -> DataFrame:
    """Judge each model's lists by the purchases from the date on.

    A product is relevant in the slot all when the customer buys it in the test days, and in the slot novel
    when the customer had not bought it before the date either, in the slot cold when, besides, fewer than
    ``min_customers`` customers had, the first of them in the last ``cold_days`` days before it. A list counts
    when its customer has at least one relevant product in its slot, and is cut at ``list_length``. Besides each
    model's means there are its differences to the reference, customer by customer. Novelty, diversity and
    miscalibration say what the same lists are like, bought or not; categories usual to a customer are those of the
    products bought before.

    Args:
        recommended: recommend.products of the date.
        order_lines: silver.order_lines, before and after the date.
        products: silver.products.
        as_of_date: First test day.
        settings: Number of test days, and how much of each list counts.
        recommend_settings: Exclusions and catalogue, as in the recommendations.
        reference: The model that the others are compared with.

    Returns:
        measurement.backtests of the subjects recommend_all, recommend_novel and recommend_cold: ndcg, recall, map,
        mrr, hit, precision, novelty (bits), diversity and miscalibration (nats), each as ``<name>_at_<k>`` and, where
        the reference has a list in the slot, as ``<name>_at_<k>_minus_<reference>``, with the standard error over
        customers; and but for the slot cold coverage, the share of the catalogue that all lists together show.
        Nothing when no purchase follows the date.
    """
    length = settings.list_length
    end_date = as_of_date + timedelta(days=settings.days)
    purchases = _summarise_purchases(order_lines, products, as_of_date, end_date, recommend_settings)
    lists = recommended.where(F.col("rank") <= length)
    known = purchases.where("is_known")
    buyers = known.groupBy("product_id").agg(F.count("*").alias("buyers"), F.min("first_date").alias("first_date"))
    judged = (
        _lists_by_customer(_with_category(lists.join(buyers, "product_id", "left"), products))
        .join(_relevant_products(purchases, buyers, as_of_date, recommend_settings), "customer_id")
        .join(_usual_categories(_with_category(known, products)), "customer_id", "left")
        .withColumn("customers", known.agg(F.count_distinct("customer_id")).scalar())
    )
    coverage = _coverage(lists, buyers, recommend_settings.min_customers, length)
    figures = _means(judged.mapInArrow(_list_scorer(length, reference), _FIGURE_SCHEMA)).unionByName(coverage)
    last_date = purchases.agg(F.max("last_test_date").alias("last_date")).scalar()
    return figures.select(
        F.concat(F.lit("recommend_"), "slot").alias("subject"),
        "model",
        "metric",
        F.lit(as_of_date).alias("as_of_date"),
        F.round("value", _DIGITS).alias("value"),
        F.round("standard_error", _DIGITS).alias("standard_error"),
        "observation_count",
        F.lit(as_of_date).alias("first_date"),
        last_date.alias("last_date"),
    ).where(F.col("last_date").isNotNull())


def _summarise_purchases(
    order_lines: DataFrame, products: DataFrame, as_of_date: date, end_date: date, settings: RecommendSettings
) -> DataFrame:
    """customer_id, product_id, is_known (bought before the date), first_date, last_test_date (NULL: not in test days).

    The same lines count as in the recommendations: known customers, bought and kept, nothing excluded.
    """
    excluded = products.where(
        F.col("department").isin(*settings.excluded_departments) | F.col("category").isin(*settings.excluded_categories)
    )
    is_past = F.col("order_date") < F.lit(as_of_date)
    return (
        order_lines.where(F.col("order_date") < F.lit(end_date))
        .where(F.col("customer_id").isNotNull() & (F.col("quantity") > 0) & ~F.col("is_return"))
        .select("customer_id", "product_id", "order_date")
        .join(excluded.select("product_id"), "product_id", "left_anti")
        .groupBy("customer_id", "product_id")
        .agg(
            F.bool_or(is_past).alias("is_known"),
            F.min("order_date").alias("first_date"),
            F.max(F.when(~is_past, F.col("order_date"))).alias("last_test_date"),
        )
    )


def _with_category(rows: DataFrame, products: DataFrame) -> DataFrame:
    """Rows with their product's category; a product that nobody describes is its own."""
    described = rows.join(products.select("product_id", "category"), "product_id", "left")
    return described.withColumn("category", F.coalesce("category", "product_id"))


def _usual_categories(known: DataFrame) -> DataFrame:
    """customer_id, usual: share of each category in the products bought before the date."""
    counted = known.groupBy("customer_id", "category").count()
    share = F.col("count") / F.sum("count").over(Window.partitionBy("customer_id"))
    entry = F.struct("category", share.alias("share"))
    return (
        counted.select("customer_id", entry.alias("entry"))
        .groupBy("customer_id")
        .agg(F.map_from_entries(F.sort_array(F.collect_list("entry"))).alias("usual"))
    )


def _lists_by_customer(lists: DataFrame) -> DataFrame:
    """customer_id, entries (slot, model, rank, product_id, category, buyers: NULL for none), in that order."""
    entry = F.struct("slot", "model", "rank", "product_id", "category", "buyers")
    return lists.groupBy("customer_id").agg(F.sort_array(F.collect_list(entry)).alias("entries"))


def _relevant_products(
    purchases: DataFrame, buyers: DataFrame, as_of_date: date, settings: RecommendSettings
) -> DataFrame:
    """customer_id, relevant_all, relevant_novel, relevant_cold (products of the test days)."""
    newest = F.lit(as_of_date - timedelta(days=settings.cold_days))
    is_few = F.coalesce("buyers", F.lit(0)) < settings.min_customers
    is_novel, is_cold = ~F.col("is_known"), is_few & (F.col("first_date") >= newest)
    return (
        purchases.where(F.col("last_test_date").isNotNull())
        .drop("first_date")
        .join(buyers, "product_id", "left")
        .groupBy("customer_id")
        .agg(
            F.collect_list("product_id").alias("relevant_all"),
            F.collect_list(F.when(is_novel, F.col("product_id"))).alias("relevant_novel"),
            F.collect_list(F.when(is_novel & is_cold, F.col("product_id"))).alias("relevant_cold"),
        )
    )


def _list_scorer(k: int, reference: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the function that Spark maps over Arrow batches of customers, their lists and what they bought."""

    def score_lists(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = [figure for customer in batch.to_pylist() for figure in _figures_of(customer, k, reference)]
            if rows:
                yield pa.RecordBatch.from_pylist(rows)

    return score_lists


def _figures_of(customer: dict[str, Any], k: int, reference: str) -> Iterator[dict[str, str | float]]:
    usual = dict(customer["usual"] or ())
    for slot, entries in groupby(customer["entries"], itemgetter("slot")):
        relevant = set(customer[f"relevant_{slot}"])
        if not relevant:
            continue
        scores = {
            model: _score(list(ranked), relevant, usual, k, customer["customers"])
            for model, ranked in groupby(entries, itemgetter("model"))
        }
        for model, values in scores.items():
            for metric, value in values.items():
                yield {"slot": slot, "model": model, "metric": metric, "value": value}
                if model != reference and metric in scores.get(reference, ()):
                    difference = value - scores[reference][metric]
                    paired = f"{metric}_minus_{reference}"
                    yield {"slot": slot, "model": model, "metric": paired, "value": difference}


def _score(
    entries: list[dict[str, Any]], relevant: set[str], usual: dict[str, float], k: int, customers: int
) -> dict[str, float]:
    """Every measure of one list; those that are not defined for it are left out."""
    ranked = [entry["product_id"] for entry in entries]
    categories = [entry["category"] for entry in entries]
    recall = recall_at_k(ranked, relevant, k)
    scores = {
        f"ndcg_at_{k}": ndcg_at_k(ranked, relevant, k),
        f"recall_at_{k}": recall,
        f"map_at_{k}": average_precision_at_k(ranked, relevant, k),
        f"mrr_at_{k}": reciprocal_rank_at_k(ranked, relevant, k),
        f"hit_at_{k}": hit_at_k(ranked, relevant, k),
        f"precision_at_{k}": recall * len(relevant) / k,
        f"novelty_at_{k}": fmean(self_information(entry["buyers"] or 0, max(customers, 1)) for entry in entries),
        f"diversity_at_{k}": category_diversity(categories),
        f"miscalibration_at_{k}": category_divergence(categories, usual),
    }
    return {name: value for name, value in scores.items() if not isnan(value)}


def _means(figures: DataFrame) -> DataFrame:
    """Mean over customers, and its standard error (NULL for a single one)."""
    return figures.groupBy("slot", "model", "metric").agg(
        F.avg("value").alias("value"),
        (F.stddev_samp("value") / F.sqrt(F.count("*"))).alias("standard_error"),
        F.count("*").alias("observation_count"),
    )


def _coverage(lists: DataFrame, buyers: DataFrame, min_customers: int, length: int) -> DataFrame:
    """Distinct products in the lists over the products that enough customers bought before the date."""
    catalogue = buyers.agg(F.count_if(F.col("buyers") >= min_customers).alias("catalogue"))
    return (
        lists.where(F.col("slot") != "cold")
        .groupBy("slot", "model")
        .agg(
            F.lit(f"coverage_at_{length}").alias("metric"),
            F.try_divide(F.count_distinct("product_id"), catalogue.scalar()).alias("value"),
            F.lit(None).cast("double").alias("standard_error"),
            F.count_distinct("customer_id").alias("observation_count"),
        )
    )

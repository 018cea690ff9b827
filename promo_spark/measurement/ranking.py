"""How good recommendations were: ranked lists against what customers bought in the days that followed."""

from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.measurement import BACKTESTS
from promo_spark.contracts.recommend import RECOMMENDED_PRODUCTS
from promo_spark.contracts.settings import BacktestSettings, RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.kernels.ranking import average_precision_at_k, hit_at_k, ndcg_at_k, recall_at_k

_REFERENCE = "popularity"
_SCORE_SCHEMA = "customer_id string, slot string, model string, metric string, value double"
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
) -> DataFrame:
    """Judge each model's lists by the purchases from the date on.

    A product is relevant in the slot all when the customer buys it in the test days, and in the slot novel
    when the customer had not bought it before. Judged are customers with a list of any model and at least
    one relevant product in the slot; a model that gives one of them no list scores 0 there. Lists are cut
    at ``list_length``. Besides each model's means there are its paired differences to popularity.

    Args:
        recommended: recommend.products of the date.
        order_lines: silver.order_lines, before and after the date.
        products: silver.products.
        as_of_date: First test day.
        settings: Number of test days, and how much of each list counts.
        recommend_settings: Exclusions and catalogue, as in the recommendations.

    Returns:
        measurement.backtests of the subjects recommend_all and recommend_novel: ndcg, recall, map, hit,
        precision, each with ``_at_<k>`` and as ``_minus_popularity``, with the standard error over customers;
        and coverage, the share of the catalogue that these customers' lists show. Nothing when no purchase
        follows the date.
    """
    length = settings.list_length
    lines = _eligible_lines(order_lines, products, recommend_settings)
    past = lines.where(F.col("order_date") < F.lit(as_of_date))
    end_date = as_of_date + timedelta(days=settings.days)
    test = lines.where((F.col("order_date") >= F.lit(as_of_date)) & (F.col("order_date") < F.lit(end_date)))
    judged = _judged_lists(recommended.where(F.col("rank") <= length), _relevant_products(past, test))
    scores = judged.mapInArrow(_list_scorer(length), _SCORE_SCHEMA)
    figures = _means(_with_differences(scores)).unionByName(
        _coverage(judged, past, recommend_settings.min_customers, length)
    )
    last_tested = test.agg(F.max("order_date").alias("last_date"))
    return figures.select(
        F.concat(F.lit("recommend_"), "slot").alias("subject"),
        "model",
        "metric",
        F.lit(as_of_date).alias("as_of_date"),
        F.round("value", _DIGITS).alias("value"),
        F.round("standard_error", _DIGITS).alias("standard_error"),
        "observation_count",
        F.lit(as_of_date).alias("first_date"),
        last_tested.scalar().alias("last_date"),
    )


def _eligible_lines(order_lines: DataFrame, products: DataFrame, settings: RecommendSettings) -> DataFrame:
    """customer_id, product_id, order_date of the lines that recommendations are learnt from and judged by."""
    excluded = products.where(
        F.col("department").isin(*settings.excluded_departments)
        | F.col("category").isin(*settings.excluded_categories)
    )
    return (
        order_lines.where(F.col("customer_id").isNotNull() & (F.col("quantity") > 0) & ~F.col("is_return"))
        .select("customer_id", "product_id", "order_date")
        .join(excluded.select("product_id"), "product_id", "left_anti")
    )


def _relevant_products(past: DataFrame, test: DataFrame) -> DataFrame:
    """customer_id, slot, relevant (products): one row per customer and slot with at least one."""
    before = past.select("customer_id", "product_id").distinct().withColumn("is_repeat", F.lit(True))
    bought = (
        test.select("customer_id", "product_id")
        .distinct()
        .join(before, ["customer_id", "product_id"], "left")
    )
    slots = F.when(F.col("is_repeat"), F.array(F.lit("all"))).otherwise(F.array(F.lit("all"), F.lit("novel")))
    return (
        bought.select("customer_id", "product_id", F.explode(slots).alias("slot"))
        .groupBy("customer_id", "slot")
        .agg(F.collect_set("product_id").alias("relevant"))
    )


def _judged_lists(recommended: DataFrame, relevant: DataFrame) -> DataFrame:
    """customer_id, slot, model, ranked, relevant: every model of a slot for every customer judged in it."""
    lists = recommended.groupBy("customer_id", "slot", "model").agg(
        F.array_sort(F.collect_list(F.struct("rank", "product_id"))).alias("entries")
    )
    known = recommended.select("customer_id").distinct()
    models = recommended.select("slot", "model").distinct()
    pairs = relevant.join(known, "customer_id").join(F.broadcast(models), "slot")
    return pairs.join(lists, ["customer_id", "slot", "model"], "left").select(
        "customer_id", "slot", "model", F.col("entries.product_id").alias("ranked"), "relevant"
    )


def _list_scorer(k: int) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the function that Spark maps over Arrow batches of judged lists."""

    def score(ranked: list[str], relevant: set[str]) -> dict[str, float]:
        recall = recall_at_k(ranked, relevant, k)
        return {
            f"ndcg_at_{k}": ndcg_at_k(ranked, relevant, k),
            f"recall_at_{k}": recall,
            f"map_at_{k}": average_precision_at_k(ranked, relevant, k),
            f"hit_at_{k}": hit_at_k(ranked, relevant, k),
            f"precision_at_{k}": recall * len(relevant) / k,
        }

    def score_lists(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = [
                {**row, "metric": metric, "value": value}
                for row in batch.to_pylist()
                for metric, value in score(row.pop("ranked") or [], set(row.pop("relevant"))).items()
            ]
            if rows:
                yield pa.RecordBatch.from_pylist(rows)

    return score_lists


def _with_differences(scores: DataFrame) -> DataFrame:
    """Add to each customer's figures their differences to the reference model, customer by customer."""
    pair = Window.partitionBy("customer_id", "slot", "metric")
    reference = F.max(F.when(F.col("model") == _REFERENCE, F.col("value"))).over(pair)
    differences = scores.withColumn("value", F.col("value") - reference).withColumn(
        "metric", F.concat("metric", F.lit(f"_minus_{_REFERENCE}"))
    )
    return scores.unionByName(differences.where((F.col("model") != _REFERENCE) & F.col("value").isNotNull()))


def _means(scores: DataFrame) -> DataFrame:
    return scores.groupBy("slot", "model", "metric").agg(
        F.avg("value").alias("value"),
        _standard_error(F.col("value")).alias("standard_error"),
        F.count("*").alias("observation_count"),
    )


def _standard_error(value: Column) -> Column:
    """Of a mean over independent rows; NULL for a single one."""
    return F.stddev_samp(value) / F.sqrt(F.count("*"))


def _coverage(judged: DataFrame, past: DataFrame, min_customers: int, length: int) -> DataFrame:
    """Distinct products in the judged lists over products that may be recommended."""
    buyers = past.groupBy("product_id").agg(F.count_distinct("customer_id").alias("customer_count"))
    catalogue = buyers.where(F.col("customer_count") >= min_customers).agg(F.count("*").alias("catalogue"))
    return (
        judged.select("customer_id", "slot", "model", F.explode("ranked").alias("product_id"))
        .groupBy("slot", "model")
        .agg(
            (F.count_distinct("product_id") / catalogue.scalar()).alias("value"),
            F.count_distinct("customer_id").alias("observation_count"),
        )
        .withColumns({"metric": F.lit(f"coverage_at_{length}"), "standard_error": F.lit(None).cast("double")})
    )

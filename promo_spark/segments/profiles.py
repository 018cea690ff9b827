"""What makes each segment different from the average customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F

from promo_spark.contracts.features import AFFINITY, CUSTOMER_FEATURES
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS, SEGMENT_PROFILES
from promo_spark.contracts.step import produces
from promo_spark.segments.names import describe_segment, segment_names

_FAVOURITES = 6
_NOTICEABLE_SHARE = 0.005


@dataclass(frozen=True)
class Portrait:
    """Words and place of one segment, made from its aggregates on the driver."""

    segment_id: int
    segment_name: str
    description: str
    averages: dict[str, float]
    contrasts: dict[str, float]
    map_x: float
    map_y: float


def summarise(
    members: DataFrame, columns: Sequence[str]
) -> tuple[dict[int, dict[str, float]], dict[str, float], dict[str, float]]:
    """Means per segment, and mean and standard deviation over all; an action over one row per segment.

    Args:
        members: features.customers joined with ``segment_id``.
        columns: Numeric columns to profile.
    """
    means = [F.avg(F.col(name).cast("double")).alias(name) for name in columns]
    spreads = [F.stddev_pop(F.col(name).cast("double")).alias(name) for name in columns]
    rows = members.groupBy("segment_id").agg(*means).collect()
    overall, spread = members.agg(*means).collect()[0], members.agg(*spreads).collect()[0]

    def known(row: Row) -> dict[str, float]:
        return {name: float(value) for name in columns if (value := row[name]) is not None}

    return {row["segment_id"]: known(row) for row in rows}, known(overall), known(spread)


def draw_portraits(
    averages: Mapping[int, Mapping[str, float]],
    overall: Mapping[str, float],
    spread: Mapping[str, float],
    *,
    shares: Mapping[int, tuple[float, float]],
    places: Mapping[int, tuple[float, float]],
) -> list[Portrait]:
    """Put segments into words.

    Args:
        averages: Mean per column, by segment.
        overall: Mean per column over all customers.
        spread: Standard deviation per column over all customers.
        shares: Share of customers and of spend, by segment.
        places: Coordinates on the map, by segment.
    """
    order = sorted(averages)
    contrasts = [
        {name: (mean - overall[name]) / spread[name] for name, mean in averages[s].items() if spread.get(name, 0.0) > 0}
        for s in order
    ]
    names = segment_names(contrasts)
    return [
        Portrait(
            segment_id=segment,
            segment_name=name,
            description=describe_segment(
                averages[segment], overall, customer_rate=shares[segment][0], sales_rate=shares[segment][1]
            ),
            averages=dict(averages[segment]),
            contrasts=contrast,
            map_x=places[segment][0],
            map_y=places[segment][1],
        )
        for segment, name, contrast in zip(order, names, contrasts, strict=True)
    ]


@produces(SEGMENT_PROFILES, segments=SEGMENT_CUSTOMERS, customers=CUSTOMER_FEATURES, affinity=AFFINITY)
def build_profiles(
    *, segments: DataFrame, customers: DataFrame, affinity: DataFrame, portraits: Sequence[Portrait]
) -> DataFrame:
    """Sizes, value and favourite categories of each segment, with its portrait.

    Args:
        segments: segments.customers of one date.
        customers: features.customers of the same date.
        affinity: features.affinity of the same date.
        portraits: One per segment.

    Returns:
        segments.profiles, one row per segment.
    """
    everyone = Window.partitionBy("as_of_date")
    sizes = (
        segments.join(customers.select("customer_id", "spend_91d_amount"), "customer_id", "left")
        .groupBy("segment_id", "as_of_date")
        .agg(
            F.count("*").alias("customer_count"),
            F.sum("spend_91d_amount").cast("decimal(18,2)").alias("spend_91d_amount"),
        )
        .withColumn("customer_rate", F.col("customer_count") / F.sum("customer_count").over(everyone))
        .withColumn(
            "sales_rate",
            (F.col("spend_91d_amount") / F.nullif(F.sum("spend_91d_amount").over(everyone), F.lit(0))).cast("double"),
        )
    )
    told = segments.sparkSession.createDataFrame(
        [tuple(vars(portrait).values()) for portrait in portraits],
        "segment_id INT, segment_name STRING, description STRING, averages MAP<STRING,DOUBLE>, "
        "contrasts MAP<STRING,DOUBLE>, map_x DOUBLE, map_y DOUBLE",
    )
    favourites = _favourite_categories(segments, affinity)
    return sizes.join(F.broadcast(told), "segment_id").join(favourites, "segment_id", "left")


def _favourite_categories(segments: DataFrame, affinity: DataFrame) -> DataFrame:
    """Categories a segment over-buys most: its share of spend over everybody's, where noticeable."""
    spend = (
        affinity.join(segments.select("customer_id", "segment_id"), "customer_id")
        .groupBy("segment_id", "category")
        .agg(F.sum("spend_amount").cast("double").alias("spend"))
    )
    own = F.col("spend") / F.sum("spend").over(Window.partitionBy("segment_id"))
    category_total = F.sum("spend").over(Window.partitionBy("category"))
    usual = category_total / F.sum("spend").over(Window.partitionBy())
    rated = spend.withColumns({"share": own, "index": F.round(own / usual, 6)})
    best = Window.partitionBy("segment_id").orderBy(F.desc("index"), "category")
    return (
        rated.where((F.col("share") >= _NOTICEABLE_SHARE) & (F.col("index") > 1))
        .withColumn("place", F.row_number().over(best))
        .where(F.col("place") <= _FAVOURITES)
        .groupBy("segment_id")
        .agg(F.array_sort(F.collect_list(F.struct("place", "category"))).alias("ranked"))
        .select("segment_id", F.col("ranked.category").alias("favourite_categories"))
    )

"""What makes each segment different from the average customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.features import AFFINITY, CUSTOMER_FEATURES
from promo_spark.contracts.rows import local_frame
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS, SEGMENT_PROFILES
from promo_spark.contracts.step import produces
from promo_spark.segments.names import describe_segment, segment_names

_FAVOURITES = 6
_NOTICEABLE_SHARE = 0.01
_UNKNOWN = "(unknown)"
_CONSTANT_SD = 1e-9
# Sums of decimals do not depend on the order of the rows.
_EXACT = "decimal(28,10)"


@dataclass(frozen=True)
class Summary:
    """Means by segment, and mean and standard deviation over all, by column."""

    averages: dict[int, dict[str, float]]
    overall: dict[str, float]
    spread: dict[str, float]


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


def summarise(members: DataFrame, columns: Sequence[str]) -> Summary:
    """Means per segment and over all; an action that returns one row per segment.

    Args:
        members: features.customers joined with ``segment_id``.
        columns: Numeric columns to profile.
    """
    sums: list[Expression] = []
    for name in columns:
        value = F.col(name).cast("double")
        sums += [
            F.count(name).alias(f"n_{name}"),
            F.sum(value.cast(_EXACT)).cast("double").alias(f"sum_{name}"),
            F.sum((value * value).cast(_EXACT)).cast("double").alias(f"squares_{name}"),
        ]
    rows = members.groupBy("segment_id").agg(*sums).orderBy("segment_id").collect()
    counts = {name: sum(row[f"n_{name}"] for row in rows) for name in columns}
    known = [name for name in columns if counts[name]]

    def total(kind: str, name: str) -> float:
        return sum(row[f"{kind}_{name}"] or 0.0 for row in rows)

    overall = {name: total("sum", name) / counts[name] for name in known}
    variances = {name: total("squares", name) / counts[name] - overall[name] ** 2 for name in known}
    averages = {
        row["segment_id"]: {name: row[f"sum_{name}"] / row[f"n_{name}"] for name in known if row[f"n_{name}"]}
        for row in rows
    }
    return Summary(averages, overall, {name: max(value, 0.0) ** 0.5 for name, value in variances.items()})


def draw_portraits(
    summary: Summary, *, shares: Mapping[int, tuple[float, float]], places: Mapping[int, tuple[float, float]]
) -> list[Portrait]:
    """Put segments into words.

    Args:
        summary: Means per segment and over all.
        shares: Share of customers and of spend, by segment.
        places: Coordinates on the map, by segment.
    """
    order = sorted(summary.averages)
    contrasts = [
        {
            name: (mean - summary.overall[name]) / summary.spread[name]
            for name, mean in summary.averages[segment].items()
            if summary.spread[name] > _CONSTANT_SD
        }
        for segment in order
    ]
    names = segment_names(contrasts)
    return [
        Portrait(
            segment_id=segment,
            segment_name=name,
            description=describe_segment(
                summary.averages[segment],
                summary.overall,
                customer_rate=shares[segment][0],
                sales_rate=shares[segment][1],
            ),
            averages=dict(summary.averages[segment]),
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
            _rate(F.col("spend_91d_amount"), F.sum("spend_91d_amount").over(everyone)),
        )
    )
    told = local_frame(
        segments.sparkSession,
        [tuple(vars(portrait).values()) for portrait in portraits],
        "segment_id INT, segment_name STRING, description STRING, averages MAP<STRING,DOUBLE>, "
        "contrasts MAP<STRING,DOUBLE>, map_x DOUBLE, map_y DOUBLE",
    )
    favourites = _favourite_categories(segments, affinity)
    return sizes.join(F.broadcast(told), "segment_id").join(favourites, "segment_id", "left")


def _favourite_categories(segments: DataFrame, affinity: DataFrame) -> DataFrame:
    """Categories a segment over-buys most: its share of spend over everybody's, where noticeable."""
    spend = (
        affinity.where(F.col("category") != _UNKNOWN)
        .join(segments.select("customer_id", "segment_id"), "customer_id")
        .groupBy("as_of_date", "segment_id", "category")
        .agg(F.sum(F.greatest("spend_amount", F.lit(0))).alias("spend"))
    )
    own = _rate(F.col("spend"), F.sum("spend").over(Window.partitionBy("segment_id")))
    category_total = F.sum("spend").over(Window.partitionBy("category"))
    usual = _rate(category_total, F.sum("spend").over(Window.partitionBy("as_of_date")))
    rated = spend.withColumns({"share": own, "index": F.round(own / F.nullif(usual, F.lit(0.0)), 6)})
    best = Window.partitionBy("segment_id").orderBy(F.desc("index"), "category")
    return (
        rated.where((F.col("share") >= _NOTICEABLE_SHARE) & (F.col("index") > 1))
        .withColumn("place", F.row_number().over(best))
        .where(F.col("place") <= _FAVOURITES)
        .groupBy("segment_id")
        .agg(F.array_sort(F.collect_list(F.struct("place", "category"))).alias("ranked"))
        .select("segment_id", F.col("ranked.category").alias("favourite_categories"))
    )


def _rate(part: Expression, whole: Expression) -> Expression:
    return F.when(whole > 0, part.cast("double") / whole.cast("double"))

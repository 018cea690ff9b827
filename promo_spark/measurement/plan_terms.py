"""What an earlier plan said, beside what followed."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT
from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.kpis import KPI_TERMS
from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ASSIGNMENTS, ORDER_LINES, PROMOTIONS, REDEMPTIONS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE

_TERMS = ("kpi", "scope", "scope_id", "comparison", "customer_id", AS_OF_DATE, "a1", "n1", "a0", "n0", "b1", "b0")


@produces(
    KPI_TERMS,
    segment_plan=SEGMENT_PLAN,
    segment_customers=SEGMENT_CUSTOMERS,
    order_lines=ORDER_LINES,
    product_features=PRODUCT_FEATURES,
)
def lay_out_plan_terms(
    *,
    segment_plan: DataFrame,
    segment_customers: DataFrame,
    order_lines: DataFrame,
    product_features: DataFrame,
    as_of_date: date,
) -> DataFrame:
    """Lay out actual against expected sales of the newest earlier plan whose days are over.

    Expected is what the plan says with its offers where it promotes, and without any elsewhere. It is a number, not a
    sample: all of the error is the customers'.

    Args:
        segment_plan: plans.segment_plan of earlier dates.
        segment_customers: segments.customers of the same dates.
        order_lines: silver.order_lines; refunds and outliers are left out, as they were when the plan was made.
        product_features: features.products, for categories.
        as_of_date: Days before it are known.

    Returns:
        measurement.kpi_terms of sales_attainment, for everybody and by segment of the plan.
    """
    over = segment_plan.where((F.col("end_date") < F.lit(as_of_date)) & (F.col(AS_OF_DATE) < F.lit(as_of_date)))
    newest = over.agg(F.max(AS_OF_DATE).alias("_planned"))
    plan = over.join(F.broadcast(newest), F.col(AS_OF_DATE) == F.col("_planned")).drop(AS_OF_DATE)
    is_promoted = F.col("decision") == "promote"
    said = F.when(is_promoted, F.col("expected_sales_amount")).otherwise(F.col("base_sales_amount"))
    cells = plan.where(said.isNotNull()).select("segment_id", "category", "start_date", "end_date", said.alias("said"))
    members = segment_customers.join(F.broadcast(newest), F.col(AS_OF_DATE) == F.col("_planned"))
    members = members.select("customer_id", "segment_id")
    categories = product_features.select("product_id", "category")
    sound = order_lines.where(~F.col("is_return") & ~F.col("is_outlier"))
    bought = (
        sound.join(F.broadcast(categories), "product_id")
        .join(members, "customer_id")
        .join(F.broadcast(cells), ["segment_id", "category"])
        .where(F.col("order_date").between(F.col("start_date"), F.col("end_date")))
        .groupBy("customer_id")
        .agg((F.sum(F.rint(F.col("sales_amount").cast("double") * 100).cast("bigint")) / 100).alias("actual"))
    )
    expected = cells.groupBy("segment_id").agg(F.sum(F.col("said").cast("decimal(28,6)")).alias("_said"))
    sizes = members.groupBy("segment_id").agg(F.count("*").alias("_size"))
    shared = expected.join(sizes, "segment_id").select(
        "segment_id", (F.col("_said").cast("double") / F.col("_size")).alias("expected")
    )
    brought = members.join(F.broadcast(shared), "segment_id").join(bought, "customer_id", "left")
    segment = F.struct(F.lit("segment").alias("scope"), F.col("segment_id").cast("string").alias("scope_id"))
    everybody = F.struct(F.lit("all").alias("scope"), F.lit("all").alias("scope_id"))
    scoped = brought.withColumn("_scope", F.explode(F.array(everybody, segment)))
    overall = brought.agg((F.sum("expected") / F.count("*")).alias("_mean"))
    is_all = F.col("_scope.scope") == "all"
    # Spread evenly, so that what was said does not vary between customers.
    even = F.when(is_all, F.col("_mean")).otherwise(F.col("expected"))
    told = scoped.crossJoin(F.broadcast(overall)).select("customer_id", "_scope.*", even.alias("n1"), "actual")
    return _complete(told, "sales_attainment", as_of_date)


@produces(
    KPI_TERMS,
    assignment=ASSIGNMENT,
    assignments=ASSIGNMENTS,
    promotions=PROMOTIONS,
    redemptions=REDEMPTIONS,
)
def lay_out_redemption_terms(
    *,
    assignment: DataFrame,
    assignments: DataFrame,
    promotions: DataFrame,
    redemptions: DataFrame,
    as_of_date: date,
) -> DataFrame:
    """Lay out actual against expected redemptions of what earlier plans assigned and was really given.

    Args:
        assignment: plans.assignment of earlier dates.
        assignments: silver.assignments: only promotions that the customer was given count.
        promotions: silver.promotions; those that have not ended before the date are left out.
        redemptions: silver.redemptions.
        as_of_date: Days before it are known.

    Returns:
        measurement.kpi_terms of redemption_attainment, for everybody and by promotion.
    """
    over = promotions.where(F.col("end_date") < F.lit(as_of_date)).select("promotion_id", "start_date", "end_date")
    given = assignments.where((F.col("arm") != NO_ARM) & ~F.col("is_holdout"))
    given = given.select("customer_id", F.col("arm").alias("promotion_id")).distinct()
    earlier = assignment.where((F.col(AS_OF_DATE) < F.lit(as_of_date)) & F.col("redemption_prob").isNotNull())
    told = earlier.select("customer_id", F.col("arm").alias("promotion_id"), "redemption_prob", AS_OF_DATE)
    newest = told.groupBy("customer_id", "promotion_id").agg(
        F.max_by("redemption_prob", F.struct(AS_OF_DATE, "redemption_prob")).alias("n1")
    )
    used = redemptions.join(F.broadcast(over), "promotion_id").where(
        F.col("redeemed_date").between(F.col("start_date"), F.col("end_date"))
    )
    used = used.select("customer_id", "promotion_id", F.lit(1.0).alias("actual")).distinct()
    pairs = (
        newest.join(F.broadcast(over.select("promotion_id")), "promotion_id")
        .join(given, ["customer_id", "promotion_id"], "left_semi")
        .join(used, ["customer_id", "promotion_id"], "left")
    )
    own = F.struct(F.lit("promotion").alias("scope"), F.col("promotion_id").alias("scope_id"))
    everybody = F.struct(F.lit("all").alias("scope"), F.lit("all").alias("scope_id"))
    scoped = pairs.withColumn("_scope", F.explode(F.array(everybody, own))).select("*", "_scope.*")
    sums = scoped.groupBy("customer_id", "scope", "scope_id").agg(
        F.sum("n1").alias("n1"), F.sum("actual").alias("actual")
    )
    return _complete(sums, "redemption_attainment", as_of_date)


def _complete(told: DataFrame, kpi: str, as_of_date: date) -> DataFrame:
    """Expected is 1 in the ratio of actual to expected: what it is compared with."""
    return told.withColumns(
        {
            "kpi": F.lit(kpi),
            "comparison": F.lit("expected"),
            AS_OF_DATE: F.lit(as_of_date),
            "a1": F.coalesce("actual", F.lit(0.0)),
            "a0": F.lit(1.0),
            "n0": F.lit(1.0),
            "b1": F.lit(0.0),
            "b0": F.lit(0.0),
        }
    ).select(*_TERMS)

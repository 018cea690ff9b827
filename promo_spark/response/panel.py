"""The weekly panel: what each segment buys in each planned category, and what promoted the category that week."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.response import PANEL, PLANNED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ORDER_LINES, PRICES
from promo_spark.contracts.step import produces
from promo_spark.response.levers import category_levers
from promo_spark.response.lines import full_weeks, sound_lines

_REST = ""  # stands for all that is not planned, so that a segment's rows add up to its traffic
_CELL = ("segment_id", "category", "week_start_date")


@produces(
    PANEL,
    order_lines=ORDER_LINES,
    prices=PRICES,
    planned_products=PLANNED_PRODUCTS,
    segment_customers=SEGMENT_CUSTOMERS,
)
def build_panel(
    *,
    order_lines: DataFrame,
    prices: DataFrame,
    planned_products: DataFrame,
    segment_customers: DataFrame,
    as_of_date: date,
) -> DataFrame:
    """Lay out the full weeks before a date: the history that effects are learnt from.

    Args:
        order_lines: silver.order_lines; lines from the date on are ignored.
        prices: silver.prices, for display and mailer; may be empty.
        planned_products: response.products: what is planned, and fixed weights.
        segment_customers: segments.customers; lines of other customers count in the levers only.
        as_of_date: Weeks that end on or after this date are left out.

    Returns:
        response.panel, one row per segment, planned category and full week.
    """
    lines = sound_lines(order_lines).where(F.col("order_date") < F.lit(as_of_date))
    return _lay_out(
        lines=lines,
        weeks=full_weeks(lines=lines, as_of_date=as_of_date),
        prices=prices.where(F.col("week_start_date") < F.lit(as_of_date)),
        planned=planned_products,
        members=segment_customers,
        as_of_date=as_of_date,
    )


def build_later_panel(
    *,
    order_lines: DataFrame,
    prices: DataFrame,
    planned_products: DataFrame,
    segment_customers: DataFrame,
    as_of_date: date,
    weeks: int,
) -> DataFrame:
    """Lay out the full weeks from a date on, with all that was known at the date frozen.

    Only outcomes and the promotions that were run come from the later weeks. For measuring forecasts: never an
    input of a decision.

    Args:
        order_lines: silver.order_lines, later lines included.
        prices: silver.prices, later weeks included.
        planned_products: response.products as of the date.
        segment_customers: segments.customers as of the date.
        as_of_date: The day of the forecast.
        weeks: Weeks from the date on; fewer where orders end sooner.

    Returns:
        Rows as response.panel for the later weeks; traffic is over the mean week before the date.
    """
    end = F.lit(as_of_date + timedelta(weeks=weeks + 1))
    lines = sound_lines(order_lines).where(F.col("order_date") < end)
    later = _lay_out(
        lines=lines,
        weeks=full_weeks(lines=lines, as_of_date=as_of_date, later_weeks=weeks),
        prices=prices.where(F.col("week_start_date").between(F.lit(as_of_date), end)),
        planned=planned_products,
        members=segment_customers,
        as_of_date=as_of_date,
    )
    return later.where(F.col("week_start_date") >= F.lit(as_of_date)).to(PANEL.schema(all_nullable=True))


def _lay_out(
    *,
    lines: DataFrame,
    weeks: DataFrame,
    prices: DataFrame,
    planned: DataFrame,
    members: DataFrame,
    as_of_date: date,
) -> DataFrame:
    sold = _segment_sales(lines=lines, planned=planned, members=members)
    rest = planned.select(F.lit(_REST).alias("category")).limit(1)
    categories = planned.select("category").distinct().union(rest)
    cells = members.select("segment_id").distinct().crossJoin(F.broadcast(categories))
    grid = cells.crossJoin(F.broadcast(weeks)).join(sold, list(_CELL), "left")
    levers = category_levers(lines=lines, planned=planned, prices=prices)
    rows = _with_traffic(grid, as_of_date=as_of_date).where(F.col("category") != _REST)
    amounts = ("gross_amount", "sales_amount", "depth_rate", "display_rate", "mailer_rate")
    return rows.join(F.broadcast(levers), ["category", "week_start_date"], "left").select(
        *_CELL,
        F.lit(as_of_date).alias("as_of_date"),
        *[F.coalesce(F.col(name).cast(T.DoubleType()), F.lit(0.0)).alias(name) for name in amounts],
        "traffic_index",
    )


def _segment_sales(*, lines: DataFrame, planned: DataFrame, members: DataFrame) -> DataFrame:
    """Weekly sales per segment and planned category, and of the rest."""
    owned = lines.join(members.select("customer_id", "segment_id"), "customer_id", "inner")
    owned = owned.join(F.broadcast(planned.select("product_id", "category")), "product_id", "left")
    category = F.coalesce(F.col("category"), F.lit(_REST)).alias("category")
    return owned.groupBy("segment_id", category, "week_start_date").agg(
        F.sum("gross_amount").alias("gross_amount"), F.sum("sales_amount").alias("sales_amount")
    )


def _with_traffic(grid: DataFrame, *, as_of_date: date) -> DataFrame:
    """Add a segment's sales in a week over those of its mean week before the date; 1 where it never bought."""
    amount = F.coalesce(F.col("gross_amount"), F.lit(0).cast(T.DecimalType(18, 2)))
    known = F.when(F.col("week_start_date") < F.lit(as_of_date), amount)
    is_rest = F.when((F.col("week_start_date") < F.lit(as_of_date)) & (F.col("category") == _REST), F.lit(1))
    segment = Window.partitionBy("segment_id")
    total = F.sum(amount).over(Window.partitionBy("segment_id", "week_start_date")).cast(T.DoubleType())
    usual = F.sum(known).over(segment).cast(T.DoubleType()) / F.count(is_rest).over(segment)
    index = F.when(F.col("usual_amount") > 0, F.col("total_amount") / F.col("usual_amount")).otherwise(F.lit(1.0))
    return grid.withColumns({"total_amount": total, "usual_amount": usual}).withColumn("traffic_index", index)

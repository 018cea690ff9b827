"""Rows to learn and make sales forecasts from: what was known some weeks ahead, and the promotions of the week.

A row pairs an origin, the last week that is known, with a target week some weeks on. The cell's own past is frozen
at the origin; the promotions of the target week and of the two weeks before it are the retailer's own calendar,
which is planned ahead and so may be known.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

LEVERS = ("depth_rate", "display_rate", "mailer_rate")
PAST_FEATURES = ("horizon_weeks", "level", "spread", "recent_1w", "recent_4w", "recent_8w", "traffic_4w")
LEVER_FEATURES = (
    *LEVERS,
    *(f"{name}_change" for name in LEVERS),
    *(f"{name}_carry" for name in LEVERS),
)
SEASON_FEATURES = ("season_sin", "season_cos")
CELL = ("segment_id", "category")

_MIN_HISTORY = 8  # weeks: the longest recent mean
_LEAST_LEVEL = 1e-6  # currency per week: a weight must not be 0 for all rows
_CARRY = 2  # weeks in which customers still live on what they stocked
_SPREAD_FLOOR = 0.05  # log points: no cell is so regular that its interval may shrink to nothing


def forecast_rows(*, panel: DataFrame, horizons_weeks: Sequence[int]) -> DataFrame:
    """Pair every origin that has eight weeks behind it with the target weeks after it.

    A cell's level is half the mean of its last eight weeks and half the mean of all weeks so far, `level` its
    log(1 + currency per week); the recent means are deviations from that. The label is log(1 + sales over level):
    relative, so that trees can follow any level, and with one level added, not one unit of currency, so that an empty
    week of a small cell is no more extreme than that of a large one. Rows weigh as the square root of the level,
    between counting cells alike and counting currency.

    Args:
        panel: Rows as response.panel without gaps in weeks, later weeks allowed.
        horizons_weeks: Weeks from origin to target.

    Returns:
        segment_id, category, origin_week, week_start_date (the target), the features above (`spread`: how much the
        cell's weeks differ, log points), last_weeks_amount (mean of the four weeks to the origin), gross_amount,
        `label` and `weight`.
    """
    weeks_ahead = F.explode(F.array(*[F.lit(int(weeks)) for weeks in horizons_weeks]))
    origins = _origins(panel).withColumn("horizon_weeks", weeks_ahead)
    origins = origins.withColumn("week_start_date", F.date_add("origin_week", F.col("horizon_weeks") * 7))
    rows = origins.join(_targets(panel), [*CELL, "week_start_date"], "inner")
    for name in LEVERS:
        usual = F.col(f"usual_{name}")
        rows = rows.withColumn(f"{name}_change", F.col(name) - usual)
        rows = rows.withColumn(f"{name}_carry", F.col(f"carried_{name}") - usual)
    turn = F.dayofyear("week_start_date") * F.lit(2.0 * 3.141592653589793 / 365.25)
    rows = rows.withColumns({"season_sin": F.sin(turn), "season_cos": F.cos(turn)})
    return rows.withColumn("horizon_weeks", F.col("horizon_weeks").cast("double")).select(
        *CELL,
        "origin_week",
        "week_start_date",
        *PAST_FEATURES,
        *LEVER_FEATURES,
        *SEASON_FEATURES,
        "last_weeks_amount",
        "gross_amount",
        F.coalesce(F.log1p(F.try_divide("gross_amount", F.expm1("level"))), F.lit(0.0)).alias("label"),
        F.sqrt(F.greatest(F.expm1("level"), F.lit(_LEAST_LEVEL))).alias("weight"),
    )


def later_rows(*, panel: DataFrame, as_of_date: date, weeks: int) -> DataFrame:
    """Rows to forecast the weeks from a date on, all from the last week before it.

    Args:
        panel: Rows as response.panel before the date, and later weeks for promotions and outcomes.
        as_of_date: The day of the forecast.
        weeks: Weeks from the date on.
    """
    rows = forecast_rows(panel=panel, horizons_weeks=range(1, weeks + 2))
    later = rows.where(F.col("week_start_date") >= F.lit(as_of_date))
    last_known = F.date_sub(F.date_trunc("week", F.lit(as_of_date)).cast("date"), 7)
    return later.where(F.col("origin_week") == last_known)


def usual_rows(*, panel: DataFrame) -> DataFrame:
    """One row per cell: the week after the last known one, with promotions as they usually are.

    The base point at which an offer is switched on: every change and carry is 0.
    """
    newest = Window.partitionBy(*CELL).orderBy(F.desc("origin_week"))
    origins = _origins(panel).withColumn("age", F.row_number().over(newest)).where(F.col("age") == 1)
    turn = F.dayofyear(F.date_add("origin_week", 7)) * F.lit(2.0 * 3.141592653589793 / 365.25)
    return origins.select(
        *CELL,
        F.lit(1.0).alias("horizon_weeks"),
        *PAST_FEATURES[1:],
        *[F.col(f"usual_{name}").alias(name) for name in LEVERS],
        *[F.lit(0.0).alias(f"{name}_{kind}") for kind in ("change", "carry") for name in LEVERS],
        F.sin(turn).alias("season_sin"),
        F.cos(turn).alias("season_cos"),
    )


def _origins(panel: DataFrame) -> DataFrame:
    ordered = Window.partitionBy(*CELL).orderBy("week_start_date")
    so_far = ordered.rowsBetween(Window.unboundedPreceding, 0)
    amount, eight = F.col("gross_amount"), _last(ordered, 8)
    means = panel.withColumns(
        {
            "week_count": F.count("*").over(so_far),
            "mean_all": F.avg(amount).over(so_far),
            "mean_4w": F.avg(amount).over(_last(ordered, 4)),
            "mean_8w": F.avg(amount).over(eight),
            "traffic_4w": F.avg("traffic_index").over(_last(ordered, 4)),
            "spread": F.stddev_samp(F.log1p(amount)).over(_last(ordered, 26)),
            **{f"usual_{name}": F.avg(name).over(eight) for name in LEVERS},
        }
    ).where(F.col("week_count") >= _MIN_HISTORY)
    level = F.log1p((F.col("mean_8w") + F.col("mean_all")) / 2.0)

    def deviation(name: str) -> Column:
        return F.log1p(name) - F.col("level")

    return means.withColumn("level", level).select(
        *CELL,
        F.col("week_start_date").alias("origin_week"),
        "level",
        deviation("gross_amount").alias("recent_1w"),
        deviation("mean_4w").alias("recent_4w"),
        deviation("mean_8w").alias("recent_8w"),
        "traffic_4w",
        F.greatest("spread", F.lit(_SPREAD_FLOOR)).alias("spread"),
        F.col("mean_4w").alias("last_weeks_amount"),
        *[f"usual_{name}" for name in LEVERS],
    )


def _targets(panel: DataFrame) -> DataFrame:
    ordered = Window.partitionBy(*CELL).orderBy("week_start_date")
    carried = [F.avg(name).over(ordered.rowsBetween(-_CARRY, -1)).alias(f"carried_{name}") for name in LEVERS]
    return panel.select(*CELL, "week_start_date", "gross_amount", *LEVERS, *carried)


def _last(ordered: WindowSpec, weeks: int) -> WindowSpec:
    return ordered.rowsBetween(1 - weeks, 0)

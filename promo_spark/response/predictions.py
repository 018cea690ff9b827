"""What the fitted models say of later weeks, beside what was sold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import reduce

from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.measurement import FORECAST_ACTUALS

LAST_WEEKS_MEAN = "last_weeks_mean"


def predict_later(*, models: Mapping[str, PipelineModel], rows: DataFrame, as_of_date: date) -> DataFrame:
    """Forecast later weeks by every model, and by the mean of the four weeks before the date.

    Args:
        models: Fitted models by name.
        rows: What `later_rows` returned.
        as_of_date: The day of the forecast.

    Returns:
        Rows as measurement.forecast_actuals.
    """
    unknown = F.lit(None).cast("double")
    naive = rows.withColumns(
        {"predicted_amount": F.col("last_weeks_amount"), "low_amount": unknown, "high_amount": unknown}
    )
    forecasts = {**{name: model.transform(rows) for name, model in models.items()}, LAST_WEEKS_MEAN: naive}
    told = [
        forecast.select(
            "segment_id",
            "category",
            "week_start_date",
            F.lit(name).alias("model"),
            F.lit(as_of_date).alias("as_of_date"),
            F.col("gross_amount").alias("actual_amount"),
            "predicted_amount",
            "low_amount",
            "high_amount",
        )
        for name, forecast in forecasts.items()
    ]
    return reduce(DataFrame.unionByName, told).to(FORECAST_ACTUALS.schema(all_nullable=True))

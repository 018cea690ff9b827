"""How often customers are spoken to, against the cap."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT
from promo_spark.contracts.contacts import past_contacts
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.fairness import CONTACT_PRESSURE
from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.silver import ASSIGNMENTS, EXPOSURES
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE


@produces(
    CONTACT_PRESSURE,
    customer_features=CUSTOMER_FEATURES,
    assignments=ASSIGNMENTS,
    exposures=EXPOSURES,
    handed_over=FEEDBACK,
    assignment=ASSIGNMENT,
)
def count_contact_pressure(
    *,
    customer_features: DataFrame,
    assignments: DataFrame,
    exposures: DataFrame,
    handed_over: DataFrame,
    assignment: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: AssignSettings,
) -> DataFrame:
    """Count how many customers had how many contacts, before the plan and with it.

    Args:
        customer_features: features.customers: customers without a contact count as well.
        assignments: silver.assignments.
        exposures: silver.exposures.
        handed_over: learning.feedback: what was given counts, seen or not.
        assignment: plans.assignment of the date.
        as_of_date: Day of the plan.
        time_zone: The retailer's.
        settings: The contact cap and its days.

    Returns:
        measurement.contact_pressure.
    """
    contacts = past_contacts(
        assignments=assignments,
        exposures=exposures,
        handed_over=handed_over,
        as_of_date=as_of_date,
        time_zone=time_zone,
    )
    first = F.lit(as_of_date - timedelta(days=settings.contact_cap_days))
    past = contacts.where(F.col("day") >= first).select("customer_id")
    planned = assignment.where(F.col("arm") != NO_ARM).select("customer_id")
    told = past.withColumn("_past", F.lit(1)).unionByName(planned.withColumn("_past", F.lit(0)))
    counted = told.groupBy("customer_id").agg(F.sum("_past").alias("past"), F.count("*").alias("with_plan"))
    everybody = customer_features.select("customer_id").join(counted, "customer_id", "full")
    periods = [
        F.struct(F.lit(name).alias("period"), F.coalesce(name, F.lit(0)).cast("long").alias("contact_count"))
        for name in ("past", "with_plan")
    ]
    histogram = (
        everybody.select(F.explode(F.array(*periods)).alias("_told"))
        .groupBy("_told.period", "_told.contact_count")
        .agg(F.count("*").alias("customer_count"))
    )
    whole = Window.partitionBy("period")
    upwards = whole.orderBy("contact_count").rowsBetween(Window.currentRow, Window.unboundedFollowing)
    all_customers = F.sum("customer_count").over(whole)
    cap = F.lit(settings.contact_cap).cast("long")
    return histogram.withColumns(
        {
            AS_OF_DATE: F.lit(as_of_date),
            "customer_rate": F.col("customer_count") / all_customers,
            "at_least_rate": F.sum("customer_count").over(upwards) / all_customers,
            "cap_count": cap,
            "is_at_cap": F.col("contact_count") >= cap,
            "is_over_cap": F.col("contact_count") > cap,
        }
    )

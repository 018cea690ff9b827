"""Which promotions a customer may be given at all."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import OFFERS
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.silver import ASSIGNMENTS, CUSTOMERS, EXPOSURES, OVERRIDES
from promo_spark.contracts.step import produces

ANY = "*"


@produces(OFFERS, offers=OFFERS, customers=CUSTOMERS, overrides=OVERRIDES, assignments=ASSIGNMENTS, exposures=EXPOSURES)
def keep_eligible(
    *,
    offers: DataFrame,
    customers: DataFrame,
    overrides: DataFrame,
    assignments: DataFrame,
    exposures: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: AssignSettings,
) -> DataFrame:
    """Drop the offers that lists, consent, contact limits or a manager rule out.

    Whom a manager forces keeps the forced promotion whatever lists, segments and contact limits say, and no other; not
    against a missing consent.

    Args:
        offers: plans.offers.
        customers: silver.customers: who refused marketing gets nothing, and nor does, where consent is needed and
            recorded for anybody, who has given none.
        overrides: silver.overrides that hold on the date.
        assignments: silver.assignments; what was given counts as contact where there are no exposures.
        exposures: silver.exposures.
        as_of_date: The day of the decision; only contacts before it count.
        time_zone: The retailer's.
        settings: Eligibility, consent, exclusions, cool-down and contact cap.

    Returns:
        plans.offers, the rows that remain.
    """
    allowed = offers
    if settings.needs_consent:
        refused = customers.where(~F.col("has_marketing_consent")).select("customer_id")
        allowed = allowed.join(refused, "customer_id", "left_anti")
    told = current_overrides(overrides, as_of_date)
    forced = told.where(F.col("action") == "force").select(
        "customer_id", "promotion_id", F.lit(True).alias("_is_forced")
    )
    bound = told.where(F.col("action").isin("force", "lock")).select("customer_id", F.lit(True).alias("_is_bound"))
    named = told.where(F.col("action").isin("force", "lock")).select(
        "customer_id", "promotion_id", F.lit(True).alias("_is_named")
    )
    marked = (
        allowed.join(forced, ["customer_id", "promotion_id"], "left")
        .join(bound.distinct(), "customer_id", "left")
        .join(named.distinct(), ["customer_id", "promotion_id"], "left")
        .join(_excluded(told, ANY), "customer_id", "left")
        .join(_excluded(told), ["customer_id", "promotion_id"], "left")
    )
    is_free = F.col("_is_bound").isNull() | F.col("_is_named").isNotNull()
    is_excluded = F.col("_is_excluded").isNotNull() | F.col("_is_excluded_from_all").isNotNull()
    within = _contacted_too_much(assignments, exposures, as_of_date, time_zone, settings)
    rested = marked.join(within, "customer_id", "left")
    may = is_free & ~is_excluded & F.col("_is_tired").isNull() & _is_on_list(settings)
    return rested.where(F.col("_is_forced").isNotNull() | may)


def current_overrides(overrides: DataFrame, as_of_date: date) -> DataFrame:
    """The overrides that hold on a date."""
    day = F.lit(as_of_date)
    has_begun = F.col("first_date").isNull() | (F.col("first_date") <= day)
    return overrides.where(has_begun & (F.col("last_date").isNull() | (F.col("last_date") >= day)))


def _excluded(told: DataFrame, promotion: str | None = None) -> DataFrame:
    excluded = told.where(F.col("action") == "exclude")
    if promotion is not None:
        of_all = excluded.where(F.col("promotion_id") == promotion)
        return of_all.select("customer_id", F.lit(True).alias("_is_excluded_from_all")).distinct()
    return excluded.select("customer_id", "promotion_id", F.lit(True).alias("_is_excluded")).distinct()


def _is_on_list(settings: AssignSettings) -> Expression:
    on_list = F.col("is_listed") if settings.eligibility == "listed" else F.lit(True)
    if not settings.excluded_segments:
        return on_list
    return on_list & ~F.coalesce(F.col("segment_id").isin(list(settings.excluded_segments)), F.lit(False))


def _contacted_too_much(
    assignments: DataFrame, exposures: DataFrame, as_of_date: date, time_zone: str, settings: AssignSettings
) -> DataFrame:
    """Customers in their cool-down, or whose contacts and the promotions planned would pass the cap."""
    given = assignments.where((F.col("arm") != NO_ARM) & ~F.col("is_holdout"))
    seen = exposures.select("customer_id", F.col("exposed_at").alias("at"))
    decided = given.select("customer_id", F.col("decided_at").alias("at"))
    has_seen = seen.limit(1).select(F.lit(True).alias("_has_exposures"))
    stand_in = decided.join(F.broadcast(has_seen), how="left").where(F.col("_has_exposures").isNull())
    contacts = seen.unionByName(stand_in.drop("_has_exposures")).select(
        "customer_id", F.from_utc_timestamp("at", time_zone).cast("date").alias("day")
    )
    past = contacts.where(F.col("day") < F.lit(as_of_date))
    last = F.lit(as_of_date - timedelta(days=settings.cool_down_days))
    first = F.lit(as_of_date - timedelta(days=settings.contact_cap_days))
    counted = past.groupBy("customer_id").agg(
        F.count_if(F.col("day") >= last).alias("_recent"), F.count_if(F.col("day") >= first).alias("_counted")
    )
    is_tired = F.col("_recent") > 0
    if settings.contact_cap is not None:
        is_tired |= F.col("_counted") + settings.promotions_per_customer > settings.contact_cap
    return counted.where(is_tired).select("customer_id", F.lit(True).alias("_is_tired"))

"""Which promotions a customer may be given at all."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import OFFERS
from promo_spark.contracts.consent import ConsentSettings, keep_contactable
from promo_spark.contracts.contacts import given_before, past_contacts
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.silver import ASSIGNMENTS, CONSENTS, CUSTOMERS, EXPOSURES, OVERRIDES
from promo_spark.contracts.step import produces

ANY = "*"


@produces(
    OFFERS,
    offers=OFFERS,
    customers=CUSTOMERS,
    consents=CONSENTS,
    overrides=OVERRIDES,
    assignments=ASSIGNMENTS,
    exposures=EXPOSURES,
    handed_over=FEEDBACK,
)
def keep_eligible(
    *,
    offers: DataFrame,
    customers: DataFrame,
    consents: DataFrame,
    overrides: DataFrame,
    assignments: DataFrame,
    exposures: DataFrame,
    handed_over: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: AssignSettings,
    consent: ConsentSettings,
) -> DataFrame:
    """Drop the offers that lists, consent, contact limits or a manager rule out.

    Whom a manager forces keeps the forced promotion whatever lists, segments and contact limits say, and no other; not
    against a missing consent. A word that forces what is not planned binds nobody. What was handed over is not given
    again as long as it may be planned (``planning_days``, or the cool-down if that is longer).

    Args:
        offers: plans.offers.
        customers: silver.customers, for consent to contact.
        consents: silver.consents, for the same and for each channel.
        overrides: silver.overrides that hold on the date.
        assignments: silver.assignments; what was given counts as contact where there are no exposures.
        exposures: silver.exposures.
        handed_over: learning.feedback: what was given counts as contact, seen or not.
        as_of_date: The day of the decision; only contacts before it count.
        time_zone: The retailer's.
        settings: Eligibility, exclusions, cool-down and contact cap.
        consent: What it means not to have answered about contact, where anybody did.

    Returns:
        plans.offers, the rows that remain.
    """
    allowed = keep_contactable(
        rows=offers, customers=customers, consents=consents, as_of_date=as_of_date, silence=consent.missing.contact
    )
    planned = F.broadcast(offers.select("promotion_id").distinct())
    told = current_overrides(overrides, as_of_date)
    unplanned = told.where(F.col("action") == "force").join(planned, "promotion_id", "left_anti")
    told = told.join(unplanned, ["customer_id", "promotion_id", "action"], "left_anti")
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
    own = given_before(decisions=handed_over, as_of_date=as_of_date, time_zone=time_zone)
    contacts = past_contacts(
        assignments=assignments,
        exposures=exposures,
        handed_over=handed_over,
        as_of_date=as_of_date,
        time_zone=time_zone,
    )
    within = _contacted_too_much(contacts, as_of_date, settings)
    days = max(settings.planning_days, settings.cool_down_days)
    repeated = own.where(F.col("day") >= F.lit(as_of_date - timedelta(days=days))).select(
        "customer_id", "promotion_id", F.lit(True).alias("_is_repeated")
    )
    rested = marked.join(within, "customer_id", "left").join(
        repeated.distinct(), ["customer_id", "promotion_id"], "left"
    )
    is_rested = F.col("_is_tired").isNull() & F.col("_is_repeated").isNull()
    may = is_free & ~is_excluded & is_rested & _is_on_list(settings)
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


def _contacted_too_much(contacts: DataFrame, as_of_date: date, settings: AssignSettings) -> DataFrame:
    """Customers in their cool-down, or whose contacts and the promotions planned would pass the cap."""
    last = F.lit(as_of_date - timedelta(days=settings.cool_down_days))
    first = F.lit(as_of_date - timedelta(days=settings.contact_cap_days))
    counted = contacts.groupBy("customer_id").agg(
        F.count_if(F.col("day") >= last).alias("_recent"), F.count_if(F.col("day") >= first).alias("_counted")
    )
    is_tired = F.col("_recent") > 0
    if settings.contact_cap is not None:
        is_tired |= F.col("_counted") + settings.promotions_per_customer > settings.contact_cap
    return counted.where(is_tired).select("customer_id", F.lit(True).alias("_is_tired"))

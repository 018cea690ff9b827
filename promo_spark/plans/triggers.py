"""Customers who ask for a nudge: late, gone, likely to go, curious, or about to run out of something."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.consent import ConsentSettings, keep_contactable
from promo_spark.contracts.decision_settings import IdeaSettings
from promo_spark.contracts.features import AFFINITY, CUSTOMER_FEATURES, PRODUCT_FEATURES
from promo_spark.contracts.ideas import TRIGGERS
from promo_spark.contracts.recommend import SERVED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_BEHAVIOUR
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import CONSENTS, CUSTOMERS, EVENTS, ORDER_LINES
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE
from promo_spark.plans.browsing import unbought_looks
from promo_spark.plans.replenishment import late_categories

_ALL = "all"
_LEAST_ORDERS = 3  # two gaps: fewer say little of what is usual
_FOUND = ("customer_id", "trigger", "subject", "strength", "product_id", "reason")


@produces(
    TRIGGERS,
    customers=CUSTOMERS,
    consents=CONSENTS,
    customer_features=CUSTOMER_FEATURES,
    behaviour=SEGMENT_BEHAVIOUR,
    affinity=AFFINITY,
    product_features=PRODUCT_FEATURES,
    events=EVENTS,
    served=SERVED_PRODUCTS,
    order_lines=ORDER_LINES,
)
def find_triggers(
    *,
    customers: DataFrame,
    consents: DataFrame,
    customer_features: DataFrame,
    behaviour: DataFrame,
    affinity: DataFrame,
    product_features: DataFrame,
    events: DataFrame,
    served: DataFrame,
    order_lines: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: IdeaSettings,
    recommend: RecommendSettings,
    consent: ConsentSettings,
) -> DataFrame:
    """Find who asks for a nudge, about what, and when to give it.

    - overdue: no purchase for ``overdue_gaps`` of the customer's usual gaps, but not yet lapsed.
    - lapsed: no purchase for ``lapsed_days``.
    - churn_risk: not lapsed, and likely to buy nothing within the horizon.
    - browsed: a product viewed, searched for, clicked or put in the cart in the last ``browsed_days``, not bought
      since.
    - replenish: a category bought in four baskets or more and late by its own gaps, of a customer who is not.

    Args:
        customers: silver.customers, for consent to contact. May be empty.
        consents: silver.consents, for the same. May be empty.
        customer_features: features.customers.
        behaviour: segments.behaviour; empty: nobody is at risk.
        affinity: features.affinity.
        product_features: features.products, for categories.
        events: silver.events; empty: nobody browsed.
        served: recommend.served, for what to speak of.
        order_lines: silver.order_lines.
        as_of_date: Events and lines on or after this date are ignored.
        time_zone: The retailer's, in which the date begins.
        settings: Thresholds.
        recommend: Departments and categories that are excluded.
        consent: What it means not to have answered about contact, where anybody did.

    Returns:
        plans.triggers. The product is the first of the customer's own list; for browsed it is what was looked at, for
        replenish the first of the list in the category, or else what the customer bought in most baskets of it.
    """
    own_list = served.where(F.col("slot") == "all").select("customer_id", "rank", "product_id")
    catalogue = _offered(product_features, recommend)
    looks = unbought_looks(
        events=events,
        order_lines=order_lines,
        as_of_date=as_of_date,
        days=settings.browsed_days,
        time_zone=time_zone,
    )
    late = late_categories(
        affinity=affinity,
        on_time=customer_features.where(_is_on_time(settings)).select("customer_id", "tenure_days"),
        own_list=own_list,
        catalogue=catalogue,
        order_lines=order_lines,
        as_of_date=as_of_date,
        overdue_gaps=settings.overdue_gaps,
    )
    found = (
        _whole_customers(customer_features, behaviour, own_list, settings)
        .unionByName(_browsed(looks, settings))
        .unionByName(_strongest(late, settings))
    )
    slots = customer_features.select("customer_id", F.col("favourite_time_slot").alias("time_slot"))
    told = keep_contactable(
        rows=found, customers=customers, consents=consents, as_of_date=as_of_date, silence=consent.missing.contact
    )
    heard = told.join(slots, "customer_id", "left")
    return heard.withColumn(AS_OF_DATE, F.lit(as_of_date))


def _whole_customers(
    customer_features: DataFrame, behaviour: DataFrame, own_list: DataFrame, settings: IdeaSettings
) -> DataFrame:
    """Overdue, lapsed and churn_risk, with the first product of the customer's list."""
    recency, gap = F.col("recency_days"), F.col("order_gap_days")
    is_lapsed = recency >= settings.lapsed_days
    risk = F.col("churn_prob")
    kinds = (
        F.when(
            ~is_lapsed & (_lateness(settings) >= 1),
            _told(
                "overdue",
                _lateness(settings),
                F.format_string(
                    "Last bought %d days ago, usually every %.0f days.", recency, F.greatest(gap, F.lit(1.0))
                ),
            ),
        ),
        F.when(
            is_lapsed,
            _told("lapsed", recency / settings.lapsed_days, F.format_string("Nothing bought for %d days.", recency)),
        ),
        F.when(
            ~is_lapsed & (risk >= settings.churn_prob),
            _told(
                "churn_risk",
                risk / settings.churn_prob,
                F.format_string(
                    "Buys nothing in the next %d days with %.0f %% probability.", "horizon_days", 100 * risk
                ),
            ),
        ),
    )
    known = customer_features.select("customer_id", "recency_days", "order_gap_days", "order_count", "imputed_columns")
    risks = behaviour.select("customer_id", "churn_prob", "horizon_days")
    found = known.join(risks, "customer_id", "left").select(
        "customer_id", F.explode(F.array_compact(F.array(*kinds))).alias("told")
    )
    firsts = own_list.groupBy("customer_id").agg(F.min_by("product_id", "rank").alias("product_id"))
    told = found.select("customer_id", "told.*", F.lit(_ALL).alias("subject"))
    return told.join(firsts, "customer_id", "left").select(*_FOUND)


def _told(trigger: str, strength: Column, reason: Column) -> Column:
    return F.struct(F.lit(trigger).alias("trigger"), strength.alias("strength"), reason.alias("reason"))


def _lateness(settings: IdeaSettings) -> Column:
    """Days since the last purchase over those after which a customer is overdue; NULL where no gap is known."""
    gap = F.greatest(F.col("order_gap_days"), F.lit(1.0))
    is_imputed = F.coalesce(F.array_contains("imputed_columns", "order_gap_days"), F.lit(False))
    is_known = (F.col("order_count") >= _LEAST_ORDERS) & F.col("order_gap_days").isNotNull() & ~is_imputed
    return F.when(is_known, F.col("recency_days") / (settings.overdue_gaps * gap))


def _is_on_time(settings: IdeaSettings) -> Column:
    return (F.col("recency_days") < settings.lapsed_days) & (F.coalesce(_lateness(settings), F.lit(0.0)) < 1)


def _browsed(looks: DataFrame, settings: IdeaSettings) -> DataFrame:
    times = F.when(F.col("look_count") == 1, "once").otherwise(F.format_string("%d times", "look_count"))
    reason = F.format_string(
        "Looked at %s in the last %d days (last: %s), not bought.",
        times,
        F.lit(settings.browsed_days),
        "last_event_type",
    )
    found = looks.select(
        "customer_id",
        F.lit("browsed").alias("trigger"),
        F.col("product_id").alias("subject"),
        F.col("look_count").cast("double").alias("strength"),
        "product_id",
        reason.alias("reason"),
    )
    return _strongest(found, settings)


def _offered(product_features: DataFrame, recommend: RecommendSettings) -> DataFrame:
    """product_id and its category as ``subject``, of what may be spoken of."""
    departments, categories = recommend.excluded_departments, recommend.excluded_categories
    is_excluded = F.col("department").isin(*departments) | F.col("category").isin(*categories)
    return product_features.where(~is_excluded).select("product_id", F.col("category").alias("subject"))


def _strongest(found: DataFrame, settings: IdeaSettings) -> DataFrame:
    """Each customer's strongest subjects of one trigger; of equal ones the first by name."""
    order = Window.partitionBy("customer_id").orderBy(F.desc("strength"), "subject")
    ranked = found.withColumn("place", F.row_number().over(order))
    return ranked.where(F.col("place") <= settings.subjects_per_customer).select(*_FOUND)

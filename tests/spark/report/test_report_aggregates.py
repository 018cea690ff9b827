"""Customers, products and promotions summed up for the report, by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import cast

from pyspark.sql import DataFrame

from promo_spark.contracts.features import PRODUCT_FEATURES, PROMOTION_FEATURES
from promo_spark.contracts.segments import (
    LIFETIME_VALUES,
    SEGMENT_CUSTOMERS,
    SEGMENT_PRODUCTS,
    SEGMENT_PROMOTIONS,
)
from promo_spark.contracts.table import TableContract
from promo_spark.pipelines.report import mean_lifetimes, sum_product_clusters, sum_promotion_clusters
from promo_spark.runtime.stage import Stage
from tests.conftest import MakeRows

DAY = date(2024, 3, 4)


class OnlyTables:
    """Stands in for the report's stage."""

    def __init__(self, *tables: tuple[TableContract, DataFrame]) -> None:
        self._tables = {contract.name: frame for contract, frame in tables}

    def read(self, contract: TableContract) -> DataFrame:
        return self._tables[contract.name]


def test_lifetimes_are_means_over_a_segments_customers(make_rows: MakeRows) -> None:
    values = [
        {"customer_id": "a", "horizon_days": 91, "alive_prob": 1.0, "lifetime_value_amount": Decimal(30)},
        {"customer_id": "b", "horizon_days": 91, "alive_prob": 0.5, "lifetime_value_amount": Decimal(10)},
        {"customer_id": "c", "horizon_days": 91, "alive_prob": 0.1, "lifetime_value_amount": Decimal(1)},
    ]
    segments = [{"customer_id": "a", "segment_id": 0}, {"customer_id": "b", "segment_id": 0}]
    segments.append({"customer_id": "c", "segment_id": 1})
    stage = OnlyTables(
        (LIFETIME_VALUES, make_rows(LIFETIME_VALUES, values)),
        (SEGMENT_CUSTOMERS, make_rows(SEGMENT_CUSTOMERS, segments)),
    )
    told = mean_lifetimes(cast(Stage, stage)).set_index("segment_id")
    assert told["alive_prob"].to_dict() == {0: 0.75, 1: 0.1}
    assert told["lifetime_value_amount"].to_dict() == {0: 20.0, 1: 1.0}
    assert set(told["horizon_days"]) == {91}


def test_clusters_are_summed_over_what_is_in_them(make_rows: MakeRows) -> None:
    def named(key: str, places: dict[str, int]) -> list[dict[str, object]]:
        return [{key: name, "cluster_id": place, "cluster_name": f"n{place}"} for name, place in places.items()]

    products = [
        {"product_id": "x", "sales_share_rate": 0.5, "regular_price_amount": 1.0, "discounted_line_rate": 0.2},
        {"product_id": "y", "sales_share_rate": 0.3, "regular_price_amount": 3.0, "discounted_line_rate": 0.4},
        {"product_id": "z", "sales_share_rate": 0.2, "regular_price_amount": 9.0, "discounted_line_rate": None},
    ]
    promotions = [
        {"promotion_id": "p", "targeted_customer_count": 100, "duration_days": 10},
        {"promotion_id": "q", "targeted_customer_count": 300, "duration_days": 20},
    ]
    stage = OnlyTables(
        (PRODUCT_FEATURES, make_rows(PRODUCT_FEATURES, products)),
        (SEGMENT_PRODUCTS, make_rows(SEGMENT_PRODUCTS, named("product_id", {"x": 1, "y": 1, "z": 0}))),
        (PROMOTION_FEATURES, make_rows(PROMOTION_FEATURES, promotions)),
        (SEGMENT_PROMOTIONS, make_rows(SEGMENT_PROMOTIONS, named("promotion_id", {"p": 0, "q": 0}))),
    )
    told = sum_product_clusters(cast(Stage, stage))
    assert told["cluster_name"].tolist() == ["n0", "n1"]
    assert told["product_count"].tolist() == [1, 2]
    assert told["sales_rate"].tolist() == [0.2, 0.8]
    assert told["regular_price_amount"].tolist() == [9.0, 2.0]
    (row,) = sum_promotion_clusters(cast(Stage, stage)).to_dict("records")
    assert (row["promotion_count"], row["targeted_customer_count"], row["duration_days"]) == (2, 200.0, 15.0)

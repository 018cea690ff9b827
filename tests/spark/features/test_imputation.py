"""Gaps filled from other customers, on rows small enough to see who is alike."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import ASSIGNMENTS, CUSTOMERS, ORDER_LINES, PRICES, PRODUCTS, REDEMPTIONS
from promo_spark.features import imputation
from promo_spark.features.customers import build_customer_features, complete_customer_features
from promo_spark.features.imputation import fit_imputer
from promo_spark.features.lines import describe_lines

DAY = date(2024, 6, 3)
LEARNT = ("neighbours", "regression")
MakeRows = Callable[..., DataFrame]


def settings_for(method: str, neighbours: int = 2) -> FeatureSettings:
    wanted = {"order_gap_days": method, "redemption_rate": "mean"}
    return FeatureSettings(imputation=wanted, imputation_neighbours=neighbours, winsorise_quantile=1)


def complete(customers: DataFrame, settings: FeatureSettings) -> DataFrame:
    imputer = fit_imputer(customers=customers, settings=settings)
    return complete_customer_features(customers=customers, settings=settings, imputer=imputer)


def completed(make_rows: MakeRows, rows: list[dict[str, Any]], settings: FeatureSettings) -> dict[str, Row]:
    customers = make_rows(CUSTOMER_FEATURES, [{"as_of_date": DAY, **row} for row in rows])
    return {row.customer_id: row for row in complete(customers, settings).collect()}


def shopper(name: str, orders: int, gap: float | None, basket: float = 20.0) -> dict[str, Any]:
    return {"customer_id": name, "order_count": orders, "basket_spend_amount": basket, "order_gap_days": gap}


def test_a_gap_is_the_mean_of_the_customers_most_alike(make_rows: MakeRows) -> None:
    rows = [
        shopper("often", 50, 2.0),
        shopper("often too", 40, 4.0),
        shopper("seldom", 3, 30.0, basket=90.0),
        shopper("seldom too", 2, 50.0, basket=80.0),
        shopper("like often", 45, None),
        shopper("like seldom", 2, None, basket=85.0),
        {"customer_id": "nothing known"},
        {"customer_id": "nothing finite", "basket_spend_amount": float("inf"), "basket_line_count": float("nan")},
    ]
    done = completed(make_rows, rows, settings_for("neighbours"))
    assert done["like often"].order_gap_days == pytest.approx(3.0)
    assert done["like seldom"].order_gap_days == pytest.approx(40.0)
    assert done["nothing known"].order_gap_days == pytest.approx(17.0)  # the median of all
    assert done["nothing finite"].order_gap_days == pytest.approx(17.0)
    assert done["like often"].imputed_columns == done["nothing known"].imputed_columns == ["order_gap_days"]
    assert (done["often"].order_gap_days, done["often"].imputed_columns) == (2.0, [])
    # Everything else passes through as it was.
    assert (done["seldom"].order_count, done["seldom"].basket_spend_amount) == (3, 90.0)
    assert done["seldom"].as_of_date == DAY


def test_a_gap_is_what_the_other_columns_say_within_what_was_seen(make_rows: MakeRows) -> None:
    # log(1 + gap) is a straight line in log(1 + orders).
    rows = [shopper(str(n), n, 2000.0 / (n + 1) - 1) for n in range(1, 41)]
    rows += [shopper("between", 19, None), shopper("beyond", 100_000, None), {"customer_id": "nothing known"}]
    done = completed(make_rows, rows, settings_for("regression"))
    assert done["between"].order_gap_days == pytest.approx(99.0, rel=0.05)
    assert done["beyond"].order_gap_days == pytest.approx(2000 / 41 - 1)
    assert done["nothing known"].order_gap_days == pytest.approx(np.median([2000 / n - 1 for n in range(2, 42)]))


@pytest.mark.parametrize("method", LEARNT)
def test_what_nobody_knows_stays_unknown(make_rows: MakeRows, method: str) -> None:
    done = completed(make_rows, [shopper("a", 1, None), shopper("b", 2, None)], settings_for(method))
    assert (done["a"].order_gap_days, done["a"].imputed_columns) == (None, [])
    alone = completed(make_rows, [shopper("a", 1, None)], settings_for(method))
    assert alone["a"].order_gap_days is None
    assert completed(make_rows, [], settings_for(method)) == {}


@pytest.mark.parametrize("method", LEARNT)
def test_nothing_depends_on_the_layout_and_no_job_runs_before_it_must(
    make_rows: MakeRows, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(imputation, "DONORS", 40)  # fewer than there are customers
    dice = np.random.default_rng(4)
    rows = [
        shopper(f"c{n}", int(dice.integers(1, 60)), float(dice.gamma(2, 9)) if n % 3 else None, float(dice.gamma(3, 9)))
        for n in range(90)
    ]
    customers = make_rows(CUSTOMER_FEATURES, [{"as_of_date": DAY, **row} for row in rows]).cache()
    shuffled = customers.repartition(5).orderBy(F.rand(1))
    settings = settings_for(method, neighbours=3)
    values = [
        sorted((row.customer_id, row.order_gap_days) for row in complete(frame, settings).collect())
        for frame in (customers, shuffled)
    ]
    assert values[0] == values[1]
    imputer = fit_imputer(customers=customers, settings=settings)
    spark.sparkContext.setJobGroup("lazy", "lazy")
    complete_customer_features(customers=customers, settings=settings, imputer=imputer)
    assert list(spark.sparkContext.statusTracker().getJobIdsForGroup("lazy")) == []
    spark.sparkContext.setJobGroup("tests", "tests")


def bought(customer: str, days_ago: int, sales: str) -> dict[str, Any]:
    ordered = DAY - timedelta(days=days_ago)
    return {
        "basket_id": f"{customer} {ordered}",
        "line_id": "1",
        "customer_id": customer,
        "product_id": "milk",
        "order_date": ordered,
        "order_hour": 10,
        "week_start_date": ordered - timedelta(days=ordered.weekday()),
        "quantity": Decimal(1),
        "sales_amount": Decimal(sales),
        "is_return": False,
        "is_outlier": False,
    }


@pytest.mark.slow  # describes customers twice from their lines
def test_what_follows_the_date_changes_no_value(make_rows: MakeRows) -> None:
    past = [bought(f"c{n}", ago, f"{5 + n}.00") for n in range(6) for ago in range(3, 80, 7 + n)]
    past += [bought("once", 5, "9.00"), bought("once more", 40, "4.00")]
    later = [bought(customer, -ago, "500.00") for customer in ("c0", "once", "new") for ago in range(30)]
    settings = settings_for("neighbours")

    def values(rows: list[dict[str, Any]]) -> list[Row]:
        lines = describe_lines(
            order_lines=make_rows(ORDER_LINES, rows),
            products=make_rows(PRODUCTS, []),
            prices=make_rows(PRICES, []),
            as_of_date=DAY,
            settings=settings,
        )
        customers = build_customer_features(
            lines=lines,
            customers=make_rows(CUSTOMERS, []),
            assignments=make_rows(ASSIGNMENTS, []),
            redemptions=make_rows(REDEMPTIONS, []),
            as_of_date=DAY,
            settings=settings,
            time_zone="UTC",
        )
        return sorted(complete(customers.cache(), settings).collect(), key=lambda row: row.customer_id)

    known = values(past)
    assert known == values(past + later)
    assert {row.customer_id for row in known if "order_gap_days" in row.imputed_columns} == {"once", "once more"}


def test_an_imputer_is_asked_for_where_one_is_needed(make_rows: MakeRows) -> None:
    customers = make_rows(CUSTOMER_FEATURES, [])
    with pytest.raises(ValueError, match="order_gap_days"):
        complete_customer_features(customers=customers, settings=settings_for("neighbours"))
    assert fit_imputer(customers=customers, settings=FeatureSettings()) is None

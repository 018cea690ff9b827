"""Did plans and segments hold, and what several dates say together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import Row

from promo_spark.contracts.backtest_settings import BacktestSettings
from promo_spark.contracts.measurement import BACKTESTS
from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.kernels.variance_explained import variance_explained
from promo_spark.measurement.origins import summarise_origins
from promo_spark.measurement.plan_backtest import backtest_plans
from promo_spark.measurement.segment_backtest import backtest_segments
from tests.conftest import MakeRows

DAY = date(2024, 3, 4)


def line(customer: str, days_after: int, sales: float, product: str = "p", **more: Any) -> dict[str, Any]:
    day = DAY + timedelta(days=days_after)
    return {
        "basket_id": f"{customer}-{day}-{product}",
        "line_id": "1",
        "customer_id": customer,
        "product_id": product,
        "order_date": day,
        "sales_amount": Decimal(str(sales)),
        "is_return": False,
        "is_outlier": False,
    } | more


def cell(segment: int, category: str, base: float, said: float | None) -> dict[str, Any]:
    return {
        "segment_id": segment,
        "category": category,
        "as_of_date": DAY,
        "decision": "none" if said is None else "promote",
        "start_date": DAY,
        "end_date": DAY + timedelta(days=6),
        "base_sales_amount": base,
        "expected_sales_amount": said,
    }


MEMBERS = [{"customer_id": name, "as_of_date": DAY, "segment_id": segment} for name, segment in (("a", 0), ("b", 1))]
PLAN = [cell(0, "dairy", 10.0, 20.0), cell(1, "dairy", 5.0, None), cell(0, "bread", 8.0, None)]
GOODS = [{"product_id": "p", "category": "dairy"}, {"product_id": "q", "category": "bread"}]
LATER = [
    line("a", 0, 12.0),
    line("a", 6, 6.0),
    line("b", 3, 4.0),
    line("a", 2, 10.0, "q"),
    line("a", 7, 99.0),
    line("a", -1, 99.0),
    line("a", 2, -3.0, is_return=True),
    line("x", 2, 99.0),
]


def judged(make_rows: MakeRows, lines: list[dict[str, Any]]) -> dict[tuple[str, str], Row]:
    found = backtest_plans(
        segment_plan=make_rows(SEGMENT_PLAN, PLAN),
        segment_customers=make_rows(SEGMENT_CUSTOMERS, MEMBERS),
        order_lines=make_rows(ORDER_LINES, lines),
        products=make_rows(PRODUCTS, GOODS),
        as_of_date=DAY,
    )
    return {(row["model"], row["metric"]): row for row in found.collect()}


def test_a_plan_is_judged_by_what_its_segments_bought_in_its_days(make_rows: MakeRows) -> None:
    found = judged(make_rows, LATER)
    actual, said = {"dairy": 22.0, "bread": 10.0}, {"dairy": 25.0, "bread": 8.0}
    rate = 32.0 / 33.0
    assert found["all", "attainment_rate"]["value"] == pytest.approx(rate)
    assert found["all", "base_attainment_rate"]["value"] == pytest.approx(32.0 / 23.0)
    assert found["promote", "attainment_rate"]["value"] == pytest.approx(18.0 / 20.0)
    assert found["none", "base_attainment_rate"]["value"] == pytest.approx(14.0 / 13.0)
    assert found["all", "wape"]["value"] == pytest.approx((2.0 + 1.0 + 2.0) / 32.0)
    assert found["all", "bias_rate"]["value"] == pytest.approx(1.0 / 32.0)
    residuals = np.array([actual[name] - rate * said[name] for name in actual])
    error = np.sqrt(2 * (residuals**2).sum()) / 33.0
    assert found["all", "attainment_rate"]["standard_error"] == pytest.approx(error)
    assert found["promote", "attainment_rate"]["standard_error"] is None
    assert found["all", "wape"]["observation_count"] == 3


def test_a_plan_whose_days_are_not_over_is_not_judged(make_rows: MakeRows) -> None:
    assert judged(make_rows, [line("a", 0, 12.0), line("a", 5, 6.0)]) == {}


def test_segments_are_judged_by_what_they_explain_of_later_days(make_rows: MakeRows) -> None:
    draws = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [60, 80, 60])
    visits = draws.poisson(np.array([5.0, 3.0, 1.0])[labels])
    members: list[Mapping[str, Any]] = []
    lines = []
    for number, (segment, count) in enumerate(zip(labels, visits, strict=True)):
        tier = "high-value" if segment == 0 else "potential"
        members.append({"customer_id": f"c{number}", "as_of_date": DAY, "segment_id": int(segment), "value_tier": tier})
        lines += [line(f"c{number}", int(day), float(draws.integers(5, 50))) for day in range(count)]
    found = backtest_segments(
        segment_customers=make_rows(SEGMENT_CUSTOMERS, members),
        order_lines=make_rows(ORDER_LINES, [*lines, line("c0", 40, 9_999.0)]),
        as_of_date=DAY,
        settings=BacktestSettings(days=28),
    )
    rows = {(row["model"], row["metric"]): row for row in found.collect()}
    later = pd.DataFrame(lines).assign(sales=lambda table: table["sales_amount"].astype(float))
    spend = later.groupby("customer_id")["sales"].sum()
    spent = np.array([spend.get(f"c{number}", 0.0) for number in range(200)])
    for outcome, values in (("visits", visits), ("spend", spent)):
        oracle = variance_explained(labels, np.sqrt(values)[:, None].astype(float))
        row = rows["segment_id", f"{outcome}_explained_rate"]
        assert row["value"] == pytest.approx(oracle.rate)
        # The parts are drawn in another way: the error is the same but for that.
        assert row["standard_error"] == pytest.approx(oracle.standard_error, rel=0.6)
    assert rows["segment_id", "order_correlation"]["value"] == 1.0
    tiers = variance_explained((labels > 0).astype(int), np.sqrt(visits)[:, None])
    assert rows["value_tier", "visits_explained_rate"]["value"] == pytest.approx(tiers.rate)
    nothing = backtest_segments(
        segment_customers=make_rows(SEGMENT_CUSTOMERS, members),
        order_lines=make_rows(ORDER_LINES, [line("c0", 40, 9_999.0)]),
        as_of_date=DAY,
        settings=BacktestSettings(days=28),
    )
    assert nothing.isEmpty()


def figure(metric: str, weeks_back: int, value: float | None, error: float | None = None) -> dict[str, Any]:
    return {
        "subject": "s",
        "model": "m",
        "metric": metric,
        "as_of_date": DAY - timedelta(weeks=weeks_back),
        "value": value,
        "standard_error": error,
    }


def test_dates_are_summed_up_with_an_error_between_them_and_the_worst(make_rows: MakeRows) -> None:
    rows = [
        *(figure("wape", week, value, 0.1) for week, value in ((0, 0.2), (4, 0.5), (8, 0.3))),
        *(figure("auc", week, value) for week, value in ((0, 0.8), (4, 0.6), (8, None))),
        *(figure("bias_rate", week, value) for week, value in ((0, 0.1), (4, -0.3))),
        *(figure("attainment_rate", week, value) for week, value in ((0, 1.1), (4, 0.7))),
        *(figure("coverage_rate", week, value) for week, value in ((0, 0.95), (4, 0.75))),
        figure("ndcg_at_10", 0, 0.4),
    ]
    found = {
        row["metric"]: row
        for row in summarise_origins(backtests=make_rows(BACKTESTS, rows), as_of_date=DAY, level=0.8).collect()
    }
    wape = found["wape"]
    assert wape["mean_value"] == pytest.approx(1.0 / 3.0, abs=1e-8)
    assert wape["standard_error"] == pytest.approx(np.std([0.2, 0.5, 0.3], ddof=1) / np.sqrt(3), abs=1e-8)
    assert wape["sampling_error"] == pytest.approx(np.sqrt(0.03) / 3, abs=1e-8)
    assert (wape["worst_value"], wape["worst_date"]) == (0.5, DAY - timedelta(weeks=4))
    assert (wape["lowest_value"], wape["highest_value"], wape["origin_count"]) == (0.2, 0.5, 3)
    assert wape["first_origin_date"] == DAY - timedelta(weeks=8)
    worst = {metric: row["worst_value"] for metric, row in found.items()}
    assert worst == {
        "wape": 0.5,
        "auc": 0.6,
        "bias_rate": -0.3,
        "attainment_rate": 0.7,
        "coverage_rate": 0.95,
        "ndcg_at_10": 0.4,
    }
    assert found["auc"]["origin_count"] == 2
    assert found["ndcg_at_10"]["standard_error"] is None

"""Lifetime value on Spark: purchase days counted by hand, a kept model, and what is said where there is too little."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame

from promo_spark.contracts.segments import HISTORIES, LIFETIME_VALUES, PURCHASE_SUMMARIES
from promo_spark.segments.lifetime_value import (
    TOLD,
    LifetimeFit,
    LifetimeFitError,
    LifetimeValueModel,
    fit_lifetimes,
    judge_lifetimes,
    score_lifetimes,
    summarise_purchases,
)

DAY = date(2024, 6, 3)
MakeRows = Callable[..., DataFrame]


def day_number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def summaries(rows: list[tuple[int, int, int, float]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    names = [name for name in PURCHASE_SUMMARIES.column_names if name.endswith(("_count", "_days", "_amount"))]
    table = pa.table({name: pa.array(values) for name, values in zip(names, columns, strict=True)})
    return table.append_column("customer_id", pa.array([f"c{place:04d}" for place in range(len(rows))]))


def shoppers(customers: int, *, days: int, leaves: float, seed: int = 3) -> list[list[tuple[int, float]]]:
    """Days, from 1 on, and amounts of customers who buy at rates of their own and leave with a chance each time."""
    random, made = np.random.default_rng(seed), []
    for _ in range(customers):
        rate, level, day, bought = random.gamma(2.0, 0.06), 20 * random.lognormal(0, 0.4), int(random.integers(60)), []
        while day < days:
            bought.append((day, float(level * random.gamma(5.0, 0.2))))
            if random.random() < leaves:
                break
            day += max(1, round(random.exponential(1 / rate)))
        made.append(bought)
    return made


def seen(people: list[list[tuple[int, float]]], cut: int) -> list[tuple[int, int, int, float]]:
    known = [[(day, spend) for day, spend in bought if day < cut] for bought in people if bought[0][0] < cut]
    return [(len(b), b[-1][0] - b[0][0], cut - b[0][0], sum(spend for _, spend in b)) for b in known]


@pytest.fixture(scope="module")
def fit() -> LifetimeFit:
    return fit_lifetimes(summaries(seen(shoppers(600, days=300, leaves=0.05), 300)))


def test_purchase_days_before_the_date_are_counted(make_rows: MakeRows) -> None:
    base = day_number(DAY)
    rows: list[dict[str, Any]] = [
        {"customer_id": "a", "shopping_days": [base - 30, base - 10, base - 1, base], "spend_amounts": [1.0, 2, 4, 8]},
        {"customer_id": "b", "shopping_days": [base - 5], "spend_amounts": [-3.0]},
        {"customer_id": "later", "shopping_days": [base, base + 1], "spend_amounts": [1.0, 1]},
    ]
    histories = make_rows(HISTORIES, [{"as_of_date": DAY + timedelta(days=9), **row} for row in rows])
    made = summarise_purchases(histories=histories, as_of_date=DAY).orderBy("customer_id").collect()
    assert [tuple(row) for row in made] == [("a", DAY, 3, 29, 30, 7.0), ("b", DAY, 1, 0, 5, 0.0)]


def test_customers_are_valued_and_the_model_is_kept(make_rows: MakeRows, fit: LifetimeFit, tmp_path: Path) -> None:
    people = {"gone": (20, 60, 290, 400.0), "here": (20, 285, 290, 400.0), "once": (1, 0, 290, 20.0)}
    names = ("purchase_day_count", "active_days", "tenure_days", "purchase_amount")
    rows = [
        {"customer_id": key, "as_of_date": DAY, **dict(zip(names, row, strict=True))} for key, row in people.items()
    ]
    frame = make_rows(PURCHASE_SUMMARIES, rows).repartition(3)
    model = LifetimeValueModel(fit, horizon_days=91)
    told = {row["customer_id"]: row for row in score_lifetimes(summaries=frame, model=model).collect()}
    assert list(told["gone"].asDict()) == list(LIFETIME_VALUES.column_names)
    assert told["gone"]["alive_prob"] < 0.01
    assert 0.9 < told["here"]["alive_prob"] < told["once"]["alive_prob"] == 1.0
    # Nearly 20 days in 290 go on for 91, a few customers leaving within them.
    assert 0.7 * 20 * 91 / 290 < told["here"]["expected_purchase_count"] < 20 * 91 / 290
    for row in told.values():
        product = row["expected_purchase_count"] * float(row["expected_purchase_amount"])
        assert float(row["lifetime_value_amount"]) == pytest.approx(product, rel=1e-3, abs=0.01)
    model.write().save(str(tmp_path / "model"))
    again = LifetimeValueModel.load(str(tmp_path / "model"))
    assert again.transform(frame).select(*TOLD).collect() == model.transform(frame).select(*TOLD).collect()
    discounted = LifetimeValueModel(fit, horizon_days=91, discount_rate=0.2).transform(frame).where("tenure_days = 290")
    lower = {row["customer_id"]: row["lifetime_value_amount"] for row in discounted.collect()}
    assert 0.95 < lower["here"] / float(told["here"]["lifetime_value_amount"]) < 1.0


def test_a_fit_is_judged_on_what_followed() -> None:
    people = shoppers(900, days=400, leaves=0.05)
    before, now = seen(people, 300), seen(people, 400)
    turned = summaries(now).take(list(reversed(range(len(now)))))
    trial = judge_lifetimes(before=summaries(before), now=turned, horizon_days=100)
    spend, churn = trial.judged
    assert trial.purchase_ratio == pytest.approx(1.0, abs=0.1)
    assert trial.spend_ratio == pytest.approx(1.0, abs=0.1)
    assert (spend.subject, churn.subject, churn.customers) == ("spend", "churn", 900)
    naive = np.mean([abs(after[3] - earlier[3]) for earlier, after in zip(before, now, strict=True)])
    assert spend.mae is not None
    assert spend.mae < 0.75 * naive
    assert churn.auc is not None
    assert churn.auc > 0.9


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "0 customers bought on a second day"),
        ([(1, 0, 30, 5.0)] * 500, "0 customers bought on a second day"),
        ([(3, 9, 30, 0.0)] * 500, "0 customers bought for more than nothing"),
        ([(2, 9, 30, (place / 400) ** -2.5) for place in range(1, 400)], "gamma-gamma has no"),
    ],
    ids=["nobody", "nobody again", "for nothing", "amounts without a mean"],
)
def test_what_cannot_be_learnt_is_said(rows: list[tuple[int, int, int, float]], reason: str) -> None:
    with pytest.raises(LifetimeFitError, match=reason):
        fit_lifetimes(summaries(rows))

"""Churn and spend: shopping days into measures, and models that recover what they were told."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from pyspark.sql import DataFrame
from sklearn.metrics import roc_auc_score

from promo_spark.contracts.segments import HISTORIES, SEGMENT_BEHAVIOUR
from promo_spark.contracts.settings import SegmentSettings
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.kernels.shopping_history import HISTORY_FEATURES
from promo_spark.segments.behaviour import BehaviourModels, fit_behaviour, score_behaviour
from promo_spark.segments.histories import LAST_SPEND, gather_histories, measure_at_cuts

DAY = date(2024, 6, 3)
HORIZON = 28
CUTS = [DAY - timedelta(days=2 * HORIZON), DAY - timedelta(days=HORIZON)]
MakeRows = Callable[..., DataFrame]


def day_number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _slow(name: str) -> ParameterSet:
    """A learner that is not the default."""
    return pytest.param(name, marks=pytest.mark.slow)


def test_lines_become_shopping_days(make_rows: MakeRows) -> None:
    def line(customer: str | None, day: int, amount: str, **changes: Any) -> dict[str, Any]:
        bought = {"customer_id": customer, "order_date": date(2024, 5, day), "sales_amount": amount}
        return {"basket_id": "b", "line_id": str(day), "is_return": False, **bought, **changes}

    lines = [line("a", 9, "2.00"), line("a", 9, "0.50"), line("a", 2, "1.00"), line(None, 3, "9.00")]
    lines += [line("b", 3, "7.00", is_return=True), line("b", 20, "7.00")]
    rows = [{**row, "sales_amount": Decimal(row["sales_amount"])} for row in lines]
    made = gather_histories(order_lines=make_rows(ORDER_LINES, rows), as_of_date=date(2024, 5, 20)).collect()
    first = day_number(date(2024, 5, 2))
    assert [tuple(row) for row in made] == [("a", date(2024, 5, 20), [first, first + 7], [1.0, 2.5])]


def histories(make_rows: MakeRows, kinds: list[tuple[int, float, float]], *, each: int, seed: int = 1) -> DataFrame:
    """Customers who shop every so many days for an amount, and each day leave with a probability."""
    random, rows = np.random.default_rng(seed), []
    last = day_number(DAY) + HORIZON
    for kind, (gap, amount, leaves) in enumerate(kinds):
        for place in range(each):
            day, days = day_number(DAY) - 180 + int(random.integers(gap)), []
            end = day + 60 + (random.geometric(leaves) if leaves else 10_000)
            while day < min(end, last):
                days.append(day)
                day += 1 + int(random.poisson(gap - 1))
            spend = (amount * random.lognormal(0, 0.2, len(days))).round(2).tolist()
            rows.append(
                {
                    "customer_id": f"k{kind}-{place:03d}",
                    "as_of_date": DAY,
                    "shopping_days": days,
                    "spend_amounts": spend,
                }
            )
    return make_rows(HISTORIES, rows).repartition(3)


def fit(shoppers: DataFrame, **settings: Any) -> BehaviourModels:
    rows = measure_at_cuts(histories=shoppers, cuts=CUTS, as_of_date=DAY, horizon_days=HORIZON)
    chosen = SegmentSettings(horizon_days=HORIZON, **settings)
    return fit_behaviour(rows=rows, train_cut=CUTS[0], judged_cut=CUTS[1], settings=chosen, seed=3)


def scores(shoppers: DataFrame, models: BehaviourModels) -> list[dict[str, Any]]:
    rows = measure_at_cuts(histories=shoppers, cuts=[DAY], as_of_date=DAY, horizon_days=HORIZON)
    made = score_behaviour(rows=rows, models=models, as_of_date=DAY, horizon_days=HORIZON)
    assert made.columns == list(SEGMENT_BEHAVIOUR.column_names)
    return [row.asDict() for row in made.orderBy("customer_id").collect()]


def test_measures_are_of_the_cut_and_labels_of_the_horizon_after(make_rows: MakeRows) -> None:
    days = [day_number(CUTS[1]) + shift for shift in (-40, -1, 0, 27, 28)]
    one = {"customer_id": "a", "as_of_date": DAY, "shopping_days": days, "spend_amounts": [1.0, 2.0, 4.0, 8.0, 16.0]}
    shoppers = make_rows(
        HISTORIES, [one, {**one, "customer_id": "new", "shopping_days": days[4:], "spend_amounts": [1.0]}]
    )
    made = measure_at_cuts(histories=shoppers, cuts=[*CUTS, DAY], as_of_date=DAY, horizon_days=HORIZON)
    rows = {(row["customer_id"], row["cut_date"]): row for row in made.collect()}
    assert set(rows) == {("a", CUTS[0]), ("a", CUTS[1]), ("a", DAY)}
    told = [
        (row["visit_count"], row["spend_amount"], row[LAST_SPEND]) for row in (rows["a", day] for day in (*CUTS, DAY))
    ]
    assert told == [(1, 2.0, 1.0), (2, 12.0, 2.0), (None, None, 12.0)]
    assert rows["a", CUTS[1]]["recency_log"] == pytest.approx(np.log(2))
    assert set(made.columns) == {
        "customer_id",
        "cut_date",
        *HISTORY_FEATURES,
        LAST_SPEND,
        "visit_count",
        "spend_amount",
    }


@pytest.mark.parametrize("name", ["logistic", *(_slow(name) for name in ("tree", "forest", "svm", "gbt"))])
def test_every_classifier_tells_who_leaves(make_rows: MakeRows, name: str) -> None:
    shoppers = histories(make_rows, [(3, 20.0, 0.0), (3, 20.0, 0.012), (10, 30.0, 0.012)], each=60)
    models = fit(shoppers, churn_models=(name,), spend_models=("linear",))
    told = scores(shoppers, models)
    probabilities = np.array([row["churn_prob"] for row in told])
    truth = {row["customer_id"]: row["shopping_days"] for row in shoppers.collect()}
    left = np.array([not any(day >= day_number(DAY) for day in truth[row["customer_id"]]) for row in told], dtype=float)
    assert roc_auc_score(left, probabilities) > 0.8
    assert probabilities.mean() == pytest.approx(left.mean(), abs=0.12)
    assert all(row["purchase_prob"] == pytest.approx(1 - row["churn_prob"]) for row in told)
    (judged,) = [j for j in models.judged if j.subject == "churn" and j.is_chosen]
    assert (judged.model, judged.auc > 0.8) == (name, True)


@pytest.mark.parametrize("name", ["linear", *(_slow(name) for name in ("tree", "forest", "gbt", "blend"))])
def test_every_regressor_tells_what_is_spent(make_rows: MakeRows, name: str) -> None:
    shoppers = histories(make_rows, [(2, 10.0, 0.0), (7, 10.0, 0.0), (7, 80.0, 0.0)], each=60)
    models = fit(shoppers, churn_models=("logistic",), spend_models=(name,))
    assert models.churn is None
    told = scores(shoppers, models)
    assert [row["churn_prob"] for row in told] == [None] * 180
    for kind, expected in enumerate((140.0, 40.0, 320.0)):
        mean = np.mean([float(row["expected_spend_amount"]) for row in told[60 * kind : 60 * kind + 60]])
        assert mean == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize(
    "models",
    [(("logistic",), ("linear",)), pytest.param((("forest", "logistic"), ("blend",)), marks=pytest.mark.slow)],
    ids=["default", "trees"],
)
@pytest.mark.slow
def test_the_layout_of_rows_changes_nothing(make_rows: MakeRows, models: tuple[tuple[str, ...], ...]) -> None:
    shoppers = histories(make_rows, [(3, 20.0, 0.0), (3, 20.0, 0.012)], each=40)
    options = dict(zip(("churn_models", "spend_models"), models, strict=True))
    once, again = (scores(rows, fit(rows, **options)) for rows in (shoppers, shoppers.repartition(5, "spend_amounts")))
    assert once == again


def test_no_history_before_the_earlier_horizon_is_refused(make_rows: MakeRows) -> None:
    days = [day_number(CUTS[1]) + 1]
    new = {"customer_id": "a", "as_of_date": DAY, "shopping_days": days, "spend_amounts": [1.0]}
    with pytest.raises(ValueError, match="earlier horizon"):
        fit(make_rows(HISTORIES, [new]))

"""Products and promotions in clusters: planted kinds are found and named, in any layout, and odd input is placed."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame

from promo_spark.contracts.features import PRODUCT_FEATURES, PROMOTION_FEATURES
from promo_spark.contracts.segments import SEGMENT_PRODUCTS, SEGMENT_PROMOTIONS
from promo_spark.segments.entity_clusters import (
    PRODUCTS,
    PROMOTIONS,
    EntityFit,
    expect_redemptions,
    fit_entity_clusters,
    place_entities,
)

DAY = date(2024, 6, 3)
MakeRows = Callable[..., DataFrame]
KINDS = (("best", 400, 0.5, 2.0), ("rare", 3, 0.0, 6.0), ("dear", 20, 0.3, 60.0))


def products(make_rows: MakeRows, each: int = 40) -> DataFrame:
    random, rows = np.random.default_rng(2), []
    for kind, orders, repeats, price in KINDS:
        for place in range(each):
            row: dict[str, Any] = {
                "product_id": f"{kind}-{place:02d}",
                "as_of_date": DAY,
                "order_count": int(orders * random.lognormal(0, 0.1)) + 1,
                "repeat_customer_rate": float(np.clip(repeats + random.normal(0, 0.02), 0, 1)),
                "regular_price_amount": float(price * random.lognormal(0, 0.1)),
                "sales_amount": Decimal(orders) * Decimal(str(price)),
                "discounted_line_rate": 0.3,
            }
            rows.append(row)
    return make_rows(PRODUCT_FEATURES, rows).repartition(3)


def fit(frame: DataFrame) -> EntityFit:
    return fit_entity_clusters(frame, PRODUCTS, counts=(2, 3, 4), smallest_rate=0.02, seed=5)


@pytest.mark.slow
def test_kinds_of_products_are_found_and_named_in_any_layout(make_rows: MakeRows, tmp_path: Path) -> None:
    frame = products(make_rows)
    found = fit(frame)
    assert found.columns == ("order_count", "repeat_customer_rate", "regular_price_amount")
    placed = place_entities(entities=frame, model=found.model, contract=SEGMENT_PRODUCTS).orderBy("product_id")
    assert placed.columns == list(SEGMENT_PRODUCTS.column_names)
    rows = placed.collect()
    told = {
        kind: {(r["cluster_id"], r["cluster_name"]) for r in rows if r["product_id"].startswith(kind)}
        for kind, *_ in KINDS
    }
    assert told == {
        "dear": {(0, "Dear")},
        "best": {(1, "Best sellers, bought again")},
        "rare": {(2, "Seldom bought again, slow sellers")},
    }
    assert max(row["distance"] for row in rows) < 1
    other = frame.repartition(5, "repeat_customer_rate")
    again = place_entities(entities=other, model=fit(other).model, contract=SEGMENT_PRODUCTS).orderBy("product_id")
    assert again.collect() == rows
    found.model.write().save(str(tmp_path / "model"))
    kept = PipelineModel.load(str(tmp_path / "model"))
    assert place_entities(entities=other, model=kept, contract=SEGMENT_PRODUCTS).orderBy("product_id").collect() == rows


@pytest.mark.parametrize("count", [1, 5])
def test_products_all_alike_are_one_cluster(make_rows: MakeRows, count: int) -> None:
    rows = [{"product_id": f"p{place}", "as_of_date": DAY, "order_count": 3} for place in range(count)]
    frame = make_rows(PRODUCT_FEATURES, rows)
    found = fit(frame)
    placed = place_entities(entities=frame, model=found.model, contract=SEGMENT_PRODUCTS).collect()
    assert {(r["cluster_id"], r["cluster_name"], r["distance"]) for r in placed} == {(0, "All products", 0.0)}
    assert len(placed) == count


def test_redemption_of_few_is_pulled_towards_that_of_all(make_rows: MakeRows) -> None:
    random, rows = np.random.default_rng(1), []
    for place in range(60):
        targeted = 500 if place < 50 else 4
        rate = float(random.binomial(targeted, 0.02 + 0.3 * (place % 2)) / targeted)
        rows.append({"targeted_customer_count": targeted, "redemption_rate": rate, "duration_days": 30})
    rows += [{"targeted_customer_count": 0}, {"targeted_customer_count": 9, "redemption_rate": None}]
    base = {"as_of_date": DAY, "start_date": DAY, "end_date": DAY}
    named = [{**base, "promotion_id": f"c{place:02d}", **row} for place, row in enumerate(rows)]
    frame = expect_redemptions(make_rows(PROMOTION_FEATURES, named))
    found = fit_entity_clusters(frame, PROMOTIONS, counts=(2, 3), smallest_rate=0.02, seed=5)
    placed = place_entities(entities=frame, model=found.model, contract=SEGMENT_PROMOTIONS).orderBy("promotion_id")
    told = placed.collect()
    expected = [row["expected_redemption_rate"] for row in told]
    own = [row["redemption_rate"] for row in rows[:60]]
    middle = float(np.mean(expected[:50]))
    for place in range(50):
        assert expected[place] == pytest.approx(own[place], abs=0.01)
    for place in range(50, 60):
        assert abs(expected[place] - middle) < 0.8 * abs(own[place] - middle) + 0.02
    assert expected[60:] == [None, None]
    numbers = {row["cluster_id"] for place, row in enumerate(told[:50]) if place % 2}
    assert numbers == {0}
    assert {row["cluster_name"] for row in told[1:50:2]} == {"Often redeemed, wide reach"}

"""Bundles from baskets: counted as Spark's FP-growth counts, beyond chance, and priced by margin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from pyspark.ml.fpm import FPGrowth
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import IdeaSettings
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.ideas import BUNDLES
from promo_spark.contracts.settings import RecommendSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.kernels.bundle_values import bundle_values
from promo_spark.plans.basket_pairs import count_pairs, draw_items
from promo_spark.plans.bundles import _best, mine_bundles

DAY = date(2024, 6, 3)
MakeRows = Callable[..., DataFrame]
SETTINGS = IdeaSettings(bundle_min_baskets=20, bundle_min_lift=1.2)
# Pasta and sauce belong together; soap and milk are bought by chance; ink and paper by one shopper only.
MAKERS = {"pasta": ("m1", "Own Brand"), "sauce": ("m2", "Rossi"), "soap": ("m3", "Bar"), "milk": ("m4", "Moo")}
PRICES = {"pasta": 2.0, "sauce": 3.0, "soap": 4.0, "milk": 1.0, "ink": 20.0, "paper": 5.0}


def basket_contents() -> list[tuple[str, set[str]]]:
    """Shopper and products of 600 baskets."""
    dice = np.random.default_rng(4)
    baskets = []
    for number in range(600):
        held = {name for name in ("pasta", "soap", "milk") if dice.random() < 0.3}
        if dice.random() < (0.7 if "pasta" in held else 0.1):
            held.add("sauce")
        baskets.append((f"c{number % 200}", held or {"milk"}))
    return [*baskets, *[("office", {"ink", "paper"})] * 40]


def lines(make_rows: MakeRows, baskets: list[tuple[str, set[str]]], **changes: Any) -> DataFrame:
    rows = [
        {
            "basket_id": f"b{number}",
            "line_id": f"{name}-{copy}",
            "customer_id": shopper,
            "product_id": name,
            "order_date": DAY - timedelta(days=1 + number % 90),
            "quantity": Decimal(1),
            "is_return": False,
            **changes,
        }
        for number, (shopper, held) in enumerate(baskets)
        for name in sorted(held)
        for copy in range(2 if name == "milk" else 1)  # two lines of one product are one product
    ]
    return make_rows(ORDER_LINES, rows)


def with_other_lines(make_rows: MakeRows, baskets: list[tuple[str, set[str]]]) -> DataFrame:
    """The same with lines that do not count: of the day itself, too old, brought back, or of a negative quantity."""
    everything = lines(make_rows, baskets)
    changes: list[dict[str, Any]] = [
        {"order_date": DAY},
        {"order_date": DAY - timedelta(days=183)},
        {"is_return": True},
        {"quantity": Decimal(-1)},
    ]
    for place, change in enumerate(changes):
        other = lines(make_rows, baskets, **change)
        everything = everything.unionByName(other.withColumn("basket_id", F.concat(F.lit(f"x{place}"), "basket_id")))
    return everything


@pytest.fixture
def mined(make_rows: MakeRows) -> Callable[..., dict[tuple[str, str], Row]]:
    def mine(order_lines: DataFrame, settings: IdeaSettings = SETTINGS, **excluded: Any) -> dict[tuple[str, str], Row]:
        features = [
            {
                "product_id": name,
                "as_of_date": DAY,
                "department": "food",
                "category": "dry" if name in {"pasta", "sauce"} else name,
                "regular_price_amount": price,
                "margin_rate": 0.5,
                "is_margin_assumed": name == "pasta",
            }
            for name, price in PRICES.items()
        ]
        described = [{"product_id": p, "manufacturer_id": m, "brand": b} for p, (m, b) in MAKERS.items()]
        table = mine_bundles(
            order_lines=order_lines,
            products=make_rows(PRODUCTS, described),
            product_features=make_rows(PRODUCT_FEATURES, features),
            as_of_date=DAY,
            settings=settings,
            recommend=RecommendSettings(**excluded),
        )
        return {(row.anchor_product_id, row.added_product_id): row for row in table.collect()}

    return mine


def test_what_belongs_together_is_bundled_and_priced(make_rows: MakeRows, mined: Callable[..., Any]) -> None:
    baskets = basket_contents()
    found = mined(with_other_lines(make_rows, baskets))
    # Sauce is another maker's, who shares: so pasta is the anchor. Ink and paper rest on one shopper.
    assert list(found) == [("pasta", "sauce")]
    row = found["pasta", "sauce"]
    pasta = [held for _, held in baskets if "pasta" in held]
    both = sum("sauce" in held for held in pasta)
    n_sauce = sum("sauce" in held for _, held in baskets)
    assert (row.basket_count, row.anchor_basket_count) == (both, len(pasta))
    assert row.shopper_count == len({c for c, held in baskets if held >= {"pasta", "sauce"}})
    assert row.confidence_rate == pytest.approx(both / len(pasta))
    assert row.lift_rate == pytest.approx(both * len(baskets) / len(pasta) / n_sauce)
    assert 1 < row.lift_low_rate < row.lift_rate
    assert (row.regular_price_amount, row.unit_margin_amount, row.discount_rate) == (5.0, 2.5, 0.1)
    assert (row.is_joint, row.partner_share_rate, row.is_same_category, row.is_margin_assumed) == (
        True,
        0.5,
        True,
        True,
    )
    values = bundle_values(
        anchor_baskets=np.array([len(pasta)]),
        share=np.array([both / len(pasta)]),
        added_price=np.array([3.0]),
        added_margin=np.array([1.5]),
        discount=np.array([0.5]),
        partner_share=np.array([0.5]),
        elasticity=SETTINGS.bundle_elasticity,
    )
    assert row.expected_gain_amount == pytest.approx(values.gain.item())
    assert row.break_even_rate == pytest.approx(values.break_even.item())
    assert (row["rank"], row.learnt_from) == (1, "observational")


def test_pairs_are_counted_as_spark_counts_them(make_rows: MakeRows) -> None:
    order_lines = lines(make_rows, basket_contents())
    items = draw_items(order_lines=order_lines, as_of_date=DAY, days=182, basket_count=10_000)
    products = items.select("product_id").distinct()
    counted = count_pairs(items=items, frequent=products)
    own = {(row.first_product_id, row.second_product_id): row.shared for row in counted.collect()}
    held = items.groupBy("basket_id").agg(F.collect_set("product_id").alias("items"))
    mined = FPGrowth(minSupport=1e-9).fit(held).freqItemsets.where(F.size("items") == 2)
    assert own == {tuple(sorted(row["items"])): row.freq for row in mined.collect()}
    assert len(own) > 5


@pytest.mark.slow
def test_excluded_categories_are_not_bundled(make_rows: MakeRows, mined: Callable[..., Any]) -> None:
    assert mined(lines(make_rows, basket_contents()), excluded_categories=("dry",)) == {}


def test_a_sample_of_baskets_stands_for_all(make_rows: MakeRows) -> None:
    given: dict[str, Any] = {"order_lines": lines(make_rows, basket_contents()), "as_of_date": DAY, "days": 182}
    part = draw_items(**given, basket_count=400).select("basket_id", "scale").distinct().collect()
    assert 340 < len(part) < 460
    assert {row.scale for row in part} == {640 / 400}
    assert {row.basket_id for row in part} <= {f"b{number}" for number in range(640)}


def test_few_bundles_stand_around_one_product(make_rows: MakeRows) -> None:
    gains = {
        ("milk", "tea"): 5.0,
        ("milk", "nuts"): 9.0,
        ("milk", "rice"): 7.0,
        ("soap", "rice"): 1.0,
        ("ink", "pen"): 3.0,
    }
    rows = [
        {"anchor_product_id": a, "added_product_id": b, "expected_gain_amount": gain, "lift_low_rate": 2.0}
        for (a, b), gain in gains.items()
    ]
    settings = SETTINGS.model_copy(update={"bundles_per_anchor": 2, "bundle_count": 3})
    best = _best(make_rows(BUNDLES, rows).drop("rank"), settings).orderBy("rank").collect()
    assert [(row["rank"], row.added_product_id) for row in best] == [(1, "nuts"), (2, "rice"), (3, "pen")]

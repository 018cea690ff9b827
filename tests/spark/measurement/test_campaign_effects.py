"""A small retailer's campaigns from lines to verdicts: a planted effect, and campaigns of which nothing can be told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from promo_spark.contracts.campaign_effects import CAMPAIGN_CHECKS, CAMPAIGN_EFFECTS
from promo_spark.contracts.campaign_effects_settings import CampaignEffectSettings
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import ASSIGNMENTS, ORDER_LINES, PRODUCTS, PROMOTION_PRODUCTS
from promo_spark.contracts.table import TableContract
from promo_spark.kernels.campaign_history import MEASURES
from promo_spark.measurement.campaign_customers import gather_campaign_customers
from promo_spark.measurement.campaigns import list_campaigns
from promo_spark.pipelines import campaign_effects
from promo_spark.runtime import Stage

START = date(2024, 4, 1)
DAY = START + timedelta(days=42)
SETTINGS = CampaignEffectSettings(
    min_targeted=40,
    synthetic_unit="none",
    metrics=("sales_amount", "margin_amount", "covered_sales_amount", "discount_amount"),
)
CUSTOMERS, EFFECT = 300, 12.0
MakeRows = Callable[..., DataFrame]
Rows = list[dict[str, Any]]


def line(customer: str, product: str, day: date, amount: float, **columns: object) -> dict[str, Any]:
    return {
        "basket_id": f"{customer}-{day}",
        "line_id": product,
        "customer_id": customer,
        "product_id": product,
        "order_date": day,
        "sales_amount": Decimal(str(round(amount, 2))),
        "is_return": False,
        "is_outlier": False,
        **columns,
    }


def given(promotion: str, customers: list[str], day: date, **columns: object) -> Rows:
    decided = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    row = {"decision_id": promotion, "arm": promotion, "is_holdout": False, "decided_at": decided}
    return [{**row, "customer_id": customer, **columns} for customer in customers]


def shop() -> tuple[Rows, Rows]:
    """Lines of customers who buy every other week or so, and the campaign that the better of them were given.

    Given it they buy for 12 more in each period of two weeks, of the product that it covers.
    """
    draw = np.random.default_rng(20240401)
    level = draw.gamma(6.0, 5.0, CUSTOMERS)
    targeted = draw.random(CUSTOMERS) < 1 / (1 + np.exp(1.2 - 0.05 * (level - 30)))
    lines = []
    for customer in range(CUSTOMERS):
        for period in range(9):
            day = START + timedelta(days=14 * (period - 6) + int(draw.integers(0, 14)))
            more = EFFECT if targeted[customer] and period >= 6 else 0.0
            amount = level[customer] * draw.gamma(20.0, 0.05)
            lines.append(line(f"c{customer:03}", "covered", day, 0.4 * amount + more))
            lines.append(line(f"c{customer:03}", "other", day, 0.6 * amount))
    return lines, given("spring", [f"c{one:03}" for one in np.flatnonzero(targeted)], START)


def others() -> Rows:
    """Campaigns of which nothing can be told, and one that was drawn at random."""
    names = [f"c{customer:03}" for customer in range(CUSTOMERS)]
    return [
        *given("later", ["c001"], DAY - timedelta(days=5)),
        *given("earlier", ["c002"], START - timedelta(days=40)),
        *given("three", names[3:6], START),
        *given("everybody", names, START),
        *given("drawn", names[10:40], START, propensity=0.1),
    ]


def tables(make_rows: MakeRows, lines: Rows, assignments: Rows) -> dict[str, DataFrame]:
    return {
        ORDER_LINES.name: make_rows(ORDER_LINES, lines),
        ASSIGNMENTS.name: make_rows(ASSIGNMENTS, assignments),
        PRODUCTS.name: make_rows(
            PRODUCTS, [{"product_id": "covered", "category": "A"}, {"product_id": "other", "category": "B"}]
        ),
        PRODUCT_FEATURES.name: make_rows(PRODUCT_FEATURES, [{"product_id": "covered", "margin_rate": 0.5}]),
        PROMOTION_PRODUCTS.name: make_rows(
            PROMOTION_PRODUCTS, [{"promotion_id": "spring", "coupon_id": "x", "product_id": "covered"}]
        ),
    }


class StageInMemory:
    """What the stage needs of a stage, with tables kept as frames."""

    def __init__(self, spark: SparkSession, held: dict[str, DataFrame], settings: CampaignEffectSettings) -> None:
        self.spark, self.tables, self.as_of_date = spark, held, DAY
        self.settings = SimpleNamespace(
            campaign_effects=settings,
            features=FeatureSettings(margin_rate=0.2),
            seed=7,
            currency="USD",
            source=SimpleNamespace(time_zone="UTC"),
        )
        self.limitations: list[str] = []
        self.figures: dict[str, float] = {}

    def read(self, contract: TableContract) -> DataFrame:
        return self.tables[contract.name]

    def write(self, contract: TableContract, frame: DataFrame) -> SimpleNamespace:
        rows = [tuple(row[name] for name in contract.column_names) for row in frame.collect()]
        keys = {tuple(row[contract.column_names.index(name)] for name in contract.key) for row in rows}
        assert len(keys) == len(rows)
        self.tables[contract.name] = self.spark.createDataFrame(rows, contract.schema())
        for check in contract.checks:
            assert self.tables[contract.name].where(f"NOT ({check})").isEmpty(), check
        return SimpleNamespace(accepted=len(rows))

    def limitation(self, message: str) -> None:
        self.limitations.append(message)

    def metrics(self, values: dict[str, float]) -> None:
        self.figures.update(values)


Found = tuple[StageInMemory, dict[tuple[str, str, str], Any], dict[tuple[str, str, str], Any]]


def run(
    spark: SparkSession,
    make_rows: MakeRows,
    lines: Rows,
    assignments: Rows,
    settings: CampaignEffectSettings = SETTINGS,
) -> Found:
    """The stage, its effects by campaign, metric and method, its checks by campaign, check and covariate."""
    stage = StageInMemory(spark, tables(make_rows, lines, assignments), settings)
    campaign_effects.run(cast("Stage", stage))
    effects = {(row.promotion_id, row.metric, row.method): row for row in stage.read(CAMPAIGN_EFFECTS).collect()}
    checks = {(row.promotion_id, row.check, row.covariate): row for row in stage.read(CAMPAIGN_CHECKS).collect()}
    return stage, effects, checks


@pytest.fixture(scope="module")
def found(spark: SparkSession, make_rows: MakeRows) -> Found:
    lines, assignments = shop()
    return run(spark, make_rows, lines, assignments + others())


def test_a_planted_effect_is_shown(found: Found) -> None:
    stage, effects, _ = found
    row = effects["spring", "sales_amount", "doubly_robust"]
    assert row.is_headline
    assert row.verdict == "effect_shown"
    assert row.effect == pytest.approx(EFFECT / 2, abs=3 * row.standard_error)
    assert row.standard_error < 1
    assert row.low < row.effect < row.high
    assert row.told.startswith("an effect is shown: +")
    assert (row.targeted_count, row.last_date) == (len(shop()[1]), DAY - timedelta(days=1))
    covered = effects["spring", "covered_sales_amount", "doubly_robust"]
    assert covered.effect == pytest.approx(EFFECT / 2, abs=3 * covered.standard_error)
    margin = effects["spring", "margin_amount", "doubly_robust"]
    assert margin.effect == pytest.approx(0.5 * EFFECT / 2, abs=3 * margin.standard_error)
    assert stage.figures["campaigns_sales_amount_effect_shown"] == 1


def test_its_checks_say_why(found: Found) -> None:
    _, _, checks = found
    assert checks["spring", "negative_control", "untouched_sales_amount"].passed
    assert checks["spring", "balance_before", "sales"].passed is False
    assert not checks["spring", "balance_before", "sales"].is_required
    assert checks["spring", "balance_after", "sales"].passed is True
    assert checks["spring", "weighted_trend", "discount_amount"].passed is None
    assert checks["three", "targeted", "all"].told.endswith("3, held against 40: failed")


@pytest.mark.parametrize(
    ("campaign", "words"),
    [
        ("later", "cannot be told: it has not run its course yet"),
        ("earlier", "cannot be told: the time before it is not wholly known"),
        ("three", "cannot be told: too few customers were targeted"),
        ("everybody", "cannot be told: too few customers were not targeted"),
    ],
)
def test_what_cannot_be_told_is_said(found: Found, campaign: str, words: str) -> None:
    stage, effects, _ = found
    row = effects[campaign, "sales_amount", "doubly_robust"]
    assert (row.effect, row.verdict, row.told) == (None, "cannot_be_told", words)
    assert "of 5 campaigns that nobody drew at random 4 cannot be told of" in stage.limitations[0]


def test_what_never_varies_cannot_be_told(found: Found) -> None:
    row = found[1]["spring", "discount_amount", "doubly_robust"]
    assert (row.verdict, row.told) == ("cannot_be_told", "cannot be told: what is measured is the same for everybody")


def test_what_was_drawn_at_random_is_left_to_its_experiment(found: Found) -> None:
    assert "drawn" not in {campaign for campaign, _, _ in found[1]}


@pytest.mark.slow
def test_rows_in_another_order_and_the_future_change_nothing(
    spark: SparkSession, make_rows: MakeRows, found: Found
) -> None:
    future = [line("c001", "covered", DAY + timedelta(days=1), 900.0)]
    lines, assignments = shop()
    _, again, _ = run(spark, make_rows, [*lines[::-1], *future], [*assignments, *others()][::-1])
    assert again == found[1]


@pytest.mark.slow
def test_no_lines_leave_no_history_and_no_assignments_no_campaign(spark: SparkSession, make_rows: MakeRows) -> None:
    lines, assignments = shop()
    _, effects, _ = run(spark, make_rows, [], assignments)
    assert {row.told for row in effects.values()} == {"cannot be told: the time before it is not wholly known"}
    stage, effects, _ = run(spark, make_rows, lines[:10], [])
    assert effects == {}
    assert stage.limitations == [
        "no campaign that was not drawn at random began before the date: there is none to measure."
    ]


@pytest.mark.slow  # another run of the stage, for one number
def test_a_side_that_is_too_large_is_sampled(spark: SparkSession, make_rows: MakeRows) -> None:
    settings = SETTINGS.model_copy(update={"max_customers": 100})
    _, effects, _ = run(spark, make_rows, *shop(), settings)
    row = effects["spring", "sales_amount", "difference_in_differences"]
    assert 40 <= row.targeted_count <= 130
    assert 40 < row.control_count < 100


def test_periods_by_hand(make_rows: MakeRows) -> None:
    lines = [
        line("a", "covered", START - timedelta(days=84), 1.0),
        line("a", "other", START - timedelta(days=1), 2.0),
        line("a", "covered", START, 4.0, retail_discount_amount=Decimal("1.00")),
        line("a", "covered", START, 99.0, is_outlier=True),
        line("a", "other", DAY, 8.0),
        line("late", "other", START - timedelta(days=3), 5.0),
        line("idle", "other", START + timedelta(days=3), 5.0),
    ]
    assignments = [
        *given("spring", ["a"], START),
        *given("spring", ["late"], START + timedelta(days=1)),
        *given("same day", ["a"], START),
        *given("meanwhile", ["a"], START + timedelta(days=30)),
    ]
    held = tables(make_rows, lines, assignments)
    shared = {"as_of_date": DAY + timedelta(days=60), "time_zone": "UTC", "settings": SETTINGS}
    campaigns = list_campaigns(assignments=held[ASSIGNMENTS.name], order_lines=held[ORDER_LINES.name], **shared)
    rows = gather_campaign_customers(
        campaigns=campaigns.where("promotion_id = 'spring'"),
        assignments=held[ASSIGNMENTS.name],
        order_lines=held[ORDER_LINES.name],
        products=held[PRODUCTS.name],
        product_features=held[PRODUCT_FEATURES.name],
        promotion_products=held[PROMOTION_PRODUCTS.name],
        features=FeatureSettings(margin_rate=0.2),
        seed=1,
        **shared,
    ).collect()
    assert [(row.customer_id, row.is_targeted) for row in rows] == [("a", True)]
    found = dict(zip(MEASURES, np.array(rows[0].periods).reshape(len(MEASURES), 9).tolist(), strict=True))
    assert found["sales_amount"] == [1.0, 0, 0, 0, 0, 2.0, 4.0, 0, 0]
    assert found["covered_sales_amount"] == [1.0, 0, 0, 0, 0, 0, 4.0, 0, 0]
    assert found["untouched_sales_amount"] == [0, 0, 0, 0, 0, 2.0, 0, 0, 0]
    assert found["margin_amount"] == pytest.approx([0.5, 0, 0, 0, 0, 0.4, 0.5 * 5 - 1, 0, 0])
    assert found["discount_amount"][6] == 1.0
    assert found["visit_count"] == [1, 0, 0, 0, 0, 1, 1, 0, 0]
    assert found["campaign_count"] == [0, 0, 0, 0, 0, 1, 0, 0, 1]
    late = {row.promotion_id: row.late_count for row in campaigns.collect()}
    assert late["spring"] == 1

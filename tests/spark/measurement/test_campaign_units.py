"""Synthetic controls of categories and stores from order lines."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame

from promo_spark.contracts.campaign_effects_settings import CampaignEffectSettings
from promo_spark.contracts.silver import ASSIGNMENTS, ORDER_LINES, PRODUCTS, PROMOTION_PRODUCTS
from promo_spark.measurement.campaign_units import find_unit_effects, gather_campaign_units
from promo_spark.measurement.campaigns import list_campaigns
from tests.spark.measurement.test_campaign_effects import DAY, START, MakeRows, given, line

UNITS, CUSTOMERS = 24, 5


def lines_of(unit: str, lift: float) -> list[dict[str, Any]]:
    """Two shared movements mixed in every unit's sales; the first unit gains ``lift`` a week in the campaign."""
    draw = np.random.default_rng(5)
    shared = draw.normal(size=(18, 2)).cumsum(axis=0)
    sales = 150 + 8 * shared @ draw.dirichlet(np.ones(2), UNITS).T + draw.normal(0, 2, (18, UNITS))
    sales[12:, 0] += lift
    days = [START + timedelta(weeks=week - 12) for week in range(18)]
    return [
        line(f"c{customer}", f"p{place:02}", day, sales[week, place] / CUSTOMERS, store_id=f"s{place:02}")
        for week, day in enumerate(days)
        for place in range(UNITS)
        for customer in range(CUSTOMERS)
        if unit == "category" or customer == place % CUSTOMERS
    ]


def found(
    make_rows: MakeRows, settings: CampaignEffectSettings, lines: list[dict[str, Any]], day: date = DAY
) -> list[Any]:
    targeted = [f"c{customer}" for customer in range(CUSTOMERS)] if settings.synthetic_unit == "category" else ["c0"]
    assignments = make_rows(ASSIGNMENTS, given("spring", targeted, START))
    sold: DataFrame = make_rows(ORDER_LINES, lines)
    described = [{"product_id": f"p{place:02}", "category": f"k{place:02}"} for place in range(UNITS)]
    covered = [{"promotion_id": "spring", "coupon_id": "x", "product_id": "p00"}]
    shared = {"as_of_date": day, "settings": settings}
    campaigns = list_campaigns(assignments=assignments, order_lines=sold, time_zone="UTC", **shared)
    units = gather_campaign_units(
        campaigns=campaigns,
        assignments=assignments,
        order_lines=sold,
        products=make_rows(PRODUCTS, described),
        promotion_products=make_rows(PROMOTION_PRODUCTS, covered),
        time_zone="UTC",
        **shared,
    )
    return find_unit_effects(campaigns=campaigns, campaign_units=units, **shared).collect()


def test_a_lift_of_the_covered_category_is_found(make_rows: MakeRows) -> None:
    rows = {
        (row.finding, row.subject): row
        for row in found(make_rows, CampaignEffectSettings(), lines_of("category", 50.0))
    }
    effect = rows["effect", "synthetic_control"]
    assert effect.detail == "touched_sales_amount"
    assert effect.value == pytest.approx(50.0 / CUSTOMERS, rel=0.15)  # per targeted customer and week
    assert effect.p_value == pytest.approx(1 / UNITS)
    assert effect.failed == []
    assert (effect.targeted_count, effect.control_count) == (CUSTOMERS, UNITS - 1)
    assert rows["check", "fit_before"].passed


def test_stores_are_touched_by_whom_they_sell_to(make_rows: MakeRows) -> None:
    settings = CampaignEffectSettings(synthetic_unit="store", min_unit_amount=1.0, min_donors=10)
    rows = {row.subject: row for row in found(make_rows, settings, lines_of("store", 0.0))}
    assert rows["donors"].value == UNITS - 5  # five stores sell to c0
    assert rows["synthetic_control"].p_value > 0.05


@pytest.mark.slow
def test_too_few_donors_and_a_poor_fit_stop_a_conclusion(make_rows: MakeRows) -> None:
    lines = lines_of("category", 50.0)
    few = found(make_rows, CampaignEffectSettings(min_donors=30), lines)
    assert {(row.value, tuple(row.failed)) for row in few if row.finding == "effect"} == {(None, ("donors",))}
    poor = found(make_rows, CampaignEffectSettings(max_fit_error_rate=0.0001), lines)
    assert [row.failed for row in poor if row.finding == "effect"] == [["fit_before"]]


@pytest.mark.parametrize("day", [DAY, START])
def test_nothing_comes_of_no_unit_or_no_time_after(make_rows: MakeRows, day: date) -> None:
    settings = CampaignEffectSettings(synthetic_unit="none" if day == DAY else "category")
    assert found(make_rows, settings, lines_of("category", 0.0), day) == []

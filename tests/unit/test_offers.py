"""Offers: what each mechanic must say, and what means nothing to it."""

from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from promo_spark.contracts.offers import Mechanic, Offer, Promotions
from promo_spark.kernels.basket_rewards import Terms
from promo_spark.kernels.mechanic_costs import MECHANICS

ROOT = Path(__file__).parents[2]


def offer(**given: Any) -> Offer:
    return Offer(**{"offer_id": "one", "name": "One", "channel": "app", **given})


WHOLE: dict[str, dict[str, Any]] = {
    "spend_threshold": {"threshold_amount": 30.0, "depth_rate": 0.1, "stretch_prob": 0.3},
    "gift": {"gift_unit_cost_amount": 2.0, "gift_stock_count": 500, "threshold_amount": 20.0},
    "cashback": {"depth_rate": 0.1, "cashback_cap_amount": 5.0, "breakage_rate": 0.2, "cashback_delay_days": 30},
    "points": {"points_per_amount": 5.0, "point_value_amount": 0.01, "breakage_rate": 0.3},
    "bundle": {"depth_rate": 0.1, "bundle_units": 3},
    "joint": {"depth_rate": 0.2, "vendor_share_rate": 0.5},
    "coupon": {"depth_rate": 0.15, "participation_rate": 0.2},
    "flash_sale": {"depth_rate": 0.3, "flash_hours": (17, 19)},
}


@pytest.mark.parametrize("mechanic", WHOLE)
def test_whole_offers_are_priced_by_baskets_and_survive_being_written_out(mechanic: str) -> None:
    made = offer(mechanic=mechanic, **WHOLE[mechanic])
    assert made.is_priced_by_baskets
    assert Offer.model_validate_json(made.model_dump_json()) == made


def test_a_plain_discount_costs_its_depth() -> None:
    assert not offer(mechanic="percent_off", depth_rate=0.1).is_priced_by_baskets
    assert not offer(mechanic="display", display_rate=0.1).is_priced_by_baskets


def test_every_fault_of_an_offer_is_told() -> None:
    with pytest.raises(ValueError, match="needs gift_unit_cost_amount") as fault:
        offer(mechanic="gift", depth_rate=0.1, breakage_rate=0.5, cashback_cap_amount=3.0)
    told = str(fault.value)
    assert "breakage_rate is for cashback or points, not for gift" in told
    assert "cashback_cap_amount is for cashback, not for gift" in told
    assert "the cost of a gift is not a depth_rate" in told


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mechanic": "spend_threshold"}, "a spend_threshold needs threshold_amount and depth_rate"),
        ({"mechanic": "points", "points_per_amount": 1.0}, "needs point_value_amount"),
        ({"mechanic": "joint", "depth_rate": 0.1}, "needs vendor_share_rate"),
        ({"mechanic": "percent_off"}, "changes nothing"),
        ({"mechanic": "percent_off", "depth_rate": 0.1, "threshold_amount": 5.0}, "threshold_amount is for"),
        ({"mechanic": "coupon", "depth_rate": 0.1, "participation_rate": 1.2}, "less than or equal to 1"),
        ({"mechanic": "flash_sale", "depth_rate": 0.1, "flash_hours": (9, 24)}, "less than or equal to 23"),
        ({"mechanic": "raffle", "depth_rate": 0.1}, "Input should be"),
    ],
)
def test_broken_offers_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        offer(**given)


def test_every_mechanic_has_a_cost_model_and_every_term_a_setting() -> None:
    assert set(get_args(Mechanic)) == set(MECHANICS)
    assert {field.name for field in fields(Terms)} <= set(Offer.model_fields)
    for name, value in ((field.name, field.default) for field in fields(Terms)):
        assert Offer.model_fields[name].default == value, name


def test_the_projects_own_offers_are_sound() -> None:
    text = (ROOT / "conf" / "promotions.yaml").read_text(encoding="utf-8")
    assert Promotions.model_validate(yaml.safe_load(text)).offers

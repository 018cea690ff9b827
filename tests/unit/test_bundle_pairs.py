"""Which pairs are proposed as bundles, in which direction, and who pays."""

from typing import Any

import numpy as np
import pytest

from promo_spark.contracts.decision_settings import IdeaSettings
from promo_spark.plans.bundles import Values, value_pairs

SETTINGS = IdeaSettings(bundle_elasticity=4.0)


def pair(**changes: Any) -> Values:
    """Two products of 5 and 2 dollars, bought together three times as often as by chance."""
    given = {
        "shared": 150,
        "shoppers": 120,
        "n_baskets": 10_000,
        "n_products": 100,
        "scale": 1.0,
        "is_same_category": False,
        "is_margin_assumed": False,
        "first_may_share": False,
        "second_may_share": False,
        **{"first_product_id": "dear", "first_baskets": 500, "first_price": 5.0, "first_margin": 2.0},
        **{"second_product_id": "cheap", "second_baskets": 1000, "second_price": 2.0, "second_margin": 1.5},
        **changes,
    }
    return {name: np.array([value]) for name, value in given.items()}


def proposed(settings: IdeaSettings = SETTINGS, **changes: Any) -> dict[str, Any] | None:
    values = value_pairs(pair(**changes), settings)
    return {name: column[0] for name, column in values.items()} if len(values["lift_rate"]) else None


def mirrored() -> dict[str, Any]:
    given = {name: column[0] for name, column in pair().items()}
    return {
        **{name.replace("first", "second"): value for name, value in given.items() if name.startswith("first")},
        **{name.replace("second", "first"): value for name, value in given.items() if name.startswith("second")},
    }


def test_the_direction_with_the_larger_gain_is_chosen_whichever_comes_first() -> None:
    one, other = proposed(), proposed(**mirrored())
    assert one is not None
    assert one == other
    assert (one["anchor_product_id"], one["added_product_id"]) == ("dear", "cheap")
    assert one["lift_rate"] == pytest.approx(3.0)
    # 0.7 off 2.0 dollars: 0.3 / 0.65 ** 4 is more than all, so that all 500 baskets hold both.
    assert one["expected_share_rate"] == 1.0
    assert one["expected_gain_amount"] == pytest.approx(500 * (0.7 * 1.5 - 0.7))


def test_a_maker_who_may_share_bears_part_of_the_discount() -> None:
    alone, shared = proposed(), proposed(second_may_share=True)
    assert alone is not None
    assert shared is not None
    assert (alone["is_joint"], alone["partner_share_rate"]) == (False, 0.0)
    assert (shared["is_joint"], shared["partner_share_rate"]) == (True, 0.5)
    assert shared["expected_gain_amount"] == pytest.approx(alone["expected_gain_amount"] + 500 * 0.35)
    assert shared["break_even_rate"] < alone["break_even_rate"]


def test_a_sample_is_scaled_up() -> None:
    one, part = proposed(), proposed(scale=4.0)
    assert one is not None
    assert part is not None
    assert part["expected_gain_amount"] == pytest.approx(4 * one["expected_gain_amount"])
    assert part["anchor_basket_count"] == one["anchor_basket_count"]


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("a lift of 1.4", {"shared": 70, "shoppers": 70}),
        ("few shoppers", {"shoppers": 5}),
        ("too many pairs tried", {"shared": 40, "shoppers": 12, "n_baskets": 20_000, "n_products": 10_000_000}),
        ("a discount above both margins", {"first_margin": 0.6, "second_margin": 0.6}),
        ("even all baskets would not do", {"shared": 480, "first_margin": 0.75, "second_margin": 0.72}),
    ],
)
def test_pairs_are_turned_down(why: str, changes: dict[str, Any]) -> None:
    assert proposed(**changes) is None

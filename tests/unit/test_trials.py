"""Which trial wins, and the settings file that says so."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from promo_spark.contracts.settings import RecommendSettings, SegmentSettings, TuneSettings
from promo_spark.learning.trials import Trial, best_ahead, is_ahead, overlay, trial_id

DAY = date(2024, 6, 3)
ROOT = Path(__file__).parents[2]


def trial(settings: Mapping[str, Any], gain: float = 0.1, *, ahead: bool = True, subject: str = "factors") -> Trial:
    return Trial(
        subject=subject,
        settings=settings,
        is_settled=False,
        metric="ndcg_at_10",
        value=0.5,
        standard_error=0.01,
        gain=gain,
        gain_error=0.02,
        customers=1200,
        first_date=date(2024, 5, 6),
        last_date=date(2024, 6, 2),
        is_ahead=ahead,
    )


@pytest.mark.parametrize(
    ("gain", "tries", "expected"), [(1.7, 1, True), (1.7, 2, False), (2.6, 10, True), (-3, 1, False)]
)
def test_the_more_is_tried_the_more_it_takes(gain: float, tries: int, expected: bool) -> None:
    assert is_ahead(gain, 1.0, tries=tries, false_win_rate=0.05) is expected
    assert not is_ahead(0.0, 0.0, tries=tries, false_win_rate=0.05)
    assert not is_ahead(gain, float("inf"), tries=tries, false_win_rate=0.05)


def test_the_largest_gain_among_those_ahead_wins() -> None:
    trials = [
        trial({"recommend.rank": rank}, gain, ahead=ahead)
        for rank, gain, ahead in ((1, 0.1, True), (2, 0.9, False), (3, 0.2, True), (4, 0.2, True))
    ]
    assert best_ahead(trials) is trials[2]
    assert best_ahead([trials[1]]) is None
    assert best_ahead([]) is None


def test_an_overlay_holds_settings_of_the_sections_that_have_them() -> None:
    winners = [
        trial({"recommend.rank": 96, "recommend.regularisation": 0.02}),
        trial({"recommend.neighbours": 100}, subject="neighbours"),
        trial({"segments.churn_models": ["gbt"]}, subject="churn"),
    ]
    text = overlay(winners, as_of_date=DAY)
    tree = yaml.safe_load(text)
    assert tree == {
        "recommend": {"rank": 96, "regularisation": 0.02, "neighbours": 100},
        "segments": {"churn_models": ["gbt"]},
    }
    assert RecommendSettings.model_validate(tree["recommend"]).rank == 96
    assert "ndcg_at_10 0.5000, better than the settled settings by 0.1000 ± 0.0200 (1,200 customers" in text
    assert yaml.safe_load(overlay([], as_of_date=DAY)) is None


def test_every_setting_that_is_searched_exists() -> None:
    tune = TuneSettings()
    searched = {**tune.factors.model_dump(), **tune.neighbours.model_dump(), **tune.item_neighbours.model_dump()}
    for name, values in searched.items():
        assert getattr(RecommendSettings(), name) in values, name
    for section, name in ((SegmentSettings(), "churn_models"), (SegmentSettings(), "spend_models")):
        assert set(getattr(section, name)) <= set(getattr(tune, name))


def test_a_trial_is_known_by_its_settings_in_any_order() -> None:
    assert trial_id({"a": 1, "b": [2]}) == trial_id({"b": [2], "a": 1})
    assert trial_id({"a": 1}) != trial_id({"a": 2})

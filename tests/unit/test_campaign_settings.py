"""Settings of campaigns and policies refuse what cannot be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from promo_spark.contracts.campaign_effects_settings import CampaignEffectSettings
from promo_spark.contracts.off_policy_settings import OffPolicySettings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"before_days": 85}, "before_days 85 is no multiple of period_days 14"),
        ({"before_days": 42}, "must exceed after_days 42"),
        ({"metrics": ("sales_amount", "sales_amount")}, "names twice: sales_amount"),
        ({"metrics": ()}, "at least 1 item"),
        ({"headline_method": "synthetic_control"}, "difference_in_differences"),
        ({"unknown": 1}, "Extra inputs"),
    ],
)
def test_campaign_settings_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CampaignEffectSettings(**settings)


def test_periods_follow_from_days() -> None:
    own = CampaignEffectSettings()
    assert (own.periods_before, own.periods) == (6, 9)


def test_limits_of_weights_differ() -> None:
    with pytest.raises(ValidationError, match="names a limit twice"):
        OffPolicySettings(clips=(2.0, 2.0))

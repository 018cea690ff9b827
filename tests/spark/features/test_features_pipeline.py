"""What the features stage refuses, and what it says about a short history."""

from datetime import date

import pytest

from promo_spark.contracts.settings import FeatureSettings
from promo_spark.errors import HistoryError, SettingsError
from promo_spark.pipelines.features import check_history, check_imputation

DAY = date(2024, 6, 3)


def test_no_history_before_the_date_names_what_there_is() -> None:
    with pytest.raises(HistoryError, match=r"2024-06-03: orders run from 2024-06-03 to 2024-07-01"):
        check_history(DAY, date(2024, 7, 1), DAY)


def test_no_orders_at_all() -> None:
    with pytest.raises(HistoryError, match="empty"):
        check_history(None, None, DAY)


def test_short_and_stale_histories_are_said() -> None:
    assert "55 days" in (check_history(date(2024, 4, 9), DAY, DAY) or "")
    assert check_history(date(2024, 4, 8), DAY, DAY) is None
    assert "2024-01-01" in (check_history(date(2023, 1, 1), date(2024, 1, 1), DAY) or "")


def test_what_is_no_number_cannot_be_imputed() -> None:
    with pytest.raises(SettingsError, match=r"favourite_category, no_such"):
        check_imputation(FeatureSettings(imputation={"no_such": "mode", "favourite_category": "mode"}))
    check_imputation(FeatureSettings())

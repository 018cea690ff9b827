"""Which dates a rolling backtest replays, and which stages at each."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from promo_spark.contracts.backtest_settings import BacktestSettings
from promo_spark.contracts.settings import Settings
from promo_spark.errors import SettingsError
from promo_spark.pipelines import backtest, rolling
from promo_spark.pipelines.catalogue import ALL
from promo_spark.runtime.pipeline import Pipeline, leading_to
from promo_spark.runtime.settings import load_settings

DAY = date(2017, 10, 30)
ROOT = Path(__file__).parents[2]


def test_dates_are_named_or_counted_back_from_the_last() -> None:
    assert BacktestSettings().replayed(DAY) == ()
    assert BacktestSettings(origin_count=3, origin_step_weeks=2).replayed(DAY) == (
        date(2017, 10, 2),
        date(2017, 10, 16),
    )
    named = BacktestSettings(origins=(date(2017, 10, 2), date(2017, 8, 7)), origin_count=2)
    assert named.replayed(DAY) == (date(2017, 8, 7), date(2017, 10, 2))


def test_a_date_that_is_not_before_the_last_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"backtest.origins come before as_of_date 2017-10-30: 2017-10-30 do not"):
        load_settings([ROOT / "conf/local.yaml"], ["as_of_date=2017-10-30", "backtest.origins=[2017-10-30]"])


def test_only_what_the_backtest_stands_on_is_replayed() -> None:
    names = [stage.name for stage in leading_to(backtest.PIPELINE, ALL)]
    assert names[0] == "ingest"
    assert names[-1] == "backtest"
    assert {"segments", "plan", "uplift", "recommend"} <= set(names)
    assert not {"report", "assign", "kpis", "fairness"} & set(names)


def test_each_date_is_run_as_a_whole_in_order_and_the_last_sums_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[date, tuple[date, ...], bool]] = []

    def note(stages: tuple[Pipeline, ...], settings: Settings, *, force: bool) -> None:
        assert stages[-1] is backtest.PIPELINE
        ran.append((settings.as_of_date, settings.backtest.replayed(settings.as_of_date), force))

    monkeypatch.setattr(rolling, "run_stages", note)
    told = ["as_of_date=2017-10-30", "backtest.origins=[2017-10-02, 2017-09-04]"]
    settings = load_settings([ROOT / "conf/local.yaml"], told)
    rolling.replay_origins(settings, True)
    origins = (date(2017, 9, 4), date(2017, 10, 2))
    assert ran == [(origins[0], (), True), (origins[1], (), True), (DAY, origins, True)]
    ran.clear()
    rolling.replay_origins(load_settings([ROOT / "conf/local.yaml"], ["as_of_date=2017-10-30"]), False)
    assert ran == []

"""Replay whole dates, so that what was said at each can be held against what followed."""

from __future__ import annotations

import logging

from promo_spark.contracts.settings import Settings
from promo_spark.pipelines import backtest
from promo_spark.pipelines.catalogue import ALL
from promo_spark.runtime.pipeline import leading_to
from promo_spark.runtime.runner import run_stages

_LOG = logging.getLogger(__name__)


def replay_origins(settings: Settings, force: bool) -> None:
    """Run every stage that the backtest stands on at each earlier date that the settings name, and at the last.

    Each date is a run of its own, in order, with the settings of the run but for the date: it sees what a
    run of that day would have seen. Dates that are done are left as they are, so an interrupted replay goes on.

    Args:
        settings: Settings of the run; without earlier dates nothing is done.
        force: Run stages that finished before again.
    """
    replayed = settings.backtest.replayed(settings.as_of_date)
    if not replayed:
        return
    stages = leading_to(backtest.PIPELINE, ALL)
    alone = settings.backtest.model_copy(update={"origins": (), "origin_count": 1})
    for number, origin in enumerate(replayed, 1):
        _LOG.info("backtest: replaying %s, %d of %d", origin, number, len(replayed) + 1)
        run_stages(stages, settings.model_copy(update={"as_of_date": origin, "backtest": alone}), force=force)
    run_stages(stages, settings, force=force)

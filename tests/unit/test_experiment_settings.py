"""Faults of experiments in settings are named; and the simulation fails where its figures do."""

from __future__ import annotations

import sys
from datetime import date
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from benchmarks import simulate
from benchmarks.simulations.figures import coverage, false_positives, peeking
from promo_spark.contracts.experiment_settings import ExperimentDesign, ExperimentSettings, ExperimentTable

DESIGN: dict[str, Any] = {
    "name": "spring",
    "arms": {"none": 0.5, "coupon": 0.5},
    "start_date": date(2024, 3, 4),
    "end_date": date(2024, 3, 31),
}
TABLE: dict[str, Any] = {
    "name": "web",
    "format": "csv",
    "path": "web.csv",
    "customer": "who",
    "arm": "group",
    "outcomes": {"sales": "sales"},
}


def test_shares_count_the_holdout_to_the_arm_none() -> None:
    design = ExperimentDesign(**DESIGN, holdout_rate=0.1)
    assert design.shares == pytest.approx({"none": 0.55, "coupon": 0.45})
    rivals = ExperimentDesign(**{**DESIGN, "arms": {"a": 0.5, "b": 0.5}}, control="a", holdout_rate=0.2)
    assert rivals.shares == pytest.approx({"a": 0.4, "b": 0.4, "none": 0.2})
    assert design.days == 28


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arms": {"none": 0.5, "coupon": 0.4}}, "shares of arms sum to 0.9, not 1"),
        ({"arms": {"a": 0.5, "b": 0.5}}, "control none is none of the arms a, b"),
        ({"end_date": date(2024, 3, 1)}, "end_date 2024-03-01 comes before start_date"),
        ({"unit": "planet"}, "unit planet is none of customer, store"),
        ({"strata": ("mood",)}, "stratum mood is none of segment_id"),
        ({"unit": "store", "strata": ("segment_id",)}, "strata describe customers"),
        ({"arms": {"none": 1.0}}, "at least 2 items"),
        ({"name": "two words"}, "should match pattern"),
    ],
)
def test_designs_that_do_not_hold_together_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ExperimentDesign(**{**DESIGN, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"guardrails": ("visits",)}, "no outcomes, or named twice: visits"),
        ({"ratios": {"basket": ("sales", "orders")}}, "orders"),
        ({"ratios": {"sales": ("sales", "sales")}}, "named twice: sales"),
    ],
)
def test_tables_name_what_they_have(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ExperimentTable(**{**TABLE, **changes})


def test_a_table_names_each_column_once() -> None:
    table = ExperimentTable(**TABLE, covariates=("before", "sales"), segment="who")
    assert table.columns == ("who", "group", "sales", "before")


def test_names_are_taken_once() -> None:
    with pytest.raises(ValidationError, match="use a name twice: spring"):
        ExperimentSettings(
            designs=(ExperimentDesign(**DESIGN),), tables=(ExperimentTable(**{**TABLE, "name": "spring"}),)
        )


def test_figures_pass_within_their_bounds_alone() -> None:
    def covered(rate: float, *, conservative: bool = False) -> bool:
        low = np.where(np.arange(2000) < rate * 2000, -1.0, 1.0)
        return coverage(low, np.full(2000, 2.0), 0.0, conservative=conservative).is_passed

    assert [covered(rate) for rate in (0.932, 0.934, 0.966, 0.968)] == [False, True, True, False]
    assert [covered(rate, conservative=True) for rate in (0.932, 0.934, 1.0)] == [False, True, True]
    p_values = np.where(np.arange(2000) < 140, 0.01, 0.5)
    assert not false_positives(p_values).is_passed
    assert [peeking(np.arange(2000) < count).is_passed for count in (0, 128, 130)] == [True, True, False]


def test_the_simulation_tells_its_failures_by_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(rng: np.random.Generator, times: int) -> list[Any]:
        return [false_positives(rng.random(times) / 2)]

    def sound(rng: np.random.Generator, times: int) -> list[Any]:
        return [false_positives(rng.random(times))]

    monkeypatch.setattr(simulate, "estimators", lambda: {"broken": broken, "sound": sound})
    arguments = ["simulate.py", "--replications", "500", "--estimators"]
    monkeypatch.setattr(sys, "argv", [*arguments, "sound"])
    assert simulate.main() == 0
    monkeypatch.setattr(sys, "argv", [*arguments, "broken", "sound"])
    assert simulate.main() == 1
    assert "FAILED" in capsys.readouterr().out

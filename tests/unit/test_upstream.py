"""What a stage may stand on, what decides its tables, and how a refusal reads; no JVM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest

from promo_spark.contracts.features import AFFINITY
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.measurement import BACKTESTS
from promo_spark.contracts.response import PANEL
from promo_spark.contracts.settings import Settings
from promo_spark.contracts.silver import CUSTOMERS, ORDER_LINES
from promo_spark.errors import SourceError
from promo_spark.pipelines import tune
from promo_spark.pipelines.catalogue import ALL
from promo_spark.runtime.identity import CODE, narrowed, own_part, present_basis
from promo_spark.runtime.pipeline import Pipeline
from promo_spark.runtime.store import Store
from promo_spark.runtime.upstream import Account, stage_basis

OFFER = {"offer_id": "a", "name": "a", "mechanic": "display", "display_rate": 0.5, "channel": "store"}
FEATURES = Pipeline(
    "features", "", (ORDER_LINES, CUSTOMERS), (AFFINITY,), lambda _: None, ("features",), purpose="personalisation"
)
RESPONSE = Pipeline(
    "response", "", (AFFINITY, ORDER_LINES), (PANEL,), lambda _: None, ("plan.weeks",), purpose="measurement"
)
PLAN = Pipeline("plan", "", (PANEL,), (BACKTESTS,), lambda _: None, ("plan",))
INGEST = Account("ingest", 1, True, frozenset({ORDER_LINES.name}), {}, frozenset())


class Versions:
    """A store of which only the versions of its tables are asked."""

    def __init__(self, version: int) -> None:
        self._version = version

    def content_version(self, _: object) -> int:
        return self._version


def settings_with(sections: Mapping[str, object]) -> Settings:
    given = {"as_of_date": "2024-02-26", "source": {"kind": "synthetic"}, "promotions": {"offers": [OFFER]}}
    return Settings.model_validate({**given, **sections})


def present(*, version: int = 1, **sections: object) -> dict[str, str]:
    return present_basis(settings_with(sections), cast(Store, Versions(version)))


def basis_of(pipeline: Pipeline, accounts: list[Account], now: Mapping[str, str]) -> dict[str, str]:
    return stage_basis(pipeline, accounts, now, where="for 2024-02-26 in w")


def ran(pipeline: Pipeline, accounts: list[Account], now: Mapping[str, str]) -> list[Account]:
    """The accounts after a stage ran to its end."""
    basis = basis_of(pipeline, accounts, now)
    tables = frozenset(table.name for table in pipeline.writes)
    sequence = max(account.sequence for account in accounts) + 1
    others = [account for account in accounts if account.stage != pipeline.name]
    return [*others, Account(pipeline.name, sequence, True, tables, basis, frozenset())]


@pytest.fixture
def accounts() -> list[Account]:
    """Ingest, features and response ran with the settings as they are."""
    return ran(RESPONSE, ran(FEATURES, [INGEST], present()), present())


def test_the_basis_is_the_stage_s_own_and_that_of_those_before_it(accounts: list[Account]) -> None:
    basis = basis_of(PLAN, accounts, present())
    assert {name.partition(".")[0] for name in basis} == {CODE, "bronze", "consent", "features", "plan"}
    assert basis["plan.budget_amount"] == "5000.0"
    assert basis_of(RESPONSE, accounts, present()).keys() & {"plan.weeks", "plan.budget_amount"} == {"plan.weeks"}


def test_what_no_stage_before_looked_at_may_change(accounts: list[Account]) -> None:
    now = present(plan={"budget_amount": 7}, report={"title": "t"}, currency="EUR")
    assert basis_of(PLAN, accounts, now) != basis_of(PLAN, accounts, present())
    assert basis_of(RESPONSE, accounts, now) == basis_of(RESPONSE, accounts, present())


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"plan": {"weeks": 8}}, "with plan.weeks 4, now 8."),
        ({"features": {"lookback_days": 100}}, "with features.lookback_days 364, now 100."),
        ({"version": 2}, "before ingest took in new files (bronze.assignments)"),
        ({"features": {"imputation": {"a": "mean"}}}, "with another features.imputation."),
    ],
)
def test_what_another_run_made_is_refused(accounts: list[Account], now: dict[str, int], told: str) -> None:
    with pytest.raises(SourceError) as fault:
        basis_of(PLAN, accounts, present(**now))
    message = str(fault.value)
    assert message.startswith("stage plan stands on response, made for 2024-02-26 in w by another run: ")
    assert told in message
    assert "Run jobs/response.py with the present settings, or jobs/pipeline.py" in message


def test_other_code_is_another_run(accounts: list[Account]) -> None:
    with pytest.raises(SourceError, match="by another run: by other code"):
        basis_of(PLAN, accounts, {**present(), CODE: "other"})


def test_a_stage_further_back_that_ran_alone_counts_too(accounts: list[Account]) -> None:
    now = present(features={"lookback_days": 100})
    after = ran(FEATURES, accounts, now)
    with pytest.raises(SourceError, match=r"stands on response, .*lookback_days 364, now 100"):
        basis_of(PLAN, after, now)
    with pytest.raises(SourceError, match=r"stands on features, .*lookback_days 100, now 364"):
        basis_of(RESPONSE, after, present())
    assert basis_of(PLAN, ran(RESPONSE, after, now), now)


def test_an_interrupted_stage_is_refused_whoever_finished_before(accounts: list[Account]) -> None:
    begun = [replace(account, is_finished=account.stage != "response") for account in accounts]
    with pytest.raises(SourceError, match=r"response, which was interrupted .* Run jobs/response\.py again"):
        basis_of(PLAN, begun, present())


def test_feedback_of_a_later_stage_is_no_ground_to_stand_on(accounts: list[Account]) -> None:
    export = Account("export", 99, False, frozenset({FEEDBACK.name}), {CODE: "of another day"}, frozenset())
    reader = replace(RESPONSE, reads=(*RESPONSE.reads, FEEDBACK))
    assert basis_of(reader, [*accounts, export], present()) == basis_of(RESPONSE, accounts, present())


def test_what_silence_means_for_a_stage_decides_its_tables(accounts: list[Account]) -> None:
    assert basis_of(FEATURES, [INGEST], present(consent={"missing": {"contact": "granted"}})) == basis_of(
        FEATURES, [INGEST], present()
    )
    with pytest.raises(SourceError, match=r"with consent\.missing\.personalisation \"granted\", now \"withheld\""):
        basis_of(PLAN, accounts, present(consent={"missing": {"personalisation": "withheld"}}))


def test_missing_inputs_are_named(accounts: list[Account]) -> None:
    with pytest.raises(SourceError, match=r"plan does not find its inputs \(response\.panel\) for 2024-02-26 in w"):
        basis_of(PLAN, accounts[:-1], present())
    with pytest.raises(SourceError, match=r"features does not find its inputs \(silver\.order_lines, silver"):
        basis_of(FEATURES, [], present())
    assert basis_of(FEATURES, [INGEST], present())  # nobody need ever have made silver.customers


@pytest.mark.parametrize("pipeline", [p for p in (*ALL, tune.PIPELINE) if p.is_dated], ids=lambda p: p.name)
def test_declared_settings_exist_and_are_all_that_a_stage_sees(pipeline: Pipeline) -> None:
    settings = settings_with({})
    seen = narrowed(settings, pipeline.deciding_settings)
    assert seen.as_of_date == settings.as_of_date
    assert seen.places == settings.places
    for name in pipeline.deciding_settings:
        assert own_part(present(), [name]).keys() - own_part(present(), []).keys(), name
    assert narrowed(settings, ["plan.weeks"]).plan.weeks == settings.plan.weeks
    with pytest.raises(AttributeError, match="budget_amount"):
        assert narrowed(settings, ["plan.weeks"]).plan.budget_amount
    with pytest.raises(AttributeError, match="seed"):
        assert narrowed(settings, ["plan"]).seed
    assert settings.plan.budget_amount == 5000

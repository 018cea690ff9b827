"""May a stage stand on what the stages before it left? Only if this very run would have left the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from promo_spark.contracts.table import TableContract
from promo_spark.errors import SourceError
from promo_spark.runtime.identity import CODE, own_part
from promo_spark.runtime.pipeline import Pipeline

_SHOWN = 5
_LONG = 40
_LOOP = "learning."


@dataclass(frozen=True)
class Account:
    """The newest that is known of one stage, for the date or for every date.

    Attributes:
        stage: Name of the stage.
        sequence: Orders the accounts.
        is_finished: False where it began to write and was not heard of again.
        tables: Tables it may write.
        basis: What decided its tables (``promo_spark.runtime.identity.present_basis``), by name.
        limitations: What it did without.
    """

    stage: str
    sequence: int
    is_finished: bool
    tables: frozenset[str]
    basis: Mapping[str, str]
    limitations: frozenset[str]


def stage_basis(
    pipeline: Pipeline, accounts: Collection[Account], present: Mapping[str, str], *, where: str
) -> dict[str, str]:
    """What decides the tables of a dated stage: its own part, and that of every stage before it.

    Args:
        pipeline: The stage.
        accounts: The newest of each stage, of its date.
        present: What ``present_basis`` returned.
        where: Date and warehouse, in words.

    Raises:
        SourceError: A stage that made one of its inputs has not run for the date, was
            interrupted, or ran with other code, settings or source files.
    """
    makers = _makers(pipeline, accounts, where)
    unfinished = next((maker.stage for maker in makers if not maker.is_finished), None)
    if unfinished:
        raise SourceError(
            f"stage {pipeline.name} stands on {unfinished}, which was interrupted before its end. "
            f"Run jobs/{unfinished}.py again, or jobs/pipeline.py, which goes on there."
        )
    others = {maker.stage: _differences(maker, present) for maker in makers}
    others = {stage: differences for stage, differences in others.items() if differences}
    if others:
        differences = list(dict.fromkeys(told for all_told in others.values() for told in all_told))
        shown = "; ".join([*differences[:_SHOWN], *(["and more"] if len(differences) > _SHOWN else [])])
        alone = f"jobs/{next(iter(others))}.py with the present settings, or " if len(others) == 1 else ""
        raise SourceError(
            f"stage {pipeline.name} stands on {', '.join(others)}, made {where} by another run: {shown}. "
            f"Run {alone}jobs/pipeline.py, which redoes what differs and no more."
        )
    basis = own_part(present, pipeline.deciding_settings)
    return basis | {name: value for maker in makers for name, value in maker.basis.items()}


def _makers(pipeline: Pipeline, accounts: Collection[Account], where: str) -> list[Account]:
    """Who wrote each input last; in order."""
    # What is learnt closes the loop from later dates to earlier stages: it is no ground to stand on.
    inputs = [table for table in pipeline.reads if table not in pipeline.writes and not table.name.startswith(_LOOP)]
    dated = [table for table in inputs if table.mode == "dated"]
    found = {table.name: _maker(table, accounts) for table in inputs}
    missing = [table.name for table in dated or inputs if found[table.name] is None]
    if missing and (dated or not any(found.values())):
        raise SourceError(
            f"stage {pipeline.name} does not find its inputs ({', '.join(missing)}) {where}. "
            "Run jobs/pipeline.py, or the stages before it, first."
        )
    makers = {maker.stage: maker for maker in found.values() if maker is not None}
    return sorted(makers.values(), key=lambda maker: maker.sequence)


def _maker(table: TableContract, accounts: Collection[Account]) -> Account | None:
    makers = [account for account in accounts if table.name in account.tables]
    return max(makers, key=lambda account: account.sequence, default=None)


def _differences(maker: Account, present: Mapping[str, str]) -> list[str]:
    differing = [(name, was) for name, was in sorted(maker.basis.items()) if present.get(name) != was]
    return [_told(name, was, present.get(name)) for name, was in differing]


def _told(name: str, was: str, now: str | None) -> str:
    """A difference in words."""
    if name == CODE:
        return "by other code"
    if name.startswith("bronze."):
        return f"before ingest took in new files ({name})"
    if now is None or max(len(was), len(now)) > _LONG:
        return f"with another {name}"
    return f"with {name} {was}, now {now}"

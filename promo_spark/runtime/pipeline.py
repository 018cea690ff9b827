"""What a stage of the pipeline is: what it reads, what it writes, and what it does in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promo_spark.contracts.consent import Purpose, names_customers
from promo_spark.contracts.table import TableContract
from promo_spark.errors import ContractError

if TYPE_CHECKING:
    from promo_spark.runtime.stage import Stage


@dataclass(frozen=True)
class Pipeline:
    """One stage: order, ``--help`` and the lineage figure all come from ``reads`` and ``writes``.

    Args:
        name: Name of the stage and of its job.
        summary: One sentence for ``--help``.
        reads: Tables it may read.
        writes: Tables it may write.
        run: Does the work on a ``Stage``.
        settings: Settings it may look at, sections or dotted names within them; ``as_of_date`` and those that
            decide no result (places, tracking, spark) go without saying. An undated stage sees all.
        is_dated: Works for one as_of_date; ingest does not.
        headlines: Figures of the stage that stand on the whole run's page in MLflow too, where it has them.
        purpose: What it uses customers' data for: ``Stage.read`` leaves out, or unnames, whom consent to it does not
            cover. ``accounting`` (keeping the ledger, doing what a customer asked for) needs none. A stage that
            may see customers must say it.
    """

    name: str
    summary: str
    reads: tuple[TableContract, ...]
    writes: tuple[TableContract, ...]
    run: Callable[[Stage], None]
    settings: tuple[str, ...] = ()
    is_dated: bool = True
    headlines: tuple[str, ...] = ()
    purpose: Purpose | None = None

    def __post_init__(self) -> None:
        if self.purpose is None:
            seen = (*self.reads, *self.writes) if self.is_dated else self.reads
            named = [table.name for table in seen if names_customers(table)]
            if named:
                raise ContractError(
                    f"stage {self.name} sees customers ({named[0]}) and does not say what for: declare its purpose."
                )

    @property
    def deciding_settings(self) -> tuple[str, ...]:
        """The settings it declares, and what silence means for its purpose."""
        needs_consent = self.purpose not in (None, "accounting")
        return (*self.settings, f"consent.missing.{self.purpose}") if needs_consent else self.settings


def in_order(pipelines: Iterable[Pipeline]) -> tuple[Pipeline, ...]:
    """Sort stages so that each comes after those that write what it reads.

    Raises:
        ContractError: Two stages write one table, or stages wait for each other.
    """
    waiting = list(pipelines)
    writers: dict[str, str] = {}
    for pipeline in waiting:
        for table in pipeline.writes:
            if writers.setdefault(table.name, pipeline.name) != pipeline.name:
                raise ContractError(f"{table.name} is written by {writers[table.name]} and by {pipeline.name}.")
    ordered: list[Pipeline] = []
    while waiting:
        ready = startable(waiting, unfinished=waiting)
        if not ready:
            raise ContractError(f"stages wait for each other: {', '.join(p.name for p in waiting)}")
        ordered.extend(ready)
        waiting = [pipeline for pipeline in waiting if pipeline not in ready]
    return tuple(ordered)


def startable(waiting: Iterable[Pipeline], *, unfinished: Iterable[Pipeline]) -> list[Pipeline]:
    """Those of the waiting stages whose inputs no unfinished stage is still to write."""
    missing = {table.name for pipeline in unfinished for table in pipeline.writes}
    return [
        pipeline
        for pipeline in waiting
        if not missing & ({table.name for table in pipeline.reads} - {table.name for table in pipeline.writes})
    ]


def leading_to(target: Pipeline, pipelines: Iterable[Pipeline]) -> tuple[Pipeline, ...]:
    """The stages that make what a stage reads, those that make what they read, and so on; in order, it comes last."""
    wanted = {target.name}
    available = {pipeline.name: pipeline for pipeline in pipelines} | {target.name: target}
    makers = {table.name: pipeline.name for pipeline in available.values() for table in pipeline.writes}
    waiting = [target]
    while waiting:
        named = {makers[table.name] for table in waiting.pop().reads if table.name in makers}
        waiting += [available[name] for name in named - wanted]
        wanted |= named
    return in_order(pipeline for pipeline in available.values() if pipeline.name in wanted)

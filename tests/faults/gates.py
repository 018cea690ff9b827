"""Hold a write at a chosen point while another one runs: two writers, stepped without luck."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread, get_ident
from typing import Any

import pyarrow as pa
import pytest
from delta.tables import DeltaTable
from pyspark.sql import DataFrame

from promo_spark.runtime import store as store_module

PATIENCE_SECONDS = 60.0


@dataclass
class Gate:
    """A gate in the way of one thread's n-th commit.

    Attributes:
        folder: Where it keeps its signals: the tasks that wait run in other processes.
        commit: Which commit of the thread, from 0.
        is_within: Wait inside the transaction, while it writes its files; else right before it, after all the
            reading that decided to make it.
    """

    folder: Path
    commit: int = 0
    is_within: bool = True
    seen: int = 0
    is_done: Event = field(default_factory=Event)

    def open(self) -> None:
        (self.folder / "open").touch()

    def until_arrived(self) -> bool:
        """Wait until the thread stands at the gate; False where it ended before it came there."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (self.folder / "arrived").exists():
            if self.is_done.is_set():
                return False
            assert time.monotonic() < deadline, "nobody came to the gate"
            time.sleep(0.02)
        return True

    def comes(self) -> bool:
        """Whether this commit is the one to hold."""
        self.seen += 1
        return self.seen == self.commit + 1

    def hold(self) -> None:
        _wait_at(str(self.folder))

    def through(self, frame: DataFrame) -> DataFrame:
        folder, wait = str(self.folder), _wait_at_source()

        def held(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            wait(folder)
            yield from batches

        return frame.coalesce(1).mapInArrow(held, frame.schema)


def _wait_at_source() -> Callable[[str], None]:
    """The same as ``_wait_at``, as a closure that reaches other processes by value."""

    def wait_at(folder: str) -> None:
        import time  # noqa: PLC0415  (runs elsewhere)
        from pathlib import Path  # noqa: PLC0415

        (Path(folder) / "arrived").touch()
        deadline = time.monotonic() + 60.0
        while not (Path(folder) / "open").exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the gate stayed shut")
            time.sleep(0.02)

    return wait_at


_wait_at = _wait_at_source()


@contextmanager
def gated_commits(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, Gate]]:
    """Let every commit of a thread that has a gate (by thread id) pass it."""
    gates: dict[int, Gate] = {}
    commit_rows, merge = store_module.commit_rows, DeltaTable.merge

    def held(frame: DataFrame) -> DataFrame:
        gate = gates.get(get_ident())
        if gate is None or not gate.comes():
            return frame
        if gate.is_within:
            return gate.through(frame)
        gate.hold()
        return frame

    def commit_held(frame: DataFrame, path: str, **options: Any) -> Any:
        return commit_rows(held(frame), path, **options)

    def merge_held(table: DeltaTable, source: DataFrame, condition: str) -> Any:
        return merge(table, held(source).alias("s"), condition)

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "commit_rows", commit_held)
        patch.setattr(DeltaTable, "merge", merge_held)
        yield gates


def started(work: Callable[[], object], gates: dict[int, Gate], gate: Gate | None) -> tuple[Thread, list[object]]:
    """Run something in a thread of its own, behind a gate; what it returns or raises is put in the list."""
    ended: list[object] = []

    def run() -> None:
        if gate is not None:
            gates[get_ident()] = gate
        try:
            ended.append(work())
        except Exception as fault:  # noqa: BLE001  (what comes is what is looked at)
            ended.append(fault)
        finally:
            gates.pop(get_ident(), None)
            if gate is not None:
                gate.is_done.set()

    thread = Thread(target=run)
    thread.start()
    return thread, ended

"""Record one run, then start it again from each moment at which it could have been killed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from promo_spark.runtime import runner
from tests.faults.file_record import Step, rebuilt, recorded
from tests.faults.stored_rows import Rows, all_rows

Run = Callable[[Path], object]


@dataclass(frozen=True)
class Replay:
    """A run as it was recorded.

    Attributes:
        folder: Scratch.
        run: Does the run in a folder, which holds warehouse and identity root as ``w`` and ``i``.
        steps: What appeared in the folder, in order.
        undisturbed: The rows it left, by table.
    """

    folder: Path
    run: Run
    steps: list[Step]
    undisturbed: dict[str, Rows]

    @property
    def moments(self) -> range:
        """When it could have been killed, as numbers of steps: a folder that was only just made counts."""
        return range(1, len(self.steps) + 1)

    @property
    def around_commits(self) -> list[int]:
        """Of the moments, those at which a commit is being written, has just been, and is about to be."""
        commits = [n for n in self.moments if self.steps[n - 1].target.endswith(".json")]
        return sorted({near for n in commits for near in (n - 1, n, n + 1)} & set(self.moments))

    def differing(self, numbers: Iterable[int]) -> list[str]:
        """Run again from each moment; tell those after which a table is not as if nothing had happened."""
        return [told for number in numbers for told in self._tried(number)]

    def _tried(self, number: int) -> list[str]:
        place = rebuilt(self.folder / "base", self.steps[:number], self.folder / f"at{number}")
        killed = f"killed after step {number} ({self.steps[number - 1].kind} {self.steps[number - 1].path})"
        try:
            self.run(place)
            rows = all_rows(place)
        except Exception as fault:  # noqa: BLE001  (whatever it is, the run did not go on)
            return [f"{killed}: {type(fault).__name__}: {str(fault)[:300]}"]
        finally:
            shutil.rmtree(place)
        differing = {name for name in rows.keys() | self.undisturbed if rows.get(name) != self.undisturbed.get(name)}
        return [f"{killed}: {', '.join(sorted(differing))}"] if differing else []


def record(folder: Path, prepare: Run, run: Run, *, again: Run | None = None) -> Replay:
    """Do a run, undisturbed, and record it.

    Args:
        folder: Scratch, empty.
        prepare: Makes what there was before.
        run: The run.
        again: What is run after the kill, if another: it must leave what there was before.
    """
    base, live = folder / "base", folder / "live"
    base.mkdir(parents=True)
    prepare(base)
    shutil.copytree(base, live)
    with recorded(live, folder / "kept") as steps:
        run(live)
    whole = rebuilt(base, steps, folder / "whole")
    assert _files(whole) == _files(live), "the record is complete"
    return Replay(folder, again or run, steps, all_rows(base if again else live))


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


class Unheard:
    """Stands in for a run of MLflow, which keeps no tables."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


def without_mlflow(patch: pytest.MonkeyPatch) -> None:
    """Let the runner do without MLflow: each run would cost seconds."""

    @contextmanager
    def run(*_: object, **__: object) -> Any:
        yield Unheard()

    quiet = SimpleNamespace(connect=nullcontext, parent_run=run, stage_run=run)
    for name in ("tag_run_id", "headlines", "discard"):
        setattr(quiet, name, nullcontext if name != "headlines" else lambda *_: None)
    patch.setattr(runner, "tracking", quiet)

"""Points on either side of each commit of a micro-batch of feedback, and what stops a stream there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from promo_spark.contracts.table import TableContract
from promo_spark.pipelines import stream_feedback
from promo_spark.runtime.store import Store

STEPS = ("identity.customers", "identity.rejected_raw", "bronze", "rejected", "silver", "stream")
POINTS = tuple((side, step) for step in STEPS for side in ("before", "after"))


class Killed(BaseException):
    """Stands in for the end of the process, where the process is the test's own."""


def kill_group() -> None:
    """The end of the driver, its JVM included."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def stop_by_exception() -> None:
    raise Killed


def step_of(contract: TableContract) -> str:
    """Which of the steps a commit to a table is."""
    if contract.layer == "identity":
        return contract.name
    if contract.name.endswith("_rejected"):
        return "rejected"
    return contract.layer


@contextmanager
def stopped_at(side: str, step: str, stop: Callable[[], None]) -> Iterator[None]:
    """Stop whoever reaches a point: before or after the commit of a step, whichever table comes first."""
    with (
        mock.patch.object(Store, "_write_appended", _around(Store._write_appended, side, step, stop)),
        mock.patch.object(Store, "_bring", _around(Store._bring, side, step, stop)),
        mock.patch.object(stream_feedback, "take_in", _around_batches(side, step, stop)),
    ):
        yield


def _around(method: Callable[..., Any], side: str, step: str, stop: Callable[[], None]) -> Callable[..., Any]:
    def wrapped(store: Store, contract: TableContract, *rest: Any, **named: Any) -> Any:
        is_here = step_of(contract) == step
        if is_here and side == "before":
            stop()
        result = method(store, contract, *rest, **named)
        if is_here and side == "after":
            stop()
        return result

    return wrapped


def _around_batches(side: str, step: str, stop: Callable[[], None]) -> Callable[..., Any]:
    """The stream commits a micro-batch once it is taken in, and has done so when the next one begins."""
    take_in, taken = stream_feedback.take_in, []

    def wrapped(*arguments: Any) -> dict[str, float]:
        if step == "stream" and side == "after" and taken:
            stop()
        figures = take_in(*arguments)
        taken.append(1)
        if step == "stream" and side == "before":
            stop()
        return figures

    return wrapped

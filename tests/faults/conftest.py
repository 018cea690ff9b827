"""Promises kept under faults: each test says which promise it shows, and how often it showed it.

A module names its promise with ``pytestmark = [pytest.mark.promise("crash anywhere …")]``; a test counts what it
showed with the fixture ``shown``. ``make faults`` ends with a line per promise and the number of those kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import pytest
from _pytest.terminal import TerminalReporter

Shown = Callable[[int, str], None]
_PROMISE, _SHOWN = "promise", "shown"


@pytest.fixture
def shown(record_property: Callable[[str, object], None]) -> Shown:
    """Count what a test showed: ``shown(312, "states")``."""

    def show(count: int, unit: str) -> None:
        record_property(_SHOWN, f"{count} {unit}")

    return show


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Carry each test's promise to its report, also from another process."""
    for item in items:
        promise = item.get_closest_marker(_PROMISE)
        if promise is not None and (_PROMISE, promise.args[0]) not in item.user_properties:
            item.user_properties.append((_PROMISE, promise.args[0]))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Tell each promise in a line."""
    failed: dict[str, int] = defaultdict(int)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            properties = list(getattr(report, "user_properties", []))
            for promise in _values(properties, _PROMISE):
                # Reports of set-up and tear-down carry what was shown too: it counts once.
                told = _values(properties, _SHOWN) if getattr(report, "when", "") == "call" else ()
                failed[promise] += outcome != "passed"
                for words in told:
                    count, unit = words.split(" ", 1)
                    counts[promise][unit] += int(count)
    if not failed:
        return
    terminalreporter.section("promises")
    for promise in sorted(failed):
        told = ", ".join(f"{count:,} {unit}" for unit, count in counts[promise].items()) or "nothing shown"
        terminalreporter.write_line(f"{'FAILED' if failed[promise] else 'kept':>6}  {promise}: {told}")
    broken = sum(1 for count in failed.values() if count)
    terminalreporter.write_line(f"{len(failed) - broken} passed, {broken} failed")


def _values(properties: Iterable[tuple[str, object]], name: str) -> list[str]:
    return [str(value) for key, value in properties if key == name]

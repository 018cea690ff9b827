"""CPU and memory of a command with all its children, from /proc; Linux only."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Usage:
    """What a command took."""

    exit_code: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_gb: float = 0.0
    lines: list[str] = field(default_factory=list)


def machine() -> dict[str, object]:
    """Class of machine: processors, memory, system."""
    memory = os.sysconf("SC_PHYS_PAGES") * _PAGE / 2**30
    return {
        "cpus": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def tree_usage(root: int) -> tuple[float, float]:
    """CPU seconds so far and resident gigabytes now of a process and its descendants.

    CPU of children that ended is counted by the parent that waited for them. A child that is about to become
    another program still has its parent's memory (a JVM starts shell commands so, many a second): that counts once.
    """
    children: dict[int, list[int]] = {}
    facts: dict[int, tuple[float, float, int]] = {}  # CPU seconds, resident gigabytes, bytes of address space
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text(encoding="utf-8")
        except OSError:
            continue
        values = text[text.rindex(")") + 2 :].split()
        children.setdefault(int(values[1]), []).append(int(entry.name))
        cpu = sum(int(values[place]) for place in (11, 12, 13, 14)) / _TICKS
        facts[int(entry.name)] = (cpu, int(values[21]) * _PAGE / 1e9, int(values[20]))
    waiting, cpu_s, rss_gb = [(root, 0)], 0.0, 0.0
    while waiting:
        process, parent = waiting.pop()
        waiting += [(child, process) for child in children.get(process, [])]
        cpu, rss, space = facts.get(process, (0.0, 0.0, 0))
        _, parent_rss, parent_space = facts.get(parent, (0.0, 0.0, -1))
        # As resident as the parent but for pages touched between the two readings.
        is_borrowed = space == parent_space and abs(rss - parent_rss) <= 0.02 * parent_rss
        cpu_s, rss_gb = cpu_s + cpu, rss_gb + (0.0 if is_borrowed else rss)
    return cpu_s, rss_gb


def run_measured(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str, float], None] | None = None,
) -> Usage:
    """Run a command and measure its whole process tree.

    Args:
        command: The command.
        environment: Variables added to this process's own.
        on_line: Called with each line it writes and its CPU seconds so far.
    """
    usage = Usage()
    started = time.monotonic()
    process = subprocess.Popen(
        list(command),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {})},
    )

    def watch() -> None:
        while process.poll() is None:
            cpu_s, rss_gb = tree_usage(process.pid)
            usage.cpu_s = max(usage.cpu_s, cpu_s)
            usage.peak_rss_gb = max(usage.peak_rss_gb, rss_gb)
            time.sleep(0.25)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    for line in process.stdout or ():
        usage.lines.append(line.rstrip())
        if on_line is not None:
            on_line(line.rstrip(), tree_usage(process.pid)[0])
    usage.exit_code = process.wait()
    watcher.join()
    usage.wall_s = time.monotonic() - started
    return usage

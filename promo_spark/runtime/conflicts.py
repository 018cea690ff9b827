"""Two runs that commit to one table: the later one works its rows out anew and tries again, or says why it gave up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from secrets import SystemRandom
from typing import TypeVar

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
    ProtocolChangedException,
)

from promo_spark.errors import ConflictError


class Overtaken(Exception):  # noqa: N818  (no fault: a reason to try again)
    """Raised where another run came between two things that belong together: two commits, or a look and a creation."""


# Delta gives its faults no common base in Python.
CONFLICTS = (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentWriteException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
    Overtaken,
    ProtocolChangedException,
)
TRIES = 5
_FIRST_PAUSE_SECONDS = 0.25
_LOG = logging.getLogger(__name__)
_CHANCE = SystemRandom()
Result = TypeVar("Result")


def recomputed(
    attempt: Callable[[], Result], *, table: str, path: str, pause: Callable[[float], None] = time.sleep
) -> Result:
    """Do something to a table; where another run's commit came between, do all of it again.

    A conflict means that what the attempt has read is no longer so: only the whole of reading, working out and
    writing may be repeated, never the commit alone. Pauses grow, and are drawn so that two runs do not keep step.

    Args:
        attempt: Reads, works out and writes; nothing it leaves may stand in the way of doing it again.
        table: Name of the table, for messages.
        path: Where it lies, for messages.
        pause: Waits so many seconds.

    Raises:
        ConflictError: Other commits came between every time, or another run did the very same thing.
    """
    for number in range(1, TRIES + 1):
        try:
            return attempt()
        except ConcurrentTransactionException as fault:
            raise ConflictError(
                f"{table} at {path}: another run is writing the very same rows (one Delta transaction). Nothing was "
                "tried again, so nothing arrives twice. Wait for the other run, then run the same command again."
            ) from fault
        except CONFLICTS as fault:
            kind = type(fault).__name__
            if number == TRIES:
                raise ConflictError(
                    f"{table} at {path}: other runs committed to it during each of {TRIES} tries to write it ({kind}). "
                    "Nothing of the last try was kept. Wait for the other run to end, then run the same command again; "
                    "schedule one run at a time for a warehouse."
                ) from fault
            seconds = _CHANCE.uniform(0.5, 1.5) * _FIRST_PAUSE_SECONDS * 2 ** (number - 1)
            _LOG.info("%s: another run committed meanwhile (%s), try %d of %d", table, kind, number + 1, TRIES)
            pause(seconds)
    raise AssertionError("the last try returns or raises")

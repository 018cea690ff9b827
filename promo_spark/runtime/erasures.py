"""The account of erasures and of changes of the key: what is begun must end before anything else runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyspark.sql import functions as F

from promo_spark.contracts.audit import ERASURES
from promo_spark.errors import ErasureError
from promo_spark.runtime.store import Store

ERASURE, ROTATION = "erasure", "rotation"
_JOBS = {ERASURE: "erase", ROTATION: "rotate_key"}


@dataclass(frozen=True)
class Request:
    """One request, from its first try on.

    Attributes:
        request_id: Its name.
        purpose: ``ERASURE`` or ``ROTATION``.
        begun_at: When its first try began.
        customer_count: Customers it is about.
    """

    request_id: str
    purpose: str
    begun_at: datetime
    customer_count: int


@dataclass
class Findings:
    """What a try did.

    Attributes:
        rows: Rows erased or changed, per table.
        files: Files removed for good, per table.
        removed: Lists, models and files removed or written anew, in words.
        remaining: What the system cannot reach, in words.
        problems: What it should have reached and could not.
    """

    rows: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    remaining: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def open_request(store: Store) -> Request | None:
    """The request that was begun and has not finished; None where there is none."""
    if not store.exists(ERASURES):
        return None
    newest = store.read(ERASURES).orderBy(F.desc("sequence")).limit(1).collect()
    if not newest or newest[0].finished_at is not None:
        return None
    row = newest[0]
    return Request(row.request_id, row.purpose, row.begun_at, row.customer_count)


def refuse_while_open(store: Store, stages: Iterable[str]) -> None:
    """Let nothing but its own job run while a request is open.

    Raises:
        ErasureError: One is; names the job that ends it.
    """
    request = open_request(store)
    if request is not None and list(stages) != [_JOBS[request.purpose]]:
        what = "an erasure" if request.purpose == ERASURE else "a change of the pseudonym key"
        raise ErasureError(
            f"{what} ({request.request_id}) was begun on {request.begun_at:%Y-%m-%d} and has not finished: tables are "
            f"between two states. Run jobs/{_JOBS[request.purpose]}.py with its settings first; it goes on where it "
            "stopped."
        )


def begin(store: Store, purpose: str, customer_count: int) -> Request:
    """Open a request, or the one that is open again."""
    request = open_request(store)
    if request is None:
        sequence = store.version(ERASURES) + 1
        request = Request(f"{purpose}-{sequence}", purpose, datetime.now(UTC), customer_count)
        _keep(store, request, {})
    return request


def finish(store: Store, request: Request, findings: Findings) -> None:
    """Close a request that left nothing behind."""
    _keep(
        store,
        request,
        {
            "finished_at": datetime.now(UTC),
            "rows_changed": findings.rows,
            "files_purged": findings.files,
            "also_removed": findings.removed,
            "remaining": findings.remaining,
        },
    )


def _keep(store: Store, request: Request, outcome: Mapping[str, object]) -> None:
    told = {
        "request_id": request.request_id,
        "purpose": request.purpose,
        "begun_at": request.begun_at,
        "customer_count": request.customer_count,
    }
    store.write_row(ERASURES, {**told, "sequence": store.version(ERASURES) + 1, **outcome})

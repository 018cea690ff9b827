"""One run at a time on a local warehouse."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from promo_spark.contracts.settings import Places
from promo_spark.errors import LockedError, StorageError
from promo_spark.runtime.places import is_local, local_path


@contextmanager
def warehouse_lock(places: Places) -> Iterator[None]:
    """Hold the warehouse against other runs; the system frees the lock when the process dies.

    On shared storage there is no file lock: Delta itself refuses conflicting commits there.

    Raises:
        LockedError: Another run holds it for longer than ``places.lock_wait_seconds``.
        StorageError: The warehouse folder cannot be made or written.
    """
    if not is_local(places.warehouse):
        yield
        return
    folder = local_path(places.warehouse)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        holder = folder / ".lock.holder"
        lock.acquire(timeout=places.lock_wait_seconds)
    except Timeout:
        told = holder.read_text(encoding="utf-8").strip() if holder.is_file() else "unknown process"
        raise LockedError(
            f"another run holds the warehouse {folder} ({told}). Wait for it, or end it; "
            "the lock is freed when its process ends."
        ) from None
    except OSError as fault:
        raise StorageError(
            f"the warehouse {folder} cannot be written: {fault.strerror or fault}. "
            "Check the folder's owner and permissions, or set places.warehouse to another."
        ) from None
    try:
        holder.write_text(f"process {os.getpid()}\n", encoding="utf-8")
        yield
    finally:
        lock.release()

"""Say in one message what is wrong with a table where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import PySparkException

from promo_spark.contracts.table import TableContract
from promo_spark.errors import StorageError


def other_contract(contract: TableContract, path: str) -> StorageError:
    """The fault of a table whose stored form is another than its contract's."""
    return StorageError(
        f"{contract.name} at {path} was made under another version of its contract. "
        "Bring the warehouse up to date with ./spark-submit.sh jobs/migrate.py and the same settings; --dry-run "
        "only says what that would do, and what it cannot."
    )


@contextmanager
def named_faults(contract: TableContract, path: str) -> Iterator[None]:
    """Turn a storage fault into one message that names the table and the place."""
    try:
        yield
    except PySparkException as fault:
        text = str(fault)
        if any(
            sign in text for sign in ("Permission denied", "Mkdirs failed", "Read-only file system", "No space left")
        ):
            raise StorageError(
                f"{contract.name} cannot be written at {path}: {text.splitlines()[0]}. "
                "Check that the folder exists, is writable and has room (setting places.warehouse)."
            ) from fault
        raise

"""What makes two runs the same run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from promo_spark.contracts import BRONZE, TABLES
from promo_spark.contracts.settings import Settings
from promo_spark.runtime.settings import settings_fingerprint
from promo_spark.runtime.store import Store, contract_fingerprint


@cache
def code_fingerprint() -> str:
    """Hash of the package's own source and of every contract."""
    digest = hashlib.sha256()
    for name, content in sorted(_modules(files("promo_spark"))):
        digest.update(name.encode() + b"\0" + content)
    for name in sorted(TABLES):
        digest.update(contract_fingerprint(TABLES[name]).encode())
    return digest.hexdigest()[:16]


def _modules(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _modules(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield f"{prefix}{entry.name}", entry.read_bytes()


def run_identity(settings: Settings, store: Store) -> str:
    """Hash of code, contracts, settings, as_of_date and inputs.

    The inputs are what ingest has taken in: bronze tables only grow, and only by files not loaded
    before, so their versions stand for the content of every input file.
    """
    inputs = ",".join(f"{table.name}={store.version(table)}" for table in BRONZE)
    content = "|".join((code_fingerprint(), settings_fingerprint(settings), str(settings.as_of_date), inputs))
    return hashlib.sha256(content.encode()).hexdigest()[:16]

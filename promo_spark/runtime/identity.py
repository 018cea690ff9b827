"""What makes two runs the same run, and what decides the tables of one stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

from pydantic import BaseModel

from promo_spark.contracts import BRONZE, TABLES
from promo_spark.contracts.settings import Settings
from promo_spark.runtime.settings import NOT_IDENTITY, settings_fingerprint
from promo_spark.runtime.store import Store
from promo_spark.runtime.table_forms import contract_fingerprint

CODE = "code"
_Model = TypeVar("_Model", bound=BaseModel)
_ALWAYS_KEPT = ("as_of_date", *sorted(NOT_IDENTITY))


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


def run_identity(settings: Settings, basis: Mapping[str, str]) -> str:
    """Hash of code, contracts, settings, as_of_date and inputs.

    The inputs are what ingest has taken in: bronze tables only grow, and only by files not loaded
    before, so their versions stand for the content of every input file.

    Args:
        settings: Resolved settings.
        basis: What ``present_basis`` returned.
    """
    inputs = ",".join(f"{table.name}={basis[table.name]}" for table in BRONZE)
    content = "|".join((code_fingerprint(), settings_fingerprint(settings), str(settings.as_of_date), inputs))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def present_basis(settings: Settings, store: Store) -> dict[str, str]:
    """Everything that can decide a table, by name: the code, the versions of bronze, each setting as JSON."""
    dumped = settings.model_dump(mode="json", exclude=NOT_IDENTITY)
    chosen = (_leaves(getattr(settings, name), value, name) for name, value in dumped.items())
    return {CODE: code_fingerprint(), **_inputs(store), **dict(leaf for leaves in chosen for leaf in leaves)}


def own_part(basis: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The part of a basis that a stage with these settings depends on by itself.

    Args:
        basis: What ``present_basis`` returned.
        names: The settings the stage declares: sections, or dotted names within them.
    """
    inputs = {table.name for table in BRONZE}
    wanted = tuple(names)
    return {
        name: value
        for name, value in basis.items()
        if name == CODE or name in inputs or any(f"{name}.".startswith(f"{own}.") for own in wanted)
    }


def narrowed(settings: Settings, names: Iterable[str]) -> Settings:
    """The settings that a stage declares, and those that decide nothing; the others are not there.

    A stage that looked at an undeclared setting would not be run again when it changes: it gets an AttributeError.
    """
    return _only(settings, [*_ALWAYS_KEPT, *names])


def _only(model: _Model, names: Iterable[str]) -> _Model:
    wanted: dict[str, list[str]] = {}
    for name in names:
        head, _, rest = name.partition(".")
        wanted.setdefault(head, []).append(rest)
    kept = {
        head: getattr(model, head) if "" in rests else _only(getattr(model, head), rests)
        for head, rests in wanted.items()
    }
    part = model.model_copy()
    part.__dict__.clear()
    part.__dict__.update(kept)
    return part


def _inputs(store: Store) -> dict[str, str]:
    return {table.name: str(store.content_version(table)) for table in BRONZE}


def _leaves(setting: object, dumped: Any, name: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401  (JSON)
    if isinstance(setting, BaseModel):
        for field in type(setting).model_fields:
            yield from _leaves(getattr(setting, field), dumped[field], f"{name}.{field}")
    else:
        yield name, json.dumps(dumped, sort_keys=True)

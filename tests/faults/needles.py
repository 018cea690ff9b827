"""Look for values in every byte under some folders, and in what the files hold once decoded."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq


def found_needles(roots: Iterable[Path], needles: Iterable[str]) -> dict[str, set[str]]:
    """Which needles are found, and in which files: raw bytes, names, and decoded content."""
    wanted = {needle: needle.encode() for needle in needles}
    hits: dict[str, set[str]] = {}
    for path in files_of(roots):
        text = b"\0".join([str(path).encode(), *_contents(path)])
        for needle, sought in wanted.items():
            if sought in text:
                hits.setdefault(needle, set()).add(str(path))
    return hits


def files_of(roots: Iterable[Path]) -> list[Path]:
    """Every file, hidden ones too."""
    return sorted(path for root in roots for path in ([root] if root.is_file() else root.rglob("*")) if path.is_file())


def _contents(path: Path) -> Iterator[bytes]:
    raw = path.read_bytes()
    yield raw
    if raw[:4] == b"PAR1" and raw[-4:] == b"PAR1":
        yield json.dumps(pq.read_table(path).to_pylist(), default=str, ensure_ascii=False).encode()
    elif raw[:2] == b"\x1f\x8b":
        yield gzip.decompress(raw)
    elif raw[:15] == b"SQLite format 3":
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            yield "\n".join(database.iterdump()).encode()
    elif path.suffix == ".deflate":
        yield zlib.decompress(raw)

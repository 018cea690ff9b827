"""Say plainly what is wrong with the columns of an input."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping, Sequence

from promo_spark.errors import SourceError


def split_header(path: str, line: str, *, delimiter: str, quote: str) -> tuple[str, ...]:
    """Split the first line of a CSV into column names.

    Raises:
        SourceError: The line is blank or no text, or two columns have one name.
    """
    try:
        cells = next(csv.reader([line], delimiter=delimiter, quotechar=quote), [])
    except csv.Error as fault:
        raise SourceError(f"{path}: the first line is no header ({fault}). Export it again.") from None
    names = tuple(cell.strip() or f"column_{number}" for number, cell in enumerate(cells, 1))
    if not any(cell.strip() for cell in cells):
        raise SourceError(f"{path}: the first line is blank; it must be the header with the column names.")
    lowered = [name.lower() for name in names]
    doubled = sorted({name for name in names if lowered.count(name.lower()) > 1})
    if doubled:
        raise SourceError(
            f"{path}: the header names {', '.join(doubled)} more than once (capitals aside). "
            "Give every column a name of its own."
        )
    return names


def check_same_header(
    path: str, headers: Mapping[str, tuple[str, ...]], pinned: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Refuse files whose columns differ from each other's or from the pinned ones.

    Args:
        path: The source's path.
        headers: Columns in order, per file name.
        pinned: The order that the settings demand, if any.

    Returns:
        The one header.
    """
    first = min(headers)
    expected = pinned or headers[first]
    authority = "the header pinned in the settings" if pinned else first
    for name in sorted(headers):
        if headers[name] != expected:
            raise SourceError(
                f"{path}: the columns of {name} ({', '.join(headers[name])}) differ from {authority} "
                f"({', '.join(expected)}). Export all files alike, or give each form its own table path."
            )
    return expected


def named_file(path: str, name: str) -> str:
    """A file in words: the source's path and, where that is a folder or a glob, which of its files."""
    return path if path.endswith(name) else f"{path}: {name}"


def check_columns(path: str, header: Sequence[str], needed: Sequence[str]) -> None:
    """Refuse an input that lacks a column the mapping uses; propose the nearest name there is."""
    missing = [name for name in dict.fromkeys(needed) if name not in header]
    if not missing:
        return
    said = []
    for name in missing:
        near = difflib.get_close_matches(name.lower(), [column.lower() for column in header], n=1)
        meant = next((column for column in header if near and column.lower() == near[0]), None)
        said.append(f"{name} (did you mean {meant}?)" if meant else name)
    raise SourceError(
        f"{path}: no column {', no column '.join(said)}. Its header has: {', '.join(header)}. "
        "Correct its name in the settings ('from' in a mapping); the first line of a CSV must be the header."
    )

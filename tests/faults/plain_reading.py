"""What plain Python reads of a text file: the measure that the system's own reading is held against.

Only ``csv``, ``json``, ``decimal`` and ``datetime``; nothing of the system but the tables' declared types. A line
ends in CR, LF or both; a record is one line; what spans several lines is broken, as the how-to says.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from zoneinfo import ZoneInfo

from pyspark.sql import types as T

UNREADABLE = object()
Value = object
Record = dict[str, Value] | None
ZONE = "America/New_York"
_DATE = r"(\d{4})-(\d{1,2})-(\d{1,2})"
_CLOCK = r"[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?"
_INSTANT = re.compile(rf"{_DATE}(?:{_CLOCK} ?(Z|UTC|[+-]\d{{1,2}}(?::?\d{{2}})?)?)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

csv.field_size_limit(1 << 30)


@dataclass(frozen=True)
class Plain:
    """A file as plain Python reads it.

    Attributes:
        refused: Why the file as a whole cannot be used; empty where it can.
        records: By line from 1: the value per column as text (None where missing), or None where it is broken.
    """

    refused: str
    records: dict[int, Record]


def read_plain(path: Path, form: str, columns: tuple[str, ...], *, delimiter: str = ",") -> Plain:
    """Read a CSV or JSON-lines file, compressed or not, with the standard library alone."""
    try:
        content = _content(path)
    except (OSError, EOFError, ValueError) as fault:
        return Plain(f"cannot be unpacked: {fault}", {})
    if not content:
        return Plain("empty", {})
    lines = _lines(content)
    found = _csv(lines, columns, delimiter) if form == "csv" else _json(lines, columns)
    return found if found.refused or found.records else Plain("no records", {})


def expected_value(text: Value, dtype: T.DataType) -> Value:
    """The canonical value of a text, or ``UNREADABLE``; NULL where it is missing."""
    shown = "" if text is None else str(text).strip(" \t\u00a0")
    if not shown:
        return None
    match dtype:
        case T.StringType():
            return shown
        case T.DecimalType():
            return _decimal(shown, dtype)
        case T.TimestampType():
            return _instant(shown)
    raise TypeError(f"no order line has a {dtype.simpleString()}")


def _content(path: Path) -> bytes:
    if path.name.endswith(".gz"):
        return gzip.decompress(path.read_bytes())
    if path.name.endswith(".bz2"):
        return bz2.decompress(path.read_bytes())
    return path.read_bytes()


def _lines(content: bytes) -> list[str | None]:
    """Lines as text; None where a line is no UTF-8."""
    raw = re.split(rb"\r\n|\n|\r", content.removeprefix(b"\xef\xbb\xbf"))
    if raw[-1] == b"":
        raw.pop()
    return [_text(line) for line in raw]


def _text(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


def _csv(lines: list[str | None], columns: tuple[str, ...], delimiter: str) -> Plain:
    header = _cells(lines[:1], delimiter)[0] if lines else None
    if header is None:
        return Plain("no header", {})
    names = [name.strip() for name in header]
    if len({name.lower() for name in names}) < len(names) or not set(columns) <= set(names):
        return Plain("header", {})
    records: dict[int, Record] = {}
    number = 1
    while number < len(lines):
        line = lines[number]
        if line is not None and not line.strip(" "):
            number += 1
            continue
        cells, used = _cells(lines[number:], delimiter)
        whole = used == 1 and cells is not None and len(cells) == len(names)
        for place in range(number, number + used):
            if place == number or (lines[place] or "x").strip(" "):
                records[place + 1] = dict(zip(names, cells, strict=True)) if whole and cells else None
        number += used
    return Plain("", records)


def _cells(lines: list[str | None], delimiter: str) -> tuple[list[str] | None, int]:
    """The cells of the record that starts with the first line, and how many lines it takes; None where it is broken."""
    taken = 0

    def feed() -> object:
        nonlocal taken
        for line in lines:
            taken += 1
            if line is None:
                raise csv.Error("no UTF-8")
            yield f"{line}\n"

    try:
        cells = next(csv.reader(feed(), delimiter=delimiter, strict=True))  # type: ignore[arg-type]  # it yields text
    except (csv.Error, StopIteration):
        return None, 1
    return cells, taken


def _json(lines: list[str | None], columns: tuple[str, ...]) -> Plain:
    records: dict[int, Record] = {}
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        if line is not None and not line.strip(" "):
            continue
        records[number] = None if line is None else _object(line, seen)
    if not set(columns) <= seen:
        return Plain("keys", {})
    return Plain("", records)


def _object(line: str, seen: set[str]) -> Record:
    try:
        found = json.loads(line, object_pairs_hook=_pairs, parse_float=str, parse_int=str, parse_constant=str)
        line.encode()
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    seen.update(found)
    nested = json.loads(line)
    return {
        name: value if value is None or isinstance(value, str) else json.dumps(nested[name], separators=(",", ":"))
        for name, value in found.items()
    }


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a key twice")
    return dict(pairs)


def _decimal(text: str, dtype: T.DecimalType) -> Value:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return UNREADABLE
    if not number.is_finite() or not _NUMBER.fullmatch(text):
        return UNREADABLE
    _, digits, exponent = number.as_tuple()
    significant = "".join(map(str, digits)).rstrip("0")
    decimals = -int(exponent) - (len(digits) - len(significant))
    if significant and (decimals > dtype.scale or number.adjusted() >= dtype.precision - dtype.scale):
        return UNREADABLE
    return number


def _instant(text: str) -> Value:
    match = _INSTANT.fullmatch(text)
    if match is None:
        return UNREADABLE
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    micros = int((fraction or "").ljust(6, "0")[:6])
    try:
        time = (int(hour or 0), int(minute or 0), int(second or 0), micros)
        zone = ZoneInfo(ZONE) if offset is None else _offset(offset)
        return datetime(int(year), int(month), int(day), *time, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return UNREADABLE


def _offset(text: str) -> timezone:
    if text in {"Z", "UTC"}:
        return UTC
    digits = text[1:].replace(":", "")
    hours, minutes = (int(digits[:-2]), int(digits[-2:])) if len(digits) > 2 else (int(digits), 0)
    if hours > 18 or minutes > 59:
        raise ValueError(text)
    return timezone((1 if text[0] == "+" else -1) * timedelta(hours=hours, minutes=minutes))


def same(found: str | None, wanted: Value, dtype: T.DataType) -> bool:
    """Whether a value, as Spark shows it as text, is what plain Python reads."""
    if found is None or wanted is None or wanted is UNREADABLE:
        return found is None and wanted is None
    if isinstance(dtype, T.DecimalType):
        return Decimal(found) == wanted
    if isinstance(dtype, T.TimestampType) and isinstance(wanted, datetime):
        return datetime.fromisoformat(found).replace(tzinfo=UTC) == wanted
    return found == wanted


def silent_faults(
    plain: Plain, rows: Mapping[int, tuple[dict[str, str | None], list[str]]], types: Mapping[str, T.DataType]
) -> list[str]:
    """What was lost, made up or changed without being named.

    Args:
        plain: The file as plain Python reads it.
        rows: By line: the values as text and the faults, as the system reads it.
        types: Type of each column.
    """
    if plain.refused:
        return [
            f"line {number} was taken in of a file that is {plain.refused}"
            for number, (_, faults) in rows.items()
            if not faults
        ]
    silent = [f"line {number} is lost" for number in plain.records.keys() - rows.keys()]
    silent += [f"line {number} is made up" for number in rows.keys() - plain.records.keys()]
    for number in plain.records.keys() & rows.keys():
        values, faults = rows[number]
        wanted = plain.records[number]
        if any(fault.startswith("malformed") for fault in faults):
            silent += [f"line {number}: {name} is kept of a broken line" for name in values if values[name] is not None]
            continue
        if wanted is None:
            silent += [] if faults else [f"line {number} is broken and was read"]
            continue
        for name, dtype in types.items():
            if any(fault.startswith(f"{name}: ") for fault in faults):
                silent += [f"line {number}: {name} is named and yet kept"] if values[name] is not None else []
            elif not same(values[name], expected_value(wanted.get(name), dtype), dtype):
                silent.append(f"line {number}: {name} is {values[name]!r} of {wanted.get(name)!r}")
    return silent

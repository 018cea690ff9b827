"""Good files of order lines, and the ways in which bytes go wrong on their way."""

from __future__ import annotations

import csv
import json
import random

from tests.faults.bad_files import COLUMNS, HEADER

LINES = 12
_TELLING = b"\x00\"',\n\r\\\xff\xc3\x1f-.e {}[]:0"
_MOST = 60


def good_lines(generator: random.Random, form: str) -> tuple[bytes, list[str]]:
    """The header, if any, and lines of a sound file."""
    lines = [_line(generator, number) for number in range(LINES)]
    if form == "csv":
        return f"{HEADER}\n".encode(), lines
    return b"", [_object(generator, line) for line in lines]


def mutated(content: bytes, generator: random.Random) -> bytes:
    """Flip, overwrite, delete, insert, double or cut off bytes, up to three times."""
    found = bytearray(content)
    for _ in range(generator.randint(1, 3)):
        place = generator.randrange(len(found))
        match generator.randrange(6):
            case 0:
                found[place] ^= 1 << generator.randrange(8)
            case 1:
                found[place] = generator.choice(_TELLING)
            case 2:
                del found[place : place + generator.randint(1, 8)]
            case 3:
                found[place:place] = bytes([generator.choice((*_TELLING, generator.randrange(256)))])
            case 4:
                start = generator.randrange(len(found))
                found[place:place] = found[start : start + generator.randint(1, _MOST)]
            case _:
                del found[max(place, len(found) - _MOST) :]
        found = found or bytearray(b"x")
    return bytes(found)


def _line(generator: random.Random, number: int) -> str:
    draw = generator.choice
    day = f"2024-0{generator.randint(1, 9)}-1{generator.randint(0, 9)}"
    clock = f"1{generator.randint(0, 9)}:{generator.randint(10, 59)}:00"
    product = draw(("A-17", '"A,20"', '"say ""hi"""', "größe", "x y", 'Pizza 12"'))
    cells = (
        *(str(1000 + number // 3), str(number % 3 + 1), draw(("88", "", "c9")), product, draw(("s1", "", "7"))),
        *(f"{day} {clock}", str(generator.randint(1, 40)), str(generator.randint(-500, 90_000) / 100)),
        draw(("", "0.5", "1.25")),
    )
    return ",".join(cells)


def _object(generator: random.Random, line: str) -> str:
    cells = dict(zip(COLUMNS, next(csv.reader([line])), strict=True))
    values: dict[str, object] = {name: cell or None for name, cell in cells.items()}
    values |= {name: float(cells[name]) for name in ("quantity", "sales_amount")}
    return json.dumps(values, ensure_ascii=generator.random() < 0.5)

"""Files of every kind that goes wrong: each says whether it is refused as a whole, or which of its lines are."""

from __future__ import annotations

import bz2
import gzip
from dataclasses import dataclass

COLUMNS = (
    *("basket_id", "line_id", "customer_id", "product_id", "store_id"),
    *("ordered_at", "quantity", "sales_amount", "retail_discount_amount"),
)
HEADER = ",".join(COLUMNS)
GOOD = "1,1,88,A-17,s1,2024-03-09 17:45:00,2,5.98,0.50"


@dataclass(frozen=True)
class BadFile:
    """A file and what becomes of it.

    Attributes:
        name: Of the case; its ending is the file's.
        content: Bytes.
        refused: What the one error says; empty where the file is taken in.
        named: Lines that are named as faulty; the others of the file are accepted.
        delimiter: Of a CSV.
    """

    name: str
    content: bytes
    refused: str = ""
    named: tuple[int, ...] = ()
    delimiter: str = ","

    @property
    def form(self) -> str:
        return "json" if ".jsonl" in self.name else "csv"


def _csv(name: str, *lines: str, named: tuple[int, ...] = (), refused: str = "", header: str = HEADER) -> BadFile:
    return BadFile(f"{name}.csv", "\n".join([header, *lines, ""]).encode(), refused, named)


def _raw(name: str, content: bytes, *, refused: str = "", named: tuple[int, ...] = (), delimiter: str = ",") -> BadFile:
    return BadFile(name, content, refused, named, delimiter)


def _with(**cells: str) -> str:
    """The good line with some cells changed."""
    return ",".join(cells.get(name, cell) for name, cell in zip(COLUMNS, GOOD.split(","), strict=True))


def _object(**values: str) -> str:
    """A JSON object; values as JSON writes them, or none where the key is left out."""
    good = {name: f'"{cell}"' for name, cell in zip(COLUMNS, GOOD.split(","), strict=True)}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in {**good, **values}.items() if value) + "}"


def _json(name: str, *lines: str, named: tuple[int, ...] = (), refused: str = "") -> BadFile:
    return BadFile(f"{name}.jsonl", "\n".join([_object(), *lines, ""]).encode(), refused, named)


_WHOLE = "\n".join([HEADER, *[GOOD] * 400, ""]).encode()
_GZ, _BZ2 = gzip.compress(_WHOLE), bz2.compress(_WHOLE)

STRUCTURE = (
    _csv("a line break in quotes", '1,1,88,"A-17', 'rest",s1,2024-03-09 17:45:00,2,5.98,0.50', GOOD, named=(2, 3)),
    _csv(
        "a record within quotes",
        _with(product_id='"A'),
        GOOD,
        _with(basket_id='"', line_id='",x'),
        GOOD,
        named=(2, 3, 4),
    ),
    _csv("quotes around whole records", '1,1,88,"A', GOOD, 'z",s1,2024-03-09 17:45:00,2,5.98,0.50', named=(2, 3, 4)),
    _csv("embedded quotes", _with(product_id='"say ""hi"""'), GOOD),
    _csv("a quote left open", _with(product_id='"A-17'), GOOD, named=(2,)),
    _csv("words after a quote", _with(product_id='"A"17'), GOOD, named=(2,)),
    _csv("an inch mark", _with(product_id='Pizza 12"'), GOOD),
    _csv("space before a quote", _with(product_id=' "A-17"'), GOOD),
    _csv("too few cells", "1,1,88", GOOD, named=(2,)),
    _csv("too many cells", f"{GOOD},x", GOOD, named=(2,)),
    _csv("only delimiters", "," * 8, GOOD),
    _csv("blank lines", "", "   ", GOOD),
    _csv("the header again", HEADER, GOOD, named=(2,)),
    _csv("a very long line", _with(product_id="x" * 1_000_000), GOOD),
    _csv("a line of many cells", "," * 30_000, GOOD, named=(2,)),
    _csv("semicolons within", GOOD.replace(",", ";"), GOOD, named=(2,)),
    _csv("nothing but the header", refused="holds no records"),
    _csv("no header", GOOD, header=GOOD.replace("88", "2"), refused="the header"),
    _csv("a column missing", GOOD, header=HEADER.replace(",quantity", ""), refused="no column quantity"),
    _csv("a column renamed", GOOD, header=HEADER.replace("quantity", "qty"), refused="no column quantity"),
    _csv("a column in capitals", GOOD, header=HEADER.replace("quantity", "QUANTITY"), refused="did you mean QUANTITY"),
    _csv("a column twice", f"{GOOD},9", header=f"{HEADER},Quantity", refused="more than once"),
    _csv("a header in quotes", GOOD, header='"' + HEADER.replace(",", '","') + '"'),
    _csv("a header left open", GOOD, header='"' + HEADER, refused="no column"),
    _csv("a header too long", GOOD, header=HEADER + ",x" + "y" * 200_000, named=(2,)),
    _csv("columns in another order", "1,1,88,A-17,s1,2024-03-09 17:45:00,0.5,5.98,2"),
    _raw("lone carriage returns.csv", _WHOLE[:300].replace(b"\n", b"\r"), named=(6,)),
    _raw(
        "carriage return within quotes.csv",
        f'{HEADER}\n1,1,88,"A\rB",s,2024-03-09,2,5,0\n{GOOD}\n'.encode(),
        named=(2, 3),
    ),
    _raw("windows line ends.csv", f"{HEADER}\r\n{GOOD}\r\n\r\n{GOOD}".encode()),
    _raw("byte order mark.csv", b"\xef\xbb\xbf" + f"{HEADER}\n{GOOD}\n".encode()),
    _raw("two byte order marks.csv", b"\xef\xbb\xbf" * 2 + f"{HEADER}\n{GOOD}\n".encode(), refused="no column"),
    _raw("utf-16.csv", f"{HEADER}\n{GOOD}\n".encode("utf-16"), refused="no column"),
    _raw("utf-32.csv", f"{HEADER}\n{GOOD}\n".encode("utf-32-be"), refused="no column"),
    _raw("latin-1.csv", f"{HEADER}\n{_with(product_id='größe')}\n{GOOD}\n".encode("latin-1"), named=(2,)),
    _raw("overlong utf-8.csv", f"{HEADER}\n{GOOD}\n".encode() + GOOD.encode().replace(b"A", b"\xc1\x81"), named=(3,)),
    _raw("nul within.csv", f"{HEADER}\n{_with(product_id=chr(0))}\n\0{GOOD}\n{GOOD}\n".encode(), named=(2, 3)),
    _raw("nothing but nul.csv", b"\0" * 500, refused="no column"),
    _raw("random bytes.csv", bytes(range(256)) * 20, refused="no column"),
    _raw("empty.csv", b"", refused="empty (0 bytes)"),
    _raw("one line break.csv", b"\n", refused="the first line is blank"),
    _raw("no last line break.csv", f"{HEADER}\n{GOOD}".encode()),
    _raw("tabs.tsv", f"{HEADER}\n{GOOD}\n".replace(",", "\t").encode(), delimiter="\t"),
    _raw("commas where tabs are meant.tsv", f"{HEADER}\n{GOOD}\n".encode(), refused="no column", delimiter="\t"),
    _raw("whole.csv.gz", _GZ),
    _raw("cut off.csv.gz", _GZ[: len(_GZ) // 2], refused="cut off"),
    _raw("no archive.csv.gz", _WHOLE, refused="cannot be read"),
    _raw("a flipped bit.csv.gz", _GZ[:-6] + bytes([_GZ[-6] ^ 1]) + _GZ[-5:], refused="cannot be read"),
    _raw("garbage at the end.csv.gz", _GZ + b"garbage", refused="cannot be read"),
    _raw("two archives.csv.gz", _GZ + gzip.compress(f"{GOOD}\n".encode())),
    _raw("whole.csv.bz2", _BZ2),
    _raw("cut off.csv.bz2", _BZ2[: len(_BZ2) // 2], refused="cannot be read"),
)
"""How lines and cells are told apart."""

VALUES = (
    _csv("too many decimals", _with(sales_amount="5.987"), _with(quantity="1.0005"), GOOD, named=(2, 3)),
    _csv("zeros after the decimals", _with(sales_amount="5.98000000000000000000000"), GOOD),
    _csv("a decimal lost in rounding", _with(sales_amount="5.00000000000000000001"), GOOD, named=(2,)),
    _csv("thousands", _with(sales_amount='"1,234.50"'), _with(sales_amount="1 234.5"), GOOD, named=(2, 3)),
    _csv("another decimal sign", _with(sales_amount='"5,98"'), _with(sales_amount="5'98"), GOOD, named=(2, 3)),
    _csv(
        "exponents", _with(sales_amount="1e3"), _with(sales_amount="1e-30"), _with(sales_amount="1e400"), named=(3, 4)
    ),
    _csv(
        "no numbers",
        *(_with(sales_amount=text) for text in ("NaN", "Infinity", "-inf", "0x1F", "5d", "1_000")),
        GOOD,
        named=(2, 3, 4, 5, 6, 7),
    ),
    _csv(
        "signs and currencies",
        *(_with(sales_amount=text) for text in ("$5", "5€", "(5.00)", "5-", "--5", "+5")),
        named=(2, 3, 4, 5, 6),
    ),
    _csv("huge numbers", _with(quantity="9" * 40), _with(basket_id="9" * 40), GOOD, named=(2,)),
    _csv("minus nought", _with(sales_amount="-0"), _with(sales_amount="-0.00"), GOOD),
    _csv("missing numbers", _with(quantity=""), _with(sales_amount=" "), GOOD),
    _csv("control characters", _with(quantity="\x0b5"), _with(sales_amount="\x1f5.98"), GOOD, named=(2, 3)),
    _csv("other digits", _with(quantity="\u0665"), _with(sales_amount="\uff15"), GOOD, named=(2, 3)),
    _csv("invisible spaces", _with(quantity="\u200b5"), _with(quantity="\u00a05"), GOOD, named=(2,)),
    _csv(
        "days that are none",
        *(_with(ordered_at=text) for text in ("2024-02-30", "2023-02-29", "0000-01-01")),
        *(_with(ordered_at=text) for text in ("2024-13-01", "99999-01-01", "2024-00-10")),
        GOOD,
        named=(2, 3, 4, 5, 6, 7),
    ),
    _csv(
        "days in another order",
        _with(ordered_at="03/04/2024"),
        _with(ordered_at="3 Apr 2024"),
        _with(ordered_at="20240403"),
        _with(ordered_at="24-04-03"),
        GOOD,
        named=(2, 3, 4, 5),
    ),
    _csv(
        "clocks that are none",
        *(_with(ordered_at=f"2024-03-09 {text}") for text in ("24:00", "23:60", "10", "5pm")),
        _with(ordered_at="2016-12-31 23:59:60"),
        GOOD,
        named=(2, 3, 4, 5, 6),
    ),
    _csv("summer time", _with(ordered_at="2024-03-10 02:30:00"), _with(ordered_at="2024-11-03 01:30:00"), GOOD),
    _csv(
        "offsets",
        *(_with(ordered_at=f"2024-03-10T02:30:00{text}") for text in ("Z", "+02:00", "-0530", "+25:00")),
        _with(ordered_at="2024-03-10 02:30:00 Europe/London"),
        GOOD,
        named=(5, 6),
    ),
    _csv(
        "very early and late",
        _with(ordered_at="0001-01-01 00:00:00"),
        _with(ordered_at="9999-12-31 23:59:59"),
        named=(3,),
    ),
    _csv("a spreadsheet's errors", _with(quantity="#REF!"), _with(sales_amount="#N/A"), GOOD, named=(2, 3)),
    _csv(
        "words for nothing",
        _with(quantity="NULL"),
        _with(sales_amount="n/a"),
        _with(retail_discount_amount="-"),
        named=(2, 3, 4),
    ),
)
"""What a cell holds."""

OBJECTS = (
    _json("keys twice", _object(store_id='"a", "store_id": "b"'), named=(2,)),
    _json("keys in capitals", _object(store_id="").replace("{", '{"Store_ID": "x", '), named=(2,)),
    _json("no such key", _object(store_id="")),
    _json("null", _object(store_id="null", retail_discount_amount="null")),
    _json("nested", _object(store_id='{"a": [1, 2]}'), _object(quantity='{"a": 1}'), named=(3,)),
    _json("arrays", _object(quantity="[1]"), f"[{_object()}]", named=(2, 3)),
    _json("comma at the end", _object()[:-1] + ",}", named=(2,)),
    _json("comma after the object", _object() + ",", named=(2,)),
    _json("two on a line", _object() + _object(), f"{_object()}, {_object()}", named=(2, 3)),
    _json("words after the object", _object() + "] x", _object() + " // y", named=(2, 3)),
    _json("single quotes", _object().replace('"', "'"), named=(2,)),
    _json("no numbers", _object(quantity="NaN"), _object(quantity="Infinity"), _object(quantity="01"), named=(2, 3, 4)),
    _json(
        "many digits",
        _object(sales_amount="1234567890123456.78"),
        _object(sales_amount="5.00000000000000000001"),
        _object(basket_id="12345678901234567890123"),
        named=(3,),
    ),
    _json("truth for a number", _object(quantity="true"), named=(2,)),
    _json("half a pair", _object(product_id='"\\ud800"'), _object(product_id='"\\ud83d\\ude00"'), named=(2,)),
    _json("bare control characters", _object(product_id='"a\tb"'), named=(2,)),
    _json("cut off", _object()[:-20], named=(2,)),
    _json("nested too deep", '{"x": ' * 3000 + "1" + "}" * 3000, named=(2,)),
    _json("a line break in an object", *_object().split(", ", 1), named=(2, 3)),
    _raw("one document.jsonl", f"[\n{_object()}\n]\n".encode(), refused="one JSON document"),
    _raw("printed wide.jsonl", b"{\n" + _object()[1:].encode() + b"\n", refused="one JSON document"),
    _raw("no json.jsonl", f"{HEADER}\n{GOOD}\n".encode(), refused="no line is a JSON object"),
    _raw("a key that no line has.jsonl", _object(quantity="").encode() + b"\n", refused="no column quantity"),
    _raw("utf-16.jsonl", _object().encode("utf-16"), refused="no line is a JSON object"),
)
"""Lines of JSON."""

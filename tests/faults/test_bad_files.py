"""No silent loss, no silent NULL: whatever a file holds, it is refused, or every record of it is accepted or named.

What the system reads is held against what plain Python reads of the same bytes (``plain_reading``).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.records import RAW_CUSTOMER_ID
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.contracts.source_settings import TableMapping
from promo_spark.errors import SourceError
from promo_spark.runtime.inputs import list_files, open_records
from promo_spark.sources.mapping import map_records, needed_columns
from tests.faults.bad_files import COLUMNS, GOOD, HEADER, OBJECTS, STRUCTURE, VALUES, BadFile
from tests.faults.conftest import Shown
from tests.faults.mutations import good_lines, mutated
from tests.faults.plain_reading import ZONE, read_plain, silent_faults

pytestmark = [pytest.mark.promise("no silent loss, no silent NULL")]
CORPUS = (*STRUCTURE, *VALUES, *OBJECTS)
TYPES = {column.name: column.dtype for column in ORDER_LINES.columns if column.name in COLUMNS}
Rows = dict[int, tuple[dict[str, str | None], list[str]]]
SEEDS = {"csv": 11, "json": 12, "header": 13, "gzip": 14}


def read_by_system(spark: SparkSession, place: Path, form: str, delimiter: str = ",") -> dict[str, Rows]:
    """By file and line: the values as text, and the faults; records are as many as were counted."""
    mapping = TableMapping.model_validate(
        {"format": form, "path": str(place), "delimiter": delimiter, "columns": {name: name for name in COLUMNS}}
    )
    opened = open_records(spark, mapping, list_files(spark, mapping), needed_columns(mapping))
    mapped = map_records(records=opened.records, mapping=mapping, silver=ORDER_LINES, time_zone=ZONE)
    shown = [F.col(RAW_CUSTOMER_ID if name == "customer_id" else name).cast("string").alias(name) for name in COLUMNS]
    found: dict[str, Rows] = defaultdict(dict)
    for row in mapped.select("source_file", "source_ordinal", "faults", *shown).collect():
        assert row.source_ordinal not in found[row.source_file]
        found[row.source_file][row.source_ordinal] = ({name: row[name] for name in COLUMNS}, row.faults)
    assert {name: len(rows) for name, rows in found.items()} == opened.counts
    return found


def silent_in(spark: SparkSession, folder: Path, form: str) -> tuple[list[str], int]:
    """What is silent in the files of a folder, and how many the one error refuses; each refusal names its file."""
    refused = 0
    plain = {file.name: read_plain(file, form, COLUMNS) for file in folder.iterdir()}
    while any(folder.iterdir()):
        try:
            found = read_by_system(spark, folder, form)
        except SourceError as fault:
            # The last one named: a file is held against the first.
            (*_, named) = [file for file in sorted(folder.iterdir()) if file.name in str(fault)]
            named.unlink()
            refused += 1
            continue
        silent = [
            f"{name}: {told}"
            for name, rows in sorted(found.items())
            for told in silent_faults(plain[name], rows, TYPES)
        ]
        return silent, refused
    return [], refused


def file_of(case: BadFile, folder: Path) -> Path:
    file = folder / case.name
    file.write_bytes(case.content)
    return file


def faulty(rows: Rows) -> tuple[int, ...]:
    return tuple(sorted(line for line, (_, faults) in rows.items() if faults))


def check_case(spark: SparkSession, case: BadFile, folder: Path) -> None:
    file = file_of(case, folder)
    if case.refused:
        with pytest.raises(SourceError) as caught:
            read_by_system(spark, file, case.form, case.delimiter)
        assert case.refused in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    rows = read_by_system(spark, file, case.form, case.delimiter)[file.name]
    plain = read_plain(file, case.form, COLUMNS, delimiter=case.delimiter)
    assert silent_faults(plain, rows, TYPES) == []
    assert faulty(rows) == case.named


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [case for case in CORPUS if case.refused or case.delimiter != ","], ids=lambda c: c.name
)
def test_a_file_that_is_no_table_is_refused(spark: SparkSession, tmp_path: Path, case: BadFile, shown: Shown) -> None:
    check_case(spark, case, tmp_path)
    shown(1, "files")


def alike(form: str, *, own_header: bool) -> list[BadFile]:
    """Files that are taken in: those of one header can be read together."""
    taken = [case for case in CORPUS if case.form == form and not case.refused and case.delimiter == ","]
    first = HEADER.encode()
    return [
        case
        for case in taken
        if (form == "csv" and case.name.endswith("csv") and first not in case.content) == own_header
    ]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_lines_that_are_no_records_are_named(spark: SparkSession, tmp_path: Path, form: str, shown: Shown) -> None:
    cases = {case.name: case for case in alike(form, own_header=False) if b",xyyy" not in case.content[:200]}
    for case in cases.values():
        file_of(case, tmp_path)
    found = read_by_system(spark, tmp_path, form)
    wrong = []
    for name, case in sorted(cases.items()):
        plain = read_plain(tmp_path / name, form, COLUMNS)
        wrong += [f"{name}: {told}" for told in silent_faults(plain, found[name], TYPES)]
        if faulty(found[name]) != case.named:
            wrong.append(f"{name}: {faulty(found[name])} are named, not {case.named}")
    assert not wrong, "\n".join(wrong)
    shown(len(cases), "files")


@pytest.mark.slow
@pytest.mark.parametrize("case", alike("csv", own_header=True), ids=lambda case: case.name)
def test_files_with_a_header_of_their_own(spark: SparkSession, tmp_path: Path, case: BadFile, shown: Shown) -> None:
    check_case(spark, case, tmp_path)
    shown(1, "files")


def write_mutants(folder: Path, form: str, numbers: Iterable[int], *, keep_header: bool = True) -> None:
    for number in numbers:
        generator = random.Random(f"{form}{number}{keep_header}")  # noqa: S311  (seeded, for tests)
        header, lines = good_lines(generator, form)
        body = "".join(f"{line}\n" for line in lines).encode()
        content = header + mutated(body, generator) if keep_header else mutated(header, generator) + body
        (folder / f"m{number:04d}.txt").write_bytes(content)


def check_mutants(spark: SparkSession, folder: Path, form: str) -> None:
    silent, _ = silent_in(spark, folder, form)
    assert not silent, "\n".join(silent)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_few_mutants(spark: SparkSession, tmp_path: Path, form: str, shown: Shown) -> None:
    write_mutants(tmp_path, form, range(100))
    check_mutants(spark, tmp_path, form)
    shown(100, "mutations")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("part", range(2))
def test_mutants(spark: SparkSession, tmp_path: Path, form: str, part: int, shown: Shown) -> None:
    numbers = range(100 + part * 400, 500 + part * 400)
    write_mutants(tmp_path, form, numbers)
    check_mutants(spark, tmp_path, form)
    shown(len(numbers), "mutations")


@pytest.mark.slow
def test_mutants_of_headers(spark: SparkSession, tmp_path: Path, shown: Shown) -> None:
    """One by one, for files of different headers are refused together."""
    for number in range(150):
        write_mutants(tmp_path, "csv", [number], keep_header=False)
        check_mutants(spark, tmp_path, "csv")
        for file in tmp_path.iterdir():
            file.unlink()
    shown(150, "mutations")


@pytest.mark.parametrize(
    ("tampered", "said"),
    [
        ({}, "line 2 is lost"),
        ({2: {"store_id": None}, 9: {}}, "line 9 is made up"),
        ({2: {"store_id": None}}, "line 2: store_id is None of 's1'"),
        ({2: {"quantity": "20"}}, "line 2: quantity is '20' of '2'"),
        ({2: {"ordered_at": "2024-03-09 17:45:00"}}, "line 2: ordered_at is"),
    ],
)
def test_the_measure_sees_what_is_silent(tmp_path: Path, tampered: dict[int, dict[str, str | None]], said: str) -> None:
    """Control: a reader that loses, makes up, drops or changes something without a word is found out."""
    file = tmp_path / "a.csv"
    file.write_text(f"{HEADER}\n{GOOD}\n")
    sound = dict(zip(COLUMNS, GOOD.split(","), strict=True)) | {"ordered_at": "2024-03-09 22:45:00"}
    plain = read_plain(file, "csv", COLUMNS)
    assert silent_faults(plain, {2: ({**sound}, [])}, TYPES) == []
    rows: Rows = {line: ({**sound, **cells}, []) for line, cells in tampered.items()}
    assert any(told.startswith(said) for told in silent_faults(plain, rows, TYPES))
    named: Rows = {line: ({**sound, "quantity": None}, ["quantity: cannot be read"]) for line in (2,)}
    assert silent_faults(plain, named, TYPES) == []

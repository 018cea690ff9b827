"""Parquet files that are cut off, damaged, or of other types: refused, or read whole."""

from __future__ import annotations

import io
import random
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.contracts.source_settings import TableMapping
from promo_spark.errors import SourceError
from promo_spark.runtime.inputs import list_files, open_records, reading
from promo_spark.sources.mapping import map_records, needed_columns
from tests.faults.conftest import Shown
from tests.faults.mutations import mutated

pytestmark = [pytest.mark.promise("no silent loss, no silent NULL")]
COLUMNS = ("basket_id", "product_id", "ordered_at", "quantity", "sales_amount", "store_id")
Read = list[tuple[str | None, ...]]
MUTANTS = 120


def table(**columns: pa.Array) -> pa.Table:
    """Two sound rows, with some columns in another form."""
    sound = {
        "basket_id": pa.array(["1", "2"]),
        "product_id": pa.array(["a", "b"]),
        "ordered_at": pa.array([datetime(2024, 1, 1, 10), datetime(2024, 1, 2, 10)], pa.timestamp("us", "UTC")),  # noqa: DTZ001  (the column's type has the zone)
        "quantity": pa.array([1, 2], pa.int64()),
        "sales_amount": pa.array([Decimal("5.98"), Decimal("1.00")], pa.decimal128(18, 2)),
        "store_id": pa.array(["s", None]),
    }
    return pa.table({**sound, **columns})


def content(rows: pa.Table, **options: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(rows, file, write_page_checksum=True, **options)
    return file.getvalue()


def read(spark: SparkSession, place: Path) -> Read:
    """Values as text, NULL where one could not be read, and the faults in one text; in order."""
    mapping = TableMapping.model_validate(
        {"format": "parquet", "path": str(place), "columns": {name: name for name in COLUMNS}}
    )
    with reading("source files"):
        opened = open_records(spark, mapping, list_files(spark, mapping), needed_columns(mapping))
        mapped = map_records(records=opened.records, mapping=mapping, silver=ORDER_LINES, time_zone="UTC")
        shown = [f"CAST({name} AS string) AS {name}" for name in COLUMNS]
        rows = mapped.orderBy("source_file", "source_ordinal").selectExpr(*shown, "array_join(faults, '; ')").collect()
    assert sum(opened.counts.values()) == len(rows)
    return [tuple(row) for row in rows]


SOUND: Read = [
    ("1", "a", "2024-01-01 10:00:00", "1.000", "5.98", "s", ""),
    ("2", "b", "2024-01-02 10:00:00", "2.000", "1.00", None, ""),
]


def changed(place: int, value: str | None, fault: str = "") -> Read:
    """The sound rows, the second with another value at a place."""
    second = [value if at == place else cell for at, cell in enumerate(SOUND[1])]
    return [SOUND[0], (*second[:-1], fault)]


WHOLE = content(table())
REFUSED = {
    "no bytes": (b"", "empty (0 bytes)"),
    "another magic": (b"PAR2" + WHOLE[4:], "not a Parquet file"),
    "magic alone": (b"PAR1PAR1", "cannot be read"),
    "cut off": (WHOLE[: len(WHOLE) // 2], "not a Parquet file"),
    "a footer that lies of its length": (WHOLE[:-8] + b"\xff\xff\xff\x7fPAR1", "cannot be read"),
    "a flipped bit in a page": (WHOLE[:30] + bytes([WHOLE[30] ^ 1]) + WHOLE[31:], "cannot be read"),
    "no rows": (content(table().slice(0, 0)), "holds no records"),
    "nanoseconds": (content(table(ordered_at=table()["ordered_at"].cast(pa.timestamp("ns", "UTC")))), "microseconds"),
    "a column twice": (content(table().append_column("Quantity", pa.array([1, 2]))), "cannot be read"),
}
TAKEN: dict[str, tuple[pa.Table, Read]] = {
    "sound": (table(), SOUND),
    "a clock without a zone": (table(ordered_at=table()["ordered_at"].cast(pa.timestamp("us"))), SOUND),
    "milliseconds": (table(ordered_at=table()["ordered_at"].cast(pa.timestamp("ms", "UTC"))), SOUND),
    "large whole numbers": (
        table(quantity=pa.array([1, 2**63], pa.uint64())),
        changed(3, None, "quantity: cannot read 'decimal(18,3)' from its text"),
    ),
    "small whole numbers": (table(quantity=pa.array([1, 2], pa.uint8())), SOUND),
    "floating amounts": (table(sales_amount=pa.array([5.98, 1.0])), SOUND),
    "amounts too fine": (
        table(sales_amount=pa.array([5.98, 1.005])),
        changed(4, None, "sales_amount: more than 2 decimals"),
    ),
    "no amount": (
        table(sales_amount=pa.array([5.98, float("nan")])),
        changed(4, None, "sales_amount: cannot read 'decimal(18,2)' from its text"),
    ),
    "infinity": (
        table(sales_amount=pa.array([5.98, float("inf")])),
        changed(4, None, "sales_amount: cannot read 'decimal(18,2)' from its text"),
    ),
    "ids as floating numbers": (table(basket_id=pa.array([1.0, 2.0])), SOUND),
    "an id that is none": (table(store_id=pa.array(["s", "nan"])), changed(5, "nan")),
    "ids beyond exact": (
        table(basket_id=pa.array([1.0, 2.0**60])),
        changed(0, None, "basket_id: cannot read 'string' from its text"),
    ),
    "missing ids": (
        table(basket_id=pa.array([1.0, float("nan")])),
        changed(0, None, "basket_id: cannot read 'string' from its text"),
    ),
    "a column of nothing": (table(store_id=pa.nulls(2)), [(*SOUND[0][:5], None, ""), SOUND[1]]),
    "words as bytes": (table(store_id=pa.array([b"s", None], pa.binary())), SOUND),
    "words as codes": (table(store_id=pa.array(["s", None]).dictionary_encode()), SOUND),
    "days": (
        table(ordered_at=pa.array([date(2024, 1, 1), date(2024, 1, 2)])),
        [(*row[:2], f"{str(row[2])[:10]} 00:00:00", *row[3:]) for row in SOUND],
    ),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[] if case in {"cut off", "a flipped bit in a page"} else pytest.mark.slow)
        for case in REFUSED
    ],
)
def test_what_is_no_whole_file_is_refused(spark: SparkSession, tmp_path: Path, case: str, shown: Shown) -> None:
    (tmp_path / "a.parquet").write_bytes(REFUSED[case][0])
    with pytest.raises(SourceError) as caught:
        read(spark, tmp_path)
    assert REFUSED[case][1] in str(caught.value)
    shown(1, "files")


@pytest.mark.slow
@pytest.mark.parametrize("case", TAKEN)
def test_every_value_is_read_or_named(spark: SparkSession, tmp_path: Path, case: str, shown: Shown) -> None:
    rows, wanted = TAKEN[case]
    (tmp_path / "a.parquet").write_bytes(content(rows))
    assert read(spark, tmp_path) == wanted
    shown(1, "files")


@pytest.mark.slow
def test_instants_of_twelve_bytes(spark: SparkSession, tmp_path: Path, shown: Shown) -> None:
    (tmp_path / "a.parquet").write_bytes(content(table(), use_deprecated_int96_timestamps=True))
    assert read(spark, tmp_path) == SOUND
    shown(1, "files")


def of_type(dtype: pa.DataType) -> pa.Table:
    if pa.types.is_null(dtype):
        return table(quantity=pa.nulls(2))
    return table(quantity=pa.array([Decimal(1), Decimal(2)] if pa.types.is_decimal(dtype) else [1, 2]).cast(dtype))


PAIRS = [
    (pa.int32(), pa.int64()),
    (pa.int8(), pa.int16()),
    (pa.int64(), pa.decimal128(25, 3)),
    (pa.decimal128(9, 2), pa.decimal128(18, 3)),
    (pa.int32(), pa.float64()),
    (pa.float32(), pa.float64()),
    (pa.null(), pa.int64()),
]


@pytest.mark.slow
@pytest.mark.parametrize("pair", [*PAIRS, *(pair[::-1] for pair in PAIRS)], ids=str)
def test_files_of_types_that_widen_are_read_together(
    spark: SparkSession, tmp_path: Path, pair: tuple[pa.DataType, pa.DataType], shown: Shown
) -> None:
    for name, dtype in zip("ab", pair, strict=True):
        pq.write_table(of_type(dtype), tmp_path / f"{name}.parquet")
    wanted = [value for dtype in pair for value in ([None] * 2 if pa.types.is_null(dtype) else ["1.000", "2.000"])]
    assert [row[3] for row in read(spark, tmp_path)] == wanted
    shown(2, "files")


@pytest.mark.slow
@pytest.mark.parametrize("other", [pa.string(), pa.float64()], ids=str)
def test_files_of_types_that_do_not_go_together_are_refused(
    spark: SparkSession, tmp_path: Path, other: pa.DataType, shown: Shown
) -> None:
    for name, dtype in (("a", pa.int64()), ("b", other)):
        pq.write_table(of_type(dtype), tmp_path / f"{name}.parquet")
    with pytest.raises(SourceError, match=r"quantity is .* in b\.parquet and bigint in the files before it"):
        read(spark, tmp_path)
    shown(2, "files")


@pytest.mark.slow
def test_mutants_of_parquet(spark: SparkSession, tmp_path: Path, shown: Shown) -> None:
    """What is read of a damaged file is what was written: pages carry checksums."""
    refused, silent = 0, []
    for number in range(MUTANTS):
        generator = random.Random(number)  # noqa: S311  (seeded, for tests)
        damaged = mutated(WHOLE, generator)
        (tmp_path / "a.parquet").write_bytes(damaged)
        try:
            found = read(spark, tmp_path)
        except SourceError:
            refused += 1
        except Exception as fault:  # noqa: BLE001  (a fault without a name is what is looked for)
            silent.append(f"{number}: {str(fault)[:300]}")
        else:
            silent += [] if found == SOUND else [f"{number}: {found}"]
    assert not silent, "\n".join(silent)
    assert refused > MUTANTS / 2
    shown(MUTANTS, "mutations")

"""Opening files: true line numbers, no silent loss, one plain message for each bad file."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from promo_spark.contracts.source_settings import TableMapping
from promo_spark.errors import SourceError
from promo_spark.runtime.input_files import _remote_files
from promo_spark.runtime.inputs import Opened, fingerprint, list_files, open_records

OWN = {"_broken_line", "\u241f end of line"}


def a_mapping(path: object, form: str = "csv", **more: object) -> TableMapping:
    return TableMapping.model_validate({"format": form, "path": str(path), "columns": {}, **more})


def opened(spark: SparkSession, mapping: TableMapping, *needed: str) -> Opened:
    return open_records(spark, mapping, list_files(spark, mapping), needed)


def rows(found: Opened) -> list[tuple[Any, ...]]:
    """Name, ordinal, malformed or not, values; in order."""
    selected = found.records.select("source_file", "source_ordinal", "is_malformed", "record.*")
    return sorted(
        (tuple(value for name, value in row.asDict().items() if name not in OWN) for row in selected.collect()),
        key=lambda row: row[:2],
    )


def test_csv_quotes_blank_lines_mark_and_line_numbers(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "a b[1] ä+%20.csv"
    path.write_text('\ufeffid,"x,y"\r\n1,"a,b"\r\n\r\n2,"q""r"\r\n3,\r\n', encoding="utf-8")
    found = opened(spark, a_mapping(path), "id", "x,y")
    name = path.name
    assert rows(found) == [(name, 2, False, "1", "a,b"), (name, 4, False, "2", 'q"r'), (name, 5, False, "3", None)]
    assert found.counts == {name: 3}


def test_malformed_lines_are_records(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'id,x\n1,ok\n2\n3,a,b\n4,"open\n"5,x\n6,\xff\n7,"a"\n')
    found = opened(spark, a_mapping(tmp_path), "id")
    assert [(row[1], row[2]) for row in rows(found)] == [
        (2, False),
        (3, True),
        (4, True),
        (5, True),
        (6, True),
        (7, True),
        (8, False),
    ]
    assert found.counts == {"a.csv": 7}
    raw = {row[0] for row in found.records.where("is_malformed").select("raw_text").collect()}
    assert "3,a,b" in raw


def test_backslash_escapes_and_tabs(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('id\tx\n1\t"say \\"hi\\""\n\t\n')
    found = opened(spark, a_mapping(tmp_path / "a.tsv", delimiter="\t", escape="\\"), "id")
    assert rows(found) == [("a.tsv", 2, False, "1", 'say "hi"'), ("a.tsv", 3, False, None, None)]


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "windows-1252", "ISO-8859-15"])
def test_encodings(spark: SparkSession, tmp_path: Path, encoding: str) -> None:
    text = {"ISO-8859-1": "größe", "windows-1252": "größe “5 €”", "ISO-8859-15": "größe 5 €"}[encoding]
    (tmp_path / "a.csv").write_bytes(f"id,x\n1,{text}\n".encode({"windows-1252": "cp1252"}.get(encoding, encoding)))
    found = opened(spark, a_mapping(tmp_path / "a.csv", encoding=encoding), "x")
    assert rows(found) == [("a.csv", 2, False, "1", text)]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_line_numbers_do_not_depend_on_partitioning(spark: SparkSession, tmp_path: Path, form: str) -> None:
    for file in range(3):
        values = range(700 * (file + 1))
        if form == "csv":
            lines = ["n,pad", *(f"{value},{'x' * (value % 40)}" for value in values)]
        else:
            lines = [f'{{"n": {value}, "pad": "{"x" * (value % 40)}"}}' for value in values]
        (tmp_path / f"{file}.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "3.txt.gz").write_bytes(gzip.compress((tmp_path / "0.txt").read_bytes()))
    key = "spark.sql.files.maxPartitionBytes"
    before = spark.conf.get(key)
    try:
        results = []
        for size in ("1000", "3001", "134217728"):
            spark.conf.set(key, size)
            found = opened(spark, a_mapping(tmp_path, form), "n")
            results.append([row[:4] for row in rows(found)])
            offset = 2 if form == "csv" else 1
            assert all(int(row[3]) == row[1] - offset for row in results[-1])
            assert found.counts == {"0.txt": 700, "1.txt": 1400, "2.txt": 2100, "3.txt.gz": 700}
            assert len(results[-1]) == 4900
    finally:
        spark.conf.set(key, str(before))
    assert results[0] == results[1] == results[2]


def test_json_lines(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"id": 1, "x": 1.50}\n\n{"id": "2", "x": {"y": 1}}\n{"id": 3\n{"id":4}{"id":5}\n[{"id":6}]\n{"id":7} z\n'
    )
    found = opened(spark, a_mapping(tmp_path / "a.jsonl", "json"), "id", "x")
    assert [(row[1], row[2]) for row in rows(found)] == [
        (1, False),
        (3, False),
        (4, True),
        (5, True),
        (6, True),
        (7, True),
    ]
    assert [row[3:] for row in rows(found) if not row[2]] == [("1", "1.5"), ("2", '{"y":1}')]


def test_parquet_positions(spark: SparkSession, tmp_path: Path) -> None:
    spark.range(10).selectExpr("id", "id % 3 AS x").coalesce(1).write.parquet(str(tmp_path / "p" / "month=2024-01"))
    spark.range(5).selectExpr("id", "id % 3 AS x").coalesce(1).write.parquet(str(tmp_path / "p" / "month=2024-02"))
    found = opened(spark, a_mapping(tmp_path / "p", "parquet"), "id", "month")
    listed = rows(found)
    assert [(row[1], row[3], row[5]) for row in listed] == [
        *((place + 1, place, "2024-01") for place in range(10)),
        *((place + 1, place, "2024-02") for place in range(5)),
    ]
    assert sorted(found.counts.values()) == [5, 10]


def test_delta_rows(spark: SparkSession, tmp_path: Path) -> None:
    place = str(tmp_path / "d")
    spark.range(4).coalesce(1).write.format("delta").save(place)
    mapping = a_mapping(place, "delta")
    first = list_files(spark, mapping)
    spark.range(100, 103).coalesce(1).write.format("delta").mode("append").save(place)
    new = [file for file in list_files(spark, mapping) if file not in first]
    found = open_records(spark, mapping, new, ["id"])
    assert [(row[1], row[3]) for row in rows(found)] == [(1, 100), (2, 101), (3, 102)]
    assert list(found.counts.values()) == [3]


def test_hadoop_uris_are_listed_too(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.csv").write_text("id\n1\n")
    (tmp_path / "in" / "_SUCCESS").write_text("")
    (file,) = _remote_files(spark, f"file://{tmp_path}/in")
    assert (file.name, file.size) == ("a.csv", 5) or file.name == "deep/a.csv"
    with pytest.raises(SourceError, match="no such file or folder"):
        _remote_files(spark, f"file://{tmp_path}/absent")


def test_fingerprints_know_content_not_order_or_place(spark: SparkSession, tmp_path: Path) -> None:
    for folder, text in (("a", "id\n1\n"), ("b", "id\n1\n"), ("c", "id\n2\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text(text)
        (tmp_path / folder / "y.csv").write_text("id\n9\n")
    prints = [fingerprint(list_files(spark, a_mapping(tmp_path / folder))) for folder in "abc"]
    assert prints[0] == prints[1] != prints[2]
    files = list_files(spark, a_mapping(tmp_path / "a"))
    assert fingerprint(files) == fingerprint(tuple(reversed(files)))


def test_hidden_files_are_left_out_of_folders_and_globs(spark: SparkSession, tmp_path: Path) -> None:
    for name in ("a.csv", "_b.csv", ".c.csv"):
        (tmp_path / name).write_text("id\n1\n")
    for path in (tmp_path, tmp_path / "*.csv", f"{tmp_path}/[_a]*.csv"):
        assert [file.name for file in list_files(spark, a_mapping(Path(path)))] == ["a.csv"]
    remote = _remote_files(spark, f"file://{tmp_path}/*.csv")
    assert [file.name for file in remote] == ["a.csv"]


def write(folder: Path, **files: bytes) -> Path:
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return folder


CUT_OFF = gzip.compress(b"id,x\n" + b"1,2\n" * 50_000)[:60]


@pytest.mark.parametrize(
    ("files", "more", "said"),
    [
        ({}, {"path": "absent.csv"}, "absent.csv: there is no such file"),
        ({}, {"path": "*.csv"}, "there are no files"),
        ({"a_csv": b""}, {}, "empty (0 bytes)"),
        ({"a_json": b""}, {"form": "json"}, "empty (0 bytes)"),
        ({"a_parquet": b""}, {"form": "parquet"}, "empty (0 bytes)"),
        ({"a_parquet": b"id,x\n1,2\n"}, {"form": "parquet"}, "not a Parquet file"),
        ({"a_csv_gz": CUT_OFF}, {}, "cut off"),
        ({"a_csv": b"id,x\n"}, {}, "holds no records"),
        ({"a_csv": b"id,x\n\n \n"}, {}, "holds no records"),
        ({"a_csv": b"\nid,x\n1,2\n"}, {}, "first line is blank"),
        ({"a_csv": b"id,X,x\n1,2,3\n"}, {}, "names X, x more than once"),
        ({"a_csv": b"Id,amount\n1,2\n"}, {}, "a.csv: no column id (did you mean Id?). Its header has: Id, amount"),
        ({"a_csv": b"1,2\n3,4\n"}, {}, "the first line of a CSV must be the header"),
        (
            {"a_csv": b"id,x\n1,2\n", "b_csv": b"x,id\n2,1\n"},
            {},
            "columns of b.csv (x, id) differ from a.csv",
        ),
        ({"a_csv": b"x,id\n1,2\n"}, {"header": ["id", "x"]}, "differ from the header pinned"),
        ({"a_json": b'[{"id": 1}]\n'}, {"form": "json"}, "one JSON document"),
        ({"a_json": b'{"ID": 1}\n'}, {"form": "json"}, "no column id (did you mean ID?)"),
        ({"a_json": b"nonsense\n"}, {"form": "json"}, "no line is a JSON object"),
        ({"a_txt": b"x"}, {"form": "delta"}, "no Delta table"),
    ],
)
def test_bad_input_is_answered_by_one_message(
    spark: SparkSession, tmp_path: Path, files: dict[str, bytes], more: dict[str, Any], said: str
) -> None:
    place = write(tmp_path, **files) / more.get("path", "")
    with pytest.raises(SourceError) as caught:
        opened(spark, a_mapping(place, **{key: value for key, value in more.items() if key != "path"}), "id")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parquet_files_with_other_columns_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    spark.range(1).write.parquet(str(tmp_path / "p" / "one"))
    spark.range(1).selectExpr("id", "1 AS x").write.parquet(str(tmp_path / "p" / "two"))
    with pytest.raises(SourceError, match="differ from"):
        opened(spark, a_mapping(tmp_path / "p", "parquet"), "id")

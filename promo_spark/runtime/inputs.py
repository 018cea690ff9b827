"""The only place that opens input files: their records, with true positions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from promo_spark.contracts.records import MALFORMED, RAW_TEXT, RECORD
from promo_spark.contracts.rows import local_frame
from promo_spark.contracts.source_settings import TableMapping
from promo_spark.contracts.sql_text import quoted
from promo_spark.errors import SourceError
from promo_spark.runtime.input_blocks import block_offsets, numbered, pin_splits, plain_path, positions
from promo_spark.runtime.input_files import InputFile, fingerprint, fixed_folder, list_files
from promo_spark.runtime.input_headers import check_columns, check_same_header
from promo_spark.runtime.input_lines import open_lines
from promo_spark.runtime.input_types import common_schema
from promo_spark.runtime.places import is_local

__all__ = ["InputFile", "Opened", "fingerprint", "list_files", "open_records", "reading"]

_PARQUET_MAGIC = b"PAR1"
# A flipped bit of a page is otherwise another value.
_VERIFY = "parquet.page.verify-checksum.enabled"


@dataclass(frozen=True)
class Opened:
    """Records of some files.

    Attributes:
        records: A frame of records, as ``promo_spark.contracts.records`` describes it.
        counts: Records per file name; blank lines and the header are none.
    """

    records: DataFrame
    counts: dict[str, int]


def open_records(
    spark: SparkSession, mapping: TableMapping, files: Sequence[InputFile], needed: Sequence[str]
) -> Opened:
    """Open files as records with their true positions, whatever the partitioning.

    Args:
        spark: Session.
        mapping: Format and its options.
        files: Which of the source's files; at least one.
        needed: The vendor's columns that the mapping uses.

    Raises:
        SourceError: A file cannot be read, has no records, lacks a needed column, or its header
            differs from the others or from the pinned one.
    """
    where = f"{mapping.path} ({mapping.format})"
    with reading(where):
        if mapping.format == "parquet":
            opened = _open_parquet(spark, mapping, files, needed)
        elif mapping.format == "delta":
            opened = _open_delta(spark, mapping, files, needed)
        else:
            paths = [escaped(file.path) for file in files]
            known = [(file.path, file.name, file.sha256) for file in files]
            opened = Opened(*open_lines(spark, mapping, paths=paths, known=known, needed=needed))
    for file in files:
        if opened.counts.get(file.name, 0) <= 0:
            raise SourceError(f"{file.path}: the file holds no records. Export it again or take it away.")
    return opened


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn what Spark says of an unreadable file into one message that names the file."""
    try:
        yield
    except (Py4JJavaError, PySparkException) as fault:
        text = str(fault)
        if "FAILED_READ_FILE" not in text and "CANNOT_READ_FILE" not in text and "not a Parquet file" not in text:
            raise
        named = re.search(r"reading file (\S+?)\.?\s", text)
        causes = re.findall(r"Caused by: [\w.$]+: ([^\n]+)", text)
        cause = f" ({causes[-1].strip()})" if causes else ""
        hint = "It may be cut off: fetch or export it again." if "EOF" in text else "Fetch or export it again."
        raise SourceError(f"{named.group(1) if named else where}: cannot be read{cause}. {hint}") from fault


def escaped(path: str) -> str:
    """A path that Spark takes literally though it holds glob signs."""
    return re.sub(r"([*?\[\]{}\\])", r"\\\1", path)


def _open_parquet(
    spark: SparkSession, mapping: TableMapping, files: Sequence[InputFile], needed: Sequence[str]
) -> Opened:
    schemas = {file.name: _parquet_schema(spark, file) for file in files}
    check_same_header(mapping.path, {name: tuple(schema.names) for name, schema in schemas.items()}, mapping.header)
    folder = fixed_folder(mapping.path)
    reader = spark.read.option(_VERIFY, "true")
    reader = reader if folder is None else reader.option("basePath", folder)
    if len(set(map(str, schemas.values()))) > 1:
        reader = reader.schema(common_schema(mapping.path, schemas))
    rows = reader.parquet(*(escaped(file.path) for file in files))
    check_columns(mapping.path, tuple(rows.columns), needed)
    ordinal = (F.col("_metadata.row_index") + 1).alias("source_ordinal")
    if len(files) == 1:
        name, digest = F.lit(files[0].name), F.lit(files[0].sha256)
        placed = _as_records(rows, name.alias("source_file"), digest.alias("source_file_hash"), ordinal)
        return Opened(placed, {files[0].name: rows.count()})
    known = [(file.path, file.name, file.sha256) for file in files]
    names = F.broadcast(local_frame(spark, known, "path string, source_file string, source_file_hash string"))
    path = plain_path(F.col("_metadata.file_path")).alias("path")
    placed = _as_records(rows, path, ordinal).join(names, "path", "left")
    return Opened(placed, _counts(placed))


def _open_delta(
    spark: SparkSession, mapping: TableMapping, files: Sequence[InputFile], needed: Sequence[str]
) -> Opened:
    rows = spark.read.format("delta").load(mapping.path)
    check_columns(mapping.path, tuple(rows.columns), needed)
    pin_splits(spark)
    placed = _as_records(rows, *positions())
    counted = placed.groupBy("path", "block").agg(F.count("*").alias("lines"), F.min("_row").alias("start"))
    known = [(file.path, file.name, file.sha256) for file in files]
    blocks = block_offsets(counted.orderBy("path", "block").collect(), known)
    # Files loaded before are files of no known block here.
    new = numbered(spark, placed, blocks).where(F.col("path").isin([file.path for file in files]))
    return Opened(new, _counts(new))


def _as_records(rows: DataFrame, *placed: Expression) -> DataFrame:
    row = F.struct(*(F.col(quoted(name)) for name in rows.columns))
    return rows.select(row.alias(RECORD), F.to_json(row).alias(RAW_TEXT), F.lit(False).alias(MALFORMED), *placed)


def _counts(records: DataFrame) -> dict[str, int]:
    counted = records.groupBy("source_file").count().collect()
    return {row["source_file"]: int(row["count"]) for row in counted}


def _parquet_schema(spark: SparkSession, file: InputFile) -> StructType:
    if is_local(file.path):
        with Path(file.path).open("rb") as content:
            head = content.read(4)
            content.seek(-min(4, file.size), 2)
            if head != _PARQUET_MAGIC or content.read(4) != _PARQUET_MAGIC:
                raise SourceError(f"{file.path}: this is not a Parquet file, or it is cut off. Export it again.")
    try:
        return spark.read.parquet(escaped(file.path)).schema
    except (PySparkException, Py4JJavaError) as fault:
        causes = re.findall(r"Caused by: [\w.$]+: ([^\n]+)", str(fault)) or str(fault).splitlines()
        hint = "Write timestamps in microseconds and export" if "NANOS" in causes[-1] else "Export"
        raise SourceError(
            f"{file.path}: its columns cannot be read ({causes[-1].strip()}). {hint} it again."
        ) from fault

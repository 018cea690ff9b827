"""Small files, wherever the warehouse lies: local ones by Python, others by Hadoop's file systems."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

from pyspark.sql import SparkSession

from promo_spark.errors import StorageError
from promo_spark.runtime.places import is_local, local_path


def write_text(spark: SparkSession, place: str, text: str) -> None:
    """Write UTF-8 text whole or not at all: on a local disk to a file beside it first, then renamed over it."""
    if is_local(place):
        path = local_path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.new")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
        return
    system, path_on_it = _hadoop(spark, place)
    stream = system.create(path_on_it, True)
    try:
        stream.write(bytearray(text.encode()))
    finally:
        stream.close()


def read_text(spark: SparkSession, place: str) -> str:
    """Read a small UTF-8 file."""
    if is_local(place):
        return local_path(place).read_text(encoding="utf-8")
    system, path_on_it = _hadoop(spark, place)
    stream = system.open(path_on_it)
    try:
        return bytes(stream.readAllBytes()).decode()
    finally:
        stream.close()


def list_names(spark: SparkSession, place: str) -> list[str]:
    """Names in a folder; none where it does not exist."""
    if is_local(place):
        folder = local_path(place)
        return [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    system, path_on_it = _hadoop(spark, place)
    if not system.exists(path_on_it):
        return []
    return [status.getPath().getName() for status in system.listStatus(path_on_it)]


def folder_size(spark: SparkSession, place: str) -> tuple[int, int]:
    """Files in a folder and all below it, and their bytes."""
    system, path_on_it = _hadoop(spark, place)
    summary = system.getContentSummary(path_on_it)
    return int(summary.getFileCount()), int(summary.getLength())


def list_below(spark: SparkSession, place: str) -> list[str]:
    """Paths of all files below a folder, relative to it, hidden ones too; none where it does not exist."""
    if is_local(place):
        folder = local_path(place)
        return [
            file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_symlink() or file.is_file()
        ]
    system, path_on_it = _hadoop(spark, place)
    if not system.exists(path_on_it):
        return []
    root, found, files = str(system.resolvePath(path_on_it).toString()), [], system.listFiles(path_on_it, True)
    while files.hasNext():
        found.append(str(files.next().getPath().toString()).removeprefix(root).lstrip("/"))
    return found


def sha256_of(spark: SparkSession, place: str) -> str:
    """SHA-256 of a file, as hexadecimal digits; worked out where the file is read."""
    if is_local(place):
        with local_path(place).open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    system, path_on_it = _hadoop(spark, place)
    stream = system.open(path_on_it)
    try:
        jvm: Any = spark.sparkContext._jvm
        return str(jvm.org.apache.commons.codec.digest.DigestUtils.sha256Hex(stream))
    finally:
        stream.close()


def remove_file(spark: SparkSession, place: str) -> None:
    """Remove a file; one that is not there is no fault."""
    system, path_on_it = _hadoop(spark, place)
    system.delete(path_on_it, False)


def remove_empty_folder(spark: SparkSession, place: str) -> None:
    """Remove a folder; one that holds something stays."""
    if is_local(place):  # Hadoop looks first and removes all then
        with suppress(OSError):
            local_path(place).rmdir()
        return
    system, path_on_it = _hadoop(spark, place)
    if not list(system.listStatus(path_on_it)):
        system.delete(path_on_it, False)


def remove_folder(spark: SparkSession, place: str) -> bool:
    """Remove a folder and all in it; False where it was not there."""
    system, path_on_it = _hadoop(spark, place)
    return bool(system.delete(path_on_it, True))


def _hadoop(spark: SparkSession, place: str) -> tuple[Any, Any]:
    """The Hadoop file system of a place and the path on it; pyspark has no public way to them."""
    context: Any = spark.sparkContext
    path = context._jvm.org.apache.hadoop.fs.Path(place)
    return path.getFileSystem(context._jsc.hadoopConfiguration()), path


def replace_by_only_part(spark: SparkSession, folder: str, final: str) -> None:
    """Move the one part that Spark wrote into a folder to its final name, and remove the folder."""
    system, source = _hadoop(spark, folder)
    parts = [status.getPath() for status in system.listStatus(source) if status.getPath().getName().startswith("part-")]
    if len(parts) != 1:
        raise StorageError(f"{folder} holds {len(parts)} parts where one was written: run the job again.")
    target = _hadoop(spark, final)[1]
    system.delete(target, False)
    if not system.rename(parts[0], target):
        raise StorageError(f"{parts[0]} could not be moved to {final}: may the job write there?")
    system.delete(source, True)

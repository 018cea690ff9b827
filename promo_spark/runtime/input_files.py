"""List the files of a source, wherever they lie, and say by a hash which they are."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from promo_spark.contracts.source_settings import TableMapping
from promo_spark.errors import SourceError
from promo_spark.runtime.places import is_local, local_path

_GLOB_SIGNS = re.compile(r"[*?\[\]{}]")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class InputFile:
    """A file of a source.

    Attributes:
        path: Absolute local path or URI, not percent-encoded.
        name: Path below the source's folder.
        size: Bytes.
        sha256: Of the content where the file is local; elsewhere of path, length and modification
            time, since hashing would read every byte over the network once more.
    """

    path: str
    name: str
    size: int
    sha256: str


def fingerprint(files: Sequence[InputFile]) -> str:
    """SHA-256 of the names and contents of files, whatever their order."""
    lines = sorted(f"{file.name}\0{file.sha256}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def list_files(
    spark: SparkSession, mapping: TableMapping, only: Collection[str] | None = None
) -> tuple[InputFile, ...]:
    """List a table's files, by name; hidden ones and those that start with ``_`` are left out.

    Args:
        spark: Session.
        mapping: The table.
        only: Paths of the files that matter, where it is known that there are new ones; the others are not
            opened, and where none of these is there any more, none is listed.

    Raises:
        SourceError: The path is absent, nothing matches, or a file has no bytes.
    """
    if mapping.format == "delta":
        files = _delta_files(spark, mapping.path)
    elif is_local(mapping.path):
        wanted = None if only is None else {Path(path).resolve() for path in only}
        matches = _local_matches(mapping.path)
        files = [_local_file(path, name) for path, name in matches if wanted is None or path.resolve() in wanted]
    else:
        files = [file for file in _remote_files(spark, mapping.path) if only is None or file.path in only]
    if not files and only is None:
        raise SourceError(f"{mapping.path}: there are no files. Put the source's files there or correct its path.")
    for file in files:
        if file.size == 0:
            raise SourceError(f"{file.path}: the file is empty (0 bytes). Export it again or take it away.")
    return tuple(sorted(files, key=lambda file: file.name))


def fixed_folder(path: str) -> str | None:
    """The folder that a folder path or a glob stands in, so that ``name=value`` folders become columns."""
    if is_local(path) and local_path(path).is_file():
        return None
    parts = path.rstrip("/").split("/")
    fixed = [index for index, part in enumerate(parts) if _GLOB_SIGNS.search(part)]
    if not fixed:
        return str(local_path(path)) if is_local(path) else path
    folder = "/".join(parts[: fixed[0]]) or "."
    return str(local_path(folder)) if is_local(path) else folder


def _local_matches(path: str) -> list[tuple[Path, str]]:
    place = local_path(path)
    if place.is_file():
        return [(place, place.name)]
    if place.is_dir():
        return [(file, file.relative_to(place).as_posix()) for file in _files_below(place, place)]
    base = Path(fixed_folder(path) or ".")
    if not _GLOB_SIGNS.search(path) or not base.exists():
        raise SourceError(f"{base if _GLOB_SIGNS.search(path) else place}: there is no such file or folder.")
    matches: list[tuple[Path, str]] = []
    for match in sorted(glob.glob(str(place), recursive=True)):  # noqa: PTH207  (Path.glob takes no absolute pattern)
        found = Path(match).resolve()
        if _is_hidden(found.name):
            continue
        _stays_within(found, base)
        for file in _files_below(found, base) if found.is_dir() else [found]:
            below = file.relative_to(base) if file.is_relative_to(base) else Path(file.name)
            matches.append((file, below.as_posix()))
    return list(dict.fromkeys(matches))


def _files_below(folder: Path, root: Path) -> list[Path]:
    found = [
        file
        for file in folder.rglob("*")
        if (file.is_file() or file.is_symlink())
        and not any(_is_hidden(part) for part in file.relative_to(folder).parts)
    ]
    for file in found:
        if file.is_symlink():
            _stays_within(file.resolve(), root)
            if not file.is_file():
                raise SourceError(f"{file}: links to no file. Put the files themselves there, or correct the path.")
    return sorted(found)


def _stays_within(file: Path, root: Path) -> None:
    """Whoever delivers files could otherwise have any file of this machine read."""
    if not file.is_relative_to(root.resolve()):
        raise SourceError(f"{root}: a link in it leads out of it, to {file}. Put the files themselves there.")


def _is_hidden(name: str) -> bool:
    """Whether Spark leaves a file or folder of this name out."""
    return name[:1] in {".", "_"}


def _local_file(path: Path, name: str) -> InputFile:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
    except OSError as fault:
        raise SourceError(f"{path}: cannot be read ({fault.strerror}). Check its permissions.") from fault
    return InputFile(str(path), name, path.stat().st_size, digest.hexdigest())


def _remote_files(spark: SparkSession, path: str) -> list[InputFile]:
    jvm: Any = spark.sparkContext._jvm
    jsc: Any = spark.sparkContext._jsc
    place = jvm.org.apache.hadoop.fs.Path(path)
    try:
        system = place.getFileSystem(jsc.hadoopConfiguration())
        found = system.globStatus(place)
        shown = [match for match in found or [] if not _is_hidden(match.getPath().getName())]
        statuses = [status for match in shown for status in _statuses_below(system, match)]
    except Py4JJavaError as fault:
        raise SourceError(f"{path}: cannot be listed ({fault.java_exception.getMessage()}).") from fault
    if not found:
        raise SourceError(f"{path}: there is no such file or folder.")
    base = (fixed_folder(path) or path).rstrip("/") + "/"
    return [_remote_file(status, base) for status in statuses]


def _statuses_below(system: Any, status: Any) -> list[Any]:  # noqa: ANN401  (Java objects)
    if status.isFile():
        return [status]
    below: list[Any] = []
    for child in system.listStatus(status.getPath()):
        if not _is_hidden(child.getPath().getName()):
            below.extend(_statuses_below(system, child))
    return below


def _remote_file(status: Any, base: str) -> InputFile:  # noqa: ANN401  (a Java object)
    path = str(status.getPath().toString())
    content = f"{path}\0{status.getLen()}\0{status.getModificationTime()}"
    name = path.removeprefix(base) if path.startswith(base) else path.rsplit("/", 1)[-1]
    return InputFile(path, name, int(status.getLen()), hashlib.sha256(content.encode()).hexdigest())


def _delta_files(spark: SparkSession, path: str) -> list[InputFile]:
    try:
        uris = spark.read.format("delta").load(path).inputFiles()
    except PySparkException as fault:
        raise SourceError(f"{path}: this is no Delta table ({str(fault).splitlines()[0]}).") from fault
    if not is_local(path):
        return [file for uri in uris for file in _remote_files(spark, uri)]
    paths = [Path(re.sub("^file:/+", "/", unquote(uri))) for uri in uris]
    return [_local_file(path, path.name) for path in paths]

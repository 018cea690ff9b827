"""Models as they were kept and nothing else: what is loaded was saved by a stage, file by file, class by class.

Spark makes a saved model's parts by the class names in its metadata, so a model folder is code to whoever may write
there. Beside each model lies a manifest with the hash of every file; it is checked, and so are the classes, before
anything is loaded.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pyspark.sql import SparkSession

from promo_spark.errors import StorageError
from promo_spark.runtime.files import list_below, read_text, sha256_of, write_text
from promo_spark.runtime.places import joined

_CLASSES = ("org.apache.spark.ml.", "pyspark.ml.", "promo_spark.")
_METADATA = re.compile(r"(^|/)metadata/part-[^/]*$")
_HADOOP_CHECKSUM = re.compile(r"(^|/)\.[^/]*\.crc$")


def seal_model(spark: SparkSession, path: str) -> None:
    """Write the manifest of a model just saved: the hash of each of its files."""
    write_text(spark, _manifest(path), json.dumps({"files": _hashes(spark, path)}, indent=1, sort_keys=True))


def check_model(spark: SparkSession, path: str, kind: type[Any]) -> None:
    """Refuse a model that is not, byte by byte, the one that was saved, or that names a class of others.

    Args:
        spark: Session.
        path: Folder of the model.
        kind: What it is to be loaded as.

    Raises:
        StorageError: It has no manifest, files were changed, added or taken away, or its metadata names a class
            that is neither Spark's nor this system's, or another than ``kind``.
    """
    hint = "Nothing of it was loaded. Find out who wrote there, then run the stage that fits it again with --force."
    found = _hashes(spark, path)
    try:
        sealed = json.loads(read_text(spark, _manifest(path)))["files"]
    except Exception as fault:  # whatever the file system has to say of a file that is absent or no JSON
        raise StorageError(f"model {path} has no manifest {_manifest(path)} that can be read. {hint}") from fault
    differing = sorted(name for name in {*sealed, *found} if sealed.get(name) != found.get(name))
    if differing:
        told = f"{differing[0]} was {_change(differing[0], sealed, found)}"
        raise StorageError(f"model {path} is not the one that was saved: {told}. {hint}")
    for name in sorted(name for name in found if _METADATA.search(name)):
        _check_class(spark, path, name, kind, hint)


def _check_class(spark: SparkSession, path: str, name: str, kind: type[Any], hint: str) -> None:
    try:
        named = str(json.loads(read_text(spark, joined(path, name)))["class"])
    except (ValueError, KeyError, TypeError) as fault:
        raise StorageError(f"model {path}: {name} names no class. {hint}") from fault
    if not named.startswith(_CLASSES):
        raise StorageError(f"model {path}: {name} names class {named[:200]!r}, which is none of a model here. {hint}")
    is_root = name.startswith("metadata/")
    if is_root and named.rpartition(".")[2] != kind.__name__:
        raise StorageError(f"model {path} is a {named[:200]!r} where a {kind.__name__} was saved. {hint}")


def _hashes(spark: SparkSession, path: str) -> dict[str, str]:
    names = [name for name in list_below(spark, path) if not _HADOOP_CHECKSUM.search(name)]
    return {name: sha256_of(spark, joined(path, name)) for name in names}


def _change(name: str, sealed: dict[str, str], found: dict[str, str]) -> str:
    if name not in sealed:
        return "added"
    return "changed" if name in found else "taken away"


def _manifest(path: str) -> str:
    return f"{path}.manifest.json"

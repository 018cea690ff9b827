"""Follow a folder: which files have come is kept in a checkpoint, so that each is handed on until it is taken in."""

from __future__ import annotations

import re
from collections.abc import Callable

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.sql import DataFrame, SparkSession

from promo_spark.errors import PromoSparkError, SourceError
from promo_spark.runtime.inputs import escaped
from promo_spark.runtime.places import is_local, local_path

# The content is never asked for: what a file holds is read, counted and hashed where every other file is.
_FILES = "path string, modificationTime timestamp, length bigint, content binary"
# Spark forgets files this much older than the newest, and then lets late ones lie.
_FOR_EVER = "36500d"


def follow_files(
    spark: SparkSession, path: str, *, checkpoint: str, files_per_batch: int, take: Callable[[frozenset[str]], None]
) -> None:
    """Hand on the paths of files that came since the checkpoint, in micro-batches, and return when there are no more.

    A micro-batch that was cut short comes again with the same files, as far as they are still there: what takes
    them must know what it has. A path is handed on once; a file written anew under its old path is not new here.

    Args:
        spark: Session.
        path: A file, a folder or a glob.
        checkpoint: Folder that remembers what has come.
        files_per_batch: Most files of a micro-batch.
        take: Gets absolute local paths or URIs, as ``InputFile.path`` writes them.

    Raises:
        SourceError: The path is absent or cannot be listed.
        PromoSparkError: What ``take`` raised.
    """
    faults: list[BaseException] = []

    def take_batch(batch: DataFrame, _number: int) -> None:
        try:
            paths = frozenset(_plain(row.path) for row in batch.select("path").collect())
            if paths:
                take(paths)
        except BaseException as fault:
            faults.append(fault)
            # Spark waits for ever for the answer of a thread that ends by anything but an Exception.
            raise RuntimeError("this micro-batch was not taken in") from fault

    try:
        files = spark.readStream.format("binaryFile").schema(_FILES).option("recursiveFileLookup", True)
        files = files.option("maxFileAge", _FOR_EVER).option("maxFilesPerTrigger", files_per_batch)
        writer = files.load(_literal(path)).writeStream.foreachBatch(take_batch)
        query = writer.option("checkpointLocation", checkpoint).trigger(availableNow=True).start()
    except (PySparkException, Py4JJavaError) as fault:
        raise SourceError(f"{path}: cannot be followed ({str(fault).splitlines()[0]}). Correct its path.") from fault
    try:
        query.awaitTermination()
    except StreamingQueryException as fault:
        if faults:
            raise faults[0] from (None if isinstance(faults[0], PromoSparkError) else fault)
        raise SourceError(f"{path}: cannot be followed ({str(fault).splitlines()[0]}).") from fault
    finally:
        query.stop()


def _plain(uri: str) -> str:
    return re.sub("^file:/+", "/", uri)


def _literal(path: str) -> str:
    """The path for Spark: a local one that is there means itself, even if it holds glob signs."""
    if not is_local(path):
        return path
    place = local_path(path)
    return escaped(str(place)) if place.exists() else str(place)

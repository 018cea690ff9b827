"""Write a small file to wherever the warehouse lies."""

from __future__ import annotations

from pyspark.sql import SparkSession

from promo_spark.runtime.places import is_local, local_path


def write_text(spark: SparkSession, place: str, text: str) -> None:
    """Write UTF-8 text whole or not at all: to a file beside it first, then renamed over it."""
    if is_local(place):
        path = local_path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.new")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
        return
    jvm = spark.sparkContext._jvm
    hadoop = jvm.org.apache.hadoop.fs  # type: ignore[union-attr]  # a session has a JVM
    target = hadoop.Path(place)
    system = target.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
    stream = system.create(target, True)
    try:
        stream.write(bytearray(text.encode()))
    finally:
        stream.close()

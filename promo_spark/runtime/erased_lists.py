"""Take customers out of the lists that were handed over."""

from __future__ import annotations

from collections import defaultdict

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.runtime.exports import write_list
from promo_spark.runtime.files import list_names, remove_file, remove_folder
from promo_spark.runtime.places import joined

_CSV, _PARQUET = "csv", "parquet"
_ORDER = ("customer_id", "code")


def forget_in_lists(spark: SparkSession, identity: str, ids: DataFrame) -> tuple[list[str], list[str]]:
    """Take customers out of every send list under the identity root.

    A list is written anew from its Parquet file; where that is missing or nobody is left, it is removed. What a
    killed export left half-written is removed.

    Args:
        spark: Session.
        identity: The identity root.
        ids: One column: their raw ids.

    Returns:
        What was done, and the files of unknown kind that were not looked into.
    """
    done: list[str] = []
    unknown: list[str] = []
    root = joined(identity, "sends")
    for date in sorted(list_names(spark, root)):
        folder = joined(root, date)
        lists: dict[str, set[str]] = defaultdict(set)
        for name in sorted(list_names(spark, folder)):
            stem, _, ending = name.rpartition(".")
            if name.startswith("."):
                if ending == "new" and remove_folder(spark, joined(folder, name)):
                    done.append(f"{joined(folder, name)}: half-written, removed")
            elif ending in {_CSV, _PARQUET}:
                lists[stem].add(ending)
            else:
                unknown.append(joined(folder, name))
        for stem, endings in lists.items():
            told = _forget(spark, folder, stem, endings, ids.toDF(_ORDER[0]))
            done.extend([told] if told else [])
    return done, unknown


def _forget(spark: SparkSession, folder: str, stem: str, endings: set[str], ids: DataFrame) -> str:
    """What was done to one list, in words; nothing where it names none of them."""
    place = joined(folder, stem)
    # In the CSV a text that looks like a formula has an apostrophe before it.
    in_csv = ids.union(ids.select(F.concat(F.lit("'"), F.col(_ORDER[0]))))
    frames = {ending: _open(spark, f"{place}.{ending}", ending) for ending in endings}
    known = {_CSV: in_csv, _PARQUET: ids}
    count = max(frame.join(known[ending], _ORDER[0], "left_semi").count() for ending, frame in frames.items())
    if not count:
        return ""
    rows = frames.get(_PARQUET)
    kept = None if rows is None else rows.join(ids, _ORDER[0], "left_anti").select(*rows.columns)
    if kept is None or kept.isEmpty():
        for ending in (_CSV, _PARQUET):
            remove_file(spark, f"{place}.{ending}")
        return f"{place}: {count:,} rows of erased customers, the list removed"
    write_list(spark, folder, stem, kept, _ORDER)
    return f"{place}: {count:,} rows taken out, in CSV and Parquet"


def _open(spark: SparkSession, place: str, ending: str) -> DataFrame:
    reader = spark.read.option("header", True).option("escape", '"').option("multiLine", True)
    return reader.csv(place) if ending == _CSV else spark.read.parquet(place)

"""Lists for other systems."""

from pathlib import Path

import pandas as pd
from pyspark.sql import SparkSession

from promo_spark.runtime.exports import list_names_of, remove_other_lists, write_list


def test_a_list_is_one_file_each_sorted_and_safe_in_a_spreadsheet(spark: SparkSession, tmp_path: Path) -> None:
    rows = [("=1+1", 2), ("b", 1), ("@sum", 3), ("-5", 4), ('a;b,"c"', 5)]
    frame = spark.createDataFrame(rows, "customer_id string, slot int").repartition(3)
    place = str(tmp_path / "sends" / "2017-06-05")
    for _ in range(2):  # a repeat replaces
        csv, parquet = write_list(spark, place, "mail", frame, ("slot",))
    told = pd.read_csv(csv)
    assert told["customer_id"].tolist() == ["b", "'=1+1", "'@sum", "'-5", 'a;b,"c"']
    assert pd.read_parquet(parquet)["customer_id"].tolist() == ["b", "=1+1", "@sum", "-5", 'a;b,"c"']
    visible = {entry.name for entry in Path(place).iterdir() if not entry.name.endswith(".crc")}
    assert visible == {"mail.csv", "mail.parquet"}


def test_every_channel_has_a_file_of_its_own() -> None:
    labels = ["e-mail", "E mail", "\u043f\u043e\u0447\u0442\u0430", "\u77ed\u4fe1", "Mail"]
    names = list_names_of(labels)
    assert len(set(names.values())) == len(labels)
    assert names["Mail"] == "mail"
    assert list_names_of(["e-mail"]) == {"e-mail": "e_mail"}
    assert all(name.isascii() and name for name in names.values())


def test_the_lists_of_an_earlier_run_are_removed_and_nothing_else(spark: SparkSession, tmp_path: Path) -> None:
    for name in ("mail.csv", "mail.parquet", "app.csv", "app.parquet", "note.txt"):
        (tmp_path / name).write_text("x")
    assert remove_other_lists(spark, str(tmp_path), ["mail"]) == ["app.csv", "app.parquet"]
    assert {entry.name for entry in tmp_path.iterdir()} == {"mail.csv", "mail.parquet", "note.txt"}
    assert remove_other_lists(spark, str(tmp_path / "absent"), []) == []
